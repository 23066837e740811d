"""How calls are written into the account and charged: any number of them in one transaction.

    with account.turn() as driver:
        lot = Lot(driver, entity="us", limits=limits, clock=clock)
        lot.take(source=…, use=…, project=…, request=…, upper=…)      # or `OnHold`, `OutOfQuota`, `Exhausted`
        reservations = lot.write()

A commit costs the same for one call as for fifty, so whoever carries many takes those that wait together. Each is
judged as if those before it stood already, so no lot is given more room than its calls would have had one by one.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from trueseed.core.driver import Driver, Statement
from trueseed.teachers.account.amounts import NOTHING, Amount
from trueseed.teachers.account.clock import Clock, tick
from trueseed.teachers.account.holds import must_be_free
from trueseed.teachers.account.limits import Exhausted, Limit, sentence
from trueseed.teachers.account.process import this_process
from trueseed.teachers.account.quotas import Refusal, must_have_quota
from trueseed.teachers.account.way import Way
from trueseed.terms.model import Use

MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class Reservation:
    """Room kept for one call. id: of the call in the account. upper: the most it can use. at_ms: when it was reserved,
    in account time, milliseconds since 1970.
    """

    id: int
    source: str
    use: Use
    project: str
    request: str
    upper: Amount
    at_ms: int

    @property
    def at(self) -> datetime:
        return datetime.fromtimestamp(self.at_ms / 1000, UTC)


NEXT = Statement("SELECT coalesce(max(id), 0) + 1 FROM calls")  # writers take turns, so nobody else takes the same
INSERT = Statement(
    "INSERT INTO calls (id, entity, source, use, project, request, state, requests, tokens, micros, at, host, boot,"
    " pid, started) VALUES (:id, :entity, :source, :use, :project, :request, :state, :requests, :tokens, :micros, :at,"
    " :host, :boot, :pid, :started)"
)
ADD = Statement(
    "INSERT INTO spent (entity, per, start, source, use, project, requests, tokens, micros)"
    " VALUES (:entity, :per, :start, :source, :use, :project, :requests, :tokens, :micros)"
    " ON CONFLICT (entity, per, start, source, use, project) DO UPDATE SET requests = spent.requests"
    " + excluded.requests, tokens = spent.tokens + excluded.tokens, micros = spent.micros + excluded.micros"
)
CHANGE = Statement(  # no more than that: what was pruned does not come back as less than nothing
    "UPDATE spent SET requests = requests + :requests, tokens = tokens + :tokens, micros = micros + :micros"
    " WHERE entity = :entity AND per = :per AND start = :start AND source = :source AND use = :use"
    " AND project = :project"
)
SETTLE = Statement(
    "UPDATE calls SET state = :state, requests = :requests, tokens = :tokens, micros = :micros"
    " WHERE id = :id AND state IN ('reserved', 'unknown')"
)
SPENT = Statement(  # by the whole key, however long the account's history is
    "SELECT source, use, project, requests, tokens, micros FROM spent"
    " WHERE entity = :entity AND per = :per AND start = :start"
)
MINUTE = Statement(
    "SELECT source, use, project, sum(requests) AS requests, sum(tokens) AS tokens, sum(micros) AS micros FROM spent"
    " WHERE entity = :entity AND per = 'second' AND start >= :start GROUP BY source, use, project"
)
SECONDS = Statement(
    "SELECT start, source, use, project, requests, tokens, micros FROM spent"
    " WHERE entity = :entity AND per = 'second' AND start >= :minute ORDER BY start"
)


@dataclass(slots=True)
class Wanted:
    """A call to be written down. upper: what it is charged for now."""

    source: str
    use: Use
    project: str
    request: str
    upper: Amount


class Limits(tuple[Limit, ...]):
    """The limits of an allowance. `binding` remembers, since patterns are matched for every call."""

    def __init__(self, _: Iterable[Limit] = ()) -> None:
        self.binding = lru_cache(4096)(self._binding)

    def _binding(self, source: str, use: str, project: str) -> tuple[int, ...]:
        """Places of the limits that a call counts against."""
        return tuple(place for place, limit in enumerate(self) if limit.matches(source, use, project))


class Lot:
    """Reservations of one transaction, in the order of `take`. Nothing is written before `write`."""

    def __init__(self, driver: Driver, *, entity: str, limits: Limits, clock: Clock) -> None:
        self._driver, self._entity, self._limits, self._clock = driver, entity, limits, clock
        self._now = tick(driver, clock)
        self._free: set[tuple[str, Way | None]] = set()  # sources and ways of which no hold or mark was found
        self._charged: list[Amount] = []  # by the place of the limit, what was taken here included
        self._taken: list[Wanted] = []

    def take(self, *, source: str, use: Use, project: str, request: str, upper: Amount, way: Way | None = None) -> None:
        """Keeps room for one call that uses at most `upper`; `request` is the request's digest, `way` how it will go.

        Raises `Exhausted` when a limit has no room, `OnHold` when the maker or the way is, `OutOfQuota` when this would
        go past a quota of the maker's own; then nothing is kept for it.
        """
        if min(upper.requests, upper.tokens, upper.micros) < 0:
            raise ValueError(f"a call cannot use less than nothing: {upper}")
        if (source, way) not in self._free:
            must_be_free(self._driver, self._entity, source, way)
            must_have_quota(self._driver, self._entity, source, way)
            self._free.add((source, way))
        binding = self._limits.binding(source, use, project)
        if binding:
            self._must_have_room(binding, upper)
            for place in binding:
                self._charged[place] += upper
        self._taken.append(Wanted(source, use, project, request, upper))

    def write(self) -> list[Reservation]:
        """Writes what was taken; it stands once the transaction is committed."""
        made = insert(self._driver, self._entity, self._taken, "reserved", self._now)
        if made:
            self._driver.each(ADD, charges(self._entity, [(call, call.upper, call.at_ms) for call in made]))
        return made

    def _must_have_room(self, binding: Sequence[int], upper: Amount) -> None:
        if not self._charged:
            self._charged = stand(self._driver, self._entity, self._limits, self._now)
        full = []
        for place in binding:
            limit, charged = self._limits[place], self._charged[place]
            if dimension := limit.lacks(charged, upper):
                full.append((limit, dimension, charged, self._room_again(limit, charged, upper)))
        if full:
            # Waiting for the first of them would only lead to the next, so the last one is named.
            limit, dimension, charged, again = max(full, key=lambda each: each[3] or math.inf)
            shift = self._clock.wall() * 1000 - self._now  # what a person's clock shows then
            until = None if again is None else datetime.fromtimestamp(math.ceil((again + shift) / 1000), UTC)
            raise Exhausted(sentence(limit, dimension, charged, upper, until), limit=limit, until=until)

    def _room_again(self, limit: Limit, stands: Amount, upper: Amount) -> int | None:
        """Account time from which there is room if nothing else is asked; None when waiting does not help."""
        if limit.lacks(NOTHING, upper):
            return None
        now = self._now
        if limit.per == "minute":
            since = {"entity": self._entity, "minute": _minute(now)}
            for start, source, use, project, *sums in self._driver.all(SECONDS, since):
                stands -= amount(sums) if limit.matches(source, use, project) else NOTHING
                if not limit.lacks(stands, upper):
                    return (int(start) + MINUTE_S + 1) * 1000
            return (now // 1000 + MINUTE_S + 1) * 1000  # the rest is this lot's own
        following = limit.renewed_after(datetime.fromtimestamp(now // 1000, UTC))
        return None if following is None else round(following.timestamp() * 1000)


def stand(driver: Driver, entity: str, limits: Limits, now: int) -> list[Amount]:
    """What counts against each limit at a moment of account time, reserved and unknown calls included."""
    sums_of = [NOTHING] * len(limits)
    starts = {**windows(now), "minute": _minute(now)}
    for per in {limit.per for limit in limits}:
        wanted = {"entity": entity, "per": per, "start": starts[per]}
        for source, use, project, *sums in driver.all(MINUTE if per == "minute" else SPENT, wanted):
            for place in limits.binding(source, use, project):
                if limits[place].per == per:
                    sums_of[place] += amount(sums)
    return sums_of


def insert(driver: Driver, entity: str, wanted: Sequence[Wanted], state: str, now: int) -> list[Reservation]:
    """Writes calls down in their order. Every call comes in here, since its number is given here."""
    if not wanted:
        return []
    ((first,),) = driver.all(NEXT, {})
    process = this_process()
    shared = {"entity": entity, "state": state, "at": now, "host": process.host, "boot": process.boot}
    shared |= {"pid": process.pid, "started": process.started}
    made = [
        Reservation(identity, each.source, each.use, each.project, each.request, each.upper, now)
        for identity, each in enumerate(wanted, first)
    ]
    rows = [
        {"id": call.id, "source": call.source, "use": call.use.value, "project": call.project, "request": call.request}
        | counted(call.upper)
        | shared
        for call in made
    ]
    driver.each(INSERT, rows)
    return made


class Closed(NamedTuple):
    """A call that is over: what it is charged in the end, and its state from now on. way: how it went. refusal: of the
    provider's own quota.
    """

    call: Reservation
    charged: Amount
    state: str
    way: Way | None = None
    refusal: Refusal | None = None


Charge = tuple[Reservation, Amount, str]  # a call, what it is charged, and its state from now on


def settle(driver: Driver, entity: str, ended: Sequence[Charge], how: Statement = SETTLE) -> None:
    """Charges calls what they used, which may be more than was reserved.

    how: the statement that changes a call's row if it may be changed. Raises `ValueError` when an amount is negative or
    a call was settled or released before; the transaction must not be committed then.
    """
    if not ended:
        return
    for _, actual, _ in ended:
        if min(actual.requests, actual.tokens, actual.micros) < 0:
            raise ValueError(f"a call cannot use less than nothing: {actual}")
    rows = [{"id": call.id, "state": state, **counted(actual)} for call, actual, state in ended]
    if driver.each(how, rows) != len(rows):
        which = ", ".join(f"{call.id} to {call.source!r}" for call, *_ in ended)
        raise ValueError(f"call {which} was settled or released before")
    differences = [(call, actual - call.upper, call.at_ms) for call, actual, _ in ended if actual != call.upper]
    if differences:
        driver.each(CHANGE, charges(entity, differences))


def charges(entity: str, calls: Iterable[tuple[Reservation, Amount, int]]) -> list[dict[str, Any]]:
    """Rows that bring the sums of every window that a moment (milliseconds since 1970) lies in up by an amount."""
    by_second: dict[tuple[int, str, str, str], list[int]] = {}
    for call, difference, at in calls:
        sums = by_second.setdefault((at // 1000, call.source, call.use.value, call.project), [0, 0, 0])
        sums[0] += difference.requests
        sums[1] += difference.tokens
        sums[2] += difference.micros
    rows: dict[tuple[str, int, str, str, str], dict[str, Any]] = {}
    for (second, source, use, project), (requests, tokens, micros) in by_second.items():
        whose = {"entity": entity, "source": source, "use": use, "project": project}
        for per, start in windows(second * 1000).items():
            row = rows.setdefault(
                (per, start, source, use, project),
                {**whose, "per": per, "start": start, "requests": 0, "tokens": 0, "micros": 0},
            )
            row["requests"] += requests
            row["tokens"] += tokens
            row["micros"] += micros
    return list(rows.values())


@lru_cache(64)
def _windows(second: int) -> dict[str, int]:
    day = datetime.fromtimestamp(second, UTC)
    return {"second": second, "day": second // 86_400, "month": day.year * 12 + day.month - 1, "total": 0}


def windows(at: int) -> Mapping[str, int]:
    """The windows that a moment (milliseconds since 1970) lies in, each by a number that only rises with time."""
    return _windows(at // 1000)


def _minute(at: int) -> int:
    """The first second whose calls may lie within a minute of `at`.

    A fixed minute would let twice the limit through within a moment on either side of its end, which a provider who
    counts otherwise answers with 429. So it slides, by whole seconds, and the second in which the minute began counts
    in full: never more than the limit in any 60 seconds, at 60/61 of the rate.
    """
    return at // 1000 - MINUTE_S


def counted(amount: Amount) -> dict[str, int]:
    return {"requests": amount.requests, "tokens": amount.tokens, "micros": amount.micros}


def amount(sums: Sequence[Any]) -> Amount:
    """Requests, tokens and micros as a row has them."""
    return Amount(*map(int, sums))  # PostgreSQL sums integers to decimals
