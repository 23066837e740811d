"""Account state: what our legal entity asked of each maker, what it may still ask, and who is on hold or out of quota.

It belongs to the legal entity, not to a workspace: one database that all its workspaces and processes share. SQLite in
the user's state folder, or any SQLAlchemy URL of SQLite or PostgreSQL in `TRUESEED_ACCOUNT`; the statements are the
same for both. Whoever cannot reach it asks nothing: it fails closed.

Writers take turns (`BEGIN IMMEDIATE`, or an advisory lock), so that what one reads is still so when it writes.
"""

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import sqlalchemy as sql
from filelock import FileLock, Timeout
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, ProgrammingError

from trueseed.core.driver import Driver
from trueseed.core.durable import state_folder, write_atomic
from trueseed.errors import Broken, ConfigError, Paused, TrueSeedError
from trueseed.teachers.account.kept import Kept

VERSION = 1
PATIENCE_S = 30.0  # how long a writer waits for its turn
LOG_PAGES = 8_000  # of 4 KiB: where a commit itself tidies, unless `tidy` came first
TURN = 0x7472_7565_7365_6564  # "trueseed": the advisory lock of an account's writers

_tables = sql.MetaData()
_Key = sql.BigInteger().with_variant(sql.Integer, "sqlite")  # SQLite numbers rows by itself only for INTEGER


def _count(name: str) -> sql.Column[int]:
    return sql.Column(name, sql.BigInteger, nullable=False)


def _word(name: str) -> sql.Column[str]:
    return sql.Column(name, sql.String, nullable=False)


_version = sql.Table("trueseed_account", _tables, _count("version"))

_OPEN = sql.text("state = 'reserved' OR state = 'unknown'")
_STANDING = sql.text("release IS NULL")

# Every call, for ever: the record that bills are compared with. Times are account time, milliseconds since 1970.
calls = sql.Table(
    "calls",
    _tables,
    sql.Column("id", _Key, primary_key=True),
    *(_word(name) for name in ("entity", "source", "use", "project", "request", "state")),
    *(_count(name) for name in ("requests", "tokens", "micros")),  # charged: the reservation until it is settled
    _count("at"),
    *(_word(name) for name in ("host", "boot")),
    _count("pid"),
    _word("started"),
    sql.Index("calls_by_time", "entity", "at"),
    sql.Index("calls_open", "entity", "state", sqlite_where=_OPEN, postgresql_where=_OPEN),
)

# The same charges summed by window, so that a limit is looked up and not added up.
spent = sql.Table(
    "spent",
    _tables,
    sql.Column("entity", sql.String, primary_key=True),
    sql.Column("per", sql.String, primary_key=True),  # second, day, month, total
    sql.Column("start", sql.BigInteger, primary_key=True, autoincrement=False),
    *(sql.Column(name, sql.String, primary_key=True) for name in ("source", "use", "project")),
    *(_count(name) for name in ("requests", "tokens", "micros")),
    sqlite_with_rowid=False,
)

holds = sql.Table(
    "holds",
    _tables,
    sql.Column("id", _Key, primary_key=True),
    *(_word(name) for name in ("entity", "maker", "reason", "evidence", "placed_at")),
    sql.Column("release", sql.Text),  # the reviewer's signed statement; null while the hold stands
    sql.Index("holds_standing", "entity", "maker", unique=True, sqlite_where=_STANDING, postgresql_where=_STANDING),
)

# How a maker was reached when it suspended us: neither another name for it nor another entity with its key is a way on.
hold_ways = sql.Table(
    "hold_ways",
    _tables,
    sql.Column("id", _Key, primary_key=True),
    *(_word(name) for name in ("entity", "maker", "placed_at", "route", "address", "key")),
)

_UNRENEWED = sql.text("ended_at IS NULL")

