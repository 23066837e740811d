"""How far a judge can be believed, found on pairs of which one answer is known to be right.

    card = of(samples, opinions, own, seed=7)
    card.passed, card.failed      # which of the limits below it does not keep

A judge is asked about every pair in both orders. What it gave no verdict on counts as not agreeing; it is never left
out of the agreement. Several pairs of one question, as people judged them (MT-bench), are not independent: intervals go
by question, and so does how many there must be. Pairs are of kinds: `plain`, `reworded` (right in other words than
those a check looks for), `denial` (the wrong answer names the right one, to deny it). How far a judge agrees is told of
each kind too, and one that in some kind may as well toss a coin fails. Where the judge's own answers are known, it is
also asked to choose between its own and another that is as right or as wrong by the check: there is no reason to prefer
either, so a preference is for itself. A judge that gives chances is held to them: by their squared error (Brier 1950),
and by how often it is right where it is so sure.

Published judges' figures for orientation: with human votes GPT-4 agreed in 0.66 to 0.85 (Zheng et al. 2023,
arXiv:2306.05685); here one answer is verifiably right, so more is asked.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from trueseed.evaluate import stats
from trueseed.evaluate.pairwise import Contestant, Opinion, Standing, standings
from trueseed.evaluate.sample import Sample
from trueseed.evaluate.scorers import is_right
from trueseed.evaluate.stats import Measured
from trueseed.evaluate.verdicts import Winner

GOLD = Path(__file__).with_name("prompts") / "judge_gold.jsonl"  # our own: 60 plain pairs, 20 of each other kind
GOLD_SOURCE = "own/trueseed"
PLAIN = "plain"  # kind of a pair that names none
SURE = (0.5, 0.6, 0.7, 0.8, 0.9)  # beginnings of the tenths
ENOUGH = 20  # questions below which a figure is not judged by


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A figure's bound: no lower (`least`) or no higher (`most`) than `bound`. of: what is held against it, the figure
    itself or the end of its interval that speaks against the judge. needed: whether it must be known.
    """

    kind: Literal["least", "most"]
    bound: float
    of: Literal["value", "low", "high"]
    says: str
    needed: bool = True

    def keeps(self, found: Measured) -> bool:
        it: float = getattr(found, self.of)
        return it >= self.bound if self.kind == "least" else abs(it) <= self.bound  # a bias may go either way

    @property
    def told(self) -> str:
        end = {"value": "", "low": "lower end ", "high": "upper end "}[self.of]
        return f"{end}at {self.kind} {self.bound:g}"


LIMITS: Mapping[str, Limit] = {
    "agreement": Limit(kind="least", bound=0.65, of="low", says="names the right answer, in both orders"),
    "kappa": Limit(kind="least", bound=0.4, of="low", says="agreement beyond chance (Cohen)"),
    "no_verdict": Limit(kind="most", bound=0.05, of="value", says="pairs without a verdict in one of the orders"),
    "flip_rate": Limit(kind="most", bound=0.3, of="high", says="pairs decided otherwise when the order is swapped"),
    "order_bias": Limit(kind="most", bound=0.15, of="value", says="how far from one half the first shown wins"),
    "length_bias": Limit(
        kind="most", bound=0.15, of="value", says="how much more often the longer wins than it is right"
    ),
    "self_preference": Limit(
        kind="most", bound=0.65, of="value", says="its own wins over another that is as right", needed=False
    ),
    "brier": Limit(
        kind="most", bound=0.25, of="value", says="squared error of its chances; 0.25 is one half always", needed=False
    ),
}
_OF_A_KIND = Limit(kind="least", bound=0.5, of="low", says="agreement on pairs of this kind", needed=False)
TOLD = {**{name: limit.told for name, limit in LIMITS.items()}, "agreement_…": _OF_A_KIND.told}


def limits(samples: Sequence[Sample]) -> dict[str, Limit]:
    """What a judge is held to on these pairs: where they are of several kinds, to agreeing on each."""
    return {**LIMITS, **dict.fromkeys(_by_kind(samples), _OF_A_KIND)}


