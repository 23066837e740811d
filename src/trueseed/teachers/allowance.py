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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field

from trueseed.core.settings import Settings
from trueseed.errors import Paused
from trueseed.teachers.account import Account
from trueseed.terms.model import Use

Outcome = Literal["answered", "failed", "cached"]
Per = Literal["minute", "day", "month", "total"]


@dataclass(frozen=True, slots=True)
class Amount:
    """What calls use up. micros: money, in millionths of a US dollar. Differences may be negative."""

    requests: int = 0
    tokens: int = 0
    micros: int = 0

    def __add__(self, other: "Amount") -> "Amount": ...

    def __sub__(self, other: "Amount") -> "Amount": ...


@dataclass(frozen=True, slots=True)
class Price:
    """Millionths of a US dollar for a million tokens: 2.50 USD is 2_500_000."""

    input_micros_per_mtok: int
    output_micros_per_mtok: int

    def micros(self, input_tokens: int, output_tokens: int) -> int:
        """Cost in millionths of a US dollar, rounded up."""


FREE = Price(0, 0)


def price_of(source: str, prices: Mapping[str, Price]) -> Price:
    """The price under the pattern that spells out most of `source`; `FREE` for weights that we run ourselves.

    Raises `Refused` when none matches: an unknown price is a refusal to spend, never zero.
    """


class Limit(Settings):
    """At most so many requests, tokens, or millionths of a US dollar, for what it matches together.

    source: a pattern (`openai/*`, `openai/gpt-4@*`). use, project: None matches all. per: `minute` is any 60 seconds,
    `day` and `month` are UTC's, `total` is for ever.
    """

    source: str = Field(min_length=1)
    use: Annotated[Use, Field(strict=False)] | None = None
    project: str | None = None
    per: Per
    requests: int | None = Field(default=None, ge=0)
    tokens: int | None = Field(default=None, ge=0)
    micros: int | None = Field(default=None, ge=0)


class Exhausted(Paused):
    """A limit leaves no room for the call; nothing was reserved.

    limit: which. until: when there will be room at the latest (UTC); None when waiting does not help.
    """

    def __init__(self, message: str, *, limit: Limit, until: datetime | None) -> None:
        super().__init__(message)
        self.limit, self.until = limit, until


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Room kept for one call. id: of the call in the account. upper: the most it can use. at: when it was reserved."""

    id: int
    source: str
    use: Use
    project: str
    request: str
    upper: Amount
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a source was asked for one use by one project on one day (UTC). charged: reserved and unknown calls
    included, at their reservations; the counts are of calls by what became of them.
    """

    day: str
    source: str
    use: Use
    project: str
    charged: Amount
    answered: int
    failed: int
    cached: int
    unknown: int
    reserved: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """Our figures beside the provider's. ours: settled calls. settled: how many unknown calls were settled now, by
    `attributed` of the provider's figures. outside: what the provider billed and no call of ours explains; negative
    where we counted more than the provider.
    """

    ours: Amount
    settled: int
    attributed: Amount
    outside: Amount


class Allowance:
    """The limits of one legal entity on one account. Safe to share between threads; a child process after a fork may
    go on using it.
    """

    def __init__(
        self,
        account: Account,
        limits: Sequence[Limit],
        entity: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Sweeps first: calls in flight of processes that died become unknown."""

    def reserve(self, *, source: str, use: Use, project: str, request: str, upper: Amount) -> Reservation:
        """Room for one call that uses at most `upper`; `request` is the request's digest.

        Raises `Exhausted` when a limit has no room (then nothing changed), `Refused` when the maker is on hold,
        `AccountUnavailable` when the account cannot be asked.
        """

    def settle(self, reservation: Reservation, actual: Amount, outcome: Outcome) -> None:
        """The call came back and used `actual`, which is charged even where it is more than was reserved.

        Raises `ValueError` when it was settled or released before.
        """

    def release(self, reservation: Reservation) -> None:
        """The call provably never left: it is charged nothing and stands in no report. Raises as `settle`."""

    def cached(self, *, source: str, use: Use, project: str, request: str) -> None:
        """Counts an answer that came from a cache: in reports, against no limit."""

    def sweep(self) -> int:
        """Turns reservations of processes that died into unknown calls; returns how many."""

    def unknown(self) -> list[Reservation]:
        """Calls of which nobody knows what became, oldest first."""

    def reconcile(self, *, source: str, since: datetime, until: datetime, provider: Amount) -> Reconciliation:
        """Settles unknown calls of the sources that match `source`, asked in [since, until), by what the provider
        says of all calls in that time.
        """

    def used(
        self, *, source: str = "*", maker: str | None = None, since: datetime, until: datetime
    ) -> list[Used]:
        """What was used in [since, until), over all routes, keys and workspaces of this account."""
