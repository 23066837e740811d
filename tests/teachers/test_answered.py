"""Answers looked up by their request, read from the journal's file."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from trueseed.core.canonical import sha256
from trueseed.core.chat import Answer, TokenLogprob
from trueseed.core.journal import Journal
from trueseed.errors import Broken
from trueseed.teachers.answered import FIRST_SLOTS, Answered

AT = "2026-11-21T09:30:00Z"


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], Journal]]:
    """Opens the journal, again and again if need be."""
    journals: list[Journal] = []

    def open_it() -> Journal:
        journals.append(Journal(tmp_path / "j.jsonl"))
        return journals[-1]

    yield open_it
    for journal in journals:
        journal.close()


def said(text: str) -> Answer:
    return Answer(text=text, finish="stop", prompt_tokens=1, completion_tokens=2)


def request(number: int) -> str:
    return sha256(str(number).encode())


def test_what_was_kept_is_found_and_nothing_else(opened):
    answered = Answered(opened())
    many = range(2 * FIRST_SLOTS)  # the table has to grow twice
    for number in many:
        answered.keep(request(number), AT, said(f"answer {number}"))
    assert [answered.get(request(number)) for number in many] == [said(f"answer {number}") for number in many]
    assert (answered.get(request(-1)), answered.asked_at(request(-1))) == (None, "")
    assert answered.asked_at(request(7)) == AT


def test_another_process_finds_it_again(opened):
    whole = Answer(
        text="a\u2028b", finish="length", prompt_tokens=3, completion_tokens=4, because="x",
        logprobs=(TokenLogprob("a", -0.5),), tool_calls=({"id": "1"},),
    )  # fmt: skip
    journal = opened()
    Answered(journal).keep(request(1), AT, whole)
    journal.close()
    again = Answered(opened())
    assert (again.earlier, list(again), again.get(request(1))) == (1, [whole], whole)


def test_requests_that_share_their_first_64_bits_are_kept_apart(opened):
    answered = Answered(opened())
    first, second, third = ("ab" * 8 + end * 48 for end in "012")
    answered.keep(first, AT, said("one"))
    answered.keep(second, AT, said("two"))
    assert [answered.get(each) for each in (first, second, third)] == [said("one"), said("two"), None]


def test_a_question_that_was_answered_twice_has_its_newest_answer(opened):
    answered = Answered(opened())
    answered.keep(request(1), AT, said("one"))
    answered.keep(request(1), AT, said("two"))
    assert answered.get(request(1)) == said("two")


@settings(max_examples=40, deadline=None)
@given(lines=some.lists(some.text(max_size=40), max_size=8), torn=some.binary(max_size=30))
def test_a_torn_line_is_cut_and_the_whole_ones_stay_where_they_are(tmp_path_factory, lines, torn):
    path: Path = tmp_path_factory.mktemp("j") / "j.jsonl"
    journal = Journal(path)
    places = []
    for line in lines:
        places.append(journal.size)
        journal.append({"line": line})
    journal.close()
    path.write_bytes(path.read_bytes() + torn.replace(b"\n", b""))
    with closing(Journal(path)) as again:
        assert list(again.lines()) == [(place, {"line": line}) for place, line in zip(places, lines, strict=True)]
        places.append(again.size)
        again.append({"line": "more"})
        assert [again.read(place)["line"] for place in places] == [*lines, "more"]


def test_a_line_that_was_damaged_is_named(opened, tmp_path):
    (tmp_path / "j.jsonl").write_bytes(b'{"a": 1}\n{"b": \n')
    with pytest.raises(Broken, match="line 2"):
        list(opened())
