"""A round over a line that is no network: what it starts, and what it ends with."""

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

import pytest

from trueseed.core.chat import Answer, Request, user
from trueseed.errors import ConfigError, Paused, Refused, TrueSeedError
from trueseed.teachers.api.actions import Action, Kind
from trueseed.teachers.api.call import Ended
from trueseed.teachers.api.round import TRIES, Round
from trueseed.teachers.api.throttle import Throttle


class Line:
    """Ends each call at once as `script` says, given the words of the question and how often they were asked."""

    def __init__(self, script: Callable[[str, int], Ended]) -> None:
        self.counts: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.ended: list[Ended] = []
        self._script = script

    def body(self, request: Request) -> Mapping[str, Any]:
        if request.logprobs:
            raise ConfigError("this model gives none")
        return {}

    def start(self, request: Request, body: Mapping[str, Any], put: Callable[[Ended], None]) -> "Future[None]":
        words = request.messages[-1].content
        self.asked[words] += 1
        put(self._script(words, self.asked[words]))
        return Future()

    def ending(self, ended: Ended) -> TrueSeedError:
        self.ended.append(ended)
        return Paused(ended.action.because if ended.action else "")

    def count(self, what: str) -> None:
        self.counts[what] += 1


def answered(words: str) -> Ended:
    return Ended(answer=Answer(text=words.upper(), finish="stop", prompt_tokens=1, completion_tokens=1))


def ended(kind: Kind, after: float | None = None) -> Ended:
    return Ended(action=Action(kind=kind, after=after, because=f"because {kind}", next="nothing"))


def answers(line: Line, *words: str, pause_s: float = 0.0, patience_s: float = 60.0, **more: Any) -> dict[int, Answer]:
    requests = [Request(messages=user(each), **more) for each in words]
    return dict(Round(iter(requests), line, Throttle(4, pause_s), patience_s=patience_s).answers())


def test_what_fails_once_is_asked_again():
    line = Line(lambda words, time: ended("retry") if time == 1 else answered(words))
    assert {position: answer.text for position, answer in answers(line, "a", "b").items()} == {0: "A", 1: "B"}
    assert (line.asked, line.counts["retried"]) == (Counter(a=2, b=2), 2)


def test_a_question_that_fails_while_others_are_answered_is_skipped():
    line = Line(lambda words, _: ended("retry") if words == "bad" else answered(words))
    found = answers(line, "bad", *(f"good {i}" for i in range(200)))
    assert (found[0].finish, line.asked["bad"]) == ("skipped", TRIES)
    assert len(found) == 201


def test_a_wait_beyond_our_patience_ends_with_the_time_it_would_take():
    line = Line(lambda words, _: ended("wait", after=None))
    with pytest.raises(Paused, match="because wait"):
        answers(line, "a", pause_s=0.001, patience_s=0.0)
    assert line.ended[0].action
    assert line.ended[0].action.after == 0.001  # the throttle's own, as the provider named none


def test_what_ends_it_is_told_once_and_after_what_was_under_way():
    line = Line(lambda words, _: ended("pause") if words == "end" else answered(words))
    got = {}
    with pytest.raises(Paused):
        for position, answer in Round(
            iter([Request(messages=user(words)) for words in ("end", "a", "end", "b")]),
            line,
            Throttle(4),
            patience_s=1.0,
        ).answers():
            got[position] = answer.text
    assert (got, len(line.ended)) == ({1: "A", 3: "B"}, 1)


def test_a_suspension_is_written_down_although_a_call_met_its_hold_before():
    on_hold = Ended(error=Refused("on hold"))
    line = Line(lambda words, _: ended("hold") if words == "suspended" else on_hold)
    with pytest.raises(Paused, match="because hold"):
        answers(line, "met it", "suspended", "met it too")
    assert [each.action.kind for each in line.ended if each.action] == ["hold"]


def test_what_the_model_cannot_do_starts_nothing():
    line = Line(lambda words, _: answered(words))
    with pytest.raises(ConfigError):
        answers(line, "a", logprobs=True)
    assert not line.asked
