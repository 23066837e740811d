"""What calls use up, and what that costs, in whole millionths of a US dollar.

>>> Price(input_micros_per_mtok=2_500_000, output_micros_per_mtok=10_000_000).micros(1_000, 200)
4500
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from fnmatch import fnmatchcase

from trueseed.errors import Refused
from trueseed.terms.model import parse_source


@dataclass(frozen=True, slots=True)
class Amount:
    """What calls use up. micros: money, in millionths of a US dollar. Differences may be negative."""

    requests: int = 0
    tokens: int = 0
    micros: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return self._each(operator.add, other)

    def __sub__(self, other: "Amount") -> "Amount":
        return self._each(operator.sub, other)

    def at_least(self, other: "Amount") -> "Amount":
        return self._each(max, other)

    def at_most(self, other: "Amount") -> "Amount":
        return self._each(min, other)

    def _each(self, combine: Callable[[int, int], int], other: "Amount") -> "Amount":
        return Amount(
            combine(self.requests, other.requests),
            combine(self.tokens, other.tokens),
            combine(self.micros, other.micros),
        )


NOTHING = Amount()


@dataclass(frozen=True, slots=True)
class Price:
    """Millionths of a US dollar for a million tokens: 2.50 USD is 2_500_000."""

    input_micros_per_mtok: int
    output_micros_per_mtok: int

    def micros(self, input_tokens: int, output_tokens: int) -> int:
        """Cost in millionths of a US dollar, rounded up."""
        return -(
            -(input_tokens * self.input_micros_per_mtok + output_tokens * self.output_micros_per_mtok) // 1_000_000
        )


FREE = Price(0, 0)
OURS = ("weights", "")  # routes on which we run the model ourselves, or a person writes


def price_of(source: str, prices: Mapping[str, Price]) -> Price:
    """The price under the pattern that spells out most of `source`; `FREE` for weights that we run ourselves.

    Raises `Refused` when none matches: an unknown price is a refusal to spend, never zero.
    """
    matching = [pattern for pattern in prices if fnmatchcase(source, pattern)]
    if matching:
        return prices[max(matching, key=lambda pattern: len(pattern.replace("*", "")))]
    if parse_source(source).route in OURS:
        return FREE
    raise Refused(
        f"the price of {source!r} is not known, so nothing is spent on it; give what its contract says, in millionths "
        f"of a US dollar for a million tokens (0 where nobody is billed)"
    )


def shares(amount: Amount, n: int) -> list[Amount]:
    """`amount` in `n` whole parts that differ by at most one and sum to it."""

    def part(total: int, index: int) -> int:
        return total // n + (index < total % n)

    return [Amount(*(part(total, index) for total in astuple(amount))) for index in range(n)]