# Quotas of the makers' own that were met, each with the way on which it was. Times are account time.
quotas = sql.Table(
    "quotas",
    _tables,
    sql.Column("id", _Key, primary_key=True),
    *(_word(name) for name in ("entity", "maker", "model", "reason", "said", "route", "address", "key")),
    *(_count(name) for name in ("met_at", "last_at")),  # for the first time, and for the last
    sql.Column("ended_at", sql.BigInteger),  # null while it stands
    sql.Column("release", sql.Text),  # the reviewer's signed statement; null when an answer ended it
    sql.Index("quotas_standing", "entity", "maker", sqlite_where=_UNRENEWED, postgresql_where=_UNRENEWED),
)

# Limits that bind whoever asks through the account. An empty use or project is all; a null amount is not limited.
limits = sql.Table(
    "limits",
    _tables,
    sql.Column("id", _Key, primary_key=True),  # never given twice: it is what a person names it by
    *(_word(name) for name in ("entity", "source", "use", "project", "per")),
    *(sql.Column(name, sql.BigInteger) for name in ("requests", "tokens", "micros")),
    sql.Index("limits_keys", "entity", "source", "use", "project", "per", unique=True),
    sqlite_autoincrement=True,
)

clocks = sql.Table(
    "clocks",
    _tables,
    sql.Column("host", sql.String, primary_key=True),
    _word("boot"),
    *(_count(name) for name in ("at", "steady")),
)


def our_entity() -> str:
    """The legal entity that asks: `TRUESEED_ENTITY`, or 'us', which is enough for a database that only one uses."""
    return os.environ.get("TRUESEED_ENTITY") or "us"


class AccountUnavailable(Paused):
    """The account cannot be read or written now (gone, locked, full); nothing was asked."""


class Busy(AccountUnavailable):
    """Another writer has its turn just now."""


