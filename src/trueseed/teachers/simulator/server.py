"""The HTTP side: which paths there are, who calls, and how an answer leaves, well or badly.

Where each dialect is spoken, under the address of the simulator:

    OpenAI      /v1                                                   Authorization: Bearer
    Azure       /openai/deployments/{model}?api-version=…             api-key
                /openai/v1                                            api-key, or Authorization: Bearer
    Anthropic   /anthropic/v1                                         Authorization: Bearer, or x-api-key

each with `/chat/completions` and, but for deployments, `/models`; the usage is at `/v1/organization/usage/completions`.
The paths under `/simulator` are ours: GET `counts`, `behaviour`, `usage.csv`; PUT `behaviour`; POST `lift`, `suspend`,
`reset`.

It is a bare ASGI application, since it stands behind benchmarks and must cost next to nothing itself.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, unquote

from pydantic import ValidationError

from trueseed.teachers.simulator import question, wire
from trueseed.teachers.simulator.account import Account, Admitted, Refusal
from trueseed.teachers.simulator.behaviour import Behaviour
from trueseed.teachers.simulator.dialects import ANTHROPIC, AZURE, OPENAI, Dialect, Headers
from trueseed.teachers.simulator.question import Unreadable

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_JSON = (b"content-type", b"application/json")
_CSV = (b"content-type", b"text/csv; charset=utf-8")
_HTML = (b"content-type", b"text/html; charset=utf-8")
_EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")
_CHAT: dict[str, Dialect] = {
    "/v1/chat/completions": OPENAI,
    "/openai/v1/chat/completions": AZURE,
    "/anthropic/v1/chat/completions": ANTHROPIC,
}
_MODELS: dict[str, Dialect] = {"/v1/models": OPENAI, "/openai/v1/models": AZURE, "/anthropic/v1/models": ANTHROPIC}
_DEPLOYMENT = re.compile(r"/openai/deployments/([^/]+)/chat/completions")
_USAGE = "/v1/organization/usage/completions"


@dataclass(frozen=True, slots=True)
class _Caller:
    """One HTTP request, and the way back."""

    scope: Scope
    receive: Receive
    send: Send
    dialect: Dialect = OPENAI

    @property
    def path(self) -> str:
        return str(self.scope["path"])

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(self.scope["query_string"].decode("latin-1"))

    @property
    def key(self) -> str:
        """Empty when none was sent."""
        bearer = ""
        for name, value in self.scope["headers"]:
            if (name == b"api-key" and self.dialect is AZURE) or (name == b"x-api-key" and self.dialect is ANTHROPIC):
                return str(value.decode("latin-1"))
            if name == b"authorization":
                bearer = value.decode("latin-1").removeprefix("Bearer ").strip()
        return bearer

    async def body(self) -> bytes:
        message = await self.receive()
        if not message.get("more_body"):
            return bytes(message.get("body", b""))
        parts = [message.get("body", b"")]
        while message.get("more_body"):
            message = await self.receive()
            parts.append(message.get("body", b""))
        return b"".join(parts)

    async def reply(self, status: int, body: bytes, headers: Headers) -> None:
        await self.start(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self.more(body, last=True)

    async def start(self, status: int, headers: Headers) -> None:
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def more(self, body: bytes, *, last: bool = False) -> None:
        await self.send({"type": "http.response.body", "body": body, "more_body": not last})

    async def hang_up(self, *, unsent: bool) -> None:
        """Ends the connection. unsent: also what was not sent yet is lost, and the client sees a reset."""
        transport = self.scope["state"]["transport"]
        transport.abort() if unsent else transport.close()
        while (await self.receive())["type"] != "http.disconnect":
            pass


class Simulated:
    """The ASGI application over one account. Needs the connection in `scope["state"]["transport"]`, see `running`."""

    def __init__(self, account: Account) -> None:
        self.account = account

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = _Caller(scope, receive, send, _dialect(scope["path"]))
        try:
            await self._route(caller)
        except Refusal as refusal:
            await self._refuse(caller, refusal)
        except Unreadable as err:
            refusal = self.account.refusal("invalid", caller.dialect, why=str(err), param=err.param)
            await self._refuse(caller, refusal)

    async def _route(self, caller: _Caller) -> None:
        method, path = caller.scope["method"], caller.path
        deployment = _DEPLOYMENT.fullmatch(path)
        if method == "POST" and path in _CHAT:
            await self._chat(caller, None)
        elif method == "POST" and deployment and "api-version" in caller.query:
            await self._chat(caller, unquote(deployment[1]))
        elif method == "GET" and path in _MODELS:
            await self._models(caller)
        elif method == "GET" and path == _USAGE:
            await self._usage(caller)
        elif path.startswith("/simulator/"):
            await self._admin(caller, f"{method} {path.removeprefix('/simulator/')}")
        else:
            raise self.account.refusal("no_path", caller.dialect, method=method, path=path)

    async def _refuse(self, caller: _Caller, refusal: Refusal) -> None:
        headers = [_JSON, *self._own_headers(caller, 0), *refusal.headers]
        await caller.reply(refusal.status, json.dumps(refusal.body).encode(), headers)

    async def _chat(self, caller: _Caller, deployment: str | None) -> None:
        raw, key = await caller.body(), caller.key
        self.account.arrived(caller.dialect, key)
        call = self.account.admit(question.read(raw, deployment), caller.dialect, key)
        if call.latency_s:
            await asyncio.sleep(call.latency_s)
        self.account.ended(call)
        match call.fault:
            case "server_error" | "overloaded" | "rate_limited":
                raise self.account.failure(call)
            case "bad_gateway" | "html":
                return await caller.reply(502 if call.fault == "bad_gateway" else 200, wire.HTML, [_HTML])
            case "dropped":
                return await caller.hang_up(unsent=True)
        self.account.bill(call)
        if call.fault == "lost":
            return await caller.hang_up(unsent=True)
        return await (self._stream if call.question.stream else self._whole)(caller, call)

    async def _whole(self, caller: _Caller, call: Admitted) -> None:
        body = wire.whole(call, int(self.account.wall()))
        headers = [_JSON, *self._own_headers(caller, call.number)]
        if call.fault == "huge":
            return await self._flood(caller, [*headers], body)
        if call.fault not in ("cut", "stalled"):
            return await caller.reply(200, body, headers)
        await caller.start(200, [*headers, (b"content-length", b"%d" % len(body))])
        await caller.more(body[: len(body) // 2])
        if call.fault == "cut":
            return await caller.hang_up(unsent=False)
        await asyncio.sleep(self.account.behaviour.stall_s)
        return await caller.more(body[len(body) // 2 :], last=True)

    async def _stream(self, caller: _Caller, call: Admitted) -> None:
        headers = [_EVENTS, (b"cache-control", b"no-cache"), *self._own_headers(caller, call.number)]
        events = [*wire.events(call, int(self.account.wall())), wire.DONE]
        if call.fault == "huge":
            return await self._flood(caller, headers, b"".join(events))
        if call.fault == "duplicated":
            events = [event for event in events[:-1] for _ in range(2)] + events[-1:]
        await caller.start(200, headers)
        gap_s, half = self.account.behaviour.stream_gap_s, len(events) // 2
        for number, part in enumerate(events if gap_s else _halves(events)):
            if number == (half if gap_s else 1):
                if call.fault == "cut":
                    return await caller.hang_up(unsent=False)
                if call.fault == "stalled":
                    await asyncio.sleep(self.account.behaviour.stall_s)
            if gap_s and number:
                await asyncio.sleep(gap_s)
            await caller.more(part)
        return await caller.more(b"", last=True)

    async def _flood(self, caller: _Caller, headers: Headers, body: bytes) -> None:
        """`body` after very many blanks, which JSON and events allow."""
        blanks, left = b"\n" * (1 << 16), self.account.behaviour.huge_bytes
        await caller.start(200, headers)
        while left > 0:
            await caller.more(blanks[:left])
            left -= len(blanks)
        await caller.more(body, last=True)

    async def _models(self, caller: _Caller) -> None:
        self.account.recognise(caller.dialect, caller.key)
        cards = [
            {"id": name, "object": "model", "created": 0, "owned_by": "simulator"}
            for name in self.account.behaviour.models
        ]
        body = json.dumps({"object": "list", "data": cards}).encode()
        await caller.reply(200, body, [_JSON, *self._own_headers(caller, 0)])

    async def _usage(self, caller: _Caller) -> None:
        """Read with the admin key, also while the account is suspended: a provider keeps billing records open."""
        wanted = self.account.behaviour.admin_key
        if not caller.key or wanted not in ("", caller.key):
            raise self.account.refusal("wrong_key" if caller.key else "no_key", OPENAI, key="********")
        try:
            page = self.account.book.usage(caller.query, self.account.wall())
        except ValueError as err:
            raise Unreadable(str(err)) from err
        await caller.reply(200, json.dumps(page).encode(), [_JSON])

    async def _admin(self, caller: _Caller, what: str) -> None:
        account = self.account
        match what:
            case "GET counts" | "GET behaviour":
                pass
            case "GET usage.csv":
                return await caller.reply(200, account.book.export().encode(), [_CSV])
            case "PUT behaviour":
                try:
                    account.behave(Behaviour.model_validate_json(await caller.body()))
                except ValidationError as err:
                    return await caller.reply(400, json.dumps({"error": str(err)}).encode(), [_JSON])
            case "POST lift":
                account.lift()
            case "POST suspend":
                account.suspend()
            case "POST reset":
                account.reset()
            case _:
                return await caller.reply(404, b'{"error": "no such path under /simulator"}', [_JSON])
        said = account.behaviour.model_dump() if what.endswith("behaviour") else account.counts()
        return await caller.reply(HTTPStatus.OK, json.dumps(said).encode(), [_JSON])

    def _own_headers(self, caller: _Caller, number: int) -> Headers:
        """What the provider adds to each answer: the name of the call and the limits."""
        named: Headers = [(caller.dialect.request_id, b"req_%012x" % number)]
        return named + self.account.rate_headers(caller.dialect)


def _dialect(path: str) -> Dialect:
    if path.startswith("/openai/"):
        return AZURE
    return ANTHROPIC if path.startswith("/anthropic/") else OPENAI


def _halves(events: list[bytes]) -> Iterator[bytes]:
    """Without pauses between them, events leave in two writes."""
    half = len(events) // 2
    yield b"".join(events[:half])
    yield b"".join(events[half:])
