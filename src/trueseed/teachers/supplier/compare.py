"""Our calls beside the maker's figures, by model and day: what both agree on, what only one of the two has.

A call is entered under the time at which it was reserved, and billed when it was answered: near midnight that may be
another day, and at the ends of a month another month. So calls within ten minutes of midnight are moved to where they
explain the figures, and no others.

On days that the maker's figures hold whole, what they do not explain of ours is missing there, and what is doubtful can
be settled. On later days only what is too much is a finding: figures arrive late.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from trueseed.teachers.account.amounts import NOTHING, Amount, split
from trueseed.teachers.supplier.bill import Bill, Figure, total
from trueseed.teachers.supplier.bill_models import Group
from trueseed.teachers.supplier.books import SLOT_MS, Books, Doubtful, Sum

EDGE = timedelta(milliseconds=SLOT_MS)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """A day's calls (or tokens). least: those that are surely billed. most: with all that may be. said: the maker's.
    late, early: those that may be in the figures of the next day, or of the one before.
    """

    least: int
    most: int
    said: int
    late: int = 0
    early: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """outside: of the maker's, what nothing of ours explains. missing: of what is surely billed, what the maker does
    not have. doubtful: of what is only perhaps billed, what the maker has. moved: what came from the day before.
    onward: what went to the day after.
    """

    outside: int
    missing: int
    doubtful: int
    moved: int
    onward: int


def explain(days: Sequence[Count], *, late_before: int = 0, early_after: int = 0) -> list[Explained]:
    """Day by day, with as little left over, and then as few calls moved over a midnight, as there can be.

    late_before, early_after: near the midnights before the first and after the last day. Forward, it finds between
    which bounds the number of calls moved over each midnight (into the later day; else negative) must lie; backward, it
    takes the smallest that fits.
    """
    early = [day.early for day in days] + [early_after]
    bounds = [(-early[0], late_before)]
    for index, day in enumerate(days):
        low, high = bounds[-1]
        backward, onward = -early[index + 1], day.late
        least = min(max(low + day.least - day.said, backward), onward)
        bounds.append((least, max(least, min(high + day.most - day.said, onward))))
    moved = [_nearest(0, *bounds[-1])]
    for day, (low, high) in zip(reversed(days), reversed(bounds[:-1]), strict=True):
        fewest, most = moved[-1] + day.said - day.most, moved[-1] + day.said - day.least
        moved.append(_nearest(_nearest(0, max(low, fewest), max(low, fewest, min(high, most))), low, high))
    moved.reverse()
    return [_explained(day, moved[index], moved[index + 1]) for index, day in enumerate(days)]


def _nearest(number: int, low: int, high: int) -> int:
    return max(low, min(number, high))


def _explained(day: Count, moved_in: int, moved_on: int) -> Explained:
    least, most = day.least + moved_in - moved_on, day.most + moved_in - moved_on
    return Explained(
        outside=max(0, day.said - most),
        missing=max(0, least - day.said),
        doubtful=min(max(0, day.said - least), most - least),
        moved=moved_in,
        onward=moved_on,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One group on one day. whole: the maker's figures hold all of the day. said: the maker's; counted: whether in
    calls (else in tokens, where the maker says no calls). billed, doubtful, in_flight: ours. explained: in the unit
    that is counted.
    """

    group: Group
    day: date
    whole: bool
    said: Figure | None
    counted: bool
    billed: Amount
    doubtful: Amount
    in_flight: Amount
    explained: Explained

    @property
    def outside(self) -> int:
        return self.explained.outside

    @property
    def missing(self) -> int:
        """Figures that are not whole yet miss nothing."""
        return self.explained.missing if self.whole else 0

    @property
    def settles(self) -> bool:
        """Whether the figures show what became of the doubtful calls of this day.

        Not when they miss what is known to have been answered: they are not whole then. Nor while calls are under way
        that may be the ones billed.
        """
        if not self.whole or self.explained.missing:
            return False
        perhaps = self.doubtful + self.in_flight
        all_of_them = perhaps.requests if self.counted else perhaps.tokens
        return self.in_flight == NOTHING or self.explained.doubtful in (0, all_of_them)