def _by_kind(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    """By the name of the figure; empty where all are of one kind."""
    found: dict[str, list[Sample]] = {}
    for each in samples:
        found.setdefault(f"agreement_{each.row.get('kind', PLAIN)}", []).append(each)
    return found if len(found) > 1 else {}


@dataclass(frozen=True, kw_only=True)
class Card:
    """limits: what it is held to, by figure. figures: by name, those that could be found. told: why one could not.
    faults: replies that were no verdict, by kind. shares: those behind the biases. calibration: of judges that give
    chances, by how sure they are. cost: of a comparison in both orders.
    """

    pairs: int
    limits: Mapping[str, Limit]
    figures: Mapping[str, Measured]
    told: Mapping[str, str]
    shares: Mapping[str, Measured]
    faults: Mapping[str, int]
    repaired: int
    cost: Mapping[str, float]
    calibration: Sequence[Mapping[str, float]] = ()

    @property
    def failed(self) -> dict[str, str]:
        """By figure, in words: what is beyond its limit, and what is needed and not known."""
        found = {}
        for name, limit in self.limits.items():
            figure = self.figures.get(name)
            if figure is None:
                if limit.needed:
                    found[name] = ": ".join(filter(None, ("not known", self.told.get(name))))
            elif not limit.keeps(figure):
                found[name] = f"{figure.value:.2f} [{figure.low:.2f}, {figure.high:.2f}], and not {limit.told}"
        return found

    @property
    def passed(self) -> bool:
        return not self.failed

    def to_json(self) -> dict[str, Any]:
        return {
            "pairs": self.pairs,
            "passed": self.passed,
            "failed": self.failed,
            "metrics": {name: each.to_json() for name, each in self.figures.items()},
            "not_known": dict(self.told),
            "limits": {name: limit.told for name, limit in self.limits.items()},
            "means": {name: limit.says for name, limit in self.limits.items()},
            "shares": {name: each.to_json() for name, each in self.shares.items()},
            "faults": dict(self.faults),
            "repaired": self.repaired,
            "calibration": list(map(dict, self.calibration)),
            "cost": dict(self.cost),
        }


def contestants(samples: Sequence[Sample]) -> tuple[Contestant, Contestant]:
    """The gold answers on two sides, the right one on either in turn."""
    a = {each.id: each.row["right" if place % 2 == 0 else "wrong"] for place, each in enumerate(samples)}
    b = {each.id: each.row["wrong" if place % 2 == 0 else "right"] for place, each in enumerate(samples)}
    return Contestant(name="a", source="own/gold", answers=a), Contestant(name="b", source="own/gold", answers=b)


def rivals(
    samples: Sequence[Sample], own: Mapping[str, str], judge: str
) -> tuple[list[Sample], Contestant, Contestant]:
    """The judge's own answers beside gold ones that are as right or as wrong; of prompts where the two differ."""
    other = {each.id: each.row["right" if is_right(each.row, own[each.id]) else "wrong"] for each in samples}
    kept = [each for each in samples if own[each.id].strip() != other[each.id].strip()]
    its = Contestant(name="own", source=judge, answers=own)
    return kept, its, Contestant(name="other", source="own/gold", answers=other)


def of(
    samples: Sequence[Sample],
    opinions: Sequence[Opinion],
    own: Sequence[Opinion] | None,
    *,
    seed: int = 0,
    usd: float | None = None,
) -> Card:
    """opinions: on `contestants`. own: on `rivals`; None when its own answers could not be had. usd: what all the
    opinions cost, where that is known.
    """
    a, b = contestants(samples)
    gold: dict[str, Winner] = {each.id: "a" if place % 2 == 0 else "b" for place, each in enumerate(samples)}
    stood, ask = standings(samples, opinions), {each.id: each.prompt for each in samples}
    agreed = {name: stood[name].winner == side for name, side in gold.items()}
    figures: dict[str, Measured | None] = {
        "agreement": _share(ask, agreed, least=2),
        "kappa": _kappa(ask, gold, stood, seed),
        "no_verdict": _share(ask, {name: each.winner is None for name, each in stood.items()}, least=2),
        "flip_rate": _share(ask, {name: each.flipped for name, each in stood.items() if each.winner is not None}),
    }
    first, longer = _first(ask, opinions), _longer(ask, opinions, gold, a, b)
    figures["order_bias"] = _from_half(first) if first else None
    figures["length_bias"] = longer[1] if longer else None
    figures["self_preference"] = _own_won(ask, own) if own is not None else None
    right = {name: chance if gold[name] == "a" else 1 - chance for name, chance in _chances(stood)}
    figures["brier"] = _share(ask, {name: (1 - chance) ** 2 for name, chance in right.items()})
    shares = {"first_won": first, "longer_won": longer[0] if longer else None}
    told = {name: f"fewer than {ENOUGH} questions were decided" for name, found in figures.items() if found is None}
    of_kinds = {
        name: _share(ask, {each.id: agreed[each.id] for each in some}) for name, some in _by_kind(samples).items()
    }
    figures |= of_kinds
    told |= {
        name: f"fewer than {ENOUGH} questions are of this kind" for name, found in of_kinds.items() if found is None
    }
    if own is None:
        told["self_preference"] = "its own answers could not be had"
    if not right:
        told["brier"] = "it gives no chances"
    everything = [*opinions, *(own or ())]
    return Card(
        pairs=len(samples),
        limits=limits(samples),
        figures={name: found for name, found in figures.items() if found},
        told=told,
        shares={name: found for name, found in shares.items() if found},
        faults=faults(everything),
        repaired=sum(each.ruling.repaired for each in everything),
        cost=cost(everything, usd),
        calibration=calibration(list(right.values())),
    )


def faults(opinions: Iterable[Opinion]) -> dict[str, int]:
    """Replies that were no verdict, by kind."""
    found = [each.ruling.fault for each in opinions if each.ruling.fault]
    return {name: found.count(name) for name in sorted(set(found))}


def cost(opinions: Sequence[Opinion], usd: float | None) -> dict[str, float]:
    """Of a pair in both orders, on average: calls, tokens, and US dollars where their price is known."""
    pairs = max(len(opinions) / 2, 1)
    found = {
        name: round(sum(getattr(each.ruling, name) for each in opinions) / pairs, 3)
        for name in ("calls", "prompt_tokens", "completion_tokens")
    }
    return found if usd is None else {**found, "usd": usd / pairs}


def _share(ask: Mapping[str, str], held: Mapping[str, float], *, least: int = ENOUGH) -> Measured | None:
    """Of samples, for how many it holds, or how much of it. ask: by sample, its question. None of too few questions."""
    sums, out_of = _by_question(ask, held.items())
    return stats.ratio(sums, out_of) if len(sums) >= least else None


def _chances(stood: Mapping[str, Standing]) -> Iterator[tuple[str, float]]:
    yield from ((name, each.chance) for name, each in stood.items() if each.chance is not None)


def calibration(right: Sequence[float]) -> list[dict[str, float]]:
    """right: the chances it gave the right answer. By how sure it was of either, in tenths from one half: how sure on
    average, how often it was right, and of how many pairs. One half is sure of neither, and half right.
    """
    found = []
    for at, low in enumerate(SURE):
        some = [chance for chance in right if min(int((max(chance, 1 - chance) - 0.5) * 10), len(SURE) - 1) == at]
        if some:
            sure = sum(max(chance, 1 - chance) for chance in some) / len(some)
            held = sum((chance > 0.5) + (chance == 0.5) / 2 for chance in some) / len(some)
            found.append({"from": low, "sure": round(sure, 4), "right": round(held, 4), "pairs": len(some)})
    return found


def _kappa(
    ask: Mapping[str, str], gold: Mapping[str, Winner], stood: Mapping[str, Standing], seed: int
) -> Measured | None:
    decided = {name: each.winner for name, each in stood.items() if each.winner is not None}
    if len({ask[name] for name in decided}) < ENOUGH:
        return None
    right = [gold[name] for name in decided]
    return stats.kappa(list(decided.values()), right, [ask[name] for name in decided], seed=seed)


def _by_question(ask: Mapping[str, str], held: Iterable[tuple[str, float]]) -> tuple[list[float], list[float]]:
    """Sums and numbers, one a question, since its pairs, and the two opinions of a pair, are not independent. held: by
    sample.
    """
    sums, out_of = dict[str, float](), dict[str, float]()
    for sample, it in held:
        question = ask[sample]
        sums[question] = sums.get(question, 0.0) + it
        out_of[question] = out_of.get(question, 0.0) + 1
    return list(sums.values()), list(out_of.values())


def _first(ask: Mapping[str, str], opinions: Iterable[Opinion]) -> Measured | None:
    """Share of the decisions for one side that fell on the answer shown first."""
    held = [(each.sample, float(each.ruling.value == "first")) for each in opinions if each.winner in ("a", "b")]
    sums, out_of = _by_question(ask, held)
    return stats.ratio(sums, out_of) if len(sums) >= ENOUGH else None


def _from_half(share: Measured) -> Measured:
    """The distance from one half, with an interval that holds all distances within the share's."""
    ends = sorted((abs(share.low - 0.5), abs(share.high - 0.5)))
    low = 0.0 if share.low <= 0.5 <= share.high else ends[0]
    return Measured(value=abs(share.value - 0.5), se=share.se, low=low, high=ends[1], n=share.n, method=share.method)


def _longer(
    ask: Mapping[str, str], opinions: Iterable[Opinion], gold: Mapping[str, Winner], a: Contestant, b: Contestant
) -> tuple[Measured, Measured] | None:
    """Share of the decisions that fell on the longer answer; and how much that is above the share of the right ones
    that are the longer, on the same pairs.
    """
    held = []
    for each in opinions:
        length_a, length_b = len(a.answers[each.sample]), len(b.answers[each.sample])
        if each.winner in ("a", "b") and length_a != length_b:
            longer = "a" if length_a > length_b else "b"
            held.append((each.sample, float(each.winner == longer), float(gold[each.sample] == longer)))
    won, out_of = _by_question(ask, ((sample, chosen) for sample, chosen, _ in held))
    right, _ = _by_question(ask, ((sample, due) for sample, _, due in held))
    if len(won) < ENOUGH:
        return None
    beyond = list(np.subtract(won, right))
    return stats.ratio(won, out_of), stats.bounded(beyond, out_of, -1.0, 1.0)


def _own_won(ask: Mapping[str, str], own: Iterable[Opinion]) -> Measured | None:
    """Share of the decisions for one side that fell on the judge's own answer."""
    held = [(each.sample, float(each.winner == "a")) for each in own if each.winner in ("a", "b")]
    sums, out_of = _by_question(ask, held)
    return stats.ratio(sums, out_of) if len(sums) >= ENOUGH else None
