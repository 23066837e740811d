"""How much of each limit is left: what the account has charged against it in the day, month or time that it counts."""

from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from trueseed.teachers.account.allowance import Allowance
from trueseed.teachers.account.amounts import NOTHING, Amount
from trueseed.teachers.account.limits import AccountLimit, Limit
from trueseed.teachers.account.shared import Shared
from trueseed.teachers.account.state import Account, our_entity
from trueseed.terms.model import Use

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A limit, and what was charged against it so far in its present window; of a minute nothing is said."""

    limit: Limit
    used: Amount


def of_account() -> tuple[AccountLimit, ...]:
    """Those that bind whoever asks through our account. Raises `AccountUnavailable`."""
    with closing(Account.open()) as account:
        return Shared(account, our_entity()).limits()


def rooms(
    limits: Sequence[Limit], *, source: str, uses: Collection[Use], project: str, now: datetime
) -> tuple[Room, ...]:
    """One for each limit, of these and of the account, that binds asking `source` for any of `uses`. now: UTC. Raises
    `AccountUnavailable`.
    """
    every = (*limits, *of_account())
    bound = [limit for limit in every if any(limit.matches(source, use, project) for use in uses)]
    if not bound:
        return ()
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    since = {"minute": now, "day": day, "month": day.replace(day=1), "total": LONG_AGO}
    until = now + timedelta(days=1)
    with closing(Account.open()) as account:
        allowance = Allowance(account, limits, our_entity())
        found = []
        for limit in bound:
            used = allowance.used(since=since[limit.per], until=until) if limit.per != "minute" else []
            found.append(Room(limit=limit, used=sum((each.charged for each in used if limit.counts(each)), NOTHING)))
    return tuple(found)
