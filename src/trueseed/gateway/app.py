"""The routes: `/v1/models`, `/v1/chat/completions`, `/metrics` and `/health`.

A request is read once, by `wanted`, and goes on as it came.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, NamedTuple, TypeVar

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from trueseed.access import faults
from trueseed.access.faults import Fault
from trueseed.access.guard import LOOPBACK, Guard
from trueseed.access.keys import Unauthorised
from trueseed.access.straight import AT_MOST, Answer, Whole, protocol
from trueseed.core.journal import SYNC_EVERY_S
from trueseed.gateway.desk import Desk
from trueseed.gateway.faults import ours
from trueseed.gateway.features import named
from trueseed.gateway.metrics import CONTENT_TYPE, Metrics
from trueseed.gateway.relay import Relay, Road, Streamed
from trueseed.gateway.settings import Config
from trueseed.gateway.ticket import Ask, Ticket
from trueseed.gateway.wanted import read
from trueseed.teachers.account.lots import Lots
from trueseed.teachers.api.forward import Forward
from trueseed.terms.model import parse_source

T = TypeVar("T")
COMPLETIONS = "/v1/chat/completions"
KNOCK = Ask("", None, read(b'{"model": "own/nobody", "messages": [{}]}', max_tokens=1))  # nobody's key
FEW = 16  # admitted before the next of a burst are read: fewer cost more transactions, more keep the first waiting
PATIENCE_S = 20  # for calls in flight when the gateway stops; what takes longer stays reserved
_log = logging.getLogger(__name__)


class _Credentials(NamedTuple):
    """use: as the client declared it, None when it did not. features: that it declared."""

    token: str
    use: str | None
    features: tuple[str, ...] = ()


class Gateway:
    """One desk, one pool of connections, and the calls in flight. desk: opened in the desk's own thread."""

    def __init__(self, desk: Callable[[], Desk], config: Config) -> None:
        self._config, self._metrics = config, Metrics()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="desk")
        self._desk = self._thread.submit(desk).result()
        self._streams: set[asyncio.Task[None]] = set()
        self._in_flight = 0
        self._lots: Lots
        self._road: Road

    def app(self, hosts: tuple[str, ...] = LOOPBACK) -> ASGIApp:
        routes = [
            Route("/v1/models", self._models),
            Route("/v1/models/{name:path}", self._model),
            Route("/metrics", self._measured),
            Route("/health", self._health),
            Route(COMPLETIONS, _post_only),
        ]
        others = Starlette(routes=routes, lifespan=self._living)
        faults.install(others)

        async def front(scope: Scope, receive: Receive, send: Send) -> None:
            """Completions are answered here: routes, middleware and responses cost as much as all else of a call."""
            if scope["type"] == "http" and _asks(scope):
                await self._completions(scope, receive, send)
            else:
                await others(scope, receive, send)

        return _Service(front, self._answer, hosts=hosts, body_bytes=self._config.body_bytes)

    @asynccontextmanager
    async def _living(self, _: Starlette) -> AsyncIterator[None]:
        self._lots = Lots(self._desk.work, self._desk.at_once, self._thread, most=FEW)
        async with Forward() as forward:
            self._road = Road(
                settle=self._lots.verdict,
                suspended=partial(self._at_desk, self._desk.suspended),
                forward=forward,
                metrics=self._metrics,
            )
            keeping = asyncio.create_task(self._keeping())
            yield
            if self._streams:
                await asyncio.wait(self._streams, timeout=PATIENCE_S)
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping
            for stream in self._streams:
                stream.cancel()

    def close(self) -> None:
        """Seals what was done and closes the steps. Raises what the ledger raises."""
        try:
            self._thread.submit(self._desk.close).result()
        finally:
            self._thread.shutdown()

    async def _completions(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            asker = _credentials(scope)
            reply = await self._answer(asker, await _body(receive))
        except ClientDisconnect:
            return
        except Exception as err:
            reply = self._turned_away(err).response()
        await reply(scope, receive, send)

    async def _answer(self, asker: _Credentials, body: bytes) -> ASGIApp:
        """What a call comes to: admitted, forwarded and settled, or why it was not."""
        try:
            ticket = await self._admitted(asker, body)
            if ticket.wanted.stream:
                relay = Streamed(ticket, self._road)
                stream = asyncio.create_task(self._leaving(relay.pump()))
                self._streams.add(stream)
                stream.add_done_callback(self._streams.discard)
                return await relay.response()
            return Whole(_head(ticket.id), await self._leaving(Relay(ticket, self._road).whole()))
        except Exception as err:
            return ours(err).response()

    async def _admitted(self, asker: _Credentials, body: bytes) -> Ticket:
        """Raises `Fault`."""
        began = time.perf_counter()
        try:
            wanted = read(body, max_tokens=self._config.max_tokens)
            if self._in_flight >= self._config.in_flight:
                again = {"retry-after": "1"}
                raise Fault(429, "too many calls are in flight; try again shortly", code="busy", headers=again)
            self._in_flight += 1  # from before its admission on, since many may wait for theirs
            self._metrics.in_flight.inc()
            try:
                ticket: Ticket = await self._lots.verdict(Ask(asker.token, asker.use, wanted, asker.features))
            except BaseException:
                self._left()
                raise
        except Exception as err:
            raise self._turned_away(err) from err
        self._metrics.admitted(time.perf_counter() - began)
        return ticket

    async def _models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [_card(source) for source in await self._reached(request)]})

    async def _model(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in await self._reached(request):
            raise Fault(404, f"there is no model {name!r} for this key", code="model_not_found", param="model")
        return JSONResponse(_card(name))

    async def _measured(self, _: Request) -> Response:
        return Response(self._metrics.text(), headers={"content-type": CONTENT_TYPE})

    async def _health(self, _: Request) -> Response:
        try:
            await self._lots.verdict(KNOCK)
        except Unauthorised:  # a call with a key would have been heard
            pass
        except Exception as err:
            raise ours(err) from err
        return JSONResponse({"status": "ok"})

    async def _reached(self, request: Request) -> list[str]:
        try:
            return await self._at_desk(self._desk.models, _credentials(request.scope).token)
        except Exception as err:
            raise self._turned_away(err) from err

    def _turned_away(self, err: Exception) -> Fault:
        told = ours(err)
        self._metrics.refused.labels(told.code).inc()
        if told.status_code == 500:
            _log.error("a request failed", exc_info=err)
        return told

    async def _leaving(self, work: Awaitable[T]) -> T:
        try:
            return await work
        finally:
            self._left()

    def _left(self) -> None:
        self._in_flight -= 1
        self._metrics.in_flight.dec()

    async def _at_desk(self, do: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(do, *args))

    async def _keeping(self) -> None:
        """Every second what was counted and said, at intervals the seal."""
        sealed_at = time.monotonic()
        while True:
            await asyncio.sleep(min(SYNC_EVERY_S, self._config.seal_every_s))
            self._metrics.count()
            try:
                await asyncio.to_thread(self._desk.keep)
                if time.monotonic() - sealed_at >= self._config.seal_every_s:
                    sealed_at = time.monotonic()
                    await asyncio.to_thread(self._desk.seal)
            except Exception:  # what could not be kept is kept the next time
                _log.exception("the calls could not be kept or sealed")


class _Service(Guard):
    """The app. answer: to a completion that is asked for."""

    arrival = protocol()

    def __init__(
        self,
        app: ASGIApp,
        answer: Callable[[_Credentials, bytes], Awaitable[ASGIApp]],
        *,
        hosts: tuple[str, ...],
        body_bytes: int,
    ) -> None:
        super().__init__(app, hosts=hosts, body_bytes=body_bytes)
        self._answer = answer

    def straight(self, scope: Scope) -> Answer | None:
        """A completion whose head is in order. What is not goes by ASGI, where it is told why."""
        headers = dict(scope["headers"])
        if not _asks(scope) or len(headers) < len(scope["headers"]) or b"expect" in headers or self.fault(scope):
            return None
        if not 0 < int(headers.get(b"content-length", b"0")) <= AT_MOST:
            return None
        with suppress(Fault):
            return partial(self._answer, _credentials(scope))
        return None


def _asks(scope: Scope) -> bool:
    """Whether it is for a completion."""
    return bool(scope["path"] == COMPLETIONS and scope["method"] == "POST")


async def _post_only(_: Request) -> Response:
    raise Fault(405, "ask with POST", headers={"allow": "POST"})


def _credentials(scope: Scope) -> _Credentials:
    """Raises `Fault` when there is no key; and for a header that comes twice, since whoever looked at the request
    before us may have gone by the other.
    """
    found: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        if name in (b"authorization", b"x-trueseed-use", b"x-trueseed-feature"):
            if name in found:
                raise Fault(400, f"the header {name.decode()} comes twice; send one", code="header_repeated")
            found[name] = value.decode("latin-1")
    features = named(found.get(b"x-trueseed-feature"))
    return _Credentials(_token(found.get(b"authorization", "")), found.get(b"x-trueseed-use"), features)


def _head(call: str) -> list[tuple[bytes, bytes]]:
    """Of an answer that comes whole."""
    name = call.encode()
    return [(b"content-type", b"application/json"), (b"x-trueseed-call", name), (b"x-request-id", name)]


async def _body(receive: Receive) -> bytes:
    """Raises `ClientDisconnect` when it does not come whole."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _token(authorization: str) -> str:
    """Raises `Fault` when there is none."""
    kind, _, token = authorization.partition(" ")
    if kind.lower() != "bearer" or not token.strip():
        raise Fault(
            401,
            "send a key of this gateway as Authorization: Bearer; `trueseed keys issue` makes one",
            code="invalid_api_key",
            headers={"www-authenticate": "Bearer"},
        )
    return token.strip()


def _card(source: str) -> dict[str, Any]:
    return {"id": source, "object": "model", "created": 0, "owned_by": parse_source(source).maker}
