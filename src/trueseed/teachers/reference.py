"""A judge that knows a right answer: it finds better what makes that answer more expected.

    judge = Reference(engine, rubric)
    judge.compare([Pair(question="…", first="…", second="…", row={"reference": "180"})])

Each answer is read alone, in plain text, and the reference after it. How likely the model finds that, per token, is how
good the answer is; of two, the chance that the first is better is as Bradley and Terry have it, σ(log p₁ − log p₂). No
two answers are shown together, so there is no order to be swayed by. A small model that can grade nothing can copy, and
that is all it takes; an answer that says the right thing in other words may lose to one that repeats the words of the
reference. Of questions without a reference it says nothing. Only weights that are here can judge so.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from trueseed.teachers.judge import TOO_LONG, Heard, Pair, Ruling, Side
from trueseed.teachers.likelihood import AT_ONCE, Found, chosen
from trueseed.teachers.rubric import Rubric

if TYPE_CHECKING:
    from trueseed.lm.engine import Engine

SCOPE = "questions with a `reference`, an answer that is right"
WEAK = (
    "It goes by what makes that text likelier, and understands nothing: a right answer in other words may lose, and a "
    "wrong one that names the reference to deny it may win"
)
_READ = "p(reference) after each answer, per token"
_Asked = tuple[str, str, str]  # question, answer, reference


class Reference:
    """See the module. heard: as of `Judge`."""

    def __init__(self, engine: "Engine", rubric: Rubric | None = None, *, heard: Heard | None = None) -> None:
        self.source = engine.source
        self.rubric = rubric or Rubric()
        self._engine, self._heard = engine, heard

    def compare(self, pairs: Iterable[Pair]) -> Iterator[tuple[int, Ruling[Side]]]:
        """See `Compares`."""
        asked = list(pairs)
        wanted = [(place, str(wish)) for place, pair in enumerate(asked) if (wish := pair.row.get("reference"))]
        for place in sorted(set(range(len(asked))) - {place for place, _ in wanted}):
            yield place, Ruling(fault="out_of_scope", told="this question has no `reference`")
        found: dict[_Asked, _Read | None] = {}
        for start in range(0, len(wanted), AT_ONCE):
            some = {place: _both(asked[place], wish) for place, wish in wanted[start : start + AT_ONCE]}
            found |= self._found([one for both in some.values() for one in both if one not in found])
            for heard, (place, (first, second)) in enumerate(some.items(), start=start + 1):
                if self._heard:
                    self._heard(heard, len(wanted))
                yield place, self._ruling(found[first], found[second])

    def _ruling(self, first: "_Read | None", second: "_Read | None") -> Ruling[Side]:
        if first is None or second is None:
            return Ruling(fault="too_long", told=TOO_LONG)
        further = first[0] - second[0]  # how much less likely the reference is after the first, in nats a token
        if not math.isfinite(further):
            return Ruling(fault="malformed", told="its likelihood of the reference is no number", calls=1)
        chance = 1 / (1 + math.exp(min(further, 700.0)))
        return chosen(chance, self.rubric, _READ, Found(prompt_tokens=first[1] + second[1]))

    def _found(self, asked: Sequence[_Asked]) -> "dict[_Asked, _Read | None]":
        """−log p of the reference per token, in nats, and how many tokens were read; None of what is too long."""
        texts = {(q, answer, wanted): (before(q, answer), f" {wanted}") for q, answer, wanted in asked}
        lengths = {each: len(self._engine.format.plain(*text)[0]) for each, text in texts.items()}
        fits = [each for each in texts if lengths[each] <= self._engine.context]
        found: dict[_Asked, _Read | None] = dict.fromkeys(asked)
        for each, score in zip(fits, self._engine.follow([texts[each] for each in fits]), strict=True):
            found[each] = score.nll / score.tokens, lengths[each]
        return found


_Read = tuple[float, int]


def _both(pair: Pair, reference: str) -> tuple[_Asked, _Asked]:
    return (pair.question, pair.first, reference), (pair.question, pair.second, reference)


def before(question: str, answer: str) -> str:
    """The text that the reference follows."""
    return f"Question: {question}\nAnswer: {answer}\nReference answer:"
