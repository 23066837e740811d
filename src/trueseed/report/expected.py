"""Estimate beside actual, as the report page shows it."""

from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from trueseed.report import plots
from trueseed.report.planned import Beside, Outcome, Quantity
from trueseed.report.wording import count, duration

NAMES: dict[Quantity, str] = {
    "requests": "answers asked for",
    "tokens": "tokens",
    "micros": "money",
    "seconds": "time",
    "accepted": "records accepted",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """inside: None where nothing was expected; then `expected` says so."""

    step: str
    of: str
    plot: Markup
    expected: str
    actual: str
    inside: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """inside, missed: how many actual values lie in their interval, and how many do not."""

    rows: tuple[Row, ...] = ()
    inside: int = 0
    missed: int = 0


def section(plan: Outcome | None) -> Section:
    if plan is None:
        return Section()
    told = tuple(_rows(plan))
    return Section(
        rows=told,
        inside=sum(row.inside is True for row in told),
        missed=sum(row.inside is False for row in told),
    )


def _rows(plan: Outcome) -> Iterator[Row]:
    for each in plan.beside:
        if each.expected is not None and each.expected.high == 0 and each.actual == 0:
            continue  # free, and it was
        said, actual = _expected(each), plain(each.actual, each.quantity)
        title = f"{each.step}, {NAMES[each.quantity]}: expected {said}, came to {actual}"
        yield Row(
            step=each.step,
            of=NAMES[each.quantity],
            plot=plots.beside(each.expected.low, each.expected.high, each.actual, title) if each.expected else Markup(),
            expected=said,
            actual=actual,
            inside=each.inside,
        )


def _expected(each: Beside) -> str:
    if each.expected is None:
        return "unknown"
    low, high = plain(each.expected.low, each.quantity), plain(each.expected.high, each.quantity)
    return low if low == high else f"{low} to {high}"


def plain(value: float, quantity: Quantity) -> str:
    """
    >>> plain(1_250_000, "micros"), plain(120, "micros")
    ('1.25 USD', '0.00012 USD')
    """
    if quantity == "micros":
        usd = value / 1e6
        return f"{usd:,.2f} USD" if usd >= 0.995 or not value else f"{usd:.2g} USD"
    return duration(value) if quantity == "seconds" else count(round(value))
