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

BACKLOG = 2048  # connections that wait to be accepted, as uvicorn has it


def say(address: str) -> None:
    print(f"serving at {address} (Ctrl-C stops)", file=sys.stderr, flush=True)


def run(
    api: ASGIApp, *, port: int, host: str = "127.0.0.1", ready: Callable[[str], None] = say, patience_s: int = 1
) -> None:
    """Serves until Ctrl-C or SIGTERM, and returns.

    port: 0 takes a free one. ready: told the address when it is open. patience_s: how long an answer in progress may
    still take then, before it is cut. Raises `ConfigError` when the port cannot be opened.
    """
    (opened,) = open_port(host, port)
    with opened, ending_quietly():
        ready(address(host, opened))
        uvicorn.Server(settings(api, patience_s=patience_s)).run(sockets=[opened])


def open_port(host: str, port: int, processes: int = 1) -> tuple[socket.socket, ...]:
    """The listening sockets of a port, one for each process that is to serve there; port 0 takes a free one.

    Linux deals connections out evenly among sockets of one port, and keeps those of a process that died for the one
    that gets its socket next, as long as someone has it open. Elsewhere it is the same socket for all.
    Raises `ConfigError` when the port cannot be opened, also when others of ours have it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        if processes == 1 or sys.platform != "linux":
            return (socket.create_server((host, port), family=family),) * processes
        return _sharing(host, port, family, processes)
    except OSError as err:
        raise ConfigError(f"port {port} of {host} cannot be opened ({err.strerror}); choose another --port") from err


def _sharing(host: str, port: int, family: socket.AddressFamily, processes: int) -> tuple[socket.socket, ...]:
    opened: list[socket.socket] = []
    try:
        for place in range(processes):
            one = socket.socket(family)
            opened.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # The first is bound before it would share: else a second gateway took half of the first one's connections.
            if place:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind((host, opened[0].getsockname()[1] if place else port))
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        for one in opened:
            one.listen(BACKLOG)
    except BaseException:
        for one in opened:
            one.close()
        raise
    return tuple(opened)


def address(host: str, opened: socket.socket) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{opened.getsockname()[1]}"


def settings(api: ASGIApp, *, patience_s: int = 1, log_level: str = "warning") -> uvicorn.Config:
    """How every server of ours listens."""
    return uvicorn.Config(
        api,
        http=getattr(api, "arrival", Arrival),  # an app may bring a kind of its own
        log_level=log_level,
        access_log=False,
        proxy_headers=False,  # nothing here asks where a request came from
        timeout_graceful_shutdown=patience_s,
        ws="none",
    )


@contextmanager
def ending_quietly() -> Iterator[None]:
    """uvicorn ends in order and then raises the signal anew; that would kill the caller before it closed its step."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
