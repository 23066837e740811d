"""Accounts for tests, in SQLite and in a real PostgreSQL server, and a machine whose clocks can be set."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from trueseed.teachers.account import Account
from trueseed.teachers.clock import Clock


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


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Callable[[], str]]:
    """Empties the database of a server started for the tests, and says its URL.

    One database, since to make and remove many takes longer than the tests. Skipped where none can be, except in CI.
    """
    binaries = _postgresql_binaries()
    reason = "" if binaries else "PostgreSQL is not installed: apt-get install postgresql"
    try:
        import psycopg
    except ImportError:
        reason = "psycopg is not installed: pip install 'trueseed[postgres]'"
    if reason:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="trueseed-pg-"))  # a socket's path must be short
    user: dict[str, Any] = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        shutil.chown(folder, "postgres")
        user = {"user": "postgres", "cwd": "/"}
    data, said = str(folder / "data"), subprocess.DEVNULL
    subprocess.run(
        [f"{binaries}/initdb", "-D", data, "-A", "trust", "-U", "trueseed", "-N"], stdout=said, check=True, **user
    )
    server = subprocess.Popen(
        [f"{binaries}/postgres", "-D", data, "-k", str(folder), "-c", "listen_addresses=", "-F"], stderr=said, **user
    )
    root = f"host={folder} user=trueseed dbname=postgres"

    def make() -> str:
        with psycopg.connect(root, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        return f"postgresql://trueseed@/postgres?host={folder}"

    try:
        _wait_for(lambda: psycopg.connect(root).close(), psycopg.OperationalError, server)
        yield make
    finally:
        server.send_signal(signal.SIGQUIT)  # at once: nobody needs what is in it
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


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
