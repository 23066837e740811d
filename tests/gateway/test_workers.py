"""Several processes behind one port: what holds for one gateway holds for all of them together."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.gateway.conftest import DEEPSEEK, PRICE, SECRET, SOON, Place

from trueseed.core.journal import SYNC_EVERY_S
from trueseed.errors import ConfigError
from trueseed.gateway.settings import Config
from trueseed.gateway.workers import _parts
from trueseed.ledger.calls import CALLS, faults, prove
from trueseed.ledger.statement import SEAL
from trueseed.teachers.account.allowance import Allowance
from trueseed.teachers.account.state import Account
from trueseed.teachers.simulator import Behaviour, simulator

MANY = 16  # connections: that one of two workers gets none of them happens once in 32,768 times
Start = Callable[..., Any]


class Served(Place):
    """A place whose gateway is processes of its own."""

    process: subprocess.Popen[str]

    def ask(self, token: str) -> httpx.Response:
        """On a connection of its own."""
        message = {"role": "user", "content": "How is soup kept warm?"}
        body = {"model": DEEPSEEK, "messages": [message], "max_tokens": 64}
        headers = {"authorization": f"Bearer {token}"}
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, headers=headers, timeout=SOON)

    def ask_all(self, token: str) -> list[int]:
        """Statuses of many calls at once."""
        with ThreadPoolExecutor(MANY) as threads:
            return [reply.status_code for reply in threads.map(lambda _: self.ask(token), range(MANY))]

    def counted(self, name: str) -> float:
        """The sum of a metric over its labels."""
        lines = httpx.get(f"{self.url}/metrics", timeout=SOON).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"trueseed_gateway_{name}"))

    def workers(self) -> set[int]:
        """Process ids. The interpreter that tidies up after them is not one."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return {int(pid) for pid in children if b"spawn_main" in _command(pid)}

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SOON)

    def is_sealed(self) -> bool:
        """Whether every call stands under a seal, and the journals are what was sealed."""
        self.workspace.ledger.refresh()
        calls = [call["call"] for call in self.calls()]
        proofs = [prove(self.workspace.ledger, self.folder / CALLS, call) for call in calls]
        return bool(calls) and len(proofs) == len(calls) and not [*faults(self.workspace.ledger, self.folder / CALLS)]


