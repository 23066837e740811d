"""What a maker says that it counted: calls, tokens and money by model, in spans of time within a UTC day.

It comes from the maker's usage endpoint (`usage_api`) or from a file that a person exported (`exports`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from trueseed.teachers.supplier.books import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Of one model in one span. calls, tokens, micros (millionths of a US dollar): None when the maker does not say."""

    span: Span
    model: str
    calls: int | None
    tokens: int | None
    micros: int | None = None

    @property
    def day(self) -> date:
        return self.span.since.date()

    @property
    def is_nothing(self) -> bool:
        return not (self.calls or self.tokens or self.micros)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """kind: where it comes from. digest: SHA-256 of what it was read from. notes: what was passed over, and why."""

    kind: str
    digest: str
    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()

    @property
    def models(self) -> list[str]:
        """Those that something is said of."""
        return sorted({figure.model for figure in self.figures if not figure.is_nothing})

    @property
    def last_day(self) -> date | None:
        """The last day that something is said of."""
        return max((figure.day for figure in self.figures if not figure.is_nothing), default=None)

    def within(self, span: Span) -> "Bill":
        """Without what lies outside `span`, which the notes then say."""
        kept = tuple(figure for figure in self.figures if span.holds(figure.span))
        left = len([figure for figure in self.figures if not figure.is_nothing]) - len(
            [figure for figure in kept if not figure.is_nothing]
        )
        more = (f"{left} of its figures lie outside the month and were passed over",) if left else ()
        return replace(self, figures=kept, notes=(*self.notes, *more))


def total(figures: Sequence[Figure]) -> Figure | None:
    """Their sum, over the time from the first to the last; None of none. What one of them does not say, it does not."""
    if not figures:
        return None
    span = Span(min(each.span.since for each in figures), max(each.span.until for each in figures))
    return Figure(
        span=span,
        model=figures[0].model,
        calls=_sum(each.calls for each in figures),
        tokens=_sum(each.tokens for each in figures),
        micros=_sum(each.micros for each in figures),
    )


def _sum(values: Iterable[int | None]) -> int | None:
    found = list(values)
    known = [value for value in found if value is not None]
    return sum(known) if len(known) == len(found) else None
