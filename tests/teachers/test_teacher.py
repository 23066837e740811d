"""A teacher bound to a step: admitted, journaled, counted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from trueseed.core.canonical import digest
from trueseed.core.chat import Request, user
from trueseed.errors import Refused
from trueseed.teachers.scripted import ScriptedTeacher
from trueseed.teachers.teacher import Teacher
from trueseed.terms.model import Use
from trueseed.workspace import Workspace

SMOL = "huggingfacetb/smollm2-135m-instruct@weights"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "work", create=True)


def echo(request: Request) -> str:
    return f"you said {request.messages[-1].content}"


def ask(words: str) -> Request:
    return Request(messages=user(words))


def test_a_teacher_that_the_step_did_not_name_may_not_speak(workspace):
    with pytest.raises(Refused, match="did not name"), workspace.step("generate", ask={SMOL: Use.TRAIN}) as step:
        Teacher(ScriptedTeacher("own/someone-else", echo), step)


def test_answers_come_with_the_position_of_their_question(workspace):
    with workspace.step("generate", ask={SMOL: Use.TRAIN}) as step:
        teacher = Teacher(ScriptedTeacher(SMOL, echo), step)
        got = dict(teacher.answers([ask("a"), None, ask("b")]))
    assert {position: answer.text for position, answer in got.items()} == {0: "you said a", 1: "you said b"}


def test_what_was_answered_before_a_kill_is_not_asked_again(workspace):
    asked: list[str] = []

    def remembering(request: Request) -> str:
        asked.append(request.messages[-1].content)
        return echo(request)

    with pytest.raises(KeyboardInterrupt), workspace.step("generate", ask={SMOL: Use.TRAIN}) as step:
        for _ in Teacher(ScriptedTeacher(SMOL, remembering), step).answers([ask("a"), ask("b")]):
            pass
        raise KeyboardInterrupt
    with workspace.step("generate", ask={SMOL: Use.TRAIN}) as step:
        teacher = Teacher(ScriptedTeacher(SMOL, remembering), step)
        got = dict(teacher.answers([ask("a"), ask("c"), ask("b")]))
    assert asked == ["a", "b", "c"]
    assert {position: answer.text for position, answer in got.items()} == {
        0: "you said a",
        1: "you said c",
        2: "you said b",
    }


def test_questions_may_depend_on_replayed_answers(workspace):
    def chain(teacher: Teacher) -> list[str]:
        seen: list[str] = []

        def questions() -> Iterator[Request | None]:
            yield ask("start")
            while len(seen) < 5:
                if len(seen) > asked[0]:
                    asked[0] += 1
                    yield ask(seen[-1])
                else:
                    yield None

        asked = [0]
        for _, answer in teacher.answers(questions()):
            seen.append(answer.text)
        return seen

    with pytest.raises(KeyboardInterrupt), workspace.step("generate", ask={SMOL: Use.TRAIN}) as step:
        first = chain(Teacher(ScriptedTeacher(SMOL, echo), step))
        raise KeyboardInterrupt
    with workspace.step("generate", ask={SMOL: Use.TRAIN}) as step:
        assert chain(Teacher(ScriptedTeacher(SMOL, echo), step)) == first


def test_an_origin_tells_when_the_question_was_first_asked(workspace):
    request = ask("a")
    with workspace.step("generate", ask={SMOL: Use.TRAIN}) as step:
        list(Teacher(ScriptedTeacher(SMOL, echo), step).answers([request]))
        origin = step.origin(source=SMOL, request=digest(request.to_json()))
    assert (origin.kind, origin.source, origin.use) == ("teacher", SMOL, "train")
    assert origin.asked_at.endswith("Z")


def test_tokens_are_counted_in_the_ledger(workspace):
    with workspace.step("generate", ask={SMOL: Use.TRAIN}) as step:
        list(Teacher(ScriptedTeacher(SMOL, echo), step).answers([ask("a"), ask("b")]))
    said = list(workspace.ledger.entries())[-1].predicate["counts"]
    assert said["asked"] == 2
    assert said["completion_tokens"] > 0
