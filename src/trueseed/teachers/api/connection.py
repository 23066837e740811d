"""One HTTP/1.1 connection to a provider, that carries one call at a time.

The client libraries take 250 µs (aiohttp) to 3 ms (httpx, with many connections) of processor time for a call, this
takes 40: whoever relays other programs' calls has little else to do. What it does not do: follow redirects, keep
cookies, ask proxies, or ask again. Responses are parsed by httptools, which is Node.js's parser.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import cast

from trueseed.core.errand import Word
from trueseed.errors import ConfigError
from trueseed.teachers.api import wire

try:
    import httptools
except ImportError as err:
    raise ConfigError("the gateway needs an HTTP parser; pip install 'trueseed[gateway]'") from err

CONNECT_S = 10.0
HELD_BYTES = 256 * 1024  # of a body that nobody has read yet; more is left with the provider
HEAD_BYTES = 64 * 1024  # of a response's head, as Node.js and nginx bound it or lower


class NeverLeft(Exception):  # noqa: N818
    """No byte of the request can have reached the provider."""


class BrokenOff(Exception):  # noqa: N818
    """The connection failed after the request may have arrived, so nobody knows whether it is billed."""


class TooLong(BrokenOff):
    """The answer is longer than any that we take in."""


class Reply:
    """A response whose head has come. Names of headers are in lower case."""

    def __init__(self, connection: "Connection", status: int, headers: Mapping[str, str]) -> None:
        self.status, self.headers = status, headers
        self._connection = connection

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises `BrokenOff` when it does not come whole, `TooLong`."""
        taken = 0
        while piece := await self._connection.more():
            taken += len(piece)
            if taken > wire.MOST_BYTES:
                raise TooLong(f"the answer is longer than {wire.MOST_BYTES} bytes")
            yield piece

    async def whole(self) -> bytes:
        """All of the body. Raises as `pieces`."""
        return b"".join([piece async for piece in self.pieces()])


class Connection(asyncio.Protocol):
    """Opened by `connect`. After `ask` and the body it `is_free` for the next call, or else is closed."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._closed = False
        self._patience_s, self._patient_until = 0.0, 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.idle_since = self._loop.time()
        self._headers: dict[str, str] = {}
        self._waiting: Word[None] | None = None
        self._broken: BrokenOff | None = None
        self._paused = False
        self._forget()
        self._ended = True

    @classmethod
    async def to(cls, host: str, port: int, trusted: ssl.SSLContext | None, *, within_s: float) -> "Connection":
        """trusted: for TLS. Raises `NeverLeft`."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(within_s):
                _, made = await loop.create_connection(cls, host, port, ssl=trusted)
        except TimeoutError:
            raise NeverLeft(f"{host}:{port} did not take the connection within {within_s:g} s") from None
        except OSError as err:  # the name is not known, nobody listens, the certificate is not trusted
            raise NeverLeft(f"{type(err).__name__}: {err}") from err
        return made

    @property
    def is_free(self) -> bool:
        """Whether the last answer came whole and the provider keeps the connection open."""
        return self._ended and not self._closed and not self._transport.is_closing()

    async def ask(self, request: bytes, patience_s: float) -> Reply:
        """Sends a whole request, head and body, and waits for the head of its answer.

        patience_s: how long no byte may come. Raises `BrokenOff`.
        """
        self._forget()
        self._patience_s, self._patient_until = patience_s, self._loop.time() + patience_s
        if self._timer is None:
            self._timer = self._loop.call_later(patience_s, self._look_at_the_clock)
        self._transport.write(request)
        while not self._status:
            if self._broken:
                raise self._broken
            await self._news()
        return Reply(self, self._status, self._headers)

    async def more(self) -> bytes:
        """The next piece of the body, b'' after the last. Raises `BrokenOff`."""
        while not self._pieces:
            if self._broken:
                raise self._broken
            if self._ended:
                return b""
            await self._news()
        piece = self._pieces.popleft()
        self._held -= len(piece)
        if self._paused and self._held < HELD_BYTES // 2:
            self._paused = False
            self._transport.resume_reading()
        return piece

    def close(self) -> None:
        """At once; what still comes is not read."""
        self._closed = True
        if self._timer:
            self._timer.cancel()
        self._transport.abort()

    # -- what the event loop tells ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._ended:  # nothing was asked
            self.close()
            return
        self._patient_until = self._loop.time() + self._patience_s
        if not self._status:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as err:
            self._break(f"what came is not HTTP ({type(err).__name__})")
            self.close()
        if not self._status and self._head_bytes > HEAD_BYTES:
            self._break(f"the head of the answer is longer than {HEAD_BYTES} bytes")
        self._wake()

    def connection_lost(self, err: Exception | None) -> None:
        self._closed = True
        if self._timer:
            self._timer.cancel()
        if not self._ended and self._status and not self._is_sized:
            self._ended = True  # an answer that says no length ends with its connection
            self._wake()
        self._break(f"{type(err).__name__}: {err}" if err else "the connection was closed before the answer ended")

    def _look_at_the_clock(self) -> None:
        """One timer for all calls of the connection: to set one for each costs more than to look at it late."""
        self._timer = None
        if self._ended or self._closed:
            return
        left = self._patient_until - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look_at_the_clock)
        else:
            self._break(f"nothing came for {self._patience_s:g} s")

    # -- what the parser tells -------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._headers = {}
        if self._ended:
            raise BrokenOff("there is another answer behind the one that was asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        key, said = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {said}" if key in self._headers else said

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # 100 Continue, 103 Early Hints: the answer is yet to come
            return
        self._status = status
        self._is_sized = "content-length" in self._headers or "transfer-encoding" in self._headers

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._held += len(piece)
        if self._held > HELD_BYTES and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if not self._status:
            return
        self._ended = True
        self.idle_since = self._loop.time()
        if not self._parser.should_keep_alive():
            self._closed = True
            self._transport.close()

    # -- the pieces ------------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        """The last call."""
        self._parser = httptools.HttpResponseParser(self)
        self._headers = {}
        self._status, self._is_sized, self._head_bytes = 0, False, 0
        self._pieces: deque[bytes] = deque()
        self._held, self._paused, self._ended = 0, False, False
        self._broken, self._waiting = None, None

    def _break(self, because: str) -> None:
        if self._ended or self._broken:
            return
        self._broken = BrokenOff(because)
        self.close()
        self._wake()

    async def _news(self) -> None:
        """Waits until more came, or none will."""
        self._waiting = Word()
        await self._waiting

    def _wake(self) -> None:
        """Last of all, and never while the parser is at work: whoever waits goes on here, and may use the connection
        for the next call.
        """
        waiting, self._waiting = self._waiting, None
        if waiting:
            waiting.give(None)
