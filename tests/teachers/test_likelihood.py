"""Verdicts that are read from likelihoods: by weights that are here, by what a server tells, and by a reference."""

import json
import math
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueseed.core.chat import Answer, Message, Request, TokenLogprob, user
from trueseed.errors import ConfigError, TeacherError
from trueseed.lm.engine import Engine
from trueseed.teachers.api.actions import TOO_LONG
from trueseed.teachers.judge import Judge, Pair, Single, compared
from trueseed.teachers.likelihood import TOLD, Found, Likelihood, chosen, server_finds, weights_find
from trueseed.teachers.reference import Reference, before
from trueseed.teachers.rubric import Rubric
from trueseed.teachers.scripted import ScriptedTeacher

PAIR = Pair(question="2 + 2?", first="4", second="five")
SWAPPED = Pair(question="2 + 2?", first="five", second="4")


@pytest.fixture(scope="module")
def engine(tiny_llama: Path, tmp_path_factory) -> Engine:
    """The tiny model with room for a rubric and two answers."""
    folder = tmp_path_factory.mktemp("wide") / "llama"
    shutil.copytree(tiny_llama, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 2048}))
    return Engine(folder, "own/tiny", slots=4, dtype="float32")


def by_weights(engine: Engine, **rubric) -> Likelihood:
    return Likelihood(weights_find(engine), "own/tiny", Rubric(**rubric))


def test_the_chance_is_what_the_whole_reply_with_its_end_is_likely(engine):
    """Against the vocabulary's softmax at every place of the reply."""
    (_, ruling), *_ = by_weights(engine).compare([PAIR])
    asked = user(compared(PAIR, Rubric(), 'Reply with one letter and nothing else: "A" or "B".'))
    found = []
    for reply in "AB":
        ids, mask = engine.format.training((*asked, Message("assistant", reply)))
        [told] = engine.told([(ids, mask)], 1)
        assert ids[-1] in engine.format.end_ids and sum(mask) >= 2
        found.append(math.exp(sum(told.logprobs)))
    assert ruling.chance == pytest.approx(found[0] / sum(found), rel=1e-4)
    assert (ruling.reason, ruling.fault, ruling.calls) == (None, "", 1)
    assert ruling.to_json()["read"] == "p(A) / (p(A) + p(B))"
    assert ruling.prompt_tokens == len(engine.format.prompt(asked))


def test_a_pair_that_is_too_long_is_told_and_the_others_are_judged(engine):
    long = Pair(question="?", first="word " * 3000, second="word")
    rulings = dict(by_weights(engine).compare([PAIR, long, SWAPPED]))
    assert (rulings[1].value, rulings[1].fault) == (None, "too_long")
    assert {rulings[0].fault, rulings[2].fault} == {""}


def test_marks_are_the_mean_of_the_scale_by_the_probabilities_of_its_numbers(engine):
    judge = by_weights(engine, criteria={"right": "true", "brief": "short"}, scale=[8, 11])
    (_, ruling), *_ = judge.mark([Single(question="2 + 2?", answer="4")])
    assert ruling.value.keys() == {"right", "brief"}
    assert all(8 <= mark <= 11 for mark in ruling.value.values())
    assert ruling.calls == 2

    def find(chats, replies):
        assert replies == ["1", "2", "3"]
        yield from ((place, Found(chances=(0.1, 0.2, 0.1))) for place in range(len(chats)))

    ((_, even),) = Likelihood(find, "own/j", Rubric(scale=[1, 3])).mark([Single(question="?", answer="!")])
    assert even.value == {"overall": pytest.approx(2.0)}


@given(st.floats(0, 1), st.floats(0, 0.49))
def test_swapping_the_answers_swaps_the_verdict(chance, margin):
    rubric = Rubric(margin=margin)
    one, other = (chosen(each, rubric, "p", Found()).value for each in (chance, 1 - chance))
    assert other == {"first": "second", "second": "first", "tie": "tie"}[one]
    assert (one == "tie") == (abs(chance - 0.5) <= margin)


# ------------------------------------------------------------------------------------------------- what a server tells


def told(*top: tuple[str, float]) -> Answer:
    tokens = tuple(TokenLogprob(text, math.log(p), text.encode()) for text, p in top)
    said = TokenLogprob(top[0][0], math.log(top[0][1]), b"", tokens)
    return Answer(text=top[0][0], finish="length", prompt_tokens=90, completion_tokens=1, logprobs=(said,))


def by_server(*answers: Answer, **rubric) -> tuple[Likelihood, ScriptedTeacher]:
    teacher = ScriptedTeacher("own/judge", list(answers))
    return Likelihood(server_finds(teacher, Rubric(**rubric)), "own/judge", Rubric(**rubric)), teacher


