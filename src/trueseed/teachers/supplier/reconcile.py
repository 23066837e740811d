"""Compares our calls with what the maker counted, settles by it what nobody knew, and names what was asked around us.

    found = reconcile(bill, Asked(scope=Scope(maker="openai"), month=Month.parse("2026-11")), account=account, …)
    found.verdict    # agrees, differs (fewer calls or other tokens), outside (TrueSeed never made them), past_stop

What is settled is charged in the account, in one transaction with a record of it; then a statement goes into the
ledger. A kill between the two leaves the record, and the next reconciliation in that workspace writes it there first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from secrets import token_hex
from typing import Any, Literal

from trueseed.core.durable import state_folder
from trueseed.errors import ConfigError
from trueseed.ledger.log import Ledger
from trueseed.ledger.signing import load
from trueseed.teachers.account.allowance import Allowance, Amended
from trueseed.teachers.account.amounts import NOTHING, Amount
from trueseed.teachers.account.holds import Holds
from trueseed.teachers.account.state import Account
from trueseed.teachers.supplier import stops, usage_api
from trueseed.teachers.supplier.bill import Bill
from trueseed.teachers.supplier.bill_models import Group, Scope, Told, grouped
from trueseed.teachers.supplier.books import Books, Doubtful, Span, read
from trueseed.teachers.supplier.compare import DAY, EDGE, Cell, cells, settlement
from trueseed.teachers.supplier.month import Month, written
from trueseed.teachers.supplier.reconciled import History
from trueseed.teachers.supplier.stops import Past, Stop

LATE = timedelta(hours=6)  # figures of a day that ended longer ago are taken to be whole

Verdict = Literal["agrees", "differs", "outside", "past_stop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """through: the last day that the figures hold whole; None for what can be known. told: sources by the maker's name
    of the model. dry_run: nothing is settled or written.
    """

    scope: Scope
    month: Month
    through: date | None = None
    told: Told = field(default_factory=dict)
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of the doubtful calls of a cell. billed: what they are charged now."""

    billed: int = 0
    not_billed: int = 0
    amount: Amount = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """id: of the reconciliation, in account and ledger. through: None when no day of the figures is whole."""

    id: str
    entity: str
    asked: Asked
    bill: Bill
    through: date | None
    at: datetime
    groups: tuple[Group, ...]
    days: tuple[tuple[Cell, Settled], ...]
    past: tuple[Past, ...]
    notes: tuple[str, ...]

    @property
    def outside(self) -> int:
        """Calls (where the maker counts tokens alone, tokens) that nothing of ours explains."""
        return sum(cell.outside for cell, _ in self.days)

    @property
    def missing(self) -> int:
        return sum(cell.missing for cell, _ in self.days)

    @property
    def left(self) -> int:
        """Doubtful calls that are still not settled."""
        return sum(cell.doubtful.requests - done.billed - done.not_billed for cell, done in self.days)

    @property
    def billed(self) -> int:
        """Our calls that are billed, as far as it is known now."""
        return sum(cell.billed.requests + done.billed for cell, done in self.days)

    @property
    def tokens_beyond(self) -> int:
        """What the maker counted in tokens beyond ours on days that its figures hold whole; less is negative.

        Not of models of which a call was moved over the end of those days: its tokens are not known by themselves.
        """
        beyond = 0
        for group in self.groups:
            whole = [(cell, done) for cell, done in self.days if cell.whole and cell.group == group]
            if whole and not whole[0][0].explained.moved and not whole[-1][0].explained.onward:
                beyond += sum(cell.said.tokens or 0 for cell, _ in whole if cell.said)
                beyond -= sum(cell.billed.tokens + done.amount.tokens for cell, done in whole)
        return beyond

    @property
    def verdict(self) -> Verdict:
        if self.past or self.outside:
            return "past_stop" if self.past else "outside"
        return "differs" if self.missing or self.tokens_beyond else "agrees"

    def to_json(self) -> dict[str, Any]:
        """The predicate of the statement; see docs/ledger-format.md."""
        return {
            "id": self.id,
            "at": written(self.at),
            "entity": self.entity,
            "maker": self.asked.scope.maker,
            "sources": self.asked.scope.pattern,
            "month": str(self.asked.month),
            "through": self.through.isoformat() if self.through else None,
            "figures": {"kind": self.bill.kind, "sha256": self.bill.digest},
            "models": [{"names": list(group.models), "sources": list(group.sources)} for group in self.groups],
            "verdict": self.verdict,
            "outside": self.outside,
            "missing": self.missing,
            "billed": self.billed,
            "tokens_beyond": self.tokens_beyond,
            "settled": {
                "billed": sum(done.billed for _, done in self.days),
                "not_billed": sum(done.not_billed for _, done in self.days),
                "left": self.left,
            },
            "days": [_told(cell, done) for cell, done in self.days],
            "past": [each.to_json() for each in self.past],
            "notes": list(self.notes),
        }


