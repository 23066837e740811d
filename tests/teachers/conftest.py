"""Accounts for tests, in SQLite and in a real PostgreSQL server, and a machine whose clocks can be set."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from trueseed.teachers.account.clock import Clock
from trueseed.teachers.account.state import Account


@dataclass
class Machine:
    """Clocks in seconds. `go` lets time pass; `jump` sets the wall clock only; `restart` begins the steady one anew."""

    wall: float = datetime(2026, 11, 21, 9, 30, tzinfo=UTC).timestamp()
    steady: float = 5_000.0
    boot: str = "first"

    def go(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    def jump(self, seconds: float) -> None:
        self.wall += seconds

    def restart(self) -> None:
        self.steady, self.boot = 10.0, secrets.token_hex(4)

    def clock(self, host: str = "here") -> Clock:
        return Clock(wall=lambda: self.wall, steady=lambda: self.steady, boot=self.boot, host=host)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@dataclass(kw_only=True)
class Server:
    """A PostgreSQL server of our own, that can be stopped and started. url: of its one database."""

    folder: Path
    binaries: Path
    user: dict[str, Any]
    _running: "subprocess.Popen[bytes] | None" = None

    @property
    def root(self) -> str:
        return f"host={self.folder} user=trueseed dbname=postgres"

    @property
    def url(self) -> str:
        return f"postgresql://trueseed@/postgres?host={self.folder}"

    def start(self) -> None:
        import psycopg

        command = [f"{self.binaries}/postgres", "-D", str(self.folder / "data"), "-k", str(self.folder)]
        options = ["-c", "listen_addresses=", "-F"]
        self._running = subprocess.Popen(command + options, stderr=subprocess.DEVNULL, **self.user)
        _wait_for(lambda: psycopg.connect(self.root).close(), psycopg.OperationalError, self._running)

    def stop(self) -> None:
        """At once, as a crash would."""
        assert self._running is not None
        self._running.send_signal(signal.SIGQUIT)
        self._running.wait()
        self._running = None


@contextmanager
def server() -> Iterator[Server]:
    """Started, with an empty database. Skipped where none can be, except in CI."""
    binaries = _postgresql_binaries()
    reason = "" if binaries else "PostgreSQL is not installed: apt-get install postgresql"
    try:
        __import__("psycopg")
    except ImportError:
        reason = "psycopg is not installed: pip install 'trueseed[postgres]'"
    if binaries is None or reason:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="trueseed-pg-"))  # a socket's path must be short
    user: dict[str, Any] = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        shutil.chown(folder, "postgres")
        user = {"user": "postgres", "cwd": "/"}
    making = [f"{binaries}/initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "trueseed", "-N"]
    subprocess.run(making, stdout=subprocess.DEVNULL, check=True, **user)
    made = Server(folder=folder, binaries=binaries, user=user)
    try:
        made.start()
        yield made
    finally:
        if made._running is not None:
            made.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Callable[[], str]]:
    """Empties the database of a server started for the tests, and says its URL.

    One database, since to make and remove many takes longer than the tests. Skipped where none can be, except in CI.
    """
    with server() as database:
        import psycopg

        def make() -> str:
            with psycopg.connect(database.root, autocommit=True) as connection:
                connection.execute("DROP SCHEMA public CASCADE")
                connection.execute("CREATE SCHEMA public")
            return database.url

        yield make


def _postgresql_binaries() -> Path | None:
    found = shutil.which("initdb")
    every = [Path(found)] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return every[-1].parent if every else None


def _wait_for(attempt: Callable[[], None], error: type[Exception], server: "subprocess.Popen[bytes]") -> None:
    import time

    while True:
        try:
            return attempt()
        except error:
            if server.poll() is not None:
                raise
            time.sleep(0.05)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty database; each test runs on both kinds."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'account.db'}"
    return str(request.getfixturevalue("postgresql")())


@pytest.fixture
def account(url: str) -> Account:
    return Account.open(url)
