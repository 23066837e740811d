"""The simulator as a running server: beside a test in a thread, or on its own in a process.

    with simulator(Behaviour(suspend_at=3)) as provider:
        client = openai.OpenAI(base_url=provider.openai, api_key="sk-any", max_retries=0)
        ...
        provider.lift()
        assert provider.counts()["billed"] == 2

A thread shares the interpreter with whoever asks; for a benchmark take `process=True`.
"""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any, cast

from trueseed.errors import ConfigError
from trueseed.teachers.simulator.account import Account, Counts
from trueseed.teachers.simulator.behaviour import Behaviour
from trueseed.teachers.simulator.server import Simulated

try:
    import uvicorn
    from uvicorn.protocols.http.auto import AutoHTTPProtocol
except ImportError as err:
    raise ConfigError("the simulator needs an HTTP server; pip install 'trueseed[serve]'") from err

_PATIENCE_S = 30
_LOOK_S = 0.01


class _Connection(AutoHTTPProtocol):  # type: ignore[misc,valid-type]  # one of two, chosen when uvicorn is imported
    """uvicorn's own, which also tells the application its transport, so that a fault can cut it."""

    app_state: dict[str, Any]

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


@dataclass(frozen=True, slots=True)
class Simulator:
    """A running simulator, asked over its admin paths. url: `http://127.0.0.1:…`, without a path."""

    url: str

    @property
    def openai(self) -> str:
        """The base URL for OpenAI's clients."""
        return f"{self.url}/v1"

    @property
    def azure(self) -> str:
        """The base URL of Azure's v1 path; for deployments, `url` is the endpoint."""
        return f"{self.url}/openai/v1"

    @property
    def anthropic(self) -> str:
        """The base URL of Anthropic's OpenAI-compatible endpoint."""
        return f"{self.url}/anthropic/v1"

    def counts(self) -> Counts:
        return cast(Counts, json.loads(self._ask("GET", "counts")))

    def settled(self) -> Counts:
        """The counts once no call is open: one whose caller was killed is still answered, and billed, after it.

        Raises `TimeoutError` when one stays open for half a minute.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while (counts := self.counts())["open"]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{counts['open']} calls are still open after {_PATIENCE_S} s; see `latency_s`")
            time.sleep(_LOOK_S)
        return counts

    def behave(self, behaviour: Behaviour) -> None:
        """From now on. Limits start anew; a suspension lasts and what was counted stays."""
        self._ask("PUT", "behaviour", behaviour.model_dump_json())

    def lift(self) -> None:
        """Ends the suspension."""
        self._ask("POST", "lift")

    def suspend(self) -> None:
        """Suspends the account now; calls that were let in are answered and billed."""
        self._ask("POST", "suspend")

    def reset(self) -> None:
        """Forgets everything but the behaviour."""
        self._ask("POST", "reset")

    def usage_csv(self) -> str:
        """The export of the usage: a line for each day, model, key and dialect."""
        return self._ask("GET", "usage.csv")

    def _ask(self, method: str, what: str, body: str | None = None) -> str:
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        connection = HTTPConnection(host, int(port), timeout=_PATIENCE_S)  # knows no proxies
        try:
            connection.request(method, f"/simulator/{what}", body)
            reply = connection.getresponse()
            said = reply.read().decode()
        finally:
            connection.close()
        if reply.status != 200:
            raise ConfigError(f"the simulator at {self.url} refused {method} {what}: {said}")
        return said


@contextmanager
def simulator(behaviour: Behaviour | None = None, *, port: int = 0, process: bool = False) -> Iterator[Simulator]:
    """A simulator on loopback until the block ends; port 0 is a free one. Raises `ConfigError` for a port in use."""
    behaviour = behaviour or Behaviour()
    with (_process if process else _thread)(behaviour, port) as url:
        yield Simulator(url)


def run(behaviour: Behaviour, *, port: int, ready: Callable[[str], None]) -> None:
    """Serves until Ctrl-C or SIGTERM. ready: told the address. Raises `ConfigError` for a port in use."""
    with _opened(port) as opened:
        ready(_address(opened))
        _server(behaviour).run(sockets=[opened])


@contextmanager
def _thread(behaviour: Behaviour, port: int) -> Iterator[str]:
    with _opened(port) as opened:
        server = _server(behaviour)
        thread = threading.Thread(target=server.run, args=([opened],), name="trueseed-simulator", daemon=True)
        thread.start()
        try:
            yield _address(opened)  # the socket listens already: who comes early waits in its queue
        finally:
            server.should_exit = server.force_exit = True
            thread.join(_PATIENCE_S)


@contextmanager
def _process(behaviour: Behaviour, port: int) -> Iterator[str]:
    """It ends with us, also when we are killed: it watches the pipe that we hold."""
    command = [sys.executable, "-m", "trueseed.teachers.simulator", "--port", str(port), "--while-stdin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            url = child.stdout.readline().strip()
            if not url:
                raise ConfigError(f"the simulator did not start on port {port}; its message is above")
            Simulator(url).behave(behaviour)
            yield url
        finally:
            child.stdin.close()
            child.terminate()


def _opened(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port), backlog=2048)
    except OSError as err:
        raise ConfigError(f"port {port} of 127.0.0.1 cannot be opened ({err.strerror}); choose another --port") from err


def _address(opened: socket.socket) -> str:
    return f"http://127.0.0.1:{opened.getsockname()[1]}"


def _server(behaviour: Behaviour) -> uvicorn.Server:
    config = uvicorn.Config(
        Simulated(Account(behaviour)),
        http=_Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=600,  # pooled connections outlast a pause of the client
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)
