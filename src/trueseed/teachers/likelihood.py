"""A judge whose verdict is read from how probable it finds each reply that it may give, and not from what it says.

    judge = Likelihood(weights_find(engine), engine.source, rubric)
    for position, ruling in judge.compare([Pair(question="…", first="…", second="…")]): ...

It is put the same question as a judge in words, but is to reply with one letter, or one number. What p(A) is of p(A) +
p(B) is the chance that the answer shown first is better: AlpacaEval's preference, whose mean is its weighted win rate
(Dubois et al. 2024, arXiv:2404.04475). A chance nearer to one half than the rubric's margin is a tie. A mark is the
mean of the scale, weighed by the probabilities of its numbers (G-Eval: Liu et al. 2023, arXiv:2303.16634). So no
verdict is malformed, and none has a reason.

Weights that are here are asked for the whole reply and the token that ends it. A server tells at most 20 tokens that
might come first; what is not among them counts as impossible.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trueseed.core.chat import Answer, ChatModel, Message, Request, TokenLogprob, user
from trueseed.errors import ConfigError, TeacherError
from trueseed.teachers.judge import TOO_LONG, Heard, Pair, Ruling, Side, Single, compared, marked, no_reply
from trueseed.teachers.rubric import Rubric

if TYPE_CHECKING:
    from trueseed.lm.engine import Engine

LETTERS = ("A", "B")
TOLD = 20  # the most probable tokens that a server tells (OpenAI's API reference, `top_logprobs`)
AT_ONCE = 64  # questions that weights read between two signs of life
Chat = tuple[Message, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How probable each reply is, in the order in which they were named; none where there is none, and then ruling:
    why.
    """

    chances: tuple[float, ...] = ()
    ruling: Ruling[Any] | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


Finds = Callable[[Sequence[Chat], Sequence[str]], Iterator[tuple[int, Found]]]
"""How probable a model finds each of some replies to each of some chats; with the chat's place."""


class Likelihood:
    """See the module. finds: by whom the replies are weighed. heard: as of `Judge`."""

    def __init__(self, finds: Finds, source: str, rubric: Rubric | None = None, *, heard: Heard | None = None) -> None:
        self.source = source
        self.rubric = rubric or Rubric()
        self._finds, self._heard = finds, heard

    def compare(self, pairs: Iterable[Pair]) -> Iterator[tuple[int, Ruling[Side]]]:
        """See `Compares`. Raises what the model raises."""
        chats = [user(compared(pair, self.rubric, _LETTER)) for pair in pairs]
        for place, found in self._found(chats, LETTERS):
            yield place, found.ruling or chosen(found.chances[0] / sum(found.chances), self.rubric, _READ, found)

    def mark(self, singles: Iterable[Single]) -> Iterator[tuple[int, Ruling[Mapping[str, float]]]]:
        """See `Marks`: each criterion is asked about by itself. Raises what the model raises."""
        low, high = self.rubric.scale
        asked = list(singles)
        chats = [user(_number(single, name, said, low, high)) for single in asked for name, said in self._criteria]
        replies = [str(number) for number in range(low, high + 1)]
        found = dict(self._found(chats, replies))
        for place in range(len(asked)):
            of_each = [found[place * len(self._criteria) + at] for at in range(len(self._criteria))]
            yield place, _marked([name for name, _ in self._criteria], of_each, low)

    @property
    def _criteria(self) -> list[tuple[str, str]]:
        return list(self.rubric.criteria.items())

    def _found(self, chats: Sequence[Chat], replies: Sequence[str]) -> Iterator[tuple[int, Found]]:
        for heard, (place, found) in enumerate(self._finds(chats, replies), start=1):
            if self._heard:
                self._heard(heard, len(chats))
            if found.chances and not math.isfinite(sum(found.chances)):
                found = Found(ruling=Ruling(fault="malformed", told="its likelihood of a reply is no number", calls=1))
            yield place, found


def chosen(chance: float, rubric: Rubric, read: str, found: Found) -> Ruling[Side]:
    """The verdict that a chance comes to."""
    side: Side = "tie" if abs(chance - 0.5) <= rubric.margin else "first" if chance > 0.5 else "second"
    return Ruling(
        value=side,
        reason=None,
        read=read,
        chance=chance,
        margin=rubric.margin,
        calls=1,
        prompt_tokens=found.prompt_tokens,
        completion_tokens=found.completion_tokens,
    )


# --------------------------------------------------------------------------------------------------- what is asked

_LETTER = 'Reply with one letter and nothing else: "A" or "B".'
_READ = "p(A) / (p(A) + p(B))"


