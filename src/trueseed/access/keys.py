"""API keys: who may ask through us, for which uses, of which models, and for how much money.

    keys = Keys(account)
    issued = keys.issue(Grant(owner="ana", project="seed", uses=frozenset({Use.JUDGE}), sources=("deepseek/*",)))
    print(issued.token)                  # shown once; only its hash is kept
    keys.authenticate(issued.token)      # a Key, or `Unauthorised`

A token is 256 random bits, so its SHA-256 is kept and no slow password hash: a slow hash makes guesses dear where few
guesses suffice, and here no number of guesses does. What it would cost is paid at every request.

Keys lie in the account's database, in a table of their own, so that whoever revokes one stops it in every gateway at
once, and whoever cannot reach the account lets nobody in. A key's budget is counted there as an allowance is: charged
with the most a call can cost before it leaves, and corrected after it.
"""

import json
import secrets
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, Literal, Protocol

import sqlalchemy as sql

from trueseed.core.canonical import sha256
from trueseed.core.driver import Driver, Statement
from trueseed.errors import ConfigError, Paused, Refused
from trueseed.terms.model import Use

PREFIX = "ts-"  # so that a key that leaked into a file is found by looking for it
TOKEN_BYTES = 32

_tables = sql.MetaData()
_keys = sql.Table(
    "access_keys",
    _tables,
    sql.Column("id", sql.String(16), primary_key=True),
    sql.Column("hash", sql.String(64), nullable=False, unique=True),
    sql.Column("owner", sql.String, nullable=False),
    sql.Column("project", sql.String, nullable=False),
    sql.Column("uses", sql.String, nullable=False),
    sql.Column("sources", sql.String, nullable=False),
    sql.Column("region", sql.String),
    sql.Column("budget_micros", sql.BigInteger),
    sql.Column("charged_micros", sql.BigInteger, nullable=False),
    sql.Column("issued_at", sql.String, nullable=False),
    sql.Column("expires_at", sql.String),
    sql.Column("revoked_at", sql.String),
    sql.Column("blocked", sql.String),
    sql.Column("features", sql.String),
    sql.Column("market", sql.String),
)
_CAME_LATER = ("features", "market")

Fault = Literal["unknown", "revoked", "expired", "blocked"]


class Unauthorised(Refused):
    """No key that is valid now. fault: what is wrong with it. The token itself is in no message."""

    def __init__(self, message: str, fault: Fault) -> None:
        super().__init__(message)
        self.fault = fault


class BudgetSpent(Paused):
    """The key's budget has no room for the call; nothing was charged."""


