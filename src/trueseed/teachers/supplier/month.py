"""A calendar month in UTC: the time that makers bill by, and that reports are made for."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from trueseed.errors import ConfigError

_MONTH = re.compile(r"(20[0-9]{2})-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True)
class Month:
    """first: its first day.

    >>> Month.parse("2026-12").until.isoformat()
    '2027-01-01T00:00:00+00:00'
    """

    first: date

    @classmethod
    def parse(cls, text: str) -> "Month":
        """Raises `ConfigError` unless it is written as `2026-11`."""
        found = _MONTH.fullmatch(text)
        if found is None:
            raise ConfigError(f"{text!r} is not a month; write it as 2026-11")
        return cls(date(int(found[1]), int(found[2]), 1))

    @property
    def since(self) -> datetime:
        return datetime(self.first.year, self.first.month, 1, tzinfo=UTC)

    @property
    def until(self) -> datetime:
        """Its end, which does not belong to it."""
        return (self.since + timedelta(days=31)).replace(day=1)

    @property
    def days(self) -> list[date]:
        return [self.first + timedelta(days=n) for n in range((self.until - self.since).days)]

    def __str__(self) -> str:
        return f"{self.first:%Y-%m}"


def written(moment: datetime) -> str:
    """As the ledger writes times: `2026-11-21T09:30:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
