"""Requests that are as most are go to an app whole, and its answer to the connection whole.

ASGI passes both on in messages, through apps that are called one inside the other, and that costs as much as carrying a
call on. A request that is odd in any way goes by ASGI all the same, where what is wrong with it is found and told.

Where a request begins is uvicorn's own affair, which it may change. `changed` says what is not as we know it (of 0.54);
then every request goes by ASGI, at the old cost.
"""

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from trueseed.access.arrival import Arrival
from trueseed.core.errand import Errand

AT_MOST = 64 * 1024  # bytes of a body: of a longer one uvicorn reads on as it is taken
Headers = list[tuple[bytes, bytes]]
Answer = Callable[[bytes], Awaitable[ASGIApp]]
Cycle = Any  # uvicorn's `RequestResponseCycle`: a request, and what came of it so far
_OF_CYCLE = (
    *("body", "more_body", "message_event", "disconnected", "keep_alive", "on_response"),
    *("response_started", "response_complete", "scope"),
)
_OF_PROTOCOL = ("app", "flow", "tasks", "server_state", "transport", "cycle")
_log = logging.getLogger(__name__)


class App(Protocol):
    """An ASGI app that takes some requests straight."""

    def straight(self, scope: Scope) -> Answer | None:
        """What makes an answer of the body once that is there, raising nothing; None leaves the request to ASGI."""
        ...


class Whole:
    """An answer that is all there, with status 200; an ASGI app, as every answer is. headers: but for its length."""

    __slots__ = ("body", "headers")

    def __init__(self, headers: Headers, body: bytes) -> None:
        self.headers, self.body = [*headers, (b"content-length", b"%d" % len(body))], body

    async def __call__(self, _: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


def protocol() -> type[Arrival]:
    """For a server whose app is an `App`: `Straight`, or under a uvicorn that is not as we know it one that goes by
    ASGI alone.
    """
    if found := changed(httptools_impl):
        _log.warning("every request goes by ASGI, which takes longer: this uvicorn has changed %s", ", ".join(found))
        return Arrival
    return Straight


def changed(uvicorns: Any) -> list[str]:
    """What `Straight` relies on and uvicorn's module for httptools has no more, or otherwise."""
    its = getattr(uvicorns, "HttpToolsProtocol", object)
    begins = getattr(its, "_start_asgi_task", None)
    found = []
    if begins is None or list(inspect.signature(begins).parameters) != ["self", "cycle", "app"]:
        found.append("_start_asgi_task(cycle, app)")
    cycle = getattr(uvicorns, "RequestResponseCycle", object)
    for kind, names in ((its, _OF_PROTOCOL), (cycle, _OF_CYCLE)):
        set_there = getattr(getattr(kind.__init__, "__code__", None), "co_names", ())
        found += [f"{kind.__name__}.{name}" for name in names if name not in set_there]
    return found


class Straight(Arrival, HttpToolsProtocol):  # type: ignore[misc]
    """One connection of a server whose app is an `App`."""

    _awaited: tuple[Cycle, Answer] | None = None  # a request whose body is yet to come

    def _start_asgi_task(self, cycle: Cycle, app: Any) -> None:
        """Where uvicorn begins a request, whose head is there."""
        answer: Answer | None = app.straight(cycle.scope) if app is self.app else None
        if answer is None:
            super()._start_asgi_task(cycle, app)
        elif cycle.more_body:
            self._awaited = (cycle, answer)
        else:
            self._begin(cycle, answer)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self._awaited and self._awaited[0] is self.cycle:
            self._begin(*self._awaited)

    def _begin(self, cycle: Cycle, answer: Answer) -> None:
        self._awaited = None
        errand = Errand(self._answer(cycle, answer), over=self.tasks.discard)
        self.tasks.add(errand)  # type: ignore[arg-type]  # which uvicorn waits for, and cancels
        errand.begin()

    async def _answer(self, cycle: Cycle, answer: Answer) -> None:
        body, cycle.body = bytes(cycle.body), bytearray()
        cycle.message_event.clear()
        reply = await answer(body)
        if not isinstance(reply, Whole):
            super()._start_asgi_task(cycle, cast(Any, reply))  # starlette and uvicorn spell the same types apart
            return
        if self.flow.write_paused:
            await self.flow.drain()
        if not cycle.disconnected:
            self._write(cycle, reply)

    def _write(self, cycle: Cycle, reply: Whole) -> None:
        """In one piece: two are two packets."""
        cycle.response_started = cycle.response_complete = True
        headers = self.server_state.default_headers + reply.headers
        if not cycle.keep_alive:
            headers.append((b"connection", b"close"))
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        self.transport.write(b"HTTP/1.1 200 OK\r\n%b\r\n%b" % (lines, reply.body))
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()
