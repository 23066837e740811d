"""Records said anew by a scripted model, inside real steps: labels join, and nothing is lost or waved through."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from trueseed.core.artifacts import Artifact
from trueseed.core.chat import Answer, Request
from trueseed.core.records import MADE_OF, Record, read_parquet
from trueseed.errors import ConfigError, Refused, Short
from trueseed.exchange.bring import Config as Import
from trueseed.exchange.bring import bring
from trueseed.exchange.hand_out import hand_out
from trueseed.generate.rewriting import Config, _wrong, rewrite
from trueseed.teachers.scripted import ScriptedTeacher
from trueseed.teachers.teacher import Teacher
from trueseed.terms.model import Effect, Relation, Use
from trueseed.workspace import Workspace

SMOL = "huggingfacetb/smollm2-135m-instruct@weights"
SOUP = "Heat the soup slowly, stir it now and then, and let nobody hurry you before it steams."
ASKED = Config(rewrite="Say it in plainer words.")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "work", create=True)


def brought(workspace: Workspace, *answers: str, source: str = "own/cook", system: str = "") -> Artifact:
    rows = [{"prompt": f"Soup {n}?", "completion": each, "system": system} for n, each in enumerate(answers)]
    path = workspace.folder.parent / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return bring(workspace, Import(file=str(path), source=source)).records


def said_anew(
    workspace: Workspace, config: Config, given: Artifact, script, source: str = SMOL, slots: int = 3
) -> Artifact:
    said = config.model_dump()
    with workspace.step(config.verb, inputs=[given], ask={source: Use.TRAIN}, effect=Effect.TRAIN, config=said) as step:
        return rewrite(config, given, Teacher(ScriptedTeacher(source, script, slots=3), step), step)


def records(artifact: Artifact, part: str = "records") -> list[Record]:
    return list(read_parquet(artifact.path(f"{part}.parquet")))


def loud(request: Request) -> str:
    text = request.messages[-1].content.split("\n\n")
    return (text[-2] if "nothing else" in text[-1] else text[-1]).split("\n")[-1].upper()


def test_a_rewritten_record_keeps_its_question_its_parent_and_every_label(workspace):
    given = brought(workspace, SOUP)
    made = said_anew(workspace, ASKED, given, loud)
    (old,), (new,) = records(given), records(made)
    assert [m.content for m in new.messages] == ["Soup 0?", SOUP.upper()]
    assert (new.origin.kind, new.origin.source, new.origin.parents) == ("transform", SMOL, (old.id,))
    assert new.task[MADE_OF] == [{"source": "own/cook", "terms": old.origin.terms}]
    assert workspace.labels(made) > workspace.labels(given)
    assert {(label.source, label.relation) for label in workspace.labels(made)} == {
        ("own/cook", Relation.OUTPUT),
        (SMOL, Relation.OUTPUT),
    }


def test_every_message_is_translated_and_the_originals_stay_when_they_are_to_be_kept(workspace):
    given = brought(workspace, SOUP, "It is ready.", system="Be kind.")
    made = said_anew(workspace, Config(translate="German", keep=True), given, loud)
    first, german, *_ = records(made)
    assert first == records(given)[0]
    assert [m.content for m in german.messages] == ["BE KIND.", "SOUP 0?", SOUP.upper()]
    assert len(german.task["requests"]) == 3
    assert made.meta["records"] == 4


def test_what_comes_back_cut_skipped_or_empty_is_put_aside_with_its_reason(workspace):
    def script(request: Request) -> str | Answer:
        if "Soup 0?" in request.messages[-1].content:
            return Answer(text="", finish="skipped", prompt_tokens=1, completion_tokens=0, because="it declined")
        if "Soup 1?" in request.messages[-1].content:
            return Answer(text="Heat", finish="length", prompt_tokens=1, completion_tokens=1)
        return "  " if "Soup 2?" in request.messages[-1].content else "Well heated it is."

    made = said_anew(workspace, ASKED, brought(workspace, SOUP, "One.", "Two.", "Three."), script)
    assert [record.task["reason"] for record in records(made, "rejected")] == ["skipped", "cut", "empty"]
    assert [record.answer for record in records(made)] == ["Well heated it is."]
    closing = [entry.predicate for entry in workspace.ledger.entries() if entry.predicate.get("event") == "done"][-1]
    found = {name: n for name, n in closing["counts"].items() if name == "accepted" or name.startswith("rejected")}
    assert found == {"accepted": 1, "rejected:skipped": 1, "rejected:cut": 1, "rejected:empty": 1}


def test_an_echo_or_a_text_that_is_no_longer_sound_is_put_aside(workspace):
    answers = iter(["The answer to rewrite:\nHeat it.", "soup " * 30, "Warm it gently for a while."])
    made = said_anew(workspace, ASKED, brought(workspace, SOUP, SOUP[:-1], SOUP[:-2]), lambda _: next(answers))
    assert [record.task["reason"] for record in records(made, "rejected")] == ["copied", "unsound"]


def test_a_makers_name_goes_only_by_a_declared_filter_that_every_descendant_shows(workspace):
    given = brought(workspace, "I am ChatGPT, a language model trained by OpenAI.", source="openai/gpt-4@api")
    with pytest.raises(Refused, match="openai"):  # its own terms come first
        said_anew(workspace, ASKED, given, loud)
    deepseek = brought(
        workspace, "I am DeepSeek Chat, an AI assistant, and soup is warm.", source="deepseek/deepseek-chat@api"
    )
    with pytest.raises(Short, match="identity 1"):
        said_anew(workspace, ASKED, deepseek, lambda _: "Soup is warm.")
    kept = said_anew(workspace, Config(rewrite="Shorten it."), deepseek, lambda _: "DeepSeek says that soup is warm.")
    assert "identity_filter" not in kept.meta
    declared = Config(rewrite="Say nothing of yourself.", identity_filter=True)
    made = said_anew(workspace, declared, deepseek, lambda _: "Soup is warm.")
    again = said_anew(workspace, ASKED, made, loud)
    assert (made.meta["identity_filter"], again.meta["identity_filter"]) == (True, True)


def test_either_ones_terms_refuse_it_before_anything_is_asked(workspace):
    asked = []
    ours = brought(workspace, SOUP)
    with pytest.raises(Refused, match="openai/gpt-4@api may not be used to train"):
        said_anew(workspace, ASKED, ours, lambda request: asked.append(request) or "x", source="openai/gpt-4@api")
    theirs = brought(workspace, "It is ready, and it is warm.", source="openai/gpt-4@api")
    with pytest.raises(Refused, match="openai/gpt-4@api may not be used to train"):
        said_anew(workspace, ASKED, theirs, lambda request: asked.append(request) or "x")
    assert asked == []


def test_what_is_handed_out_names_everyone_and_comes_back_with_every_label(workspace, tmp_path):
    made = said_anew(workspace, ASKED, brought(workspace, SOUP), loud)
    hand_out(workspace, made, tmp_path / "out.jsonl")
    (row,) = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert (row["trueseed"]["source"], row["trueseed"][MADE_OF]) == (SMOL, ["own/cook"])
    for name in ("trueseed", "messages"):
        (tmp_path / "in.jsonl").write_text(json.dumps({"messages": row["messages"], name: row[name]}) + "\n")
        back = bring(workspace, Import(file=str(tmp_path / "in.jsonl"), source="own/reader", inherit=True))
        assert set(back.labels) > workspace.labels(made)


def test_a_record_that_fails_its_own_constraints_afterwards_is_wrong(workspace):
    given = brought(workspace, "keep it low and warm all day")
    (old,) = records(given)
    constraint = {"kind": "lowercase", "args": {}}
    task = {"prompt_id": "a", "prompt": "Soup?", "constraints": [constraint], "variant": 0}
    shouted = replace(old.messages[-1], content="KEEP IT LOW AND WARM")
    new = Record(messages=(*old.messages[:-1], shouted), origin=old.origin, task=task)
    assert _wrong(old, new, ASKED)[0] == "wrong"


def test_only_records_can_be_said_anew_and_in_one_way_at_a_time(workspace):
    with workspace.step("freeze", brings={"own/me": Relation.OUTPUT}) as step:
        prompts = step.write("prompts", lambda folder: (folder / "x").write_text("x"), {})
    with pytest.raises(ConfigError, match="holds no records"):
        said_anew(workspace, ASKED, prompts, loud)
    for wrong in ({}, {"rewrite": "x", "translate": "German"}, {"rewrite": ""}):
        with pytest.raises(ValidationError):
            Config(**wrong)