def _command(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def until(what: Callable[[], Any]) -> None:
    deadline = time.monotonic() + SOON
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def started(folder: Path, behaviour: Behaviour, **config: Any) -> Iterator[Served]:
    with simulator(behaviour) as provider:
        place = Served(folder=folder / "work", account=Account.open(), provider=provider)
        upstream = {"source": DEEPSEEK, "model": "simulated", "base_url": provider.openai, "key_from": "UPSTREAM_KEY"}
        path = folder / "gateway.yaml"
        path.write_text(yaml.safe_dump({"upstreams": [upstream | {"price": PRICE}], **config}))
        place.process = serving(path, place.folder, port=0)
        try:
            assert place.process.stderr is not None
            place.url = place.process.stderr.readline().split()[2]
            yield place
        finally:
            with suppress(ProcessLookupError):
                os.killpg(place.process.pid, signal.SIGKILL)
            place.process.communicate()


def serving(config: Path, folder: Path, port: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "trueseed", "gateway", "--workers", "2", "--port", str(port)]
    command += ["--config", str(config), "-w", str(folder)]
    return subprocess.Popen(
        command, env={**os.environ, "UPSTREAM_KEY": SECRET}, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRUESEED_STATE", str(tmp_path_factory.mktemp("state")))
        with started(tmp_path_factory.mktemp("place"), Behaviour()) as place:
            yield place


@pytest.fixture
def place(standing: Served, own_state: Path, monkeypatch: pytest.MonkeyPatch) -> Served:
    """The same for several tests, with the user's state, where its account is."""
    monkeypatch.setenv("TRUESEED_STATE", str(Path(standing.account.name.removeprefix("sqlite:///")).parent))
    return standing


def test_both_answer_and_either_tells_the_counts_of_both(place):
    before = place.counted("calls_total")
    assert place.ask_all(place.key()) == [200] * MANY
    journals = [path for path in (place.folder / CALLS).glob("*.jsonl") if path.stat().st_size]
    assert len(journals) == 2
    time.sleep(SYNC_EVERY_S + 0.5)  # of the other, counts are told as of a second ago
    told = [(place.counted("calls_total"), place.counted("in_flight")) for _ in range(MANY)]
    assert told == [(before + MANY, 0)] * MANY


def test_a_key_that_is_revoked_is_refused_by_both(place):
    token = place.key()
    assert place.ask_all(token) == [200] * MANY
    place.keys.revoke(place.keys.list()[-1].id)
    assert place.ask_all(token) == [401] * MANY


def test_together_they_spend_no_more_than_the_budget_of_a_key(place):
    token, billed = place.key(budget_micros=1_000), place.billed()
    statuses = [status for _ in range(4) for status in place.ask_all(token)]
    assert 1 <= statuses.count(200) == place.billed() - billed
    assert statuses.count(200) + statuses.count(429) == len(statuses)
    (key,) = [key for key in place.keys.list() if key.grant.budget_micros == 1_000]
    assert 0 < key.charged_micros <= 1_000


def test_a_second_gateway_does_not_share_the_port(place, tmp_path):
    taken = int(place.url.rpartition(":")[2])
    second = serving(place.folder.parent / "gateway.yaml", tmp_path / "work", port=taken)
    _, said = second.communicate(timeout=SOON)
    assert second.returncode == ConfigError.exit_code
    assert "choose another --port" in said


def test_one_that_dies_is_replaced_and_its_call_stays_charged(tmp_path):
    with started(tmp_path, Behaviour(latency_s=1.0)) as place, ThreadPoolExecutor(1) as thread:
        token, first = place.key(), place.workers()
        assert len(first) == 2
        call = thread.submit(place.ask, token)
        until(lambda: [used.reserved for used in place.used()] == [1])
        assert place.counted("in_flight") == 1
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(httpx.HTTPError):
            call.result()
        until(lambda: len(place.workers() - first) == 2)
        beginning = place.workers() - first
        for pid in beginning:
            os.kill(pid, signal.SIGKILL)
        until(lambda: len(place.workers() - first - beginning) == 2)
        assert place.ask(token).status_code == 200
        assert place.counted("in_flight") == 0
        assert len(Allowance(place.account, (), "us").unknown()) == 1
        assert place.end() == 0
        assert place.is_sealed()


def test_all_end_and_seal_what_they_did_when_the_one_that_started_them_is_killed(tmp_path):
    with started(tmp_path, Behaviour()) as place:
        assert place.ask_all(place.key()) == [200] * MANY
        workers = place.workers()
        place.process.kill()
        until(lambda: not any(Path(f"/proc/{pid}").exists() and _command(str(pid)) for pid in workers))
        assert place.is_sealed()
        seals = [entry for entry in place.workspace.ledger.entries() if entry.predicate_type == SEAL]
        assert len(seals) == 2  # each its own, none sealed by another for it


def test_one_that_cannot_begin_ends_all_of_them(tmp_path):
    with started(tmp_path, Behaviour()) as place:
        Path(place.account.name.removeprefix("sqlite:///")).unlink()
        os.kill(place.workers().pop(), signal.SIGKILL)
        _, said = place.process.communicate(timeout=SOON)
        assert place.process.returncode == 6
        assert "was removed" in said


def test_calls_in_flight_are_divided_to_the_last_one():
    config = Config.model_validate({"upstreams": [{"source": DEEPSEEK}], "in_flight": 7})
    assert [part.in_flight for part in _parts(config, 3)] == [3, 2, 2]
    with pytest.raises(ConfigError, match="each needs at least one"):
        _parts(config, 8)
