"""How much may still be asked: requests, tokens and money, reserved before a call and settled after it.

    allowance = Allowance(Account.open(), limits, entity="us")
    reservation = allowance.reserve(
        source="openai/gpt-4@azure", use=Use.JUDGE, project="seed", request=digest, upper=upper)
    ...  # the call
    allowance.settle(reservation, actual, "answered")

Beside the limits it is given, those that stand in the account bind it (`shared`), read anew for every lot.

Every call reserves the most it can cost, in one transaction that also looks for holds and at every limit, so that no
number of threads, processes or machines spends more than was allowed. What was reserved counts as spent until it is
settled; a call whose process died in flight is `unknown` and stays charged until it is reconciled.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Literal

import sqlalchemy as sql

from trueseed.core.driver import Driver, Statement
from trueseed.errors import TrueSeedError
from trueseed.teachers.account import charging, quotas
from trueseed.teachers.account.amounts import FREE, NOTHING, Amount, Price, price_of
from trueseed.teachers.account.charging import Closed, Limits, Lot, Reservation, Wanted
from trueseed.teachers.account.clock import Clock, tick
from trueseed.teachers.account.holds import must_be_free
from trueseed.teachers.account.limits import Exhausted, Limit
from trueseed.teachers.account.process import Process
from trueseed.teachers.account.quotas import Quotas
from trueseed.teachers.account.shared import Row, limits_of, rows_of
from trueseed.teachers.account.state import Account
from trueseed.teachers.account.way import Way
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
FORGOTTEN_MS = 3_600_000


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


_PRUNE = sql.text("DELETE FROM spent WHERE entity = :entity AND per = 'second' AND start < :start")
_IN_FLIGHT = sql.text("SELECT * FROM calls WHERE state = 'reserved' AND entity = :entity")
_LOSE = sql.text("UPDATE calls SET state = 'unknown' WHERE id = :id AND state = 'reserved'")
_UNKNOWN = sql.text("SELECT * FROM calls WHERE state = 'unknown' AND entity = :entity ORDER BY id")
_AMEND = Statement(
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
        self._account, self._limits, self._clock = account, Limits(limits), clock or Clock()
        self._with_shared: tuple[list[Row], Limits] = ([], self._limits)
        self.quotas = Quotas(account, entity, self._clock)
        self.sweep()

    # -- one call --------------------------------------------------------------------------------------------------

    def reserve(
        self, *, source: str, use: Use, project: str, request: str, upper: Amount, way: Way | None = None
    ) -> Reservation:
        """Room for one call that uses at most `upper`; `request` is the request's digest, `way` how it will go.

        A retry is another call. Money limits do not hold up what costs nothing. Raises `Exhausted` when a limit has no
        room, `OnHold` when the maker or the way is, `OutOfQuota` when it would go past a quota of the maker's own,
        `AccountUnavailable`; then nothing is reserved.
        """
        (told,) = self.together([], [Wanted(source, use, project, request, upper)], way=way)
        if isinstance(told, TrueSeedError):
            raise told
        return told

    def lot(self, driver: Driver) -> Lot:
        """Reservations of several calls in the writing transaction that `driver` is in."""
        return Lot(driver, entity=self.entity, limits=self._binding(driver), clock=self._clock)

    def _binding(self, driver: Driver) -> Limits:
        """Ours and the account's, as of the transaction; the same object while those are the same, for it remembers."""
        rows, known = rows_of(driver, self.entity), self._with_shared
        if rows != known[0]:
            known = self._with_shared = rows, Limits((*self._limits, *limits_of(rows)))
        return known[1]

    def together(
        self, over: Sequence[Closed], wanted: Sequence[Wanted], *, way: Way | None = None, wait: bool = True
    ) -> list[Reservation | TrueSeedError]:
        """Closes the calls that are over and reserves for those that are wanted, in one transaction and in that order.
        Gives, for each that is wanted, its reservation or why there is none, as `reserve` raises it.

        wait: for this writer's turn, else `Busy` is raised. Raises `ValueError` as `settle`, `AccountUnavailable`; then
        nothing of it was done.
        """
        refused: dict[int, TrueSeedError] = {}
        with self._account.turn(wait=wait) as driver:
            self.settle_all(driver, over)
            if not wanted:
                return []
            lot = self.lot(driver)
            for place, call in enumerate(wanted):
                try:
                    lot.take(
                        source=call.source,
                        use=call.use,
                        project=call.project,
                        request=call.request,
                        upper=call.upper,
                        way=way,
                    )
                except TrueSeedError as err:
                    refused[place] = err
            kept = iter(lot.write())
        return [refused[place] if place in refused else next(kept) for place in range(len(wanted))]

    def settle(self, reservation: Reservation, actual: Amount, outcome: Outcome) -> None:
        """The call came back and used `actual`, which is charged even where it is more than was reserved.

        Raises `ValueError` when it was settled or released before, or `actual` is negative; `AccountUnavailable`, and
        then it stays charged at its reservation until it is settled after all, or reconciled.
        """
        self.together([Closed(reservation, actual, outcome)], [])

    def settle_all(self, driver: Driver, ended: Sequence[Closed]) -> None:
        """As `settle` and `release`, of several calls in the writing transaction that `driver` is in: each with its
        amount and its new state, `released` with `NOTHING`, and what it showed of the maker's own quota (`quotas`).
        After a `ValueError` it must not be committed.
        """
        charging.settle(driver, self.entity, [(each.call, each.charged, each.state) for each in ended])
        answered = [each for each in ended if each.state == "answered"]
        asked = {(each.call.source, each.way): each.call.at_ms for each in answered if each.way}
        quotas.answered(driver, self.entity, asked, self._clock)
        for each in ended:
            if each.way and each.refusal:
                at = tick(driver, self._clock)
                quotas.meet(driver, self.entity, each.call.source, each.way, each.refusal, at)

    def release(self, reservation: Reservation) -> None:
        """The call provably never left: nothing is charged. Raises `ValueError` as `settle`, `AccountUnavailable`."""
        self.together([Closed(reservation, NOTHING, "released")], [])

    def cached(self, *, source: str, use: Use, project: str, request: str, way: Way | None = None) -> None:
        """Counts an answer that came from a cache: in reports, against no limit.

        Raises `OnHold` when the maker or the way is, and then it must not be handed out; `AccountUnavailable`.
        """
        with self._account.turn() as driver:
            must_be_free(driver, self.entity, source, way)
            now = tick(driver, self._clock)
            charging.insert(driver, self.entity, [Wanted(source, use, project, request, NOTHING)], "cached", now)

    # -- calls of which nobody knows what became ---------------------------------------------------------------------

    def sweep(self) -> int:
        """Turns reservations of processes that died into unknown calls; returns how many.

        Of processes on other hosts nothing can be seen, and a server that lives may have lost a call: those are unknown
        after `FORGOTTEN_MS`, longer than any call takes. If one does come back it is settled like any other.
        """
        with self._account.writing() as connection:
            now = tick(Driver.of(connection), self._clock)
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
            yield connection, partial(charging.settle, Driver.of(connection), self.entity, how=_AMEND)

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


def _charged(row: Any) -> Amount:
    return charging.amount((row.requests, row.tokens, row.micros))


def _reservation(row: Any) -> Reservation:
    return Reservation(row.id, row.source, Use(row.use), row.project, row.request, _charged(row), row.at)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
