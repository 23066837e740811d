"""What comes over a connection, and what is made of it when it does not come as it should."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueseed.errors import ConfigError
from trueseed.teachers.api import wire
from trueseed.teachers.api.connection import BrokenOff, Connection, NeverLeft, TooLong
from trueseed.teachers.api.forward import Address, Forward, Upstream
from trueseed.teachers.api.providers import Endpoint

SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Two: a\r\nX-Two: b\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
UNSIZED = b"HTTP/1.1 200 OK\r\n\r\nhello"
EARLY = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + SIZED


def upstream(port: int, **more: Any) -> Upstream:
    said = {"source": "own/x@weights", "base_url": f"http://127.0.0.1:{port}/v1", "timeout_s": 5.0} | more
    return Upstream.of(Endpoint.model_validate(said))


def against(
    script: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    asking: Callable[[Forward, Upstream], Awaitable[Any]],
    **more: Any,
) -> Any:
    """What `asking` returns when a server does as `script` says, for every connection."""

    async def both() -> Any:
        async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await script(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass  # the client closed it
            finally:
                writer.close()

        server = await asyncio.start_server(served, "127.0.0.1", 0)
        async with server, Forward() as forward:
            return await asking(forward, upstream(server.sockets[0].getsockname()[1], **more))

    return asyncio.run(both())


async def whole(forward: Forward, to: Upstream) -> bytes:
    async with forward.ask(to, b"{}") as reply:
        return await reply.whole()


def saying(*pieces: bytes, close: bool = True) -> Callable[..., Awaitable[None]]:
    """A server that answers with these bytes whatever it is asked, and then closes or says nothing more."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if not close:
            await reader.read()

    return script


@pytest.mark.parametrize("said", [SIZED, CHUNKED, UNSIZED, EARLY])
@settings(max_examples=8, deadline=None)
@given(cut=st.integers(1, 60))
def test_an_answer_is_the_same_however_it_is_sized_and_cut(said, cut):
    assert against(saying(said[:cut], said[cut:]), whole) == b"hello"


def test_a_request_arrives_as_it_was_written_with_key_and_length(monkeypatch):
    monkeypatch.setenv("A_KEY", "sk-0123456789")
    heard = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n{}"))
        writer.write(SIZED)

    against(script, whole, key_from="A_KEY")
    line, *headers = heard[0].split(b"\r\n")
    assert line == b"POST /v1/chat/completions HTTP/1.1"
    assert {b"authorization: Bearer sk-0123456789", b"content-length: 2", b"accept-encoding: identity"} <= set(headers)
    assert sum(header.startswith(b"host: 127.0.0.1:") for header in headers) == 1


def test_names_of_headers_are_in_lower_case_and_repeated_ones_joined():
    async def asking(forward, to):
        async with forward.ask(to, b"{}") as reply:
            return dict(reply.headers)

    assert against(saying(SIZED), asking) == {"content-length": "5", "x-two": "a, b"}


def served_in_a_row(answers):
    """A server that answers so on one connection, and the number of its connections."""
    met = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append(1)
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n{}")
            writer.write(answer)

    return script, met


def test_a_connection_is_used_again():
    script, met = served_in_a_row([SIZED, CHUNKED])

    async def asking(forward, to):
        return [await whole(forward, to), await whole(forward, to)]

    assert against(script, asking) == [b"hello", b"hello"]
    assert len(met) == 1


@pytest.mark.parametrize("last", [SIZED.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"), UNSIZED])
def test_a_connection_that_the_provider_ends_is_not_used_again(last):
    script, met = served_in_a_row([last])

    async def asking(forward, to):
        return [await whole(forward, to), await whole(forward, to)]

    assert against(script, asking) == [b"hello", b"hello"]
    assert len(met) == 2


def test_an_answer_that_was_not_read_to_its_end_is_not_left_to_the_next_call():
    async def asking(forward, to):
        async with forward.ask(to, b"{}"):
            pass
        return await whole(forward, to)

    script, met = served_in_a_row([SIZED[:-2], b"XX"])
    with pytest.raises(BrokenOff):
        against(script, asking)
    assert len(met) == 2


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"not HTTP at all\r\n\r\n",
        SIZED[:30],
        SIZED[:-1],
        CHUNKED[:-5],
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
    ],
)
def test_what_does_not_come_whole_is_said_to_have_broken_off(said):
    with pytest.raises(BrokenOff):
        against(saying(said), whole)


def test_a_provider_that_falls_silent_is_not_waited_for_beyond_the_time_given():
    with pytest.raises(BrokenOff, match=r"nothing came for 0\.05 s"):
        against(saying(SIZED[:-1], close=False), whole, timeout_s=0.05)


def test_an_answer_without_end_is_cut(monkeypatch):
    monkeypatch.setattr(wire, "MOST_BYTES", 1 << 20)
    endless = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (2 << 20)
    with pytest.raises(TooLong):
        against(saying(endless), whole)


def test_what_nobody_reads_is_left_with_the_provider():
    async def asking(forward, to):
        async with forward.ask(to, b"{}") as reply:
            await asyncio.sleep(0.1)
            return reply._connection._held

    assert against(saying(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (8 << 20)), asking) < 2 << 20


def test_nothing_left_when_nobody_listens():
    async def asking() -> None:
        async with Forward() as forward:
            await whole(forward, upstream(9))

    with pytest.raises(NeverLeft):
        asyncio.run(asking())


def test_nothing_left_when_the_name_is_not_known():
    async def asking() -> None:
        await Connection.to("nowhere.invalid", 443, None, within_s=5)

    with pytest.raises(NeverLeft):
        asyncio.run(asking())


def test_nothing_left_when_the_other_side_speaks_no_tls():
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def asking(forward, to):
        await Connection.to("127.0.0.1", to.address.port, ssl.create_default_context(), within_s=5)

    with pytest.raises(NeverLeft):
        against(script, asking)


@pytest.mark.parametrize("url", ["ftp://x/v1", "http://", "http://x:port/v1", "http://x..y/v1"])
def test_what_is_no_address_is_said_to_be_none(url):
    with pytest.raises(ConfigError):
        Address.of(url)


def test_a_key_that_would_break_the_head_is_not_sent_nor_shown():
    with pytest.raises(ConfigError) as caught:
        Address.of("https://api.example.org/v1").head({"authorization": "Bearer sk-1\r\nx: y"})
    assert "sk-1" not in str(caught.value)


def test_an_address_keeps_its_query_and_names_its_port_only_where_it_must():
    address = Address.of("https://[::1]:443/a/b?api-version=1")
    assert (address.authority, address.target, address.secure) == ("[::1]", "/a/b?api-version=1", True)
    assert Address.of("http://localhost:8000/v1").authority == "localhost:8000"
