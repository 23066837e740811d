"""The disk, the account's database and the clock fail amid a run: it stops with what to do, and then goes on."""

import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.story.asking import SKIPPED, ask
from tests.teachers.conftest import Machine, server

from trueseed.errors import ConfigError, Paused
from trueseed.teachers.account import allowance as allowances
from trueseed.teachers.account import state as accounts
from trueseed.teachers.account.allowance import Exhausted, Limit
from trueseed.teachers.api.providers import Endpoint
from trueseed.teachers.simulator import Simulator, simulator
from trueseed.workspace import Workspace

QUESTIONS, AT_ONCE, FAILS_AT = 60, 4, 30


class Run:
    """The same command, given again and again; something may happen before a question is taken."""

    def __init__(self, folder: Path, provider: Simulator) -> None:
        self.folder, self.provider = folder, provider
        self.limits: list[Limit] = []

    def again(self, happens: Callable[[], object] | None = None) -> None:
        given = {"source": "own/simulated", "model": "simulated", "base_url": self.provider.openai}
        endpoint = Endpoint.model_validate({**given, "at_once": AT_ONCE})

        def before(number: int) -> None:
            if happens is not None and number == FAILS_AT:
                happens()

        workspace = Workspace.open(self.folder, create=True)
        made = ask(workspace, endpoint, self.limits, QUESTIONS, pause_s=0.01, before=before)
        assert made.path(SKIPPED).read_text() == "{}"

    def nothing_was_lost(self) -> None:
        """After the rest was asked, only what was under way was asked again."""
        self.again()
        counts = self.provider.counts()
        assert counts["distinct"] == QUESTIONS
        assert counts["repeated"] <= AT_ONCE


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with simulator() as provider:
        yield Run(tmp_path / "work", provider)


# the disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes. Skipped where none can be mounted: containers often may not."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> None:
    with (disk / "ballast").open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue


def test_a_disk_without_room_for_journal_and_ledger(small_disk, tmp_path):
    with simulator() as provider:
        run = Run(small_disk / "work", provider)
        with pytest.raises(ConfigError, match=r"No space left on device.*(free|room)") as caught:
            run.again(lambda: fill(small_disk))
        assert caught.value.exit_code == 2
        (small_disk / "ballast").unlink()
        run.nothing_was_lost()


def test_a_disk_without_room_for_the_account(small_disk, run, monkeypatch):
    monkeypatch.setenv("TRUESEED_ACCOUNT", f"sqlite:///{small_disk / 'account.db'}")
    with pytest.raises(Paused, match="free some room on its disk, and the same command goes on") as caught:
        run.again(lambda: fill(small_disk))
    assert caught.value.exit_code == 6
    (small_disk / "ballast").unlink()
    run.nothing_was_lost()


# the database


def test_an_account_that_another_process_keeps_locked(run, own_state, monkeypatch):
    monkeypatch.setattr(accounts, "PATIENCE_S", 0.2)
    locked: list[sqlite3.Connection] = []

    def lock() -> None:
        locked.append(sqlite3.connect(own_state / "account.db", isolation_level=None, check_same_thread=False))
        locked[0].execute("BEGIN IMMEDIATE")

    with pytest.raises(Paused, match="another process holds it; stop that one"):
        run.again(lock)
    locked[0].close()
    run.nothing_was_lost()


def test_an_account_whose_file_is_gone(run, own_state, tmp_path):
    files = ["account.db", "account.db-wal", "account.db-shm"]

    def move(to: Path, back: Path) -> None:
        for name in files:
            if (back / name).exists():
                shutil.move(back / name, to / name)

    with pytest.raises(Paused, match=r"was removed or replaced.*restore it"):
        run.again(lambda: move(tmp_path, own_state))
    move(own_state, tmp_path)
    run.nothing_was_lost()


def test_an_account_in_postgresql_that_is_stopped(run, monkeypatch):
    with server() as database:
        monkeypatch.setenv("TRUESEED_ACCOUNT", database.url)
        with pytest.raises(Paused, match=r"cannot be used.*the same command goes on"):
            run.again(database.stop)
        with pytest.raises(Paused, match="nothing was asked"):
            run.again()
        database.start()
        run.nothing_was_lost()


# the clock


@pytest.mark.parametrize("by", [-86_400.0, 86_400.0])
def test_a_clock_that_jumps_frees_no_budget_of_a_run(run, monkeypatch, by):
    machine = Machine(wall=datetime(2100, 1, 1, 9, 30, tzinfo=UTC).timestamp())  # a day that does not end meanwhile
    monkeypatch.setattr(allowances, "Clock", machine.clock)
    run.limits = [Limit(source="own/*", per="day", requests=FAILS_AT + 5)]
    with pytest.raises(Exhausted, match="there is room again at"):
        run.again(lambda: machine.jump(by))
    assert run.provider.counts()["billed"] == FAILS_AT + 5
    machine.go(86_400)
    run.nothing_was_lost()
