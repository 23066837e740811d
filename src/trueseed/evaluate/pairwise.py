"""Two models' answers to the same prompts, put to judges: each pair in both orders, always.

    opinions = list(judged(samples, a, b, judge))
    verdicts = decided(opinions, a, b, judge.source)            # what the arena reads too
    found = summarise(samples, {judge.source: opinions}, a, b, seed=7)

A judge's verdict on a sample is what it said in both orders; where the two differ it is a tie, counted as a flip. Where
it gave none in one of them it has none on that sample, which then is left out of the win rate and counted apart.
Several judges decide by majority: the side that more than half of those name, else a tie.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from trueseed.evaluate import stats
from trueseed.evaluate.conversation import Conversations
from trueseed.evaluate.length_control import length_controlled
from trueseed.evaluate.stats import Measured
from trueseed.evaluate.task import Sample
from trueseed.evaluate.verdicts import Order, Verdict, Winner
from trueseed.teachers.judge import Judge, Pair, Ruling, Side
from trueseed.terms.model import parse_source

ORDERS: tuple[Order, Order] = ("ab", "ba")
_SIDES: Mapping[Order, Mapping[Side, Winner]] = {
    "ab": {"first": "a", "second": "b", "tie": "tie"},
    "ba": {"first": "b", "second": "a", "tie": "tie"},
}


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """name: unlike the other's. source: whose answers they are. answers: by id of the sample. learned_from: sources
    whose words or weights are in the model.
    """

    name: str
    source: str
    answers: Mapping[str, str]
    learned_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What a judge said of one sample in one order."""

    sample: str
    order: Order
    ruling: Ruling[Side]

    @property
    def winner(self) -> Winner | None:
        return None if self.ruling.value is None else _SIDES[self.order][self.ruling.value]

    def to_json(self) -> dict[str, Any]:
        return {"sample": self.sample, "order": self.order, "winner": self.winner, **self.ruling.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Opinion":
        said = {name: it for name, it in value.items() if name not in ("sample", "order", "winner")}
        ruling: Ruling[Side] = Ruling(**{**said, "replies": tuple(said["replies"])})
        return cls(sample=value["sample"], order=value["order"], ruling=ruling)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What one judge's opinions of a sample come to. winner: None when it gave no verdict in one of the orders."""

    winner: Winner | None
    flipped: bool = False


def judged(
    samples: Sequence[Sample], a: Contestant, b: Contestant, judge: Judge, talk: Conversations | None = None
) -> Iterator[Opinion]:
    """Both orders of every sample. Nobody is asked about two answers that are the same: they tie. talk: what the judge
    is shown of a conversation.
    """
    talk = talk or Conversations(samples)
    wanted = [(sample, order) for sample in samples for order in ORDERS]
    same = {each.id for each in samples if talk.said(each, a.answers) == talk.said(each, b.answers)}
    asked = [(sample, order) for sample, order in wanted if sample.id not in same]
    for sample, order in wanted:
        if sample.id in same:
            yield Opinion(sample=sample.id, order=order, ruling=Ruling(value="tie", reason="the answers are the same"))
    for place, ruling in judge.compare([_shown(*each, a, b, talk) for each in asked]):
        sample, order = asked[place]
        yield Opinion(sample=sample.id, order=order, ruling=ruling)


def _shown(sample: Sample, order: Order, a: Contestant, b: Contestant, talk: Conversations) -> Pair:
    first, second = (a, b) if order == "ab" else (b, a)
    return Pair(
        question=talk.question(sample),
        first=talk.said(sample, first.answers),
        second=talk.said(sample, second.answers),
        reference=talk.reference(sample),
        turns=len(talk.turns(sample)),
    )


def decided(opinions: Iterable[Opinion], a: Contestant, b: Contestant, judge: str) -> list[Verdict]:
    """The opinions that are verdicts, as others read them."""
    return [
        Verdict(
            sample=each.sample,
            a=a.name,
            b=b.name,
            winner=each.winner,
            order=each.order,
            judge=judge,
            reason=each.ruling.reason,
            length_a=len(a.answers[each.sample]),
            length_b=len(b.answers[each.sample]),
        )
        for each in sorted(opinions, key=lambda each: (each.sample, each.order))
        if each.winner is not None
    ]


def standings(samples: Sequence[Sample], opinions: Iterable[Opinion]) -> dict[str, Standing]:
    """By sample, what one judge decided."""
    by_sample: dict[str, list[Winner | None]] = {sample.id: [] for sample in samples}
    for each in opinions:
        by_sample[each.sample].append(each.winner)
    return {sample: _standing(said) for sample, said in by_sample.items()}


def _standing(said: Sequence[Winner | None]) -> Standing:
    if len(said) != len(ORDERS) or None in said:
        return Standing(winner=None)
    one, other = said
    return Standing(winner=one) if one == other else Standing(winner="tie", flipped=True)


def majority(votes: Iterable[Winner | None]) -> Winner | None:
    """The side that more than half of those who decided name, else a tie; None when nobody decided.

    >>> majority(["a", "a", "b"]), majority(["a", "b"]), majority(["a", None]), majority([None])
    ('a', 'tie', 'a', None)
    """
    counted = Counter(vote for vote in votes if vote is not None)
    if not counted:
        return None
    side, most = counted.most_common(1)[0]
    return side if 2 * most > counted.total() else "tie"


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What came of all samples. win_rate, at_equal_length: of a, a tie is half a win; None where too few samples were
    decided, and, of the second, where all went one way. split: samples on which the judges differ. agreement: Cohen's
    kappa of each two judges, on samples that both decided.
    """

    samples: int
    wins: int
    losses: int
    ties: int
    flips: int
    no_verdict: int
    split: int = 0
    win_rate: Measured | None = None
    at_equal_length: Measured | None = None
    agreement: Mapping[tuple[str, str], Measured] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        names = ("samples", "wins", "losses", "ties", "flips", "no_verdict", "split")
        return {name: getattr(self, name) for name in names}

    @property
    def metrics(self) -> dict[str, Measured]:
        found = {"win_rate": self.win_rate, "win_rate_at_equal_length": self.at_equal_length}
        return {name: each for name, each in found.items() if each}


def summarise(
    samples: Sequence[Sample], by_judge: Mapping[str, Iterable[Opinion]], a: Contestant, b: Contestant, *, seed: int = 0
) -> Tally:
    """By the majority of the judges."""
    found = {judge: standings(samples, opinions) for judge, opinions in by_judge.items()}
    votes = {sample.id: [each[sample.id].winner for each in found.values()] for sample in samples}
    winners = {sample: majority(each) for sample, each in votes.items()}
    counted = Counter(winners.values())
    rate, equal = _rates(samples, winners, a, b, seed)
    return Tally(
        samples=len(samples),
        wins=counted["a"],
        losses=counted["b"],
        ties=counted["tie"],
        flips=sum(standing.flipped for each in found.values() for standing in each.values()),
        no_verdict=counted[None],
        split=sum(len({vote for vote in each if vote}) > 1 for each in votes.values()),
        win_rate=rate,
        at_equal_length=equal,
        agreement=_agreement(found, seed),
    )


def _rates(
    samples: Sequence[Sample], winners: Mapping[str, Winner | None], a: Contestant, b: Contestant, seed: int
) -> tuple[Measured | None, Measured | None]:
    """Resampled by prompt: several samples of one prompt, or of one conversation, are not independent."""
    talk = Conversations(samples)
    counted = {"a": 1.0, "tie": 0.5, "b": 0.0}
    kept = [(sample, counted[winner]) for sample in samples if (winner := winners[sample.id]) is not None]
    sums, out_of = dict[str, float](), Counter[str]()
    for sample, won in kept:
        prompt = talk.first(sample)
        sums[prompt] = sums.get(prompt, 0.0) + won
        out_of[prompt] += 1
    if len(sums) < 2:
        return None, None
    rate = stats.ratio(list(sums.values()), [out_of[prompt] for prompt in sums], seed=seed)
    longer = [len(a.answers[sample.id]) - len(b.answers[sample.id]) for sample, _ in kept]
    prompts = [talk.first(sample) for sample, _ in kept]
    return rate, length_controlled([won for _, won in kept], longer, prompts, seed=seed)


def _agreement(found: Mapping[str, Mapping[str, Standing]], seed: int) -> dict[tuple[str, str], Measured]:
    kappas = {}
    for one, other in combinations(found, 2):
        pairs = [(found[one][sample].winner, found[other][sample].winner) for sample in found[one]]
        both = [(x, y) for x, y in pairs if x is not None and y is not None]
        if len(both) > 1:
            kappas[one, other] = stats.kappa(*zip(*both, strict=True), seed=seed)
    return kappas


def kinship(judge: str, contestant: Contestant) -> str:
    """Why a judge may be expected to prefer this side, in words; '' for no reason that is known."""
    maker, model = parse_source(judge).maker, parse_source(judge).model
    its = parse_source(contestant.source)
    if (its.maker, its.model) == (maker, model):
        return f"the judge {judge} judges its own answers ({contestant.name}): judges prefer themselves"
    if maker == its.maker and maker != "own":
        return f"the judge {judge} is of the same maker as {contestant.name}: judges prefer their own kind"
    kin = [source for source in contestant.learned_from if parse_source(source).maker == maker != "own"]
    if kin:
        return (
            f"{contestant.name} learned from {kin[0]}, of the same maker as the judge {judge}: it may talk as it does"
        )
    return ""
