import pytest

from trueseed.core.chat import Answer, Request, user
from trueseed.errors import TeacherError
from trueseed.teachers.scripted import ScriptedTeacher


def ask(words: str, **changes: object) -> Request:
    return Request(messages=user(words), **changes)  # type: ignore[arg-type]


def test_it_says_what_a_function_says():
    teacher = ScriptedTeacher("own/script", lambda request: request.messages[-1].content.upper())
    assert [answer.text for _, answer in teacher.answers([ask("a"), ask("b")])] == ["A", "B"]


def test_it_says_what_a_list_says_in_the_order_of_asking():
    teacher = ScriptedTeacher("own/script", ["one", "two"], slots=2)
    assert dict(teacher.answers([ask("a"), ask("b")]))[0].text == "one"


def test_a_list_that_ends_is_told_of():
    teacher = ScriptedTeacher("own/script", ["one"])
    with pytest.raises(TeacherError, match="1 answers"):
        list(teacher.answers([ask("a"), ask("b")]))


def test_a_long_answer_is_cut_and_says_so():
    teacher = ScriptedTeacher("own/script", ["one two three four"] * 2)
    answers = [answer for _, answer in teacher.answers([ask("a", max_tokens=3), ask("a", max_tokens=4)])]
    assert [(answer.text, answer.finish) for answer in answers] == [
        ("one two three", "length"),
        ("one two three four", "stop"),
    ]


def test_an_answer_ends_before_a_stop_string():
    teacher = ScriptedTeacher("own/script", ["soup. END bread"])
    assert next(teacher.answers([ask("a", stop=("END",))]))[1].text == "soup. "


def test_answers_come_in_another_order_than_asked():
    teacher = ScriptedTeacher("own/script", lambda request: request.messages[-1].content, slots=3)
    assert [position for position, _ in teacher.answers([ask("a"), ask("b"), ask("c"), ask("d")])] != [0, 1, 2, 3]


def test_a_pause_in_the_requests_takes_no_position():
    teacher = ScriptedTeacher("own/script", lambda request: request.messages[-1].content, slots=2)
    got = dict(teacher.answers([ask("a"), None, ask("b"), None, ask("c")]))
    assert {position: answer.text for position, answer in got.items()} == {0: "a", 1: "b", 2: "c"}


def test_waiting_for_nothing_is_an_error_rather_than_forever():
    def requests():
        while True:
            yield None

    with pytest.raises(TeacherError, match="nothing was asked"):
        list(ScriptedTeacher("own/script", []).answers(requests()))


def test_a_stream_ends_with_the_whole_answer():
    *pieces, last = ScriptedTeacher("own/script", ["good warm soup"]).stream(ask("a"))
    assert "".join(map(str, pieces)) == "good warm soup"
    assert isinstance(last, Answer)
    assert last.text == "good warm soup"
