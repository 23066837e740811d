"""Other people's datasets: taken whole under their origin, or not at all."""

import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trueseed.errors import ConfigError, Refused
from trueseed.exchange.bring import Brought, Config, bring
from trueseed.exchange.hand_out import hand_out
from trueseed.ledger.steps import faults
from trueseed.similarity.remembered import ANSWERS, Mark, Remembered, sketch
from trueseed.terms.model import Label, Relation
from trueseed.workspace import Workspace

TIDES = (
    "Tides rise because the moon pulls the nearer ocean harder than the farther one, so the water bulges on both sides "
    "of the planet; write to jo@example.com or call 030 901820 to hear more of it."
)
DEEPSEEK = "deepseek/deepseek-chat@api"
SHAPES = [
    {"messages": [{"role": "user", "content": "Soup?"}, {"role": "assistant", "content": "Heat it well."}]},
    {"conversations": [{"from": "human", "value": "Soup?"}, {"from": "gpt", "value": "Heat it well."}]},
    {"prompt": "Soup?", "completion": "Heat it well."},
    {"instruction": "Soup?", "input": "", "output": "Heat it well."},
]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "work", create=True)


def taken(workspace: Workspace, rows: list, source: str = "own/cook", **said: bool) -> Brought:
    path = workspace.folder.parent / "rows.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return bring(workspace, Config(file=str(path), source=source, **said))


def alpaca(answer: str, **more: object) -> dict:
    return {"instruction": "Explain it.", "output": answer, **more}


@pytest.mark.parametrize("row", SHAPES)
def test_each_shape_is_read_as_the_same_chat(workspace, row):
    from trueseed.core.records import read_parquet

    (record,) = read_parquet(taken(workspace, [row]).records.path("records.parquet"))
    assert [(m.role, m.content) for m in record.messages] == [("user", "Soup?"), ("assistant", "Heat it well.")]
    assert (record.origin.kind, record.origin.source) == ("human", "own/cook")


def test_a_parquet_file_and_a_folder_of_splits_are_read(workspace, tmp_path):
    data = tmp_path / "hub" / "data"
    data.mkdir(parents=True)
    for split in ("train", "test"):
        pq.write_table(pa.Table.from_pylist(SHAPES[2:3] * 3), data / f"{split}-00000-of-00001.parquet")
    brought = bring(workspace, Config(file=str(tmp_path / "hub"), source="own/cook"))
    assert (brought.records.meta["records"], brought.left_out) == (3, ("test",))


def test_broken_rows_are_named_and_nothing_is_imported(workspace):
    with pytest.raises(
        ConfigError, match=r"\.jsonl: line 2: not JSON.*line 3: there is no chat in it.*Nothing was imported"
    ):
        taken(workspace, [SHAPES[0], "{", {"text": "words"}])
    assert list(workspace.store.all()) == []


def test_a_source_without_terms_is_refused(workspace):
    with pytest.raises(Refused, match="no terms are established for acme/data@hub"):
        taken(workspace, SHAPES, "acme/data@hub")


@pytest.mark.parametrize(
    ("more", "answer", "said"),
    [
        ({"model": "gpt-4"}, "Heat it.", "column 'model' says 'gpt-4'"),
        ({"metadata": {"generated_by": "claude-3"}}, "Heat it.", "column 'metadata.generated_by' says 'claude-3'"),
        ({"distilabel_metadata": {"raw_output": "x"}}, "Heat it.", "distilabel"),
        ({}, "As an AI language model trained by OpenAI, I cannot cook.", "trained by OpenAI"),
    ],
)
def test_a_row_that_tells_of_another_origin_stops_the_import(workspace, more, answer, said):
    with pytest.raises(Refused, match=f"line 1: .*{said}"):
        taken(workspace, [alpaca(answer, **more)])
    assert list(workspace.store.all()) == []


def test_a_generator_that_was_declared_is_no_contradiction(workspace):
    brought = taken(workspace, [alpaca("Heat it.", model="deepseek-chat")], DEEPSEEK)
    assert brought.inherited == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: text.upper().replace(",", " -").replace(" ", "  "),
        lambda text: text.replace("a", "а").replace("o", "о").replace("e", "е"),  # Cyrillic
        lambda text: text.replace("jo@example.com", "<EMAIL_ADDRESS_3f2a>").replace("030 901820", "[PHONE]"),
    ],
)
def test_a_relayed_answer_is_recognised_and_inherited_with_its_terms(workspace, change):
    terms = workspace.catalog.documents[0].digest
    remembered = Remembered(workspace.folder / ANSWERS)
    remembered.keep([sketch(TIDES, Mark(source=DEEPSEEK, terms=terms, about="relayed to judge"))])
    remembered.close()
    with pytest.raises(Refused, match=f"holds 100% of an answer of '{DEEPSEEK}'"):
        taken(workspace, [alpaca(change(TIDES))])
    brought = taken(workspace, [alpaca(change(TIDES))], inherit=True)
    assert brought.inherited == (Label(DEEPSEEK, Relation.OUTPUT, terms),)
    assert not list(faults(workspace.ledger.entries()))


def exported(workspace: Workspace, brought: Brought, name: str) -> list[dict]:
    path = workspace.folder.parent / name
    hand_out(workspace, brought.records, path)
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_was_exported_comes_back_with_its_labels_shuffled_and_without_columns(workspace):
    ours = taken(workspace, [alpaca(TIDES), alpaca(TIDES.replace("moon", "sun") + " And so on.")], "own/sailor")
    rows = [{"messages": row["messages"]} for row in exported(workspace, ours, "out.jsonl")]
    random.Random(0).shuffle(rows)
    with pytest.raises(Refused, match="own/sailor"):
        taken(workspace, rows)
    back = taken(workspace, rows, inherit=True)
    assert set(back.labels) >= set(ours.labels)


def test_another_workspace_of_the_same_user_shrinks_no_label(workspace, tmp_path):
    ours = taken(workspace, [alpaca(TIDES)], "own/sailor")
    rows = [{"messages": row["messages"]} for row in exported(workspace, ours, "out.jsonl")]
    other = Workspace.open(tmp_path / "elsewhere" / "work", create=True)
    with pytest.raises(Refused, match="own/sailor"):
        taken(other, rows)
    assert set(taken(other, rows, inherit=True).labels) >= set(ours.labels)


def test_the_same_import_is_not_done_twice(workspace):
    first = taken(workspace, [alpaca(TIDES)])
    assert taken(workspace, [alpaca(TIDES)]).records == first.records
