"""A few answers of a server that will distil are looked at before more is asked."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from trueseed.core.chat import Answer, Message, Request, TokenLogprob, user
from trueseed.errors import ConfigError
from trueseed.generate.in_order import ask_in_order
from trueseed.lm.format import Format
from trueseed.lm.vocabulary import spellings
from trueseed.teachers.scripted import ScriptedTeacher
from trueseed.train.first_told import FIRST, FirstTold

SAID = "The sea is deep."
Spoken = Callable[[int], Answer]


@pytest.fixture(scope="module")
def form(tiny_llama: Path) -> Format:
    return Format(tiny_llama)


@pytest.fixture(scope="module")
def comparable(form: Format) -> Answer:
    """An answer as a server of the student's tokens tells it, with one more probable token at each place."""
    tokens, mask = form.training((*user("Say it."), Message("assistant", SAID)))
    written = spellings(form)
    own = [token for token, counts in zip(tokens, mask, strict=True) if counts]
    steps = tuple(
        TokenLogprob(token, -0.5, written[token], (TokenLogprob(token, -0.5, written[token]),)) for token in own
    )
    return Answer(text=SAID, finish="stop", prompt_tokens=1, completion_tokens=len(own), logprobs=steps)


def asked_of(spoken: Spoken, form: Format, incomparable: str, wanted: int = 40) -> tuple[list[Request], list[str]]:
    """What a teacher of many slots was asked before the run ended, or in all, and what people were told."""
    teacher = ScriptedTeacher("own/served", lambda request: spoken(request.seed), slots=16)
    told: list[str] = []
    heard = FirstTold(teacher, form, k=1, incomparable=incomparable, tell=told.append)  # type: ignore[arg-type]
    requests = iter([Request(messages=user("Say it."), seed=at) for at in range(wanted)])
    taken: list[Answer] = []
    try:
        ask_in_order(heard, lambda: next(requests, None), taken.append, ahead=32)
        assert len(taken) == wanted
    except ConfigError as err:
        told.append(f"refused: {err}")
    return teacher.requests, told


@pytest.mark.parametrize("incomparable", ["refuse", "drop"])
def test_where_all_can_be_compared_that_is_told_once_and_all_are_asked(
    form: Format, comparable: Answer, incomparable: str
) -> None:
    asked, told = asked_of(lambda _: comparable, form, incomparable)
    assert len(asked) == 40
    assert told == [f"the first {FIRST} whole answers of own/served are in the student's tokens"]


def test_one_of_the_first_that_cannot_be_ends_the_run_after_a_handful(form: Format, comparable: Answer) -> None:
    asked, [told] = asked_of(lambda at: _unlike(comparable) if at == 3 else comparable, form, "refuse")
    assert len(asked) == FIRST
    assert told.startswith(f"refused: 1 of the first {FIRST} whole answers of own/served cannot be compared")
    assert "how probable the end" in told and "`incomparable: drop`" in told and "`method: sft`" in told


def test_where_such_are_left_out_people_are_told_how_many_and_the_rest_is_asked(
    form: Format, comparable: Answer
) -> None:
    asked, [told] = asked_of(lambda at: replace(comparable, logprobs=()) if at < 3 else comparable, form, "drop")
    assert len(asked) == 40
    assert told.startswith(
        f"3 of the first {FIRST} whole answers of own/served cannot be compared and will be left out"
    )


def test_a_server_of_which_nothing_can_be_compared_is_refused_also_where_such_are_left_out(
    form: Format, comparable: Answer
) -> None:
    asked, [told] = asked_of(lambda _: replace(comparable, logprobs=()), form, "drop")
    assert len(asked) == FIRST
    assert "so nothing would be left to learn from: its answer is not kept" in told


def test_answers_that_were_cut_say_nothing_so_some_more_are_asked_first(form: Format, comparable: Answer) -> None:
    cut = replace(comparable, finish="length", logprobs=comparable.logprobs[:2])
    asked, [told] = asked_of(lambda at: cut if at < FIRST else _unlike(comparable), form, "refuse")
    assert len(asked) == 2 * FIRST
    assert f"{FIRST} of the first {FIRST} whole answers" in told


def test_a_run_of_fewer_records_is_compared_at_its_end(form: Format, comparable: Answer) -> None:
    assert asked_of(lambda _: comparable, form, "refuse", wanted=3)[1] == [
        "the first 3 whole answers of own/served are in the student's tokens"
    ]


def _unlike(answer: Answer) -> Answer:
    return replace(answer, logprobs=answer.logprobs[1:])
