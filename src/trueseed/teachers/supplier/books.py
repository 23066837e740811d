"""Our calls as a maker's bill would see them: which it surely bills, which it may, and which it does not.

    billed     it was answered, or a bill showed it before: the maker bills it
    doubtful   nobody knows whether it is billed: it broke off (unknown), or what came back was no answer (failed, and
               charged at its reservation)
    in flight  under way: it may be billed by now

What failed without a charge (the maker said no), was cached or never left is on no bill.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sql

from trueseed.teachers.account.allowance import Reservation
from trueseed.teachers.account.amounts import NOTHING, Amount
from trueseed.terms.model import Use

SLOT_MS = 600_000  # sums are kept by ten minutes, so that calls near midnight are told from others

Kind = Literal["billed", "doubtful", "in_flight"]

_KINDS: dict[str, Kind] = {
    "answered": "billed",
    "reconciled": "billed",
    "unknown": "doubtful",
    "failed": "doubtful",
    "reserved": "in_flight",
}
_SUMS = sql.text(
    f"SELECT at / {SLOT_MS} AS slot, source, state, count(*) AS n, sum(requests) AS requests, sum(tokens) AS tokens,"
    " sum(micros) AS micros FROM calls WHERE entity = :entity AND at >= :since AND at < :until"
    " AND (state IN ('answered', 'reconciled', 'unknown', 'reserved') OR (state = 'failed' AND tokens > 0))"
    f" GROUP BY at / {SLOT_MS}, source, state"
)
_DOUBTFUL = sql.text(
    "SELECT * FROM calls WHERE entity = :entity AND at >= :since AND at < :until"
    " AND (state = 'unknown' OR (state = 'failed' AND tokens > 0)) ORDER BY id"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """Calls of one source and kind that were reserved within the ten minutes from `at`. amount: their requests, tokens
    and money; of doubtful ones and those in flight the most that it can be.
    """

    at: datetime
    source: str
    kind: Kind
    amount: Amount


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A call of which nobody knows whether it is billed. garbled: what came back was no answer."""

    call: Reservation
    garbled: bool


@dataclass(frozen=True, slots=True)
class Books:
    """What stands in the account of some sources in some time, as of one transaction."""

    sums: tuple[Sum, ...]
    doubtful: tuple[Doubtful, ...]

    def total(self, sources: Iterable[str], *, kind: Kind | None = None, within: "Span | None" = None) -> Amount:
        """kind: None for all. within: of slots that begin there."""
        wanted = frozenset(sources)
        return sum(
            (
                each.amount
                for each in self.sums
                if each.source in wanted
                and kind in (None, each.kind)
                and (within is None or within.since <= each.at < within.until)
            ),
            NOTHING,
        )

    def sources(self) -> list[str]:
        return sorted({each.source for each in self.sums})


@dataclass(frozen=True, slots=True)
class Span:
    """From `since` to `until`, which does not belong to it. Both in UTC."""

    since: datetime
    until: datetime

    def holds(self, other: "Span") -> bool:
        return self.since <= other.since and other.until <= self.until

    def meets(self, other: "Span") -> bool:
        return self.since < other.until and other.since < self.until


def read(connection: sql.Connection, entity: str, span: Span, ours: Callable[[str], bool]) -> Books:
    """The books of the sources that `ours` chooses, as of the transaction that `connection` is in."""
    between = {"entity": entity, "since": _ms(span.since), "until": _ms(span.until)}
    rows = connection.execute(_SUMS, between).all()
    chosen = {source for source in {row.source for row in rows} if ours(source)}
    return Books(
        sums=tuple(_sum(row) for row in rows if row.source in chosen),
        doubtful=tuple(_doubtful(row) for row in connection.execute(_DOUBTFUL, between) if row.source in chosen),
    )


def _sum(row: Any) -> Sum:
    amount = Amount(int(row.requests), int(row.tokens), int(row.micros))  # PostgreSQL sums integers to decimals
    at = datetime.fromtimestamp(int(row.slot) * SLOT_MS / 1000, UTC)
    return Sum(at=at, source=row.source, kind=_KINDS[row.state], amount=amount)


def _doubtful(row: Any) -> Doubtful:
    charged = Amount(row.requests, row.tokens, row.micros)
    call = Reservation(row.id, row.source, Use(row.use), row.project, row.request, charged, row.at)
    return Doubtful(call, garbled=row.state == "failed")


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
