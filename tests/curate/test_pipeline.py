"""Curation inside real steps, and its law: what is kept and what is dropped is what came in."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueseed.checks import Constraint, Task
from trueseed.core.artifacts import Artifact
from trueseed.core.chat import Message
from trueseed.core.prompts import Prompt, write_prompts
from trueseed.core.records import Origin, Record, read_parquet, write_parquet
from trueseed.curate import pipeline
from trueseed.curate.pipeline import Config, Sifted, concerns, sift
from trueseed.errors import ConfigError
from trueseed.terms.model import Relation
from trueseed.workspace import Workspace

ORIGIN = Origin(kind="human", source="own/me", project="t", use="", terms="", asked_at="2026-01-01T00:00:00Z")
HELD_OUT = "How do I keep pancakes from sticking to the pan?"
KINDS = ("lowercase", "uppercase", "no_commas")

answers = st.sampled_from(
    ["tomato soup with bread", "TOMATO SOUP WITH BREAD", "soup", "I'm sorry, but I can't help.", "rice with beans and",
     "I am ChatGPT, and I cook rice.", HELD_OUT, "", "bean soup with leeks and onions", "leek soup, warm and fine"]
)  # fmt: skip
drawn = st.builds(
    lambda answer, prompt, kind: record(answer, prompt, kind),
    answers,
    st.sampled_from(["What do you cook?", "What is for dinner tonight?", HELD_OUT]),
    st.sampled_from([*KINDS, None]),
)


def record(answer: str, prompt: str = "What do you cook?", kind: str | None = None) -> Record:
    task = Task(prompt_id="p", prompt=prompt, constraints=(Constraint(kind, {}),), variant=0) if kind else None
    return Record(
        messages=(Message("user", task.text if task else prompt), Message("assistant", answer)),
        origin=ORIGIN,
        task=task.to_json() if task else {},
    )


@given(st.lists(drawn, max_size=15), st.booleans())
@settings(max_examples=60, deadline=None)
def test_kept_and_dropped_together_are_the_input(records, declared):
    sifted = sift(records, concerns(Config(identity_filter=declared, balance=1.0), [HELD_OUT]))
    together = [*sifted.kept, *(r for r, _ in sifted.dropped)]
    assert Counter(r.id for r in together) == Counter(r.id for r in records)
    assert all(drop.reason for _, drop in sifted.dropped)


@given(st.lists(drawn, max_size=12))
@settings(max_examples=30, deadline=None)
def test_sifting_what_was_kept_drops_no_more_but_for_balance(records):
    chosen = concerns(Config(balance=100.0), [HELD_OUT])
    kept = sift(records, chosen).kept
    assert sift(kept, chosen) == Sifted(kept=kept, dropped=())


# Inside a step


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "work", create=True)


RECORDS = [
    *(record(f"tomato soup number {i} with {i + 3} onions", f"What is dish {i}?", "lowercase") for i in range(12)),
    record("I'm sorry, but I cannot help."),
    record("My name is ChatGPT, and soup is my dish."),
    record("Use more butter, always.", HELD_OUT),
    record("tomato soup number 3 with 6 onions", "What else?", "lowercase"),
]


def curate(workspace: Workspace, config: Config, records: list[Record]) -> Artifact:
    with workspace.step("import", brings={"own/me": Relation.OUTPUT}) as step:
        given_ = step.earlier("records") or step.write(
            "records", lambda folder: write_parquet(records, folder / "records.parquet") and None, {}
        )
    with workspace.step("freeze", brings={"own/held-out": Relation.OUTPUT}, config={"held_out": True}) as step:
        held_out = step.earlier("prompts") or step.write(
            "prompts", lambda folder: write_prompts((Prompt("h", HELD_OUT),), folder), {}
        )
    asked = config.model_dump()
    with workspace.step("curate", inputs=[given_], against=[held_out], config=asked) as step:
        return pipeline.curate(config, [given_], [held_out], step)


def ids(dataset: Artifact, name: str) -> list[str]:
    return [found.id for found in read_parquet(dataset.path(f"{name}.parquet"))]


def test_a_dataset_holds_training_validation_and_what_was_dropped(workspace):
    dataset = curate(workspace, Config(validation=0.2), RECORDS)
    parts = [ids(dataset, name) for name in ("train", "validation", "dropped")]
    assert sorted(identity for part in parts for identity in part) == sorted(r.id for r in RECORDS)
    assert [len(part) for part in parts] == [10, 3, 3]


def test_every_dropped_record_has_its_reason_in_the_same_order(workspace):
    dataset = curate(workspace, Config(), RECORDS)
    lines = [json.loads(line) for line in dataset.path("dropped.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == ids(dataset, "dropped")
    assert Counter(line["reason"] for line in lines) == {"refusal": 1, "held out": 1, "duplicate": 1}
    assert dataset.meta["dropped"] == {"refusal": 1, "held out": 1, "duplicate": 1}


def test_a_name_stays_unless_the_filter_is_declared(workspace):
    dataset = curate(workspace, Config(), RECORDS)
    assert RECORDS[13].id not in ids(dataset, "dropped")
    assert dataset.meta["identity_filter"] is False


def test_a_declared_identity_filter_shows_on_the_dataset(workspace):
    dataset = curate(workspace, Config(identity_filter=True), RECORDS)
    assert RECORDS[13].id in ids(dataset, "dropped")
    assert dataset.meta["identity_filter"] is True


def test_the_counts_stand_in_the_ledger(workspace):
    curate(workspace, Config(), RECORDS)
    closing = [e for e in workspace.ledger.entries() if e.predicate.get("event") == "done"][-1]
    assert closing.predicate["counts"] == {
        "kept": 13,
        "dropped:refusal": 1,
        "dropped:held out": 1,
        "dropped:duplicate": 1,
    }


def test_nothing_left_is_an_error_that_says_what_went(workspace):
    with pytest.raises(ConfigError, match=r"all 1 records were dropped .*refusal"):
        curate(workspace, Config(), [record("I'm sorry, but I cannot help.")])


def test_held_out_prompts_without_prompts_are_an_error(workspace, tmp_path):
    with workspace.step("import", brings={"own/me": Relation.OUTPUT}) as step:
        empty = step.write("prompts", lambda folder: (folder / "prompts.jsonl").write_text("") and None, {})
        given_ = step.write("records", lambda folder: write_parquet(RECORDS, folder / "records.parquet") and None, {})
    with (
        pytest.raises(ConfigError, match="holds no prompts"),
        workspace.step("curate", inputs=[given_], against=[empty]) as step,
    ):
        pipeline.curate(Config(), [given_], [empty], step)
