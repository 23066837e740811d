"""What may be used: limits on requests, tokens and money, and what happens when one leaves no room."""

from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from trueseed.core.settings import Settings
from trueseed.errors import Paused
from trueseed.teachers.account.amounts import Amount
from trueseed.terms.model import Use

Per = Literal["minute", "day", "month", "total"]


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

    @model_validator(mode="after")
    def _limits_something(self) -> "Limit":
        if (self.requests, self.tokens, self.micros) == (None, None, None):
            raise ValueError("a limit needs requests, tokens or micros")
        return self

    def matches(self, source: str, use: str, project: str) -> bool:
        return (
            fnmatchcase(source, self.source)
            and (self.use is None or self.use == use)
            and (self.project is None or self.project == project)
        )

    def renewed_after(self, moment: datetime) -> datetime | None:
        """When the window that a moment (UTC) lies in ends; None of a minute, which slides, and of a total."""
        day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        if self.per == "day":
            return day + timedelta(days=1)
        return (day.replace(day=28) + timedelta(days=4)).replace(day=1) if self.per == "month" else None

    def counts(self, row: Any) -> bool:
        """Whether what stands in a row of the account counts against this limit."""
        return self.matches(row.source, row.use, row.project)

    def lacks(self, charged: Amount, upper: Amount) -> str | None:
        """What there is not enough of for `upper` beside `charged`; a call that takes none of it needs no room."""
        for dimension in ("requests", "tokens", "micros"):
            allowed, more = getattr(self, dimension), getattr(upper, dimension)
            if allowed is not None and more and getattr(charged, dimension) + more > allowed:
                return dimension
        return None


class AccountLimit(Limit):
    """A limit that stands in the account: it binds whoever asks through it. id: by which it is named and removed."""

    id: int


class Exhausted(Paused):
    """A limit leaves no room for the call; nothing was reserved.

    limit: which. until: when there will be room at the latest (UTC); None when waiting does not help.
    """

    def __init__(self, message: str, *, limit: Limit, until: datetime | None) -> None:
        super().__init__(message, until=until)
        self.limit = limit


def sentence(limit: Limit, dimension: str, charged: Amount, upper: Amount, until: datetime | None) -> str:
    allowed, used, asked = (_plain(dimension, getattr(each, dimension)) for each in (limit, charged, upper))
    whose = (
        f"{limit.source!r}"
        + (f" for {limit.use}" if limit.use else "")
        + (f" by project {limit.project!r}" if limit.project is not None else "")
    )
    span = "in total" if limit.per == "total" else f"a {limit.per}"
    said = (
        f"the allowance of {whose}, {allowed} {span}, has no room for this call: {used} used or reserved, "
        f"up to {asked} asked"
    )
    raising = "raise the limit"
    if isinstance(limit, AccountLimit):
        said += (
            f"; it is limit {limit.id} of the account, which binds whoever asks through it, whatever their files say"
        )
        raising = "`trueseed allowance set` changes it"
    if until:
        said += f"; there is room again at {until:%Y-%m-%dT%H:%M:%SZ}, and the same command goes on then"
        return f"{said}; {raising}" if isinstance(limit, AccountLimit) else said
    return f"{said}; waiting does not help: {raising}, or ask for less, and the same command goes on"


def _plain(dimension: str, n: int) -> str:
    return f"{n / 1e6:.6f} USD" if dimension == "micros" else f"{n} {dimension if n != 1 else dimension[:-1]}"