class Account:
    """An open account. Safe to share between threads; a forked child may go on using it."""

    def __init__(self, url: sql.URL) -> None:
        """Use `Account.open`."""
        self.name = url.render_as_string(hide_password=True)
        self._url = url
        self._path = Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None
        self._path_text = str(self._path)
        self._file: tuple[int, int] | None = None
        self._parents: list[tuple[sql.Pool, Kept]] = []
        self._begin_here()

    @classmethod
    def open(cls, url: str | None = None) -> "Account":
        """Opens, and makes if need be, the account at a SQLAlchemy URL: `url`, or `TRUESEED_ACCOUNT`, or SQLite in the
        user's state folder.

        Raises `ConfigError` when it is none of ours or of a newer version, `AccountUnavailable` when it cannot be
        reached or was removed, `Broken` when it is damaged.
        """
        account = cls(_parse(url or os.environ.get("TRUESEED_ACCOUNT") or f"sqlite:///{state_folder() / 'account.db'}"))
        with account._explained():
            if account._path:
                account._make_file(account._path)
            account._make_tables()
        return account

    @contextmanager
    def writing(self) -> Iterator[sql.Connection]:
        """One transaction, alone among the account's writers: all of it is kept, or after an exception nothing.

        Raises `AccountUnavailable`; then nothing was kept, or, when a server was lost in the very commit, it may have
        been. A reservation that nobody came to hold stays charged, and is unknown once its process has ended.
        """
        with self._alone(), self._engine.connect() as connection:
            connection.exec_driver_sql(self._take_turn)
            yield connection
            connection.commit()

    def turn(self, *, wait: bool = True) -> AbstractContextManager[Driver]:
        """As `writing`, for what every call needs: by the driver alone, over a connection that is kept.

        wait: for this writer's turn; else raises `Busy` when another has it, or when that cannot be known at once, as
        with a server.
        """
        return _Turn(self, wait=wait)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """The turn among the threads of this process. Raises `AccountUnavailable`."""
        self._acquire(wait=True)
        try:
            with self._explained():
                yield
        finally:
            self._turn.release()

    def _acquire(self, *, wait: bool) -> None:
        """Raises `Busy`, `AccountUnavailable`."""
        self._must_be_here()
        if not self._turn.acquire(timeout=PATIENCE_S if wait else 0):
            if not wait:
                raise Busy(f"the account {self.name} is being written")
            raise AccountUnavailable(f"the account {self.name} was busy for {PATIENCE_S:.0f} s; {_AGAIN}")

    @contextmanager
    def reading(self) -> Iterator[sql.Connection]:
        """A connection for one query, beside any writer. Raises `AccountUnavailable`."""
        self._must_be_here()
        with self._explained(), self._engine.connect() as connection:
            yield connection

    def tidy(self) -> None:
        """Moves what was committed from SQLite's log into its file, beside writers, and waits for the disk. Whoever
        writes much does so at intervals, in a thread that may wait: else a commit does, every thousand pages.
        """
        if self._path:
            with self.reading() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").all()

    def close(self) -> None:
        """Gives the connections back; the next use takes new ones. Also done when nothing refers to the account."""
        with self._turn:
            _dispose(self._engine, self._kept, self._pid)

    # -- the pieces --

    def _begin_here(self) -> None:
        """Connections and locks of this process."""
        self._pid = os.getpid()
        self._turn = threading.Lock()
        if self._path:
            self._engine = sql.create_engine(self._url, connect_args={"timeout": PATIENCE_S}, pool_reset_on_return=None)
            sql.event.listen(self._engine, "connect", _prepare_sqlite)
            self._take_turn = "BEGIN IMMEDIATE"
        else:
            patience = f"{PATIENCE_S * 1000:.0f}"  # in milliseconds, for each way in which a peer may fall silent
            bounds = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
            options = " ".join(f"-c {bound}={patience}" for bound in bounds)
            limits = {"connect_timeout": 10, "tcp_user_timeout": patience, "options": options}
            self._engine = sql.create_engine(self._url, connect_args=limits)
            self._take_turn = f"SELECT pg_advisory_xact_lock({TURN})"
        driver = self._engine.dialect.dbapi
        assert driver is not None  # a dialect that has connected has its driver
        self._driver = driver
        self._kept = Kept(self._engine, self._take_turn, PATIENCE_S)
        weakref.finalize(self, _dispose, self._engine, self._kept, self._pid)

    def _must_be_here(self) -> None:
        if self._pid != os.getpid():
            # The parent's connections are not ours to use or to close, so they are kept from being collected.
            self._parents.append((self._engine.pool, self._kept))
            self._begin_here()
        if self._path:
            try:
                found = os.stat(self._path_text)  # noqa: PTH116  looked at for every lot
            except OSError as err:
                raise _gone(self._path) from err
            if (found.st_dev, found.st_ino) != self._file:  # SQLite would go on writing to the removed file
                raise _gone(self._path)

    def _make_file(self, path: Path) -> None:
        mark = path.with_name(f"{path.name}.made")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with FileLock(path.with_name(f"{path.name}.lock"), timeout=PATIENCE_S):
                if mark.exists() and not path.exists():
                    raise _gone(path)
                path.touch(mode=0o600)
                with self._engine.connect() as connection:
                    mode = connection.exec_driver_sql("PRAGMA journal_mode = WAL").scalar()
                if mode != "wal":
                    raise ConfigError(
                        f"{path} is on a file system that cannot share it (journal mode {mode}); "
                        f"put it on a local disk, or use PostgreSQL through TRUESEED_ACCOUNT"
                    )
                if not mark.exists():
                    write_atomic(mark, f"{VERSION}\n")
        except Timeout as err:
            raise AccountUnavailable(f"the account {path} is being opened elsewhere; {_AGAIN}") from err
        self._file = (path.stat().st_dev, path.stat().st_ino)

    def _make_tables(self) -> None:
        with self.writing() as connection:
            if sql.inspect(connection).has_table(_version.name):
                found = connection.scalar(sql.select(_version.c.version)) or 0
                if found > VERSION:
                    raise ConfigError(
                        f"the account {self.name} is of version {found}, this TrueSeed reads up to {VERSION}; "
                        f"upgrade it"
                    )
                for newer in (hold_ways, quotas, limits):  # accounts of before it lack it
                    newer.create(connection, checkfirst=True)
                return
            if any(sql.inspect(connection).has_table(table) for table in _tables.tables):
                raise ConfigError(f"{self.name} holds other tables; give the account a database of its own")
            _tables.create_all(connection)
            connection.execute(sql.insert(_version).values(version=VERSION))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Raises what happened and what to do next in place of what the database says."""
        try:
            yield
        except Exception as err:
            if told := self._told(err):
                raise told from err
            raise

    def _told(self, err: BaseException) -> TrueSeedError | None:
        """None for what does not come from the database, or is a bug of ours."""
        driver = self._driver
        if isinstance(err, (driver.IntegrityError, driver.ProgrammingError, IntegrityError, ProgrammingError)):
            return None
        if isinstance(err, (driver.DatabaseError, DatabaseError)):
            cause = getattr(err, "orig", err)
            code = getattr(cause, "sqlite_errorname", "")
            if code in ("SQLITE_CORRUPT", "SQLITE_NOTADB"):
                return Broken(f"the account {self.name} is damaged ({cause}); restore it from a copy")
            said = " ".join(str(cause).split())
            kind = Busy if code == "SQLITE_BUSY" else AccountUnavailable
            return kind(f"the account {self.name} cannot be used: {said}; {_NEXT.get(code, _AGAIN)}")
        if isinstance(err, OSError):
            return AccountUnavailable(f"the account {self.name} cannot be used: {err.strerror}; {_AGAIN}")
        return None


class _Turn:
    """From the lock to the commit. Generators that do the same, one in the other, took a tenth of a lot's time."""

    __slots__ = ("_account", "_wait")

    def __init__(self, account: Account, *, wait: bool) -> None:
        self._account, self._wait = account, wait

    def __enter__(self) -> Driver:
        account = self._account
        if not self._wait and account._path is None:
            raise Busy(f"the account {account.name} is on a server, which is waited for")
        account._acquire(wait=self._wait)
        try:
            return account._kept.begin(wait=self._wait)
        except BaseException as err:
            account._turn.release()
            if told := account._told(err):
                raise told from err
            raise

    def __exit__(self, kind: object, err: BaseException | None, trace: object) -> None:
        account, failed = self._account, err
        try:
            if err is None:
                account._kept.commit()
            else:
                account._kept.close()
        except Exception as why:
            failed = why
        finally:
            account._turn.release()
        if failed is not None and (told := account._told(failed)):
            raise told from failed
        if failed is not None and failed is not err:
            raise failed