def cells(bill: Bill, books: Books, groups: Sequence[Group], days: Sequence[date], through: date) -> list[Cell]:
    """By group, then day. through: the last day that the maker's figures hold whole."""
    found = []
    for group in groups:
        said, ours = _by_day(bill, group), _sums_by_day(books, group)
        counted = all(figure.calls is not None for figure in said.values())
        counts = [_count(said.get(day), ours.get(day, ()), day, counted) for day in days]
        before, after = days[0] - DAY, days[-1] + DAY
        explained = explain(
            counts,
            late_before=_count(None, ours.get(before, ()), before, counted).late,
            early_after=_count(None, ours.get(after, ()), after, counted).early,
        )
        for day, how in zip(days, explained, strict=True):
            sums = ours.get(day, ())
            found.append(
                Cell(
                    group=group,
                    day=day,
                    whole=day <= through,
                    said=said.get(day),
                    counted=counted,
                    billed=_amount(sums, "billed"),
                    doubtful=_amount(sums, "doubtful"),
                    in_flight=_amount(sums, "in_flight"),
                    explained=how,
                )
            )
    return found


def settlement(cell: Cell, doubtful: Sequence[Doubtful]) -> list[tuple[Doubtful, Amount | None]]:
    """What each doubtful call of the cell is charged now; None when it was not billed.

    How many were billed the figures show, which of them nobody knows: the earliest are taken. Their tokens are what the
    maker counted beyond the calls that are sure, at most what was reserved; money goes by tokens where it says none.
    """
    if not cell.settles:
        return []
    if not cell.counted:
        return _settled_by_tokens(cell, doubtful)
    n = min(cell.explained.doubtful, len(doubtful))
    uppers = [each.call.upper for each in doubtful[:n]]
    tokens, micros = (cell.said.tokens, cell.said.micros) if cell.said else (None, None)
    used = split(max(0, tokens - cell.billed.tokens), [a.tokens for a in uppers]) if tokens is not None else None
    paid = split(max(0, micros - cell.billed.micros), [a.micros for a in uppers]) if micros is not None else None
    charged: list[tuple[Doubtful, Amount | None]] = []
    for index, (each, upper) in enumerate(zip(doubtful[:n], uppers, strict=True)):
        share = used[index] if used else upper.tokens
        money = paid[index] if paid else -(-upper.micros * share // (upper.tokens or 1))
        charged.append((each, Amount(1, share, money)))
    return charged + [(each, None) for each in doubtful[n:]]


def _settled_by_tokens(cell: Cell, doubtful: Sequence[Doubtful]) -> list[tuple[Doubtful, Amount | None]]:
    """The maker says no calls: either none was billed, or all share what was."""
    if not cell.explained.doubtful:
        return [(each, None) for each in doubtful]
    uppers = [each.call.upper for each in doubtful]
    used = split(cell.explained.doubtful, [upper.tokens for upper in uppers])
    money = [-(-upper.micros * share // (upper.tokens or 1)) for upper, share in zip(uppers, used, strict=True)]
    return [(each, Amount(1, share, cost)) for each, share, cost in zip(doubtful, used, money, strict=True)]


def _by_day(bill: Bill, group: Group) -> Mapping[date, Figure]:
    days: dict[date, list[Figure]] = {}
    for figure in bill.figures:
        if figure.model in group.models:
            days.setdefault(figure.day, []).append(figure)
    return {day: summed for day, figures in days.items() if (summed := total(figures))}


def _sums_by_day(books: Books, group: Group) -> Mapping[date, Sequence[Sum]]:
    days: dict[date, list[Sum]] = {}
    for each in books.sums:
        if each.source in group.sources:
            days.setdefault(each.at.date(), []).append(each)
    return days


def _count(said: Figure | None, sums: Sequence[Sum], day: date, counted: bool) -> Count:
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)

    def much(amount: Amount) -> int:
        return amount.requests if counted else amount.tokens

    billed, everything = _amount(sums, "billed"), sum((each.amount for each in sums), NOTHING)
    late = [each for each in sums if each.kind == "billed" and each.at >= midnight + DAY - EDGE]
    early = [each for each in sums if each.at < midnight + EDGE]
    told = (said.calls if counted else said.tokens) if said else 0
    return Count(
        least=much(billed),
        most=much(everything),
        said=told or 0,
        late=sum(much(each.amount) for each in late),
        early=sum(much(each.amount) for each in early),
    )


def _amount(sums: Sequence[Sum], kind: str) -> Amount:
    return sum((each.amount for each in sums if each.kind == kind), NOTHING)