def _number(single: Single, name: str, said: str, low: int, high: int) -> str:
    wanted = f"Give a whole number from {low} (worst) to {high} (best) for this:\n- {name}: {said}"
    return marked(single, wanted, "Reply with the number and nothing else.")


def _marked(names: Sequence[str], of_each: Sequence[Found], low: int) -> Ruling[Mapping[str, float]]:
    """The mean of the scale for each criterion, by the probabilities of its numbers; none where one has none."""
    spent: dict[str, Any] = {
        "calls": len(of_each),
        "prompt_tokens": sum(each.prompt_tokens for each in of_each),
        "completion_tokens": sum(each.completion_tokens for each in of_each),
    }
    for each in of_each:
        if each.ruling:
            return Ruling(fault=each.ruling.fault, told=each.ruling.told, **spent)
    means = [
        sum(number * p for number, p in enumerate(each.chances, start=low)) / sum(each.chances) for each in of_each
    ]
    return Ruling(value=dict(zip(names, means, strict=True)), reason=None, read="mean of the scale by p", **spent)


# ------------------------------------------------------------------------------------------- who finds how probable


def weights_find(engine: "Engine") -> Finds:
    """By weights that are here: the whole reply and its end, after the chat (teacher-forced)."""

    def find(chats: Sequence[Chat], replies: Sequence[str]) -> Iterator[tuple[int, Found]]:
        lengths = [len(engine.format.prompt(chat)) for chat in chats]
        ends = max(len(engine.format.training((*user("?"), Message("assistant", reply)))[0]) for reply in replies)
        fits = [place for place, length in enumerate(lengths) if length + ends <= engine.context]
        for place in sorted(set(range(len(chats))) - set(fits)):
            yield place, Found(ruling=Ruling(fault="too_long", told=TOO_LONG))
        for start in range(0, len(fits), AT_ONCE):
            some = fits[start : start + AT_ONCE]
            scored = engine.score([(*chats[at], Message("assistant", each)) for at in some for each in replies])
            for n, place in enumerate(some):
                nlls = [each.nll for each in scored[n * len(replies) : (n + 1) * len(replies)]]
                yield place, Found(chances=relative(nlls), prompt_tokens=lengths[place])

    return find


def relative(nlls: Sequence[float]) -> tuple[float, ...]:
    """Probabilities as multiples of the largest, which may all be too small to be told from none."""
    return tuple(math.exp(min(nlls) - nll) for nll in nlls)


def server_finds(model: ChatModel, rubric: Rubric) -> Finds:
    """By a server that tells the most probable tokens: of its first one, those that spell a reply.

    Raises `ConfigError` for replies of several characters, which may be several tokens; `TeacherError` when it stops
    early. A server that tells no log-probabilities is refused where it is asked.
    """

    def find(chats: Sequence[Chat], replies: Sequence[str]) -> Iterator[tuple[int, Found]]:
        if long := next((reply for reply in replies if len(reply) > 1), None):
            raise ConfigError(
                f"a server tells its first token only, and {long!r} may take two: choose a `scale` of single digits, "
                f"such as [1, 9] (--scale 1 9), or let the judge say its marks (`method: words`)"
            )
        requests = [
            Request(messages=chat, max_tokens=1, temperature=0.0, seed=rubric.seed, top_logprobs=TOLD) for chat in chats
        ]
        heard = 0
        for place, answer in model.answers(requests):
            heard += 1
            yield place, _of_first_token(answer, replies)
        if heard < len(requests):
            raise TeacherError(f"{model.source} judged {heard} of {len(requests)}; the same command resumes")

    return find


def _of_first_token(answer: Answer, replies: Sequence[str]) -> Found:
    if answer.finish == "skipped":
        return Found(ruling=no_reply(answer))
    told = answer.logprobs[0].top if answer.logprobs else ()
    found = dict.fromkeys(replies, 0.0)
    for each in told:
        if (text := _text(each)) in found:
            found[text] += math.exp(each.logprob)
    spent: dict[str, Any] = {"prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.completion_tokens}
    if not any(found.values()):
        why = f"none of {', '.join(replies)} is among the {len(told)} tokens that it finds most probable"
        return Found(ruling=Ruling(fault="prose", told=why, replies=(answer.text,), calls=1, **spent), **spent)
    return Found(chances=tuple(found.values()), **spent)


def _text(told: TokenLogprob) -> str:
    """What a token spells, blanks and the case of a letter aside."""
    spelt = told.spelt.decode("utf-8", "replace") if told.spelt else str(told.token)
    return spelt.strip().upper()
