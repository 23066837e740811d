"""Does a hold forbid asking this teacher? One question, for the door and for those who say beforehand what it will say;
they also say whether it would go past a quota of its maker's, which the door finds out with the first call that must be
made (`account.charging`), since answers out of the cache go past nothing.

    must_be_free(endpoint, holds)         # the door, on its open account
    look(endpoint, workspace.ledger)      # `plan` and `doctor`

The maker is looked for, and the address and the key too, which are held under every name. Whose key or address is
missing cannot be asked anyhow; that hides no hold of its maker's.
"""

import os
from collections.abc import Mapping
from contextlib import closing

from trueseed.errors import ConfigError
from trueseed.ledger.log import Ledger
from trueseed.teachers.account.holds import Holds
from trueseed.teachers.account.quotas import Mark, Quotas
from trueseed.teachers.account.state import Account, our_entity
from trueseed.teachers.account.way import Way
from trueseed.teachers.api.providers import Endpoint, reach


def must_be_free(endpoint: Endpoint, holds: Holds, environment: Mapping[str, str] = os.environ) -> None:
    """Raises `OnHold`, saying what to do; `AccountUnavailable`."""
    holds.check(endpoint.source)
    if way := _way(endpoint, environment):
        holds.check(endpoint.source, way)


def look(endpoint: Endpoint, ledger: Ledger | None, environment: Mapping[str, str] = os.environ) -> list[Mark]:
    """As `must_be_free` for our legal entity, before the door is opened; returns the quotas that were met on this very
    way and may be tried again. ledger: of the workspace, None when there is none yet. As the door does, it first gives
    the account back what only the ledger or the user's state folder still has on hold. Raises `OutOfQuota`, `Broken`
    too.
    """
    with closing(Account.open()) as account:
        holds = Holds(account, our_entity())
        holds.restore(ledger)
        must_be_free(endpoint, holds, environment)
        way = _way(endpoint, environment)
        return Quotas(account, our_entity()).check(endpoint.source, way) if way else []


def _way(endpoint: Endpoint, environment: Mapping[str, str]) -> Way | None:
    try:
        there = reach(endpoint, environment)
    except ConfigError:
        return None
    return Way.to(endpoint.source, base_url=there.base_url, key=there.key)
