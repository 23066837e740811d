"""Told to stop, went on: calls that came while a hold on the maker, or a recall of the source, stood.

A hold binds our legal entity on every route, and stands in the account. A recall stands in the ledger of a workspace,
and is looked for in those that are named. What the maker counted beyond ours shows in its figures only: exactly where
they are finer than the stop, and as a possibility on the day on which it began, or when the recall is of one use or
project, which no maker's figures tell. A recall by terms is no stop here: under which terms a call was made is not
counted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from trueseed.ledger.log import Ledger
from trueseed.ledger.withdrawals import Recalls, Withdrawal
from trueseed.teachers.account.allowance import Allowance, Used
from trueseed.teachers.account.holds import Spell
from trueseed.teachers.supplier.bill import Bill
from trueseed.teachers.supplier.books import Books, Span
from trueseed.teachers.supplier.compare import DAY, EDGE, Cell

FOR_EVER = datetime(9999, 1, 1, tzinfo=UTC)
AT_ONCE = timedelta(seconds=5)  # a call may have been reserved in the very second, and clocks differ


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """what: the maker on hold, or the source recalled. use, project: for or by which it was; '' for every one."""

    kind: Literal["hold", "recall"]
    what: str
    why: str
    span: Span
    use: str = ""
    project: str = ""

    @property
    def is_narrow(self) -> bool:
        return bool(self.use or self.project)

    def covers(self, used: Used) -> bool:
        return (
            self.binds(used.source)
            and (not self.use or used.use == self.use)
            and (not self.project or used.project == self.project)
        )

    def binds(self, source: str) -> bool:
        return source == self.what or (self.kind == "hold" and source.partition("/")[0] == self.what)

    def __str__(self) -> str:
        stood = "on hold" if self.kind == "hold" else "recalled"
        until = "" if self.span.until == FOR_EVER else f" until {self.span.until:%Y-%m-%dT%H:%M:%SZ}"
        only = (f" to {self.use}" if self.use else "") + (f" by project {self.project!r}" if self.project else "")
        return f"{self.what!r} was {stood}{only} from {self.span.since:%Y-%m-%dT%H:%M:%SZ}{until} ({self.why})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """Calls of one day that came past a stop. outside: the maker counted them and TrueSeed did not; else they are ours,
    asked for `use` by `project`. calls: how many at least; at_most is more when the figures do not tell the hour.
    unit: `calls`, or `tokens` where the maker counts those alone.
    """

    stop: Stop
    day: date
    name: str
    outside: bool
    calls: int
    at_most: int
    unit: str = "calls"
    use: str = ""
    project: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "stop": self.stop.kind,
            "of": self.stop.what,
            "since": f"{self.stop.span.since:%Y-%m-%dT%H:%M:%SZ}",
            "day": self.day.isoformat(),
            "name": self.name,
            "outside": self.outside,
            "calls": self.calls,
            "at_most": self.at_most,
            "unit": self.unit,
            "use": self.use,
            "project": self.project,
        }

    def __str__(self) -> str:
        who = "made outside TrueSeed" if self.outside else f"made by project {self.project!r} for {self.use}"
        much = f"{self.calls} {self.unit}" if self.calls == self.at_most else f"up to {self.at_most} {self.unit}"
        tells = "use and project" if self.stop.is_narrow else "the hour"
        other = "for something else" if self.stop.is_narrow else "from before"
        perhaps = "" if self.calls == self.at_most else f"; the figures do not tell {tells}, so some may be {other}"
        return f"{self.day}: {much} to {self.name}, {who}, although {self.stop}{perhaps}"


def holds_on(spells: Iterable[Spell]) -> list[Stop]:
    return [
        Stop(
            kind="hold",
            what=spell.hold.maker,
            why=spell.hold.reason,
            span=Span(_read(spell.hold.placed_at), _read(spell.released_at) if spell.released_at else FOR_EVER),
        )
        for spell in spells
    ]


def recalls_in(ledgers: Iterable[Ledger], maker: str) -> list[Stop]:
    """The recalls that forbid asking sources of `maker`, of several of one kind the longest. Raises `Broken` when a
    ledger changed underneath.
    """
    stops: list[Stop | None] = []
    for ledger in ledgers:
        recalls = Recalls.read(ledger)
        stops += [_recalled(each, FOR_EVER) for each in recalls.standing.values()]
        stops += [_recalled(each, _read(str(entry.predicate["at"]))) for each, entry in recalls.released.values()]
    found: list[Stop] = []
    for stop in sorted(filter(None, stops), key=lambda stop: (stop.what, stop.span.since)):
        kind = (stop.what, stop.use, stop.project)
        if stop.what.partition("/")[0] == maker and not any(
            (known.what, known.use, known.project) == kind and known.span.until >= stop.span.until for known in found
        ):
            found.append(stop)
    return found


def _recalled(each: Withdrawal, until: datetime) -> Stop | None:
    """None for a recall under which the source may be asked."""
    if each.asking_goes_on or each.terms:
        return None
    return Stop(
        kind="recall",
        what=each.source,
        why=each.reason,
        span=Span(_read(each.at), until),
        use=each.use,
        project=each.project,
    )


def past(stops: Sequence[Stop], cells: Sequence[Cell], bill: Bill, books: Books) -> list[Past]:
    """What the maker counted beyond ours while a stop stood."""
    found = []
    for stop in stops:
        for cell in cells:
            since = datetime(cell.day.year, cell.day.month, cell.day.day, tzinfo=UTC)
            day = Span(since, since + DAY)
            if not cell.outside or not stop.span.meets(day) or not any(stop.binds(each) for each in cell.group.sources):
                continue
            surely = cell.outside if stop.span.holds(day) else min(cell.outside, _after(stop, cell, bill, books, day))
            surely = 0 if stop.is_narrow else surely
            found.append(
                Past(
                    stop=stop,
                    day=cell.day,
                    name=str(cell.group),
                    outside=True,
                    calls=surely,
                    at_most=cell.outside,
                    unit="calls" if cell.counted else "tokens",
                )
            )
    return found


def ours(stops: Sequence[Stop], allowance: Allowance, within: Span) -> list[Past]:
    """Calls of our own that were reserved while a stop stood. Raises `AccountUnavailable`."""
    found = []
    for stop in stops:
        since, until = max(within.since, stop.span.since + AT_ONCE), min(within.until, stop.span.until)
        if since >= until:
            continue
        for used in allowance.used(since=since, until=until):
            calls = used.answered + used.failed + used.unknown + used.reserved + used.reconciled
            if calls and stop.covers(used):
                found.append(
                    Past(
                        stop=stop,
                        day=date.fromisoformat(used.day),
                        name=used.source,
                        outside=False,
                        calls=calls,
                        at_most=calls,
                        use=used.use.value,
                        project=used.project,
                    )
                )
    return found


def _after(stop: Stop, cell: Cell, bill: Bill, books: Books, day: Span) -> int:
    """On the day on which a stop began or ended: what the maker has within it, less what may be ours."""
    figures = [
        f for f in bill.figures if f.model in cell.group.models and day.holds(f.span) and stop.span.holds(f.span)
    ]
    if not figures:
        return 0
    said = sum((f.calls if cell.counted else f.tokens) or 0 for f in figures)
    near = Span(max(day.since, stop.span.since) - EDGE - EDGE, min(day.until, stop.span.until))
    may_be_ours = books.total(cell.group.sources, within=near)
    return max(0, said - (may_be_ours.requests if cell.counted else may_be_ours.tokens))


def _read(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
