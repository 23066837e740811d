"""Clients that owe us the rest of a request, for ever or without end."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
import uvicorn

from trueseed.access import listen
from trueseed.access.arrival import Arrival

SOON = 20  # seconds, to fail instead of hanging
WHOLE = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
LAST = WHOLE.replace(b"Host", b"Connection: close\r\nHost")


async def reading(scope, receive, send):
    """Answers once the body is there; `/early` before, `/late` long after."""
    while scope["path"] != "/early" and (message := await receive()).get("more_body"):
        pass
    if scope["path"] == "/late":
        await asyncio.sleep(3 * Hasty.within_s)
    if scope["path"] == "/early" or message["type"] != "http.disconnect":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


class Hasty(Arrival):
    within_s = 0.2


@contextmanager
def serving(protocol: type[Arrival]) -> Iterator[int]:
    config = listen.settings(reading, log_level="critical")
    config.port, config.lifespan, config.http = 0, "off", protocol
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.001)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(SOON)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(Hasty) as port:
        yield port


@pytest.fixture(scope="module")
def patient() -> Iterator[int]:
    with serving(Arrival) as port:
        yield port


def said(port: int, *pieces: bytes, drip: bytes = b"") -> bytes:
    """All that comes back until the server ends the connection; `drip` is sent again and again meanwhile."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=SOON)) as client:
        got = b""
        deadline = time.monotonic() + SOON
        try:
            for piece in pieces:
                client.sendall(piece)
            client.settimeout(0.05)
            while time.monotonic() < deadline:
                try:
                    if not (more := client.recv(65_536)):
                        return got
                    got += more
                except TimeoutError:
                    client.sendall(drip)
        except (ConnectionError, BrokenPipeError):
            return got
    pytest.fail("the server waits for ever")


@pytest.mark.parametrize(
    ("begun", "drip"),
    [
        (b"", b""),
        (b"POST / HTTP/1.1\r\nHo", b"o"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", b"a"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        (b"", b"\r\n"),
    ],
)
def test_who_owes_the_rest_of_a_request_is_not_waited_for(port, begun, drip):
    assert b"200 OK" not in said(port, begun, drip=drip)


@pytest.mark.parametrize("drip", [b"\r\n", b"POST / HTTP/1.1\r\nx: "[:1]])
def test_nor_after_a_whole_one(port, drip):
    assert said(port, WHOLE, drip=drip).count(b"200 OK") == 1


def test_nor_with_a_body_that_goes_on_after_its_answer(port):
    begun = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    assert said(port, begun, drip=b"a").count(b"200 OK") == 1


@pytest.mark.parametrize("begun", [b"POST / HTTP/1.1\r\nx: ", b"POST /"])
@pytest.mark.parametrize("before", [b"", WHOLE])
def test_a_head_without_end_is_cut(patient, begun, before):
    assert said(patient, before, begun, drip=b"a" * 60_000).count(b"200 OK") == bool(before)


def test_a_whole_request_has_all_the_time_that_its_answer_takes(port):
    late = LAST.replace(b"POST /", b"POST /late")
    assert said(port, late).count(b"200 OK") == 1


def test_requests_that_come_together_are_answered_one_after_the_other(port):
    assert said(port, WHOLE * 3 + LAST[:-1], b"}").count(b"200 OK") == 4
