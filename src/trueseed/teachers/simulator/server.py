"""The paths there are, and what is done for whoever calls one.

Where each dialect is spoken, under the address of the simulator:

    OpenAI      /v1                                                   Authorization: Bearer
    Azure       /openai/deployments/{model}?api-version=…             api-key
                /openai/v1                                            api-key, or Authorization: Bearer
    Anthropic   /anthropic/v1                                         Authorization: Bearer, or x-api-key

each with `/chat/completions` and `/models` (of deployments at `/openai/models`); the usage is at
`/v1/organization/usage/completions`.
The paths under `/simulator` are ours: GET `counts`, `behaviour`, `usage.csv`; PUT `behaviour`; POST `lift`, `suspend`,
`reset`.

It is a bare ASGI application, since it stands behind benchmarks and must cost next to nothing itself.
"""

import asyncio
import json
import re

from pydantic import ValidationError

from trueseed.teachers.simulator import delivery, question, wire
from trueseed.teachers.simulator.account import Account, Refusal
from trueseed.teachers.simulator.behaviour import Behaviour
from trueseed.teachers.simulator.caller import Caller, Receive, Scope, Send
from trueseed.teachers.simulator.dialects import ANTHROPIC, AZURE, OPENAI, Dialect, Headers
from trueseed.teachers.simulator.question import Unreadable

_JSON = (b"content-type", b"application/json")
_CSV = (b"content-type", b"text/csv; charset=utf-8")
_HTML = (b"content-type", b"text/html; charset=utf-8")
_CHAT: dict[str, Dialect] = {
    "/v1/chat/completions": OPENAI,
    "/openai/v1/chat/completions": AZURE,
    "/anthropic/v1/chat/completions": ANTHROPIC,
}
_MODELS: dict[str, Dialect] = {
    "/v1/models": OPENAI,
    "/openai/v1/models": AZURE,
    "/openai/models": AZURE,
    "/anthropic/v1/models": ANTHROPIC,
}
_DEPLOYMENT = re.compile(r"/openai/deployments/([^/]+)/chat/completions")
_USAGE = "/v1/organization/usage/completions"


class Simulated:
    """The ASGI application over one account."""

    def __init__(self, account: Account) -> None:
        self.account = account

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = Caller(scope, receive, send, _dialect(scope["path"]))
        try:
            await self._route(caller)
        except asyncio.CancelledError:  # the server ends
            await caller.hang_up(unsent=True)
        except Refusal as refusal:
            await self._refuse(caller, refusal)
        except Unreadable as err:
            await self._refuse(caller, self.account.refusal("invalid", caller.dialect, why=str(err), param=err.param))

    async def _route(self, caller: Caller) -> None:
        method, path = caller.scope["method"], caller.path
        deployment = _DEPLOYMENT.fullmatch(path)
        if method == "POST" and path in _CHAT:
            await self._chat(caller, None)
        elif method == "POST" and deployment and "api-version" in caller.query:
            await self._chat(caller, deployment[1])
        elif method == "GET" and path in _MODELS:
            await self._models(caller)
        elif method == "GET" and path == _USAGE:
            await self._usage(caller)
        elif path.startswith("/simulator/"):
            await self._admin(caller, f"{method} {path.removeprefix('/simulator/')}")
        else:
            raise self.account.refusal("no_path", caller.dialect, method=method, path=path)

    async def _refuse(self, caller: Caller, refusal: Refusal) -> None:
        headers = [_JSON, *self._own_headers(caller, 0), *refusal.headers]
        if self.account.behaviour.echo_key:
            refusal.body["error"]["message"] += f" You sent the key {caller.key}"
        await caller.reply(refusal.status, json.dumps(refusal.body).encode(), headers)

    async def _chat(self, caller: Caller, deployment: str | None) -> None:
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
                page = wire.HTML + (caller.key.encode() if self.account.behaviour.echo_key else b"")
                return await caller.reply(502 if call.fault == "bad_gateway" else 200, page, [_HTML])
            case "dropped":
                return await caller.hang_up(unsent=True)
        self.account.bill(call)
        headers = self._own_headers(caller, call.number)
        return await delivery.deliver(call, caller, headers, self.account.behaviour, created=int(self.account.wall()))

    async def _models(self, caller: Caller) -> None:
        self.account.recognise(caller.dialect, caller.key)
        cards = [
            {"id": name, "object": "model", "created": 0, "owned_by": "simulator"}
            for name in self.account.behaviour.models
        ]
        body = json.dumps({"object": "list", "data": cards}).encode()
        await caller.reply(200, body, [_JSON, *self._own_headers(caller, 0)])

    async def _usage(self, caller: Caller) -> None:
        """Read with the admin key, also while the account is suspended: a provider keeps billing records open."""
        wanted = self.account.behaviour.admin_key
        if not caller.key or wanted not in ("", caller.key):
            raise self.account.refusal("wrong_key" if caller.key else "no_key", OPENAI, key="********")
        try:
            page = self.account.book.usage(caller.query, self.account.wall())
        except ValueError as err:
            raise Unreadable(str(err)) from err
        await caller.reply(200, json.dumps(page).encode(), [_JSON])

    async def _admin(self, caller: Caller, what: str) -> None:
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
        return await caller.reply(200, json.dumps(said).encode(), [_JSON])

    def _own_headers(self, caller: Caller, number: int) -> Headers:
        """What the provider adds to each answer: the name of the call and the limits."""
        named: Headers = [(caller.dialect.request_id, b"req_%012x" % number)]
        return named + self.account.rate_headers(caller.dialect)


def _dialect(path: str) -> Dialect:
    if path.startswith("/openai/"):
        return AZURE
    return ANTHROPIC if path.startswith("/anthropic/") else OPENAI
