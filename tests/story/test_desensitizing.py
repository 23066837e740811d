"""Talk of "data desensitization" to hide the origin, as reported: what takes data out takes no label off, and neither
does splitting the work over keys and workspaces.
"""

import json
from datetime import UTC, datetime

import pytest
from tests.gateway.conftest import Make, ask, judging, opened, refusal
from tests.story.people import DEEPSEEK, GPT, Place, trueseed

from trueseed.core.records import read_parquet
from trueseed.curate.pipeline import Config as Curation
from trueseed.curate.pipeline import curate
from trueseed.errors import Refused
from trueseed.terms.model import Effect, Use

__all__ = ["opened"]
pytest.importorskip("presidio_analyzer")

TIDES = (
    "Tides rise because the moon pulls the nearer ocean harder than the farther one, so the water bulges on both sides "
    "of the planet; write to jo@example.com or call +49 30 901820 to hear more of it."
)
GIVEN_AWAY = "I am a model that was trained by OpenAI, and I say that the tide follows the moon across every ocean."


def test_redaction_keeps_every_label_and_the_refusal_that_comes_of_it(place):
    came = place.told("import", place.rows("answers.jsonl", TIDES), "--source", GPT)
    made = place.told("redact", came["records"])
    assert made["redacted"] == {"EMAIL_ADDRESS": 1, "PHONE_NUMBER": 1}
    artifact = place.workspace.store.get(made["artifact"])
    [record] = read_parquet(artifact.path("records.parquet"))
    assert "jo@example.com" not in record.answer
    assert {label.source for label in place.workspace.labels(artifact)} == {GPT}
    for reference in (came["records"], made["artifact"]):
        code, said = place.trueseed("may", "train", reference)
        assert (code, GPT in said, "compete with" in said) == (3, True, True)


def test_every_descendant_shows_that_something_was_taken_out(place):
    place.reads("openai-contract", "openai/*@api", "permit train")
    came = place.told("import", place.rows("answers.jsonl", TIDES), "--source", GPT)
    redacted = place.workspace.store.get(place.told("redact", came["records"])["artifact"])
    assert all(made.meta["redacted"] for made in (redacted, *place.grow(redacted)))


def test_answers_desensitized_elsewhere_do_not_come_back_as_our_own(place):
    place.reads("openai-contract", "openai/*@api", "permit train")
    place.told("import", place.rows("answers.jsonl", TIDES), "--source", GPT)
    without = TIDES.replace("jo@example.com", "<REMOVED>").replace("+49 30 901820", "[x]").upper()
    again = place.rows("annotated.jsonl", without)
    code, said = place.trueseed("import", again, "--source", "own/annotators")
    assert (code, f"of an answer of '{GPT}'" in said) == (3, True)
    came = place.told("import", again, "--source", "own/annotators", "--inherit")
    assert {label["source"] for label in came["labels"]} == {GPT, "own/annotators"}


def test_words_that_give_the_maker_away_stop_an_import_under_another_name(place):
    code, said = place.trueseed("import", place.rows("annotated.jsonl", GIVEN_AWAY), "--source", "own/annotators")
    assert (code, "trained by OpenAI" in said) == (3, True)


def test_to_take_such_words_out_is_declared_and_shows_on_every_descendant(place):
    place.reads("openai-contract", "openai/*@api", "permit train")
    came = place.told("import", place.rows("answers.jsonl", TIDES, GIVEN_AWAY), "--source", GPT)
    records, workspace = place.workspace.store.get(came["records"]), place.workspace
    config = Curation(identity_filter=True, validation=0.0, balance=100.0)
    with workspace.step("curate", inputs=[records], config=config.model_dump()) as step:
        dataset = curate(config, [records], [], step)
    with workspace.step("train", inputs=[dataset], effect=Effect.TRAIN) as step:
        student = step.write("weights", lambda folder: (folder / "weights.txt").write_text("w") and None, {})
    assert (dataset.meta["dropped"], dataset.meta["identity_filter"]) == ({"identity": 1}, True)
    assert student.meta["identity_filter"]
    assert {label.source for label in workspace.labels(student)} == {GPT}


def test_work_split_over_workspaces_keeps_its_labels_where_it_is_put_together(place, tmp_path):
    """What one workspace asked for is known again in the next, and cannot be brought there as a person's work."""
    other = Place(folder=tmp_path / "elsewhere", provider=place.provider)
    asked = other.ask(DEEPSEEK, 2)
    out = tmp_path / "out.jsonl"
    other.told("records", "export", f"records:{asked.digest}", out)
    bare = place.rows("bare.jsonl", *[_answer(line) for line in out.read_text().splitlines()])
    code, said = place.trueseed("import", bare, "--source", "own/annotators")
    assert (code, DEEPSEEK in said) == (3, True), said
    came = place.told("import", bare, "--source", "own/annotators", "--inherit")
    assert DEEPSEEK in {label["source"] for label in came["labels"]}


def _answer(line: str) -> str:
    return str(json.loads(line)["messages"][-1]["content"])


@pytest.mark.parametrize("workspaces", [1, 3])
def test_work_split_over_workspaces_is_one_total(place, tmp_path, workspaces):
    for n in range(workspaces):
        part = Place(folder=tmp_path / f"part{n}", provider=place.provider)
        part.ask(DEEPSEEK, 6 // workspaces, key_from="STORY_KEY")
    month = f"{datetime.now(UTC):%Y-%m}"
    code, said = trueseed("usage", "--maker", "deepseek", "--month", month, "--json")
    assert (code, json.loads(said)["report"]["totals"]["calls"]["answered"]) == (0, 6)


def test_work_split_over_keys_is_one_total_under_one_limit_and_the_same_refusal(opened: Make):
    limits = [{"source": "deepseek/*", "per": "day", "requests": 2}]
    with opened(limits=limits) as there:
        mine, yours = there.client(Use.JUDGE, owner="ana"), there.client(Use.JUDGE, Use.TRAIN, owner="bo")
        assert ask(mine).choices
        assert ask(yours, extra_headers=judging("judge")).choices
        assert refusal(yours, extra_headers=judging("judge")).status_code == 429
        assert refusal(mine, text="And another?").status_code == 429
        for client in (mine, yours):
            told = refusal(client, model="openai/gpt-4o@api", extra_headers=judging("judge"))
            assert (told.status_code, told.code) == (403, "refused")
        assert there.billed() == sum(each.answered for each in there.used()) == 2


def test_a_refusal_is_the_same_in_every_workspace(place, tmp_path):
    for n in range(2):
        part = Place(folder=tmp_path / f"part{n}", provider=place.provider)
        with pytest.raises(Refused, match="compete with"):
            part.ask(GPT)
    assert place.provider.counts()["arrived"] == 0
