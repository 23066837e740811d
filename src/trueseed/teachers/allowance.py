"""How much may still be asked: requests, tokens and money, reserved before a call and settled after it.

    allowance = Allowance(Account.open(), limits, entity="us")
    reservation = allowance.reserve(
        source="openai/gpt-4@azure", use=Use.JUDGE, project="seed", request=digest, upper=upper)
    ...  # the call
    allowance.settle(reservation, actual, "answered")

Every call reserves the most it can cost, in one transaction that also looks for holds and at every limit, so that no
number of threads, processes or machines spends more than was allowed. What was reserved counts as spent until it is
settled; a call whose process died in flight is `unknown` and stays charged until it is reconciled.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Literal

import sqlalchemy as sql

from trueseed.teachers.account import Account
from trueseed.teachers.amounts import FREE, NOTHING, Amount, Price, price_of
from trueseed.teachers.clock import Clock, tick
from trueseed.teachers.holds import must_be_free
from trueseed.teachers.limits import Exhausted, Limit, Per, sentence
from trueseed.teachers.process import Process, this_process
from trueseed.teachers.way import Way
from trueseed.terms.model import Use, parse_source

__all__ = [
    "FREE",
    "Allowance",
    "Amount",
    "Exhausted",
    "Limit",
    "Price",
    "Reservation",
    "Used",
    "price_of",
]

Outcome = Literal["answered", "failed", "cached"]
PER: Mapping[Per, str] = {"minute": "second", "day": "day", "month": "month", "total": "total"}  # how sums are kept
MINUTE_S = 60
FORGOTTEN_MS = 3_600_000


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a source was asked for one use by one project on one day (UTC). charged: reserved and unknown calls
    included, at their reservations. The counts are of calls, by what became of them; reconciled ones were unknown.
    """

    day: str
    source: str
    use: Use
    project: str
    charged: Amount = NOTHING
    answered: int = 0
    failed: int = 0
    cached: int = 0
    unknown: int = 0
    reserved: int = 0
    reconciled: int = 0


Amended = tuple[Reservation, Amount, Literal["reconciled", "failed"]]
Amend = Callable[[Sequence[Amended]], None]


_INSERT = sql.text(
    "INSERT INTO calls (entity, source, use, project, request, state, requests, tokens, micros, at, host, boot, pid,"
    " started) VALUES (:entity, :source, :use, :project, :request, :state, :requests, :tokens, :micros, :at, :host,"
    " :boot, :pid, :started) RETURNING id"
)
_ADD = sql.text(
    "INSERT INTO spent (entity, per, start, source, use, project, requests, tokens, micros)"
    " VALUES (:entity, :per, :start, :source, :use, :project, :requests, :tokens, :micros)"
    " ON CONFLICT (entity, per, start, source, use, project) DO UPDATE SET requests = spent.requests"
    " + excluded.requests, tokens = spent.tokens + excluded.tokens, micros = spent.micros + excluded.micros"
)
_CHANGE = sql.text(  # no more than that: what was pruned does not come back as less than nothing
    "UPDATE spent SET requests = requests + :requests, tokens = tokens + :tokens, micros = micros + :micros"
    " WHERE entity = :entity AND per = :per AND start = :start AND source = :source AND use = :use"
    " AND project = :project"
)
_SETTLE = sql.text(
    "UPDATE calls SET state = :state, requests = :requests, tokens = :tokens, micros = :micros"
    " WHERE id = :id AND state IN ('reserved', 'unknown')"
)
_SPENT = sql.text(  # each part by the whole key, however long the account's history is
    "SELECT per, source, use, project, sum(requests) AS requests, sum(tokens) AS tokens, sum(micros) AS micros"
    " FROM spent WHERE entity = :entity AND per = 'second' AND start >= :minute GROUP BY per, source, use, project"
    + "".join(
        " UNION ALL SELECT per, source, use, project, requests, tokens, micros"
        f" FROM spent WHERE entity = :entity AND per = '{per}' AND start = :{per}"
        for per in ("day", "month", "total")
    )
)
_SECONDS = sql.text("SELECT * FROM spent WHERE entity = :entity AND per = 'second' AND start >= :minute ORDER BY start")
_PRUNE = sql.text("DELETE FROM spent WHERE entity = :entity AND per = 'second' AND start < :start")
_IN_FLIGHT = sql.text("SELECT * FROM calls WHERE state = 'reserved' AND entity = :entity")
_LOSE = sql.text("UPDATE calls SET state = 'unknown' WHERE id = :id AND state = 'reserved'")
_UNKNOWN = sql.text("SELECT * FROM calls WHERE state = 'unknown' AND entity = :entity ORDER BY id")
_AMEND = sql.text(
    "UPDATE calls SET state = :state, requests = :requests, tokens = :tokens, micros = :micros"
    " WHERE id = :id AND state IN ('unknown', 'failed')"
)
_BY_DAY = sql.text(
    "SELECT at / 86400000 AS day, source, use, project, state, count(*) AS n, sum(requests) AS requests,"
    " sum(tokens) AS tokens, sum(micros) AS micros FROM calls"
    " WHERE entity = :entity AND at >= :since AND at < :until AND state <> 'released'"
    " GROUP BY at / 86400000, source, use, project, state"
)


