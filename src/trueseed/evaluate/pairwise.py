"""Two models' answers to the same prompts, put to judges: each pair in both orders, always.

    opinions = list(judged(samples, a, b, judge))
    verdicts = decided(opinions, a, b, judge.source)            # what the arena reads too
    found = summarise(samples, {judge.source: opinions}, a, b, seed=7)

A judge's verdict on a sample is what it said in both orders; where the two differ it is a tie, counted as a flip. A
judge that gives chances is averaged over both orders, ½ (p(a) with a first + p(a) with b first), which takes out what
the place adds (balanced position calibration: Wang et al. 2023, arXiv:2305.17926); nearer to one half than the margin
that is a tie. Where a judge gave no verdict in one of the orders it has none on that sample, which then is left out of
the win rate and counted apart. Several judges decide by majority: the side that more than half of those name, else a
tie. Where most of what was decided is such ties, the order decides and not the answers, and there is no win rate.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from trueseed.evaluate import stats
from trueseed.evaluate.conversation import Conversations
from trueseed.evaluate.length_control import length_controlled
from trueseed.evaluate.sample import Sample
from trueseed.evaluate.stats import Measured
from trueseed.evaluate.targets import RATES
from trueseed.evaluate.verdicts import Order, Verdict, Winner
from trueseed.teachers.judge import Compares, Pair, Ruling, Side
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
class Bout:
    """Two contestants on one sample."""

    sample: Sample
    a: Contestant
    b: Contestant


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What a judge said of one sample in one order."""

    sample: str
    order: Order
    ruling: Ruling[Side]

    @property
    def winner(self) -> Winner | None:
        return None if self.ruling.value is None else _SIDES[self.order][self.ruling.value]

    @property
    def chance(self) -> float | None:
        """That a is better; None where the judge gives no chances."""
        if self.ruling.value is None or self.ruling.chance is None:
            return None
        return self.ruling.chance if self.order == "ab" else 1 - self.ruling.chance

    def to_json(self) -> dict[str, Any]:
        return {"sample": self.sample, "order": self.order, "winner": self.winner, **self.ruling.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Opinion":
        said = {name: it for name, it in value.items() if name not in ("sample", "order", "winner")}
        ruling: Ruling[Side] = Ruling(**{**said, "replies": tuple(said["replies"])})
        return cls(sample=value["sample"], order=value["order"], ruling=ruling)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What one judge's opinions of a sample come to. winner: None when it gave no verdict in one of the orders.
    flipped: whether it changed sides with the order; in words, also to or from a tie. chance: that a is better, over
    both.
    """

    winner: Winner | None
    flipped: bool = False
    chance: float | None = None


def judged(
    samples: Sequence[Sample],
    a: Contestant,
    b: Contestant,
    judge: Compares,
    talk: Conversations | None = None,
    *,
    known: Collection[tuple[str, Order]] = (),
) -> Iterator[Opinion]:
    """Both orders of every sample, but for those that are known. Nobody is asked about two answers that are the same:
    they tie. talk: what the judge is shown of a conversation.
    """
    places = {(sample.id, order): (place, order) for place, sample in enumerate(samples) for order in ORDERS}
    bouts = [Bout(sample=sample, a=a, b=b) for sample in samples]
    asked_before = {places[each] for each in known if each in places}
    for _, opinion in fought(bouts, judge, talk or Conversations(samples), known=asked_before):
        yield opinion


def fought(
    bouts: Sequence[Bout], judge: Compares, talk: Conversations, *, known: Collection[tuple[int, Order]] = ()
) -> Iterator[tuple[int, Opinion]]:
    """As `judged`, of any pairs on any samples, each opinion with the place of its bout."""
    wanted = [(place, order) for place in range(len(bouts)) for order in ORDERS if (place, order) not in known]
    same = {place for place, each in enumerate(bouts) if _said(each, each.a, talk) == _said(each, each.b, talk)}
    asked = [each for each in wanted if each[0] not in same]
    for place, order in wanted:
        if place in same:
            tie: Ruling[Side] = Ruling(value="tie", reason="the answers are the same", chance=0.5)
            yield place, Opinion(sample=bouts[place].sample.id, order=order, ruling=tie)
    for at, ruling in judge.compare([_shown(bouts[place], order, talk) for place, order in asked]):
        place, order = asked[at]
        yield place, Opinion(sample=bouts[place].sample.id, order=order, ruling=ruling)


def _said(bout: Bout, by: Contestant, talk: Conversations) -> str:
    return talk.said(bout.sample, by.answers)


def _shown(bout: Bout, order: Order, talk: Conversations) -> Pair:
    first, second = (bout.a, bout.b) if order == "ab" else (bout.b, bout.a)
    return Pair(
        question=talk.question(bout.sample),
        first=_said(bout, first, talk),
        second=_said(bout, second, talk),
        reference=talk.reference(bout.sample),
        turns=len(talk.turns(bout.sample)),
        row=bout.sample.row,
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
            share=each.chance,
            length_a=len(a.answers[each.sample]),
            length_b=len(b.answers[each.sample]),
        )
        for each in sorted(opinions, key=lambda each: (each.sample, each.order))
        if each.winner is not None
    ]


def standings(samples: Sequence[Sample], opinions: Iterable[Opinion]) -> dict[str, Standing]:
    """By sample, what one judge decided."""
    by_sample: dict[str, list[Opinion]] = {sample.id: [] for sample in samples}
    for each in opinions:
        by_sample[each.sample].append(each)
    return {sample: _standing(said) for sample, said in by_sample.items()}


def _standing(said: Sequence[Opinion]) -> Standing:
    if len(said) != len(ORDERS) or any(each.winner is None for each in said):
        return Standing(winner=None)
    chances = [each.chance for each in said if each.chance is not None]
    winners = {each.winner for each in said}
    if len(chances) < len(ORDERS):
        return Standing(winner=said[0].winner) if len(winners) == 1 else Standing(winner="tie", flipped=True)
    chance, margin = sum(chances) / len(chances), max(each.ruling.margin for each in said)
    winner: Winner = "tie" if abs(chance - 0.5) <= margin else "a" if chance > 0.5 else "b"
    return Standing(winner=winner, flipped=winners == {"a", "b"}, chance=chance)


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
    """What came of all samples. win_rate, weighted, at_equal_length: of a; None where too few samples were decided. A
    tie is half a win; weighted counts chances in the place of wins, where all judges give them, and so then does
    at_equal_length, which is None too where all went one way. won, chances: by sample that was decided, what they are
    the means of; chances empty where there are none. split: samples on which the judges differ. by_order: samples that
    tie because the verdict turned with the order; where they are most of the decided ones there is no rate. agreement:
    Cohen's kappa of each two judges, on samples that both decided.
    """

    samples: int
    wins: int
    losses: int
    ties: int
    flips: int
    no_verdict: int
    split: int = 0
    by_order: int = 0
    win_rate: Measured | None = None
    weighted: Measured | None = None
    at_equal_length: Measured | None = None
    won: Mapping[str, float] = field(default_factory=dict)
    chances: Mapping[str, float] = field(default_factory=dict)
    agreement: Mapping[tuple[str, str], Measured] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        names = ("samples", "wins", "losses", "ties", "flips", "no_verdict", "split", "by_order")
        return {name: getattr(self, name) for name in names}

    @property
    def order_decides(self) -> bool:
        return 2 * self.by_order > len(self.won)

    @property
    def metrics(self) -> dict[str, Measured]:
        found = dict(zip(RATES, (self.win_rate, self.weighted, self.at_equal_length), strict=True))
        return {name: each for name, each in found.items() if each}


def summarise(
    samples: Sequence[Sample], by_judge: Mapping[str, Iterable[Opinion]], a: Contestant, b: Contestant, *, seed: int = 0
) -> Tally:
    """By the majority of the judges."""
    found = {judge: standings(samples, opinions) for judge, opinions in by_judge.items()}
    votes = {sample.id: [each[sample.id].winner for each in found.values()] for sample in samples}
    winners = {sample: majority(each) for sample, each in votes.items()}
    counted = Counter(winners.values())
    won = {sample: _POINTS[winner] for sample, winner in winners.items() if winner is not None}
    chances = _chances(found, won)
    talk = Conversations(samples)
    kept = {sample.id: talk.first(sample) for sample in samples if sample.id in won}
    by_order = sum(_turned(sample, found.values()) for sample, winner in winners.items() if winner == "tie")
    enough = len(set(kept.values())) > 1 and 2 * by_order <= len(won)
    return Tally(
        samples=len(samples),
        wins=counted["a"],
        losses=counted["b"],
        ties=counted["tie"],
        flips=sum(standing.flipped for each in found.values() for standing in each.values()),
        no_verdict=counted[None],
        split=sum(len({vote for vote in each if vote}) > 1 for each in votes.values()),
        by_order=by_order,
        win_rate=_rate(kept, won) if enough else None,
        weighted=_rate(kept, chances) if enough and chances else None,
        at_equal_length=_at_equal_length(kept, chances or won, a, b) if enough else None,
        won=won,
        chances=chances,
        agreement=_agreement(found, seed),
    )


def _turned(sample: str, found: Iterable[Mapping[str, Standing]]) -> bool:
    """Whether more than half of the judges who decided it tie because they turned with the order."""
    decided = [each[sample] for each in found if each[sample].winner is not None]
    return 2 * sum(each.flipped and each.winner == "tie" for each in decided) > len(decided)


_POINTS: Mapping[Winner, float] = {"a": 1.0, "tie": 0.5, "b": 0.0}


def _chances(found: Mapping[str, Mapping[str, Standing]], decided: Iterable[str]) -> dict[str, float]:
    """The mean of the judges who decided a sample; empty where one of them gave no chance."""
    chances = {}
    for sample in decided:
        said = [each[sample].chance for each in found.values() if each[sample].winner is not None]
        given = [chance for chance in said if chance is not None]
        if len(given) < len(said):
            return {}
        chances[sample] = sum(given) / len(given)
    return chances


def _rate(prompts: Mapping[str, str], points: Mapping[str, float]) -> Measured:
    """prompts: by sample, in their order. By prompt: several samples of one, or of one conversation, are not
    independent.
    """
    sums, out_of = dict[str, float](), Counter[str]()
    for sample, prompt in prompts.items():
        sums[prompt] = sums.get(prompt, 0.0) + points[sample]
        out_of[prompt] += 1
    return stats.ratio(list(sums.values()), [out_of[prompt] for prompt in sums])


def _at_equal_length(
    prompts: Mapping[str, str], points: Mapping[str, float], a: Contestant, b: Contestant
) -> Measured | None:
    longer = [len(a.answers[sample]) - len(b.answers[sample]) for sample in prompts]
    return length_controlled([points[sample] for sample in prompts], longer, list(prompts.values()))


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
