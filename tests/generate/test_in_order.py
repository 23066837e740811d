import pytest

from trueseed.core.chat import Answer, Request, user
from trueseed.errors import TeacherError
from trueseed.generate.in_order import ask_in_order
from trueseed.teachers.scripted import ScriptedTeacher


def ask(n: int) -> Request:
    return Request(messages=user(str(n)))


def echo(request: Request) -> str:
    return request.messages[-1].content


def test_answers_are_taken_in_the_order_of_asking():
    wanted, taken = [ask(n) for n in range(20)], []
    teacher = ScriptedTeacher("own/echo", echo, slots=7)
    ask_in_order(teacher, lambda: wanted.pop(0) if wanted else None, lambda a: taken.append(a.text), ahead=10)
    assert taken == [str(n) for n in range(20)]


@pytest.mark.parametrize("slots", [1, 2, 5, 50])
def test_what_is_asked_next_does_not_depend_on_timing(slots):
    """Each question depends on the answers taken so far, and on nothing else."""
    asked: list[int] = []
    taken: list[int] = []

    def want() -> Request | None:
        if len(asked) == 30:
            return None
        asked.append(sum(taken) % 1000 + len(asked))
        return ask(asked[-1])

    ask_in_order(ScriptedTeacher("own/echo", echo, slots=slots), want, lambda a: taken.append(int(a.text)), ahead=4)
    assert len(taken) == 30
    assert asked == EXPECTED


def _expected() -> list[int]:
    asked: list[int] = []
    for n in range(30):
        asked.append(sum(asked[: max(0, n - 3)]) % 1000 + n)
    return asked


EXPECTED = _expected()


def test_no_more_than_so_many_are_outstanding():
    outstanding, most = 0, 0
    left = iter(range(30))

    def want() -> Request | None:
        nonlocal outstanding, most
        n = next(left, None)
        if n is None:
            return None
        outstanding += 1
        most = max(most, outstanding)
        return ask(n)

    def take(answer: Answer) -> None:
        nonlocal outstanding
        outstanding -= 1

    ask_in_order(ScriptedTeacher("own/echo", echo, slots=100), want, take, ahead=6)
    assert most == 6


def test_a_teacher_that_stops_early_is_told_of():
    class Silent(ScriptedTeacher):
        def answers(self, requests):
            yield from list(super().answers(r for r, _ in zip(requests, range(3), strict=False)))[:2]

    wanted = [ask(n) for n in range(5)]
    with pytest.raises(TeacherError, match="stopped after"):
        ask_in_order(Silent("own/echo", echo), lambda: wanted.pop(0) if wanted else None, lambda a: None, ahead=9)