def reconcile(
    bill: Bill, asked: Asked, *, account: Account, entity: str, ledgers: Sequence[Ledger], now: datetime
) -> Reconciled:
    """ledgers: of the workspaces whose recalls count; the statement goes into the first.

    Raises `ConfigError` when something would have to be guessed (a model's name, a route, a day that is to come), or
    there is no ledger and it is no dry run; `AccountUnavailable`, and then nothing was settled.
    """
    month, maker = Span(asked.month.since, asked.month.until), asked.scope.maker
    if month.since > now:
        raise ConfigError(f"{asked.month} has not begun; give a month of which the maker has figures")
    if not ledgers and not asked.dry_run:
        raise ConfigError(
            "name the workspace whose ledger the reconciliation goes into (--workspace), or use --dry-run"
        )
    if ledgers and not asked.dry_run:
        _must_be_ours(ledgers[0])
    through = _through(bill.within(month), asked, now)
    known = stops.holds_on(Holds(account, entity).spells(maker)) + stops.recalls_in(ledgers, maker)
    allowance, history = Allowance(account, (), entity), History(account)
    ours = [each for each in stops.ours(known, allowance, month) if asked.scope.holds(each.name)]
    if not asked.dry_run:
        history.finish(ledgers[0], entity)
    with allowance.amending() as (connection, amend):
        books = read(connection, entity, Span(month.since - EDGE, month.until + EDGE), asked.scope.holds)
        found, done = _compared(bill.within(month), books, asked, through, known, now)
        found = replace(found, entity=entity, past=(*found.past, *ours))
        if not asked.dry_run:
            amend([_charged(each, amount) for each, amount in done])
            history.keep(connection, found.to_json(), ledgers[0].origin)
    if not asked.dry_run:
        history.finish(ledgers[0], entity)
    return found


def _compared(
    bill: Bill, books: Books, asked: Asked, through: date, known: Sequence[Stop], now: datetime
) -> tuple[Reconciled, list[tuple[Doubtful, Amount | None]]]:
    """What is found, and what each doubtful call is to be charged."""
    groups, left_out = grouped(bill, books, asked.scope, asked.told)
    days = [day for day in asked.month.days if day <= now.astimezone(UTC).date()]
    compared = cells(bill, books, groups, days, through)
    doubtful = _by_day(books)
    settled = [
        (
            cell,
            settlement(cell, [each for source in cell.group.sources for each in doubtful.get((source, cell.day), ())]),
        )
        for cell in compared
    ]
    found = Reconciled(
        id=f"rec-{token_hex(8)}",
        entity="",
        asked=asked,
        bill=bill,
        through=through if through >= asked.month.first else None,
        at=now,
        groups=tuple(groups),
        days=tuple((cell, _sum(done)) for cell, done in settled if _is_something(cell)),
        past=tuple(stops.past(known, compared, bill, books)),
        notes=_notes(bill, left_out, through, asked, now),
    )
    return found, [pair for _, done in settled for pair in done]


def _must_be_ours(ledger: Ledger) -> None:
    """Before anything is settled that could not be stated there."""
    signer = load("operator", state_folder() / "keys")
    if signer is None or signer.public_key != ledger.key("operator").public_key:
        raise ConfigError(
            f"{ledger.folder} is not this user's ledger, so nothing can be stated there; name one of yours first"
        )


def _through(bill: Bill, asked: Asked, now: datetime) -> date:
    """The last day that the figures hold whole. Of a file nobody knows when it was exported, so while the month lasts,
    the last day that it says something of is not taken for whole.
    """
    ended = (now - LATE).date() - DAY
    last = asked.month.days[-1]
    if asked.through is not None:
        if not asked.month.first <= asked.through <= min(last, now.date()):
            raise ConfigError(f"--through {asked.through} is not a day of {asked.month} that has come")
        return asked.through
    if last <= ended or bill.kind == usage_api.KIND:
        return min(last, ended)
    return min(ended, (bill.last_day or asked.month.first) - DAY)


def _by_day(books: Books) -> dict[tuple[str, date], list[Doubtful]]:
    """The doubtful calls of each source and day, oldest first."""
    found: dict[tuple[str, date], list[Doubtful]] = {}
    for each in books.doubtful:
        found.setdefault((each.call.source, each.call.at.date()), []).append(each)
    return found


def _charged(each: Doubtful, amount: Amount | None) -> Amended:
    """What came back garbled and was not billed is a call that failed, as if the maker had said no."""
    if amount is None and each.garbled:
        return each.call, Amount(requests=1), "failed"
    return each.call, amount or NOTHING, "reconciled"


def _sum(done: Sequence[tuple[Doubtful, Amount | None]]) -> Settled:
    billed = [amount for _, amount in done if amount is not None]
    return Settled(billed=len(billed), not_billed=len(done) - len(billed), amount=sum(billed, NOTHING))


def _is_something(cell: Cell) -> bool:
    return cell.said is not None or any((cell.billed != NOTHING, cell.doubtful != NOTHING, cell.in_flight != NOTHING))


def _notes(bill: Bill, left_out: Sequence[str], through: date, asked: Asked, now: datetime) -> tuple[str, ...]:
    told = list(bill.notes)
    if left_out:
        told.append(f"of other sources than {asked.scope.pattern!r} of {asked.scope.maker!r}: {', '.join(left_out)}")
    if through < asked.month.first:
        told.append("no day of the figures is known to be whole yet: only what is too much was looked for")
    elif through < min(asked.month.days[-1], now.date()):
        told.append(
            f"whole through {through}; on later days only what is too much was looked for, and nothing was settled"
        )
    return tuple(told)


def _told(cell: Cell, done: Settled) -> dict[str, Any]:
    said = cell.said
    return {
        "day": cell.day.isoformat(),
        "names": list(cell.group.models),
        "sources": list(cell.group.sources),
        "whole": cell.whole,
        "unit": "calls" if cell.counted else "tokens",
        "said": {
            "calls": said.calls if said else 0,
            "tokens": said.tokens if said else 0,
            "micros": said.micros if said else None,
        },
        "ours": {
            "billed": cell.billed.requests,
            "doubtful": cell.doubtful.requests,
            "in_flight": cell.in_flight.requests,
            "tokens": cell.billed.tokens,
        },
        "moved": cell.explained.moved,
        "outside": cell.outside,
        "missing": cell.missing,
        "settled": {"billed": done.billed, "not_billed": done.not_billed, "tokens": done.amount.tokens},
    }