class Allowance:
    """The limits of one legal entity on one account. Safe to share between threads, and with a forked child."""

    def __init__(self, account: Account, limits: Sequence[Limit], entity: str, clock: Clock | None = None) -> None:
        """Sweeps first: calls in flight of processes that died become unknown. Raises `AccountUnavailable`."""
        self.entity = entity
        self._account, self._limits, self._clock = account, tuple(limits), clock or Clock()
        self.sweep()

    # -- one call --------------------------------------------------------------------------------------------------

    def reserve(
        self, *, source: str, use: Use, project: str, request: str, upper: Amount, way: Way | None = None
    ) -> Reservation:
        """Room for one call that uses at most `upper`; `request` is the request's digest, `way` how it will go.

        A retry is another call. Money limits do not hold up what costs nothing. Raises `Exhausted` when a limit has no
        room, `OnHold` when the maker or the way is, `AccountUnavailable`; then nothing is reserved.
        """
        if min(upper.requests, upper.tokens, upper.micros) < 0:
            raise ValueError(f"a call cannot use less than nothing: {upper}")
        limits = self._binding(source, use, project)
        with self._account.writing() as connection:
            must_be_free(connection, self.entity, source, way)
            now = tick(connection, self._clock)
            if limits:
                self._must_have_room(connection, limits, upper, now)
            kept = self._insert(connection, source, use, project, request, "reserved", upper, now)
            connection.execute(_ADD, self._charges(kept, upper, now))
        return kept

    def settle(self, reservation: Reservation, actual: Amount, outcome: Outcome) -> None:
        """The call came back and used `actual`, which is charged even where it is more than was reserved.

        Raises `ValueError` when it was settled or released before, or `actual` is negative; `AccountUnavailable`, and
        then it stays charged at its reservation until it is settled after all, or reconciled.
        """
        if min(actual.requests, actual.tokens, actual.micros) < 0:
            raise ValueError(f"a call cannot use less than nothing: {actual}")
        with self._account.writing() as connection:
            self._close(connection, reservation, actual, outcome)

    def release(self, reservation: Reservation) -> None:
        """The call provably never left: nothing is charged. Raises `ValueError` as `settle`, `AccountUnavailable`."""
        with self._account.writing() as connection:
            self._close(connection, reservation, NOTHING, "released")

    def cached(self, *, source: str, use: Use, project: str, request: str) -> None:
        """Counts an answer that came from a cache: in reports, against no limit.

        Raises `OnHold` when the maker is, and then it must not be handed out; `AccountUnavailable`.
        """
        with self._account.writing() as connection:
            must_be_free(connection, self.entity, source)
            now = tick(connection, self._clock)
            self._insert(connection, source, use, project, request, "cached", NOTHING, now)

    # -- calls of which nobody knows what became ---------------------------------------------------------------------

    def sweep(self) -> int:
        """Turns reservations of processes that died into unknown calls; returns how many.

        Of processes on other hosts nothing can be seen, and a server that lives may have lost a call: those are unknown
        after `FORGOTTEN_MS`, longer than any call takes. If one does come back it is settled like any other.
        """
        with self._account.writing() as connection:
            now = tick(connection, self._clock)
            lost = []
            for row in connection.execute(_IN_FLIGHT, {"entity": self.entity}):
                gone = Process(row.host, row.boot, row.pid, row.started).is_gone()
                if gone or row.at < now - FORGOTTEN_MS:
                    lost.append({"id": row.id})
            if lost:
                connection.execute(_LOSE, lost)
            connection.execute(_PRUNE, {"entity": self.entity, "start": (now - FORGOTTEN_MS) // 1000})
        return len(lost)

    def unknown(self) -> list[Reservation]:
        """Calls of which nobody knows what became, oldest first. Raises `AccountUnavailable`."""
        with self._account.reading() as connection:
            rows = connection.execute(_UNKNOWN, {"entity": self.entity}).all()
        return [_reservation(row) for row in rows]

    @contextmanager
    def amending(self) -> Iterator[tuple[sql.Connection, Amend]]:
        """One transaction in which calls are charged what a bill shows of them (`reconcile`): a connection to look
        with, and what amends calls that are unknown or failed. Raises `AccountUnavailable`.
        """
        with self._account.writing() as connection:
            yield connection, partial(self._amend, connection)

    # -- reports ---------------------------------------------------------------------------------------------------

    def used(self, *, source: str = "*", maker: str | None = None, since: datetime, until: datetime) -> list[Used]:
        """What was used in [since, until), over all routes, keys and workspaces of this account, in order.

        Calls that were released never left and are not counted. Raises `AccountUnavailable`.
        """
        between = {"entity": self.entity, "since": _ms(since), "until": _ms(until)}
        with self._account.reading() as connection:
            rows = connection.execute(_BY_DAY, between).all()
        found: dict[tuple[str, str, str, str], Used] = {}
        for row in rows:
            if not fnmatchcase(row.source, source) or maker not in (None, parse_source(row.source).maker):
                continue
            day = datetime.fromtimestamp(int(row.day) * 86_400, UTC).date().isoformat()
            key = (row.source, row.use, row.project, day)
            so_far = found.get(key) or Used(day=day, source=row.source, use=Use(row.use), project=row.project)
            counts = {row.state: getattr(so_far, row.state) + int(row.n)}
            found[key] = replace(so_far, charged=so_far.charged + _charged(row), **counts)
        return [found[key] for key in sorted(found)]

    # -- the pieces ------------------------------------------------------------------------------------------------

    def _binding(self, source: str, use: Use, project: str) -> list[Limit]:
        return [limit for limit in self._limits if limit.matches(source, use, project)]

    def _must_have_room(self, connection: sql.Connection, limits: Sequence[Limit], upper: Amount, now: int) -> None:
        wanted = {"entity": self.entity, **_windows(now), "minute": _minute(now)}
        rows = connection.execute(_SPENT, wanted).all()
        full = []
        for limit in limits:
            charged = sum((_charged(row) for row in rows if row.per == PER[limit.per] and limit.counts(row)), NOTHING)
            if dimension := limit.lacks(charged, upper):
                full.append((limit, dimension, charged, self._room_again(connection, limit, charged, upper, now)))
        if full:
            # Waiting for the first of them would only lead to the next, so the last one is named.
            limit, dimension, charged, again = max(full, key=lambda each: each[3] or math.inf)
            shift = self._clock.wall() * 1000 - now  # what a person's clock shows then
            until = None if again is None else datetime.fromtimestamp(math.ceil((again + shift) / 1000), UTC)
            raise Exhausted(sentence(limit, dimension, charged, upper, until), limit=limit, until=until)

    def _room_again(
        self, connection: sql.Connection, limit: Limit, charged: Amount, upper: Amount, now: int
    ) -> int | None:
        """Account time from which there is room if nothing else is asked; None when waiting does not help."""
        if limit.per == "total" or limit.lacks(NOTHING, upper):
            return None
        if limit.per == "minute":
            for row in connection.execute(_SECONDS, {"entity": self.entity, "minute": _minute(now)}):
                charged -= _charged(row) if limit.counts(row) else NOTHING
                if not limit.lacks(charged, upper):
                    return (int(row.start) + MINUTE_S + 1) * 1000
        day = datetime.fromtimestamp(now // 1000, UTC).replace(hour=0, minute=0, second=0)
        following = (
            day + timedelta(days=1) if limit.per == "day" else (day.replace(day=28) + timedelta(days=4)).replace(day=1)
        )
        return _ms(following)

    def _insert(
        self,
        connection: sql.Connection,
        source: str,
        use: Use,
        project: str,
        request: str,
        state: str,
        amount: Amount,
        now: int,
    ) -> Reservation:
        process = this_process()
        identity = connection.scalar(
            _INSERT,
            {
                "entity": self.entity,
                "source": source,
                "use": use.value,
                "project": project,
                "request": request,
                "state": state,
                "requests": amount.requests,
                "tokens": amount.tokens,
                "micros": amount.micros,
                "at": now,
                "host": process.host,
                "boot": process.boot,
                "pid": process.pid,
                "started": process.started,
            },
        )
        assert identity is not None
        return Reservation(identity, source, use, project, request, amount, now)

    def _charges(self, call: Reservation, difference: Amount, at: int) -> list[dict[str, Any]]:
        """Rows that bring the sums of every window that `at` lies in up by `difference`."""
        shared = {
            "entity": self.entity,
            "source": call.source,
            "use": call.use.value,
            "project": call.project,
            "requests": difference.requests,
            "tokens": difference.tokens,
            "micros": difference.micros,
        }
        return [{**shared, "per": per, "start": start} for per, start in _windows(at).items()]

    def _amend(self, connection: sql.Connection, changes: Sequence[Amended]) -> None:
        """Raises `ValueError` when one of them is neither unknown nor failed any more; then none is amended."""
        windows: dict[tuple[Any, ...], dict[str, Any]] = {}
        for call, actual, state in changes:
            amount = {name: getattr(actual, name) for name in ("requests", "tokens", "micros")}
            if connection.execute(_AMEND, {"id": call.id, "state": state, **amount}).rowcount != 1:
                raise ValueError(f"call {call.id} to {call.source!r} was settled or released before")
            for row in self._charges(call, actual - call.upper, call.at_ms):
                key = tuple(value for name, value in row.items() if name not in amount)
                summed = windows.setdefault(key, {**row, **dict.fromkeys(amount, 0)})
                for name in amount:
                    summed[name] += row[name]
        if windows:  # summed first: thousands of calls of a month share few windows, and others wait for their turn
            connection.execute(_CHANGE, list(windows.values()))

    def _close(self, connection: sql.Connection, call: Reservation, actual: Amount, state: str) -> None:
        said = {
            "id": call.id,
            "state": state,
            "requests": actual.requests,
            "tokens": actual.tokens,
            "micros": actual.micros,
        }
        if connection.execute(_SETTLE, said).rowcount != 1:
            raise ValueError(f"call {call.id} to {call.source!r} was settled or released before")
        if actual != call.upper:
            connection.execute(_CHANGE, self._charges(call, actual - call.upper, call.at_ms))


def _windows(at: int) -> dict[str, int]:
    """The windows that a moment (milliseconds since 1970) lies in, each by a number that only rises with time."""
    day = datetime.fromtimestamp(at // 1000, UTC)
    return {"second": at // 1000, "day": at // 86_400_000, "month": day.year * 12 + day.month - 1, "total": 0}


def _minute(at: int) -> int:
    """The first second whose calls may lie within a minute of `at`.

    A fixed minute would let twice the limit through within a moment on either side of its end, which a provider who
    counts otherwise answers with 429. So it slides, by whole seconds, and the second in which the minute began counts
    in full: never more than the limit in any 60 seconds, at 60/61 of the rate.
    """
    return at // 1000 - MINUTE_S


def _charged(row: Any) -> Amount:
    return Amount(int(row.requests), int(row.tokens), int(row.micros))  # PostgreSQL sums integers to decimals


def _reservation(row: Any) -> Reservation:
    return Reservation(row.id, row.source, Use(row.use), row.project, row.request, _charged(row), row.at)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
