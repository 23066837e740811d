"""Requests that go past ASGI are answered as by it, and odd ones, and an unknown uvicorn's, go by it."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from types import SimpleNamespace

import pytest
import uvicorn
from starlette.responses import PlainTextResponse
from uvicorn.protocols.http import httptools_impl

from trueseed.access import listen, straight
from trueseed.access.arrival import Arrival
from trueseed.access.straight import Straight, Whole, changed, protocol

SOON = 20  # seconds, to fail instead of hanging
SLOW_S = 0.2


class Echo:
    """Says of each request by which way it came, and its body. `/odd` is left to ASGI, `/other` gets another answer."""

    def __init__(self) -> None:
        self.done: list[bytes] = []

    async def __call__(self, scope, receive, send):
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        await Whole([(b"x-way", b"asgi")], body)(scope, receive, send)

    def straight(self, scope):
        async def answer(body):
            if scope["path"] == "/slow":
                await asyncio.sleep(SLOW_S)
            self.done.append(body)
            if scope["path"] == "/other":
                return PlainTextResponse("another", status_code=418)
            return Whole([(b"x-way", b"straight")], body)

        return None if scope["path"] == "/odd" else answer


@contextmanager
def serving(app: Echo, kind: type[Arrival]) -> Iterator[int]:
    config = listen.settings(app, log_level="critical", patience_s=SOON)
    config.port, config.lifespan, config.http = 0, "off", kind
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
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def app() -> Echo:
    return Echo()


@pytest.fixture(scope="module")
def port(app: Echo) -> Iterator[int]:
    with serving(app, Straight) as port:
        yield port


def request(path: str, body: bytes, last: bool = True) -> bytes:
    close = "Connection: close\r\n" if last else ""
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{close}Content-Length: {len(body)}\r\n\r\n".encode() + body


def said(port: int, *pieces: bytes) -> bytes:
    """All that comes back until the server ends the connection."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=SOON)) as client:
        for number, piece in enumerate(pieces):
            if number:
                time.sleep(0.02)
            client.sendall(piece)
        got = b""
        while piece := client.recv(1 << 16):
            got += piece
        return got


def test_a_request_goes_straight_and_its_answer_is_whole(port):
    head, _, body = said(port, request("/", b"hello")).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert (lines[0], body) == (b"HTTP/1.1 200 OK", b"hello")
    assert {b"x-way: straight", b"content-length: 5", b"connection: close"} <= set(lines)
    assert any(line.startswith(b"date: ") for line in lines)


def test_a_body_that_comes_in_pieces_is_taken_as_one(port):
    whole = request("/", b"a long time coming")
    assert said(port, whole[:-9], whole[-9:-3], whole[-3:]).endswith(b"\r\n\r\na long time coming")


def test_requests_in_one_packet_are_answered_each_and_in_order(port):
    got = said(
        port, request("/slow", b"one", last=False) + request("/odd", b"two", last=False) + request("/", b"three")
    )
    answers = [piece.partition(b"\r\n\r\n")[2] for piece in got.split(b"HTTP/1.1 200 OK")[1:]]
    assert answers == [b"one", b"two", b"three"]


def test_a_request_that_the_app_does_not_take_goes_by_asgi(port):
    got = said(port, request("/odd", b"hello"))
    assert b"x-way: asgi" in got
    assert got.endswith(b"hello")


def test_an_answer_that_is_not_whole_goes_by_asgi(port):
    got = said(port, request("/other", b""))
    assert got.startswith(b"HTTP/1.1 418")
    assert got.endswith(b"another")


def test_what_a_client_that_left_had_asked_for_is_done_all_the_same(app, port):
    with closing(socket.create_connection(("127.0.0.1", port), timeout=SOON)) as client:
        client.sendall(request("/slow", b"nobody listens"))
        time.sleep(SLOW_S / 4)
    deadline = time.monotonic() + SOON
    while b"nobody listens" not in app.done and time.monotonic() < deadline:
        time.sleep(0.01)
    assert b"nobody listens" in app.done
    assert said(port, request("/", b"hello")).endswith(b"hello")


def test_a_server_that_ends_waits_for_what_is_under_way_also_of_a_client_that_left():
    app = Echo()
    with serving(app, Straight) as port, closing(socket.create_connection(("127.0.0.1", port))) as client:
        client.sendall(request("/slow", b"under way"))
        time.sleep(SLOW_S / 4)
        client.close()
        time.sleep(SLOW_S / 4)
    assert app.done == [b"under way"]


# -- what of it is uvicorn's own affair


def test_uvicorn_begins_a_request_where_we_know_it_to():
    told = (
        f"uvicorn {uvicorn.__version__} has changed what access/straight.py hooks; see `Straight` and `changed` there"
    )
    assert changed(httptools_impl) == [], told
    assert protocol() is Straight


def test_under_a_uvicorn_that_has_changed_every_request_goes_by_asgi(monkeypatch):
    class HttpToolsProtocol(httptools_impl.HttpToolsProtocol):
        def _start_asgi_task(self, cycle): ...

    other = SimpleNamespace(HttpToolsProtocol=HttpToolsProtocol, RequestResponseCycle=object)
    assert changed(other)[0] == "_start_asgi_task(cycle, app)"
    assert "object.body" in changed(other)
    monkeypatch.setattr(straight, "httptools_impl", other)
    assert protocol() is Arrival
    with serving(Echo(), protocol()) as port:
        assert b"x-way: asgi" in said(port, request("/", b"hello"))
