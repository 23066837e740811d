"""A teacher that goes bad amid a run: it ends with a clear sentence and the right exit code, and nothing is lost.

Five questions are answered, then something is wrong, then it is mended: the same command asks the other five.
"""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.story.asking import SKIPPED, ask
from tests.teachers.api.test_remote import certificate, serving

from trueseed.errors import ConfigError, Paused, TeacherError, TrueSeedError
from trueseed.teachers.account.allowance import Allowance, Amount, Limit
from trueseed.teachers.account.state import Account
from trueseed.teachers.api.providers import Endpoint
from trueseed.teachers.simulator import Behaviour, Faults, Simulator, simulator
from trueseed.workspace import Workspace

KEY = "sk-bad-0123456789abcdef"
GOOD = Behaviour()


class Run:
    """The same command, given again and again."""

    def __init__(self, folder: Path, provider: Simulator) -> None:
        self.folder, self.provider = folder, provider

    def again(self, most: int = 1000, **changes: Any) -> Any:
        given = {"source": "own/simulated", "model": "simulated", "base_url": self.provider.openai, "at_once": 1}
        endpoint = Endpoint.model_validate({**given, "key_from": "BAD_KEY", **changes})
        workspace = Workspace.open(self.folder / "work", create=True)
        limits = [Limit(source="own/*", per="total", requests=most)]
        return ask(workspace, endpoint, limits, 10, pause_s=0.01)

    def answered(self) -> int:
        return sum(path.read_bytes().count(b"\n") for path in self.folder.glob("work/steps/*/cache/*.jsonl"))

    def charged(self) -> Amount:
        allowance = Allowance(Account.open(), (), "us")
        now, day = datetime.now(UTC), timedelta(days=1)
        return sum((used.charged for used in allowance.used(since=now - day, until=now + day)), Amount())


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """One that has five answers."""
    monkeypatch.setenv("BAD_KEY", KEY)
    with simulator(GOOD) as provider:
        started = Run(tmp_path, provider)
        with pytest.raises(Paused):
            started.again(most=5)
        assert started.answered() == 5
        yield started


def goes_bad(run: Run, error: type[TrueSeedError], says: str, code: int, **changes: Any) -> None:
    """The error is told, and what was answered is there."""
    with pytest.raises(error, match=says) as caught:
        run.again(**changes)
    assert caught.value.exit_code == code
    assert KEY not in str(caught.value)
    assert run.answered() == 5


def is_whole_after_mending(run: Run) -> None:
    """Every question has its answer, none that had one was asked again, and no bill is beyond what was charged."""
    run.provider.behave(GOOD)
    made = run.again()
    counts = run.provider.counts()
    assert made.path(SKIPPED).read_text() == "{}"
    assert made.meta["asked"] == counts["distinct"] == 10
    assert run.charged().requests >= counts["billed"]
    assert run.charged().tokens >= counts["prompt_tokens"] + counts["completion_tokens"]


@pytest.mark.parametrize(
    ("behaviour", "error", "says", "code"),
    [
        (Behaviour(faults=Faults(html=1)), TeacherError, "not a chat completion.*base_url", 5),
        (Behaviour(faults=Faults(empty_choices=1)), TeacherError, "not a chat completion", 5),
        (Behaviour(faults=Faults(malformed=1)), TeacherError, "not a chat completion", 5),
        (Behaviour(faults=Faults(huge=1)), TeacherError, "larger than 16777216 bytes", 5),
        (Behaviour(faults=Faults(server_error=1)), TeacherError, "the server failed", 5),
        (Behaviour(faults=Faults(dropped=1)), TeacherError, "cannot be reached, or broke off", 5),
        (Behaviour(keys=("sk-another",)), ConfigError, "the key is not valid.*environment variable", 2),
        (Behaviour(models=("another",)), ConfigError, "does not know this model.*`model` in the run file", 2),
    ],
    ids=["html", "empty-choices", "malformed", "40-mb", "5xx", "dropped", "wrong-key", "wrong-model"],
)
def test_a_server_that_goes_bad(run, behaviour, error, says, code):
    run.provider.behave(behaviour)
    goes_bad(run, error, says, code)
    is_whole_after_mending(run)


def test_a_server_that_is_unreachable(run):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    before = run.charged()
    goes_bad(run, TeacherError, "cannot be reached.*base_url", 5, base_url=f"http://127.0.0.1:{port}/v1")
    assert run.charged() == before  # nothing left
    is_whole_after_mending(run)


def test_a_name_that_is_not_found(run):
    goes_bad(run, TeacherError, "name cannot be found.*base_url", 5, base_url="http://no.such.invalid/v1")
    is_whole_after_mending(run)


def test_a_certificate_that_cannot_be_trusted(run, tmp_path):
    with serving(lambda _: (200, b"{}"), certificate=certificate(tmp_path)) as url:
        goes_bad(run, ConfigError, "certificate cannot be trusted.*SSL_CERT_FILE", 2, base_url=url)
    is_whole_after_mending(run)


@pytest.mark.parametrize("fault", ["missing_usage", "wrong_usage"])
def test_a_usage_that_is_missing_or_wrong_ends_nothing(run, fault):
    run.provider.behave(Behaviour(faults=Faults(**{fault: 1})))
    run.again()
    is_whole_after_mending(run)


def test_no_proxy_in_the_environment_is_asked(run, monkeypatch):
    """A region that a provider does not serve is not asked from another."""
    asked: list[str] = []

    def note(headers: dict[str, str]) -> tuple[int, bytes]:
        asked.append(headers["host"])
        return 502, b"{}"

    with serving(note) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.removesuffix("/v1"))
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        run.again()
    assert asked == []
