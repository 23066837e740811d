"""Account state: what our legal entity asked of each maker, what it may still ask, and who is on hold.

It belongs to the legal entity, not to a workspace: one database (SQLite in the user's state folder, or PostgreSQL
through `TRUESEED_ACCOUNT`) that all its workspaces and processes share. Whoever cannot reach it asks nothing.
"""

from trueseed.errors import Paused


class AccountUnavailable(Paused):
    """The account cannot be read or written now (gone, locked, full); nothing was asked."""


class Account:
    """An open account. Safe to share between threads; a forked child may go on using it."""

    @classmethod
    def open(cls, url: str | None = None) -> "Account":
        """Opens, and makes if need be, the account at a SQLAlchemy URL: `url`, or `TRUESEED_ACCOUNT`, or SQLite in the
        user's state folder. Raises `ConfigError` when it is none of ours or of a newer version,
        `AccountUnavailable` when it cannot be reached.
        """
        raise NotImplementedError