def test_a_server_is_asked_for_its_first_token_and_the_letters_among_those_it_tells_count():
    judge, teacher = by_server(told(("A", 0.3), (" A", 0.2), ("b", 0.25), ("The", 0.1)))
    ((_, ruling),) = judge.compare([PAIR])
    assert ruling.chance == pytest.approx(0.5 / 0.75)
    assert (ruling.value, ruling.prompt_tokens) == ("first", 90)
    (request,) = teacher.requests
    assert (request.max_tokens, request.temperature, request.top_logprobs) == (1, 0.0, TOLD)


def test_a_letter_that_is_not_told_of_is_impossible_and_none_is_no_verdict():
    judge, _ = by_server(told(("B", 0.9), ("x", 0.1)), told(("The", 0.9), ("I", 0.1)))
    one, other = (ruling for _, ruling in judge.compare([PAIR, SWAPPED]))
    assert (one.value, one.chance) == ("second", 0.0)
    assert (other.value, other.fault) == (None, "prose")
    assert other.told == "none of A, B is among the 2 tokens that it finds most probable"


@pytest.mark.parametrize(("because", "fault"), [("it timed out", "skipped"), (f"{TOO_LONG} (status 400)", "too_long")])
def test_what_a_server_did_not_answer_is_no_verdict(because, fault):
    judge, _ = by_server(Answer(text="", finish="skipped", prompt_tokens=0, completion_tokens=0, because=because))
    ((_, ruling),) = judge.compare([PAIR])
    assert (ruling.value, ruling.fault) == (None, fault)


def test_numbers_that_may_be_two_tokens_are_not_asked_of_a_server():
    judge, teacher = by_server(told(("7", 1.0)))
    with pytest.raises(ConfigError, match=r"\[1, 9\]"):
        list(judge.mark([Single(question="?", answer="!")]))
    assert teacher.requests == []


def test_a_server_that_stops_early_is_an_error():
    class Stops(ScriptedTeacher):
        def answers(self, requests):
            yield next(super().answers(requests))

    answers = [told(("A", 0.9), ("B", 0.1))] * 2
    with pytest.raises(TeacherError, match="judged 1 of 2"):
        list(Likelihood(server_finds(Stops("own/j", answers), Rubric()), "own/j").compare([PAIR, SWAPPED]))


# ---------------------------------------------------------------------------------------------------- by a reference


def with_reference(pair: Pair, reference: str = "4") -> Pair:
    return Pair(question=pair.question, first=pair.first, second=pair.second, row={"reference": reference})


def test_a_reference_is_as_likely_after_either_place(engine):
    pairs = [with_reference(PAIR), with_reference(SWAPPED)]
    one, other = (ruling for _, ruling in Reference(engine).compare(pairs))
    assert one.chance + other.chance == pytest.approx(1)
    after = engine.follow([(before("2 + 2?", answer), " 4") for answer in ("4", "five")])
    odds = (after[1].nll - after[0].nll) / after[0].tokens
    assert math.log(one.chance / (1 - one.chance)) == pytest.approx(odds, abs=1e-3)
    assert one.reason is None


def test_a_reference_that_is_not_there_or_an_answer_that_is_too_long_gives_no_verdict(engine):
    long = Pair(question="?", first="word " * 3000, second="word")
    found = dict(Reference(engine).compare([PAIR, with_reference(long), with_reference(PAIR)]))
    assert [found[at].fault for at in range(3)] == ["out_of_scope", "too_long", ""]


def test_each_answer_is_read_once_whatever_order_it_is_shown_in(engine, monkeypatch):
    read = []
    follow = engine.follow
    monkeypatch.setattr(engine, "follow", lambda texts: read.append(len(texts)) or follow(texts))
    list(Reference(engine).compare([with_reference(PAIR), with_reference(SWAPPED)]))
    assert read == [2]


def test_a_judge_in_words_is_not_asked_what_it_has_no_room_for():
    teacher = ScriptedTeacher("own/judge", lambda _: "prose")
    asked: list[Request] = []

    def fits(request: Request) -> bool:
        asked.append(request)
        return "long" not in request.messages[0].content and len(request.messages) == 1

    long = Pair(question="?", first="a long one", second="b")
    rulings = dict(Judge(teacher, fits=fits).compare([PAIR, long]))
    assert (rulings[0].fault, rulings[0].calls) == ("prose", 1)  # to put it back would not fit
    assert (rulings[1].fault, rulings[1].calls) == ("too_long", 0)
    assert len(teacher.requests) == 1


@pytest.mark.parametrize("chances", [(math.nan, 1.0), (1.0, math.inf), (math.nan, math.nan)])
def test_a_likelihood_that_is_no_number_is_no_verdict(chances):
    def finds(chats, _replies):
        for place in range(len(chats)):
            yield place, Found(chances=chances)

    [(_, ruling)] = Likelihood(finds, "own/broken").compare([PAIR])
    assert (ruling.value, ruling.fault) == (None, "malformed")
