"""What calls use up, and what that costs, in whole millionths of a US dollar.

>>> Price(input_micros_per_mtok=2_500_000, output_micros_per_mtok=10_000_000).micros(1_000, 200)
4500
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase

from trueseed.errors import ConfigError, Refused
from trueseed.terms.model import parse_source


@dataclass(frozen=True, slots=True)
class Amount:
    """What calls use up. micros: money, in millionths of a US dollar. Differences may be negative."""

    requests: int = 0
    tokens: int = 0
    micros: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.requests + other.requests, self.tokens + other.tokens, self.micros + other.micros)

    def __sub__(self, other: "Amount") -> "Amount":
        return Amount(self.requests - other.requests, self.tokens - other.tokens, self.micros - other.micros)


NOTHING = Amount()


def micros_of(usd: str) -> int:
    """Millionths of a US dollar, of dollars as a person writes them. Raises `ConfigError` when they are none, less than
    nothing, or finer than a millionth.

    >>> micros_of("12.50")
    12500000
    """
    try:
        micros = Decimal(usd) * 1_000_000
        if micros >= 0 and micros == micros.to_integral_value():
            return int(micros)
    except (InvalidOperation, OverflowError):
        pass
    raise ConfigError(f"{usd!r} is no amount of US dollars; write it as 12.50, with at most six decimals")


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


def split(total: int, most: Sequence[int]) -> list[int]:
    """`total` in whole parts, in proportion to `most` and none above it; of more than all of them, all of them.

    >>> split(10, [30, 30, 0])
    [5, 5, 0]
    """
    room = sum(most)
    if total >= room:
        return list(most)
    parts = [total * each // room for each in most]
    left = total - sum(parts)
    for index in range(len(parts)):
        more = min(left, most[index] - parts[index], 1)
        parts[index], left = parts[index] + more, left - more
    return parts
