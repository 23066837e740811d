"""An ASGI service on a socket, from the first request until Ctrl-C or SIGTERM."""

import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from trueseed.access.arrival import Arrival
from trueseed.errors import ConfigError


def _say(address: str) -> None:
    print(f"serving at {address} (Ctrl-C stops)", file=sys.stderr, flush=True)


def run(
    api: ASGIApp, *, port: int, host: str = "127.0.0.1", ready: Callable[[str], None] = _say, patience_s: int = 1
) -> None:
    """Serves until Ctrl-C or SIGTERM, and returns.

    port: 0 takes a free one. ready: told the address when it is open. patience_s: how long an answer in progress may
    still take then, before it is cut. Raises `ConfigError` when the port cannot be opened.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        opened = socket.create_server((host, port), family=family)
    except OSError as err:
        raise ConfigError(f"port {port} of {host} cannot be opened ({err.strerror}); choose another --port") from err
    with opened, _ending_quietly():
        ready(f"http://{f'[{host}]' if ':' in host else host}:{opened.getsockname()[1]}")
        uvicorn.Server(settings(api, patience_s=patience_s)).run(sockets=[opened])


def settings(api: ASGIApp, *, patience_s: int = 1, log_level: str = "warning") -> uvicorn.Config:
    """How every server of ours listens."""
    return uvicorn.Config(
        api,
        http=Arrival,
        log_level=log_level,
        access_log=False,
        proxy_headers=False,  # nothing here asks where a request came from
        timeout_graceful_shutdown=patience_s,
        ws="none",
    )


@contextmanager
def _ending_quietly() -> Iterator[None]:
    """uvicorn ends in order and then raises the signal anew; that would kill the caller before it closed its step."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