_AGAIN = "nothing was asked; when it is back, the same command goes on"
_NEXT = {
    "SQLITE_BUSY": "another process holds it; stop that one, and the same command goes on",
    "SQLITE_FULL": "free some room on its disk, and the same command goes on",
    "SQLITE_READONLY": "make the file and its folder writable, and the same command goes on",
    "SQLITE_CANTOPEN": "make the file and its folder readable and writable, and the same command goes on",
}


def _dispose(engine: sql.Engine, kept: Kept, pid: int) -> None:
    if os.getpid() == pid:
        kept.close()
        engine.dispose()


def _parse(text: str) -> sql.URL:
    try:
        url = sql.make_url(text)
    except ArgumentError as err:  # without the text, which may hold a password
        raise ConfigError("TRUESEED_ACCOUNT is not a database URL, such as postgresql://host/trueseed") from err
    kind = url.get_backend_name()
    if kind in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
        try:
            __import__("psycopg")
        except ImportError as err:
            raise ConfigError("an account in PostgreSQL needs psycopg: pip install 'trueseed[postgres]'") from err
    elif kind != "sqlite" or url.query or url.database in (None, "", ":memory:"):
        raise ConfigError("the account must be a SQLite file (sqlite:////path/account.db) or a PostgreSQL database")
    return url


def _gone(path: Path) -> AccountUnavailable:
    return AccountUnavailable(
        f"the account {path} was removed or replaced, so what was spent and who is on hold is not known; restore it "
        f"from a copy, or delete {path}.made to begin a new one knowingly, and the same command goes on"
    )


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves: sqlite3 would do so only at the first write
    # Kept after a kill of any process at any time, since a commit is then in the system's hands. Only a loss of power
    # can take the commits of the last seconds, never the file's consistency. FULL would wait for the disk twice a call;
    # what a power cut hides is found by reconciling, as is all else that we do not see.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
