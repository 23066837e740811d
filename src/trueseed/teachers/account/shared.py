"""The limits that stand in the account itself: they bind whoever asks through it, beside those of their files.

    shared = Shared(Account.open(), "us")
    shared.set(Limit(source="openai/*", per="day", requests=500))

A file without limits is bound by them, and no file can loosen them: a call needs room under all. They are read in the
transaction that reserves the call, so one that is set while runs are going binds their next call. Of the same source,
use, project and span there is one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from trueseed.core.driver import Driver, Statement
from trueseed.errors import ConfigError
from trueseed.teachers.account.amounts import Amount
from trueseed.teachers.account.charging import Limits, stand
from trueseed.teachers.account.clock import Clock, tick
from trueseed.teachers.account.limits import AccountLimit, Limit
from trueseed.teachers.account.state import Account
from trueseed.terms.model import Use, parse_source

MOST = 2**63 - 1  # what a database's integer holds
WILD = frozenset("*?[")

Row = tuple[Any, ...]

_ALL = Statement(
    "SELECT id, source, use, project, per, requests, tokens, micros FROM limits WHERE entity = :entity ORDER BY id"
)
_SET = Statement(
    "INSERT INTO limits (entity, source, use, project, per, requests, tokens, micros)"
    " VALUES (:entity, :source, :use, :project, :per, :requests, :tokens, :micros)"
    " ON CONFLICT (entity, source, use, project, per) DO UPDATE SET requests = excluded.requests,"
    " tokens = excluded.tokens, micros = excluded.micros"
)
_REMOVE = Statement("DELETE FROM limits WHERE entity = :entity AND id = :id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A limit, what counts against it now (reserved and unknown calls included), and when its window ends (UTC)."""

    limit: AccountLimit
    used: Amount
    renewed_at: datetime | None

    def to_json(self) -> dict[str, Any]:
        used = {name: getattr(self.used, name) for name in ("requests", "tokens", "micros")}
        at = f"{self.renewed_at:%Y-%m-%dT%H:%M:%SZ}" if self.renewed_at else None
        return {**self.limit.model_dump(mode="json"), "used": used, "renewed_at": at}


class Shared:
    """The limits of one legal entity on one account. Safe to share between threads."""

    def __init__(self, account: Account, entity: str, clock: Clock | None = None) -> None:
        self._account, self._entity, self._clock = account, entity, clock or Clock()

    def limits(self) -> tuple[AccountLimit, ...]:
        """In the order in which they were set first. Raises `AccountUnavailable`."""
        with self._account.reading() as connection:
            return limits_of(rows_of(Driver.of(connection), self._entity))

    def set(self, limit: Limit) -> AccountLimit:
        """In place of the one of the same source, use, project and span, whose number it keeps. Counts what was used
        in its window before, too. Raises `ConfigError` when it could bind nothing, `AccountUnavailable`.
        """
        _must_be_sensible(limit)
        amounts = {name: getattr(limit, name) for name in ("requests", "tokens", "micros")}
        whose = {"entity": self._entity, "source": limit.source, "per": limit.per}
        with self._account.turn() as driver:
            driver.each(_SET, [{**whose, "use": limit.use or "", "project": limit.project or "", **amounts}])
            return _same(limits_of(rows_of(driver, self._entity)), _key(limit))

    def remove(self, which: int | Limit) -> AccountLimit:
        """By its number, or by the source, use, project and span of another. Raises `ConfigError` when there is none,
        `AccountUnavailable`.
        """
        with self._account.turn() as driver:
            there = limits_of(rows_of(driver, self._entity))
            found = _same(there, _key(which)) if isinstance(which, Limit) else _numbered(there, which)
            driver.each(_REMOVE, [{"entity": self._entity, "id": found.id}])
        return found

    def standing(self) -> list[Standing]:
        """Raises `AccountUnavailable`."""
        with self._account.turn() as driver:
            now = tick(driver, self._clock)
            found = limits_of(rows_of(driver, self._entity))
            used = stand(driver, self._entity, Limits(found), now)
        return [
            Standing(limit=limit, used=sums, renewed_at=limit.renewed_after(datetime.fromtimestamp(now / 1000, UTC)))
            for limit, sums in zip(found, used, strict=True)
        ]


def rows_of(driver: Driver, entity: str) -> list[Row]:
    """As they stand in the transaction that `driver` is in: what a call pays for, so nothing is made of them here."""
    return driver.all(_ALL, {"entity": entity})


def limits_of(rows: Iterable[Row]) -> tuple[AccountLimit, ...]:
    return tuple(
        AccountLimit(
            id=identity,
            source=source,
            use=Use(use) if use else None,
            project=project or None,
            per=per,
            requests=requests,
            tokens=tokens,
            micros=micros,
        )
        for identity, source, use, project, per, requests, tokens, micros in rows
    )


def _must_be_sensible(limit: Limit) -> None:
    if WILD.isdisjoint(limit.source):
        parse_source(limit.source)
    elif limit.source != limit.source.lower():
        raise ConfigError(f"{limit.source!r} matches no source: they are written in lower case, as in 'openai/*'")
    if limit.project == "":
        raise ConfigError("a limit of the project '' would bind nothing; name it, or leave it out for all projects")
    for name in ("requests", "tokens", "micros"):
        if (getattr(limit, name) or 0) > MOST:
            raise ConfigError(f"{getattr(limit, name)} {name} are more than an account can count; leave them out")


def _key(limit: Limit) -> tuple[str, Use | None, str | None, str]:
    return limit.source, limit.use, limit.project, limit.per


def _same(there: Iterable[AccountLimit], key: tuple[str, Use | None, str | None, str]) -> AccountLimit:
    for each in there:
        if _key(each) == key:
            return each
    source, use, project, per = key
    of = "".join(f" for {use}" if use else "") + (f" by project {project!r}" if project else "")
    raise ConfigError(f"the account has no limit of {source!r}{of} per {per}; {_SHOW}")


def _numbered(there: Iterable[AccountLimit], number: int) -> AccountLimit:
    for each in there:
        if each.id == number:
            return each
    raise ConfigError(f"the account has no limit {number}; {_SHOW}")


_SHOW = "`trueseed allowance show` lists those it has"
