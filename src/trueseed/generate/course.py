"""How many questions a run of the recipe will ask, and on which rungs: many courses, drawn from a few answers.

    courses = imagine(config, seen={("lowercase", "plain"): Seen(judged=3, accepted=2)}, rng=np.random.default_rng(0))
    np.quantile(courses.asked.sum((1, 2)), (0.025, 0.975))

Each course draws how often every kind succeeds on every rung, given what was seen, and then walks through the recipe's
own rules (`pace`: shares, trials, poor rungs, effort; answers are judged as far behind the asking as `ahead` says).

What is drawn: the rate of a rung over all kinds from the Jeffreys posterior Beta(accepted + 1/2, failed + 1/2); each
kind's own rate around it, from Beta(m·s, (1 − m)·s) with s log-uniform in `LIKENESS`, since nobody knows beforehand how
much kinds differ, and what was seen of the kind itself added. Free records are a rung of their own.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trueseed.checks import FREE
from trueseed.generate.ladder import Rung
from trueseed.generate.verifiable import Config, pace

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DRAWS = 300
LARGEST = 300  # records; a larger run is drawn at this size and scaled up
LIKENESS = (0.7, 20.0)  # of kinds: from nearly all or nothing to nearly the same


@dataclass(frozen=True, slots=True)
class Seen:
    judged: int = 0
    accepted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Courses:
    """asked: questions, by draw, kind and rung. accepted: records, by draw; below `accept` the run comes short."""

    kinds: tuple[str, ...]
    rungs: tuple[Rung, ...]
    asked: Floats
    accepted: Floats


def imagine(
    config: Config, seen: Mapping[tuple[str, Rung], Seen], rng: np.random.Generator, draws: int = DRAWS
) -> Courses:
    """Courses that agree with what was seen of a kind on a rung; nothing seen is nothing known."""
    size = min(config.accept, LARGEST)
    scale = config.accept / size
    at_most = None if config.asked_at_most is None else max(1, round(config.asked_at_most / scale))
    small = config.model_copy(update={"accept": size, "asked_at_most": at_most})
    walk = _Walk(small, seen, rng, draws)
    while walk.go_on():
        pass
    asked: Floats = walk.asked.astype(np.float64) * scale
    accepted: Floats = walk.accepted.sum((1, 2)).astype(np.float64) * scale
    return Courses(kinds=walk.kinds, rungs=walk.rungs, asked=asked, accepted=accepted)


class _Walk:
    """All courses at once. Shapes: D draws, K kinds, R rungs of the longest ladder, A answers outstanding."""

    def __init__(
        self, config: Config, seen: Mapping[tuple[str, Rung], Seen], rng: np.random.Generator, draws: int
    ) -> None:
        plan = pace(config)
        self.kinds = tuple(plan.shares)
        self.rungs: tuple[Rung, ...] = tuple(dict.fromkeys((*config.rungs, "plain")))
        D, K, R = draws, len(self.kinds), len(self.rungs)
        self.asked, self.judged, self.accepted = (np.zeros((D, K, R), dtype=np.int64) for _ in range(3))
        self._config, self._rng = config, rng
        self._share_K = np.array([plan.shares[name] for name in self.kinds])
        self._most_K = np.array([plan.most(name) for name in self.kinds])
        self._most = config.asked_at_most or config.accept * config.effort
        self._on_ladder_KR = np.array([[rung in plan.ladders[name] for rung in self.rungs] for name in self.kinds])
        self._rate_DKR = _rates(self.kinds, self.rungs, seen, rng, draws)
        self._waiting = np.zeros((D, K, R), dtype=np.int64)  # failed tasks, on the rung that they are asked on next
        self._outstanding_DA = np.zeros((D, config.ahead, 2), dtype=np.int64)  # kind and rung, a ring
        self._first, self._under_way = np.zeros(D, dtype=np.int64), np.zeros(D, dtype=np.int64)
        self._expected_DK = np.zeros((D, K))

    def go_on(self) -> bool:
        """One question or one answer in every course that is not at its end; False when all are."""
        asked_DK = self.asked.sum(2)
        open_DK = asked_DK < self._most_K
        asks = (
            (self._expected_DK.sum(1) < self._config.accept)
            & (asked_DK.sum(1) < self._most)
            & (self._under_way < self._config.ahead)
            & open_DK.any(1)
        )
        takes = ~asks & (self._under_way > 0)
        if asks.any():
            self._ask(np.flatnonzero(asks), open_DK)
        if takes.any():
            self._take(np.flatnonzero(takes))
        return bool(asks.any() or takes.any())

    def _ask(self, d: Ints, open_DK: NDArray[np.bool_]) -> None:
        behind = np.where(open_DK[d], self._expected_DK[d] / self._share_K, np.inf)
        k = behind.argmin(1)
        waiting = self._waiting[d, k]
        again = waiting.any(1)
        r = np.where(again, (waiting > 0).argmax(1), self._first_rung(d, k))
        self._waiting[d[again], k[again], r[again]] -= 1
        self.asked[d, k, r] += 1
        self._outstanding_DA[d, (self._first[d] + self._under_way[d]) % self._config.ahead] = np.stack((k, r), 1)
        self._under_way[d] += 1
        self._expect(d, k)

    def _take(self, d: Ints) -> None:
        k, r = self._outstanding_DA[d, self._first[d]].T
        self._first[d] = (self._first[d] + 1) % self._config.ahead
        self._under_way[d] -= 1
        right = self._rng.random(len(d)) < self._rate_DKR[d, k, r]
        needed = self.accepted[d].sum((1, 2)) < self._config.accept
        self.judged[d, k, r] += 1
        kept = right & needed
        self.accepted[d[kept], k[kept], r[kept]] += 1
        self._expect(d, k)
        self._climb(d[~right], k[~right], r[~right])

    def _climb(self, d: Ints, k: Ints, r: Ints) -> None:
        above = np.arange(len(self.rungs)) > r[:, None]
        open_ = above & self._possible(d, k, repair=True) & ~self._poor(d, k)
        climbs = open_.any(1)
        np.add.at(self._waiting, (d[climbs], k[climbs], open_[climbs].argmax(1)), 1)

    def _first_rung(self, d: Ints, k: Ints) -> Ints:
        """As `Pace.first_rung`."""
        possible = self._possible(d, k, repair=False)
        good = possible & ~self._poor(d, k)
        tries = self._config.tries
        ready = good & ~((self.asked[d, k] >= tries) & (tries > self.judged[d, k]))
        last_good = len(self.rungs) - 1 - good[:, ::-1].argmax(1)
        rate = (self.accepted[d, k] + 1) / (self.judged[d, k] + 2)
        best = np.where(possible, rate, -1.0).argmax(1)
        first: Ints = np.where(ready.any(1), ready.argmax(1), np.where(good.any(1), last_good, best))
        return first

    def _possible(self, d: Ints, k: Ints, *, repair: bool) -> NDArray[np.bool_]:
        open_ = self._on_ladder_KR[k].copy()
        for i, rung in enumerate(self.rungs):
            if rung == "worked":
                open_[:, i] &= self.accepted[d, k].any(1)
            elif rung == "repair" and not repair:
                open_[:, i] = False
        return open_

    def _poor(self, d: Ints, k: Ints) -> NDArray[np.bool_]:
        judged = self.judged[d, k]
        poor: NDArray[np.bool_] = (judged >= self._config.tries) & (self.accepted[d, k] < self._config.poor * judged)
        return poor

    def _expect(self, d: Ints, k: Ints) -> None:
        asked, judged, accepted = self.asked[d, k], self.judged[d, k], self.accepted[d, k]
        self._expected_DK[d, k] = (accepted + (asked - judged) * (accepted + 1) / (judged + 2)).sum(1)


def _rates(
    kinds: tuple[str, ...],
    rungs: tuple[Rung, ...],
    seen: Mapping[tuple[str, Rung], Seen],
    rng: np.random.Generator,
    draws: int,
) -> Floats:
    """How often each kind succeeds on each rung, by draw."""
    low, high = map(math.log, LIKENESS)
    likeness_D = np.exp(rng.uniform(low, high, draws))
    rate_DKR: Any = np.empty((draws, len(kinds), len(rungs)))
    for r, rung in enumerate(rungs):
        everywhere = {free: _sum(seen, rung, free) for free in (False, True)}
        mean_D = {free: rng.beta(all_.accepted + 0.5, all_.judged - all_.accepted + 0.5, draws)
                  for free, all_ in everywhere.items()}  # fmt: skip
        for k, kind in enumerate(kinds):
            if kind == FREE:
                rate_DKR[:, k, r] = mean_D[True]
                continue
            own = seen.get((kind, rung), Seen())
            right = mean_D[False] * likeness_D + own.accepted
            wrong = (1 - mean_D[False]) * likeness_D + own.judged - own.accepted
            rate_DKR[:, k, r] = rng.beta(np.maximum(right, 1e-3), np.maximum(wrong, 1e-3))
    rates: Floats = rate_DKR
    return rates


def _sum(seen: Mapping[tuple[str, Rung], Seen], rung: Rung, free: bool) -> Seen:
    found = [each for (kind, on), each in seen.items() if on == rung and (kind == FREE) == free]
    return Seen(judged=sum(each.judged for each in found), accepted=sum(each.accepted for each in found))