class Database(Protocol):
    """Where keys lie: `teachers.account.state.Account` is one. Its errors pass through."""

    def writing(self) -> AbstractContextManager[sql.Connection]:
        """One transaction, alone among the writers, committed at the end of the block."""
        ...

    def reading(self) -> AbstractContextManager[sql.Connection]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a key permits. sources: patterns (`openai/*`). region: where its owner asks from, as the terms spell it;
    None is the workspace's. budget_micros: millionths of a US dollar over the key's life; None is no budget of its
    own. expires_at: UTC. features: of a source's service, those that every call is asked with. market: the country
    whose people are given the answers to what is asked to serve or publish; None when nobody outside is.
    """

    owner: str
    project: str
    uses: frozenset[Use]
    sources: tuple[str, ...] = ("*",)
    region: str | None = None
    budget_micros: int | None = None
    expires_at: datetime | None = None
    features: tuple[str, ...] = ()
    market: str | None = None

    def __post_init__(self) -> None:
        if not self.owner or not self.project or not self.uses or not self.sources:
            raise ConfigError("a key needs an owner, a project, at least one use and at least one source pattern")
        if self.budget_micros is not None and self.budget_micros < 0:
            raise ConfigError(f"a key's budget is {self.budget_micros} micros; give none, zero or more")
        if self.expires_at is not None and self.expires_at.tzinfo is None:
            raise ConfigError(f"{self.expires_at} has no time zone; give the expiry in UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key as it stands now. id: its name, safe to print. charged_micros: counted against the budget so far.
    blocked: why, '' when it is not.
    """

    id: str
    grant: Grant
    charged_micros: int
    issued_at: datetime
    revoked_at: datetime | None
    blocked: str

    def reaches(self, source: str) -> bool:
        return any(fnmatchcase(source, pattern) for pattern in self.grant.sources)

    def must_afford(self, micros: int, besides: int = 0) -> None:
        """Raises `BudgetSpent` when the budget has no room for `micros` more, beside what is charged already and
        `besides`.
        """
        budget = self.grant.budget_micros
        if budget is not None and self.charged_micros + besides + micros > budget:
            raise BudgetSpent(
                f"the budget of {self.id} (${_dollars(budget)}) has no room for this call, which can cost "
                f"${_dollars(micros)}; ask for less, or for another key"
            )

    def fault(self, at: datetime) -> Fault | None:
        if self.revoked_at is not None:
            return "revoked"
        if self.grant.expires_at is not None and at >= self.grant.expires_at:
            return "expired"
        return "blocked" if self.blocked else None

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "owner": self.grant.owner,
            "project": self.grant.project,
            "uses": sorted(self.grant.uses),
            "sources": list(self.grant.sources),
            "region": self.grant.region,
            "features": list(self.grant.features),
            "market": self.grant.market,
            "budget_micros": self.grant.budget_micros,
            "charged_micros": self.charged_micros,
            "issued_at": _written(self.issued_at),
            "expires_at": _written(self.grant.expires_at),
            "revoked_at": _written(self.revoked_at),
            "blocked": self.blocked,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A new key, and the one time its token is there to be copied."""

    key: Key
    token: str


class Keys:
    """The keys in one database. Safe to share between threads if that is."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.writing() as connection:
            _tables.create_all(connection)
            there = {column["name"] for column in sql.inspect(connection).get_columns(_keys.name)}
            for name in _CAME_LATER:
                if name not in there:
                    connection.execute(sql.text(f"ALTER TABLE {_keys.name} ADD COLUMN {name} VARCHAR"))

    def issue(self, grant: Grant) -> Issued:
        token, identity = PREFIX + secrets.token_urlsafe(TOKEN_BYTES), f"key-{secrets.token_hex(4)}"
        row = {
            "id": identity,
            "hash": sha256(token.encode()),
            "owner": grant.owner,
            "project": grant.project,
            "uses": json.dumps(sorted(grant.uses)),
            "sources": json.dumps(list(grant.sources)),
            "region": grant.region,
            "budget_micros": grant.budget_micros,
            "charged_micros": 0,
            "issued_at": _written(datetime.now(UTC)),
            "expires_at": _written(grant.expires_at),
            "features": json.dumps(list(grant.features)),
            "market": grant.market,
        }
        with self._database.writing() as connection:
            connection.execute(sql.insert(_keys).values(row))
        return Issued(key=self.key(identity), token=token)

    def list(self) -> tuple[Key, ...]:
        """Every key ever issued, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(sql.select(_keys).order_by(_keys.c.issued_at, _keys.c.id)).all()
        return tuple(_key(row) for row in rows)

    def key(self, identity: str) -> Key:
        """Raises `ConfigError` when there is none of this id."""
        with self._database.reading() as connection:
            row = connection.execute(sql.select(_keys).where(_keys.c.id == identity)).first()
        if row is None:
            raise ConfigError(f"there is no key {identity!r}; `trueseed keys list` names all")
        return _key(row)

    def revoke(self, identity: str) -> Key:
        """Ends the key for good. Raises `ConfigError` when there is none of this id."""
        if self.key(identity).revoked_at is None:
            self._change(identity, revoked_at=_written(datetime.now(UTC)))
        return self.key(identity)

    def block(self, identity: str, because: str) -> Key:
        """Stops the key until it is unblocked. Raises as `revoke`."""
        if not because:
            raise ConfigError("say why the key is blocked: its owner reads it")
        self.key(identity)
        self._change(identity, blocked=because)
        return self.key(identity)

    def unblock(self, identity: str) -> Key:
        self.key(identity)
        self._change(identity, blocked=None)
        return self.key(identity)

    def authenticate(self, token: str, at: datetime | None = None) -> Key:
        """The key whose token this is. Raises `Unauthorised` when it is none, or one that is not valid at `at` (now).

        Looked up by the hash, so how long it takes says nothing about the tokens that are stored.
        """
        with self._database.reading() as connection:
            found = self.within(Driver.of(connection), token, at)
        if isinstance(found, Unauthorised):
            raise found
        return found

    def within(self, driver: Driver, token: str, at: datetime | None = None) -> "Key | Unauthorised":
        """As `authenticate`, of the transaction that `driver` is in; what it would raise is returned."""
        found = driver.all(_BY_HASH, {"wanted": sha256(token.encode())})
        if not found:
            return Unauthorised("this key is not known here; `trueseed keys issue` makes one", "unknown")
        key = _remembered(*found[0])
        fault = key.fault(at or datetime.now(UTC))
        if fault is not None:
            because = f" ({key.blocked})" if fault == "blocked" else ""
            return Unauthorised(f"{key.id} is {fault}{because}; ask whoever issued it to {key.grant.owner}", fault)
        return key

    def charge(self, key: Key, micros: int) -> None:
        """Counts the most that a call can cost against the key's budget, if it has one. Raises `BudgetSpent`, with
        nothing counted, when there is no room: no number of gateways spends more than the budget.
        """
        with self._database.writing() as connection:
            row = connection.execute(sql.select(_keys).where(_keys.c.id == key.id)).one()
            _key(row).must_afford(micros)
            self.count(Driver.of(connection), {key.id: micros})

    def correct(self, key: Key, micros: int) -> None:
        """Adds `micros`, usually negative: what a call cost in the end, less what was charged for it."""
        if micros:
            with self._database.writing() as connection:
                self.count(Driver.of(connection), {key.id: micros})

    def count(self, driver: Driver, micros: Mapping[str, int]) -> None:
        """Adds to what is charged to keys, by their ids, in the writing transaction that `driver` is in. Whoever
        charges asks `must_afford` of the keys as they stand there. Keys without a budget are not counted.
        """
        changed = [{"identity": identity, "more": more} for identity, more in micros.items() if more]
        if changed:
            driver.each(_COUNT, changed)

    def _change(self, identity: str, **values: Any) -> None:
        with self._database.writing() as connection:
            connection.execute(sql.update(_keys).where(_keys.c.id == identity).values(**values))


_BY_HASH = Statement(f"SELECT {', '.join(_keys.columns.keys())} FROM access_keys WHERE hash = :wanted")
_COUNT = Statement(
    "UPDATE access_keys SET charged_micros = charged_micros + :more WHERE id = :identity AND budget_micros IS NOT NULL"
)


@lru_cache(1024)
def _remembered(*columns: Any) -> Key:
    """The key that these columns say, which are read anew for every call but seldom say anything new."""
    return _key(SimpleNamespace(**dict(zip(_keys.columns.keys(), columns, strict=True))))


def _key(row: Any) -> Key:
    grant = Grant(
        owner=row.owner,
        project=row.project,
        uses=frozenset(Use(use) for use in json.loads(row.uses)),
        sources=tuple(json.loads(row.sources)),
        region=row.region,
        budget_micros=row.budget_micros,
        expires_at=_read(row.expires_at),
        features=tuple(json.loads(row.features or "[]")),
        market=row.market,
    )
    issued_at = _read(row.issued_at)
    assert issued_at is not None  # the column is not nullable
    return Key(
        id=row.id,
        grant=grant,
        charged_micros=row.charged_micros,
        issued_at=issued_at,
        revoked_at=_read(row.revoked_at),
        blocked=row.blocked or "",
    )


def _written(at: datetime | None) -> str | None:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else None


def _read(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _dollars(micros: int) -> str:
    return f"{micros / 1_000_000:.6f}".rstrip("0").rstrip(".")
