"""A gateway in front of a simulated provider, and the official client in front of the gateway."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import openai
import pytest
import uvicorn
from starlette.types import ASGIApp

from trueseed.access import listen
from trueseed.access.keys import Grant, Keys
from trueseed.gateway.offer import gateway
from trueseed.gateway.settings import Config
from trueseed.ledger.calls import CALLS
from trueseed.teachers.account.allowance import Allowance, Used
from trueseed.teachers.account.state import Account
from trueseed.teachers.simulator import Behaviour, Simulator, simulator
from trueseed.terms.model import Facts, Use
from trueseed.workspace import Workspace

SOON = 20  # seconds, to fail instead of hanging
DEEPSEEK = "deepseek/deepseek-chat@api"  # its terms permit judging and training
OPENAI = "openai/gpt-4o@api"  # its terms forbid training
PRICE = {"input": 1.0, "output": 1.0}  # a token is a millionth of a dollar
SECRET = "sk-upstream-0123456789abcdef"


@dataclass(kw_only=True)
class Place:
    """A running gateway and all that it writes to."""

    folder: Path
    account: Account
    provider: Simulator
    url: str = ""
    workspace: Workspace = field(init=False)
    clients: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.workspace = Workspace.open(self.folder, create=True)

    @property
    def keys(self) -> Keys:
        return Keys(self.account)

    def key(self, *uses: Use, **options: Any) -> str:
        grant = {"owner": "ana", "project": "seed", "uses": frozenset(uses or {Use.JUDGE})} | options
        return self.keys.issue(Grant(**grant)).token

    def client(self, *uses: Use, **options: Any) -> openai.OpenAI:
        return self.client_with(self.key(*uses, **options))

    def client_with(self, token: str) -> openai.OpenAI:
        client = openai.OpenAI(base_url=f"{self.url}/v1", api_key=token, max_retries=0, timeout=SOON)
        return self.clients.enter_context(client)

    def used(self) -> list[Used]:
        now = datetime.now(UTC)
        day = timedelta(days=1)
        return Allowance(self.account, (), "us").used(since=now - day, until=now + day)

    def charged(self) -> tuple[int, int]:
        """Tokens and micros, over everything."""
        used = self.used()
        return sum(each.charged.tokens for each in used), sum(each.charged.micros for each in used)

    def calls(self) -> list[dict[str, Any]]:
        """What the journals say, oldest first."""
        lines = [line for path in (self.folder / CALLS).glob("*.jsonl") for line in path.read_text().splitlines()]
        return sorted((json.loads(line) for line in lines), key=lambda call: call["settled_at"])

    def billed(self) -> int:
        return self.provider.counts()["billed"]


@contextmanager
def serving(api: ASGIApp) -> Iterator[str]:
    """The address of a server on a free port of loopback."""
    config = listen.settings(api, patience_s=5, log_level="critical")
    config.port = 0
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.001)
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(SOON)


Make = Callable[..., Any]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """`with opened(Behaviour(...), limits=[...]) as place`: a gateway in front of a simulated provider."""
    monkeypatch.setenv("UPSTREAM_KEY", SECRET)

    @contextmanager
    def make(
        behaviour: Behaviour | None = None,
        *,
        facts: Facts | None = None,
        surcharges: dict[str, float] | None = None,
        **config: Any,
    ) -> Iterator[Place]:
        with simulator(behaviour or Behaviour()) as provider:
            upstreams = [
                {"source": source, "model": "simulated", "base_url": provider.openai, "key_from": "UPSTREAM_KEY"}
                | {"price": PRICE, "surcharges": surcharges or {}}
                for source in (DEEPSEEK, OPENAI)
            ]
            place = Place(folder=tmp_path / "work", account=Account.open(), provider=provider)
            place.workspace.declare("seed", facts or Facts())
            settings = Config.model_validate({"upstreams": upstreams, **config})
            with gateway(place.workspace, settings) as service, serving(service) as url:
                place.url = url
                with place.clients:
                    yield place

    return make


@pytest.fixture
def place(opened: Make) -> Iterator[Place]:
    with opened() as place:
        yield place


def ask(client: openai.OpenAI, text: str = "How is soup kept warm?", **options: Any) -> Any:
    options = {"model": DEEPSEEK, "messages": [{"role": "user", "content": text}], "max_tokens": 64} | options
    return client.chat.completions.create(**options)


def refusal(client: openai.OpenAI, **options: Any) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, **options)
    assert SECRET not in caught.value.response.text
    return caught.value


def judging(use: str) -> dict[str, str]:
    return {"X-TrueSeed-Use": use}
