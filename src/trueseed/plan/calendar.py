"""When a run will be done under the limits of its run file, or that it never will. Pure: told what was used, and when.

    finish([Work(source="…", use=Use.TRAIN, requests=2000, tokens=900_000, …)], rooms, project="seed", now=now)

Days and months are UTC's, as the allowance counts them. It is supposed that the same command is given again whenever
there is room (or `--wait` does it), and that nobody else asks under the same limits.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from trueseed.teachers.account.amounts import Amount
from trueseed.teachers.account.limits import Limit
from trueseed.teachers.account.rooms import Room
from trueseed.terms.model import Use

YEARS = 10  # beyond which nobody waits
MINUTE_S = 61  # in which the allowance lets a minute's limit through (`allowance._minute`)
Dimension = Literal["requests", "tokens", "micros"]
DIMENSIONS: tuple[Dimension, ...] = ("requests", "tokens", "micros")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a step asks of `source`. seconds: how long it takes without limits. upper: the most that one of its calls
    reserves.
    """

    source: str
    use: Use
    requests: float
    tokens: float
    micros: float
    seconds: float
    upper: Amount

    def of_one(self, dimension: Dimension) -> float:
        return float(getattr(self, dimension)) / self.requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """at: when the last answer is there; None: never. held_up_by: the limit that delays or prevents it most, and in
    which dimension. short: how much more of that it would need.
    """

    at: datetime | None
    held_up_by: Limit | None = None
    dimension: Dimension | None = None
    short: float = 0.0
    because: str = ""


@dataclass(slots=True)
class _Account:
    """What is used of each limit as the calendar goes on."""

    rooms: list[Room]
    used: list[dict[Dimension, float]]

    def binding(self, source: str, use: Use, project: str) -> Iterator[tuple[Limit, dict[Dimension, float]]]:
        for room, used in zip(self.rooms, self.used, strict=True):
            if room.limit.matches(source, use, project):
                yield room.limit, used

    def renew(self, before: datetime, after: datetime) -> None:
        for room, used in zip(self.rooms, self.used, strict=True):
            new_day = room.limit.per == "day" and before.date() != after.date()
            new_month = room.limit.per == "month" and (before.year, before.month) != (after.year, after.month)
            if new_day or new_month:
                used.update(dict.fromkeys(DIMENSIONS, 0.0))


def finish(works: Sequence[Work], rooms: Sequence[Room], *, project: str, now: datetime) -> Finish:
    """When all of `works`, one after the other, are done. now: UTC."""
    used: list[dict[Dimension, float]] = [{name: float(getattr(r.used, name)) for name in DIMENSIONS} for r in rooms]
    account, at, slowest = _Account(list(rooms), used), now, Finish(at=now)
    for position, work in enumerate(works):
        left = work.requests
        while left >= 0.5:
            if at - now > timedelta(days=365 * YEARS):
                return replace(slowest, at=None, because=f"it would take more than {YEARS} years")
            bound = list(account.binding(work.source, work.use, project))
            room, tightest = _room(work, bound)
            each_s = _pace(work, bound)
            midnight = (at + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
            today = max(1.0, (midnight - at).total_seconds() / each_s) if each_s else math.inf
            done = min(left, room, today)
            for _, spent in bound:
                for name in DIMENSIONS:
                    spent[name] += done * work.of_one(name)
            left, later = left - done, at + timedelta(seconds=done * each_s)
            if left >= 0.5 and done == room and tightest is not None:
                limit, dimension = tightest
                if limit.per == "total" or not _fits(limit, dimension, work):
                    return _never(limit, dimension, work, left, works[position + 1 :], project)
                later = max(later, limit.renewed_after(at) or later)
                slowest = Finish(at=later, held_up_by=limit, dimension=dimension)
            account.renew(at, later)
            at = later
    return replace(slowest, at=at)


def _room(
    work: Work, bound: Sequence[tuple[Limit, dict[Dimension, float]]]
) -> tuple[float, tuple[Limit, Dimension] | None]:
    """How many calls fit now, and what ends them. A call needs room for the most it can use, and then uses less."""
    most, tightest = math.inf, None
    for limit, used in bound:
        for name in DIMENSIONS:
            allowed, upper, one = getattr(limit, name), getattr(work.upper, name), work.of_one(name)
            if limit.per == "minute" or allowed is None or not upper:
                continue
            spare = allowed - used[name] - upper
            fit = 0.0 if spare < 0 else math.inf if one <= 0 else math.floor(spare / one) + 1.0
            if fit < most:
                most, tightest = fit, (limit, name)
    return most, tightest


def _pace(work: Work, bound: Sequence[tuple[Limit, dict[Dimension, float]]]) -> float:
    """Seconds a call, with the limits per minute."""
    each_s = work.seconds / work.requests
    for limit, _ in bound:
        for name in DIMENSIONS:
            allowed = getattr(limit, name)
            if limit.per == "minute" and allowed:
                each_s = max(each_s, MINUTE_S * work.of_one(name) / allowed)
    return each_s


def _fits(limit: Limit, dimension: Dimension, work: Work) -> bool:
    return bool(getattr(limit, dimension) >= getattr(work.upper, dimension))


def _never(limit: Limit, dimension: Dimension, work: Work, left: float, later: Sequence[Work], project: str) -> Finish:
    if not _fits(limit, dimension, work):
        upper, allowed = getattr(work.upper, dimension), getattr(limit, dimension)
        because = "one call reserves more than the limit allows"
        return Finish(at=None, held_up_by=limit, dimension=dimension, short=upper - allowed, because=because)
    short = left * work.of_one(dimension)
    short += sum(getattr(each, dimension) for each in later if limit.matches(each.source, each.use, project))
    return Finish(
        at=None,
        held_up_by=limit,
        dimension=dimension,
        short=math.ceil(short),
        because="the limit in total is too small",
    )
