"""The recipe against a scripted teacher, inside real steps."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from trueseed.checks import Task
from trueseed.core.artifacts import Artifact
from trueseed.core.canonical import digest
from trueseed.core.chat import Answer, Request
from trueseed.core.prompts import Prompt
from trueseed.core.records import Record, read_parquet, record_root
from trueseed.errors import Short
from trueseed.generate import verifiable
from trueseed.generate.prompts import Imported
from trueseed.teachers.scripted import ScriptedTeacher
from trueseed.teachers.teacher import Teacher
from trueseed.terms.model import Relation, Use
from trueseed.workspace import Workspace

SMOL = "huggingfacetb/smollm2-135m-instruct@weights"
OWN = "own/everyday"
KINDS = ["lowercase", "uppercase", "words_at_most"]

Script = Callable[[Request], str | Answer]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "work", create=True)


def config(**changes: Any) -> verifiable.Config:
    return verifiable.Config(**{"accept": 12, "kinds": KINDS, "two": 0.0, "ahead": 5, "max_tokens": 40, **changes})


def import_prompts(workspace: Workspace) -> Artifact:
    found = Imported(tuple(Prompt(f"p{i}", f"What could one cook on day {i}?") for i in range(20)))
    with workspace.step("prompts", brings={OWN: Relation.OUTPUT}) as step:
        return step.earlier("prompts") or found.write(step)


def run(workspace: Workspace, script: Script, chosen: verifiable.Config, *, slots: int = 3) -> Artifact:
    prompts = import_prompts(workspace)
    asked = {**chosen.model_dump()}
    with workspace.step("generate", inputs=[prompts], ask={SMOL: Use.TRAIN}, config=asked) as step:
        return verifiable.generate(chosen, prompts, Teacher(ScriptedTeacher(SMOL, script, slots=slots), step), step)


def records(artifact: Artifact) -> list[Record]:
    return list(read_parquet(artifact.path("records.parquet")))


def rejected(artifact: Artifact) -> list[Record]:
    return list(read_parquet(artifact.path("rejected.parquet")))


def soup(request: Request) -> str:
    """Another sentence for every request, in ordinary case, without commas."""
    said = digest(request.to_json())
    return f"Try soup number {said[:6]} with {said[6:10]} and {said[10:14]} tomatoes."


def good(request: Request) -> str:
    """Right for every kind used here."""
    text = request.messages[-1].content.lower()
    if "lowercase" in text or "small letters" in text or "no capital" in text:
        return soup(request).lower()
    return soup(request).upper()


def test_exactly_as_many_records_as_asked_for(workspace):
    assert len(records(run(workspace, good, config()))) == 12


def test_kinds_advance_together(workspace):
    found = records(run(workspace, good, config()))
    assert Counter(Task.from_json(record.task).kind for record in found) == dict.fromkeys(KINDS, 4)


def test_every_record_is_right_and_holds_the_plain_question(workspace):
    for record in records(run(workspace, good, config(two=0.5))):
        task = Task.from_json(record.task)
        assert task.correct(record.answer)
        assert record.messages[0].content == task.text
        assert len(record.messages) == 2


def test_a_record_names_its_teacher_and_the_request_as_sent(workspace):
    teacher = ScriptedTeacher(SMOL, good)
    prompts = import_prompts(workspace)
    with workspace.step("generate", inputs=[prompts], ask={SMOL: Use.TRAIN}) as step:
        artifact = verifiable.generate(config(), prompts, Teacher(teacher, step), step)
    sent = {digest(request.to_json()) for request in teacher.requests}
    for record in records(artifact):
        assert record.origin.source == SMOL
        assert record.origin.request in sent


def test_words_laid_out_by_rule_say_so_and_stay_the_teachers(workspace):
    artifact = run(workspace, soup, config(kinds=["lowercase", "bullets"], rungs=["formed"], free={"share": 0.25}))
    for record in records(artifact):
        expected = "transform" if record.task["rung"] == "formed" else "teacher"
        assert (record.origin.kind, record.origin.source) == (expected, SMOL)
    assert {record.origin.kind for record in records(artifact)} == {"transform", "teacher"}


def test_the_artifact_carries_the_root_of_its_records(workspace):
    artifact = run(workspace, good, config())
    assert artifact.meta["record_root"] == record_root(record.id for record in records(artifact))


def test_the_same_run_gives_the_same_records_whatever_the_timing(tmp_path):
    answers = []
    for slots in (1, 4):
        workspace = Workspace.open(tmp_path / str(slots), create=True)
        artifact = run(workspace, sometimes, config(accept=20), slots=slots)
        answers.append([(record.task, record.answer) for record in records(artifact)])
    assert answers[0] == answers[1]


def sometimes(request: Request) -> str:
    """Wrong about half of the time."""
    return good(request) if int(digest(request.to_json())[:2], 16) < 128 else soup(request)


def test_a_killed_run_asks_nothing_twice_and_ends_the_same(tmp_path):
    whole = run(Workspace.open(tmp_path / "whole", create=True), sometimes, config(accept=20))
    asked: list[str] = []

    def dying(request: Request) -> str:
        asked.append(digest(request.to_json()))
        if len(asked) in (7, 19):
            raise KeyboardInterrupt
        return sometimes(request)

    workspace = Workspace.open(tmp_path / "killed", create=True)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(workspace, dying, config(accept=20), slots=1)
    artifact = run(workspace, dying, config(accept=20), slots=1)
    assert [(r.task, r.answer) for r in records(artifact)] == [(r.task, r.answer) for r in records(whole)]
    assert max(Counter(asked).values()) == 2  # the two that died before their answer
    assert sum(count == 2 for count in Counter(asked).values()) == 2


def test_an_answer_cut_by_max_tokens_is_never_kept(workspace):
    def long(request: Request) -> str:
        return good(request) if int(digest(request.to_json())[:2], 16) % 3 else (good(request) + " ") * 9

    artifact = run(workspace, long, config(rungs=["plain"]))
    assert {record.task["reason"] for record in rejected(artifact)} >= {"cut"}
    assert all(len(record.answer.split()) <= 20 for record in records(artifact))


def test_every_rejection_is_stored_with_its_reason(workspace):
    artifact = run(workspace, sometimes, config())
    assert rejected(artifact)
    for record in rejected(artifact):
        assert record.task["reason"] in {*KINDS, "sound", "cut", "copied", "not needed"}
        assert record.task["faults"] or record.task["reason"] == "not needed"


def test_an_unsound_answer_is_rejected_although_its_constraint_holds(workspace):
    def lazy(request: Request) -> str:
        return good(request) if int(digest(request.to_json())[:2], 16) % 2 else "OK OK"

    artifact = run(workspace, lazy, config(kinds=["uppercase", "words_at_most"], rungs=["plain"]))
    assert "sound" in {record.task["reason"] for record in rejected(artifact)}


def test_too_few_is_short_with_an_account_of_every_kind(workspace):
    def never_upper(request: Request) -> str:
        return good(request).lower()

    with pytest.raises(Short) as caught:
        run(workspace, never_upper, config(accept=12, asked_at_most=20))
    assert "of 12 records were accepted after 20 answers" in str(caught.value)
    assert "uppercase: 0 of" in str(caught.value)
    assert list(workspace.store.folder.glob("records/*")) == []


def test_a_hopeless_kind_is_left_where_it_is_and_the_others_make_up_for_it(workspace):
    def never_upper(request: Request) -> str:
        return good(request).lower()

    found = records(run(workspace, never_upper, config(accept=12, effort=4)))
    assert Counter(Task.from_json(record.task).kind for record in found) == {"lowercase": 6, "words_at_most": 6}


def only_after(shown: Callable[[Request], bool]) -> Script:
    """Solves "uppercase" only when a request shows something."""

    def script(request: Request) -> str:
        return soup(request).upper() if shown(request) else soup(request)

    return script


def test_the_form_spelt_out_is_help_that_the_record_does_not_show(workspace):
    script = only_after(lambda request: "CAPS LOCK" in request.messages[-1].content)
    artifact = run(workspace, script, config(kinds=["uppercase"], rungs=["plain", "spelt"]))
    assert {record.task["rung"] for record in records(artifact)} == {"spelt"}
    assert all("CAPS LOCK" not in record.messages[0].content for record in records(artifact))


def test_a_failing_answer_is_shown_with_what_is_wrong(workspace):
    script = only_after(lambda request: len(request.messages) == 3 and "small letters" in request.messages[2].content)
    artifact = run(workspace, script, config(kinds=["uppercase"], rungs=["plain", "repair"]))
    known = {record.id for record in rejected(artifact)}
    for record in records(artifact):
        assert record.task["rung"] == "repair"
        assert set(record.origin.parents) <= known
        assert len(record.origin.parents) == 1


def test_a_worked_example_is_an_accepted_answer_and_a_parent(workspace):
    calls = Counter[int]()

    def script(request: Request) -> str:
        calls[len(request.messages)] += 1
        return good(request) if len(request.messages) == 3 or calls[1] == 1 else good(request).lower()

    artifact = run(workspace, script, config(kinds=["uppercase"], rungs=["plain", "worked"]))
    found = records(artifact)
    worked = [record for record in found if record.task["rung"] == "worked"]
    assert len(worked) == 11
    assert all(set(record.origin.parents) <= {other.id for other in found} for record in worked)


def test_an_answer_copied_from_the_example_is_rejected(workspace):
    def copying(request: Request) -> str:
        if len(request.messages) == 3 and int(digest(request.to_json())[:2], 16) % 2:
            return request.messages[1].content
        return good(request) if len(request.messages) == 3 or calls.update("x") or calls["x"] < 3 else soup(request)

    calls: Counter[str] = Counter()
    artifact = run(workspace, copying, config(kinds=["uppercase"], rungs=["plain", "worked"], effort=30))
    assert "copied" in {record.task["reason"] for record in rejected(artifact)}
    assert len({record.answer for record in records(artifact)}) == 12


def test_held_out_kinds_cannot_be_asked_for():
    with pytest.raises(ValidationError, match="held out"):
        config(kinds=["uppercase", "heading"])


def test_unknown_and_repeated_kinds_are_named():
    with pytest.raises(ValidationError, match="no kind 'haiku'"):
        config(kinds=["haiku"])
    with pytest.raises(ValidationError, match="stands twice"):
        config(kinds=["uppercase", "uppercase"])


def test_the_counts_add_up(workspace):
    artifact = run(workspace, sometimes, config())
    tried = sum(kind["asked"] for kind in artifact.meta["kinds"].values())
    assert tried == len(records(artifact)) + len(rejected(artifact))
    assert tried == sum(rung["asked"] for rung in artifact.meta["rungs"].values())
    said = workspace.ledger.entries()
    counts = [entry.predicate["counts"] for entry in said if entry.predicate.get("event") == "done"][-1]
    assert counts["asked"] == tried
    assert counts["accepted"] == 12
    assert sum(n for name, n in counts.items() if name.startswith("rejected:")) == len(rejected(artifact))


def test_a_ladder_that_cannot_be_climbed_is_refused():
    with pytest.raises(ValidationError, match="cannot begin with 'repair'"):
        config(rungs=["repair"])
    with pytest.raises(ValidationError, match="stands twice"):
        config(rungs=["plain", "plain"])


def test_few_prompts_are_asked_again_rather_than_forever_drawn(workspace):
    with workspace.step("one", brings={OWN: Relation.OUTPUT}) as step:
        prompts = Imported((Prompt("p", "What do you cook?"),)).write(step)
    chosen = config(accept=300, kinds=["uppercase"], max_tokens=40)
    with workspace.step("generate", inputs=[prompts], ask={SMOL: Use.TRAIN}) as step:
        artifact = verifiable.generate(chosen, prompts, Teacher(ScriptedTeacher(SMOL, good), step), step)
    assert len({record.answer for record in records(artifact)}) == 300


def test_a_share_of_the_records_is_ordinary_talk(workspace):
    free = verifiable.Free(share=0.25, sampling=verifiable.Sampling(temperature=1.0, top_p=1.0, max_tokens=99))
    teacher = ScriptedTeacher(SMOL, good)
    prompts = import_prompts(workspace)
    with workspace.step("generate", inputs=[prompts], ask={SMOL: Use.TRAIN}) as step:
        chosen = config(accept=24, free=free)
        artifact = verifiable.generate(chosen, prompts, Teacher(teacher, step), step)
    found = [record for record in records(artifact) if not record.task["constraints"]]
    assert len(found) == 6
    assert all(record.messages[0].content == record.task["prompt"] for record in found)
    assert {request.temperature for request in teacher.requests if request.max_tokens == 99} == {1.0}
    assert sum(request.max_tokens == 99 for request in teacher.requests) == 6


def test_a_question_that_the_teacher_will_not_answer_is_left_out_with_its_reason_and_not_pressed(workspace):
    def declining(request: Request) -> str | Answer:
        words = request.messages[-1].content
        if "day 3?" in words:
            why = "the provider's content filter declined the prompt"
            return Answer(text="", finish="skipped", prompt_tokens=0, completion_tokens=0, because=why)
        return good(request)

    made = run(workspace, declining, config(rungs=["plain", "spelt", "repair"], accept=20))
    left_out = [record for record in rejected(made) if record.task["reason"] == "skipped"]
    assert left_out
    assert all("content filter" in record.task["faults"]["skipped"] for record in left_out)
    assert {record.task["rung"] for record in left_out} == {"plain"}
