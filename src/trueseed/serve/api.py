"""Models to talk to, over HTTP: OpenAI's `/v1/models`, `/v1/chat/completions` and `/v1/completions`, the tokenizer
(`serve/tokens`), and a chat page at `/`.

    api = app({"quickstart": engine}, allowed=still_allowed, about={"quickstart": About(teacher=...)})
    listen.run(api, port=8000)

`allowed(model)` is asked before every answer and raises `Refused` when the model may no longer be served, so a recall
reaches a running server without a restart; `still(model)` is asked while an answer is spoken, which then breaks off.
"""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, StreamingResponse
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from trueseed.access import faults
from trueseed.access.faults import Fault, fault
from trueseed.access.guard import LOOPBACK, Guard
from trueseed.core.chat import Answer, ChatModel
from trueseed.errors import Refused, TrueSeedError
from trueseed.serve import completions, tokens
from trueseed.serve.limits import Limits
from trueseed.serve.page import chat_page
from trueseed.serve.turns import Busy, Talk, Turns
from trueseed.serve.wire import ChatBody, Reply

_T = TypeVar("_T")
_RETRY_AFTER_S = 5
LOOK_EVERY_S = 2.0  # while an answer is spoken
_NO_TELEMETRY: Any = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Where a model came from, in words for the person who talks to it.

    teacher: the source it learned from. labels: `{"source", "relation", "terms"}`, terms being the name of the document
    or its digest. obligations: what must be kept, a sentence each.
    """

    teacher: str = ""
    labels: tuple[Mapping[str, str], ...] = ()
    obligations: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "teacher": self.teacher,
            "labels": [dict(label) for label in self.labels],
            "obligations": list(self.obligations),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """What is served, and whether it still may be."""

    models: Mapping[str, ChatModel]
    allowed: Callable[[str], None]
    about: Mapping[str, About]
    created: int = field(default_factory=lambda: int(time.time()))

    async def model(self, name: str) -> ChatModel:
        """Raises `Fault` for a name that is not offered and `Refused` for one that no longer may be."""
        if name not in self.models:
            raise Fault(
                404,
                f"there is no model {name!r} here; there is {', '.join(map(repr, self.models)) or 'none'}",
                code="model_not_found",
                param="model",
            )
        await run_in_threadpool(self.allowed, name)  # it reads the ledger
        return self.models[name]

    async def only(self, name: str | None) -> ChatModel:
        """The model of this name, or the one that is offered when nobody names one. Raises as `model`."""
        return await self.model(next(iter(self.models), "") if name is None else name)

    async def card(self, name: str) -> dict[str, Any]:
        await self.model(name)
        about = self.about.get(name, About())
        return {
            "id": name,
            "object": "model",
            "created": self.created,
            "owned_by": "trueseed",
            "trueseed": about.to_json(),
        }

    async def cards(self) -> dict[str, Any]:
        """Those that may be served; `withheld` says why the others may not."""
        offered, withheld = [], []
        for name in self.models:
            try:
                offered.append(await self.card(name))
            except Refused as err:
                withheld.append({"id": name, "because": str(err)})
        return {"object": "list", "data": offered, "trueseed": {"withheld": withheld}}


def app(
    models: Mapping[str, ChatModel],
    *,
    allowed: Callable[[str], None],
    about: Mapping[str, About] | None = None,
    limits: Limits | None = None,
    hosts: tuple[str, ...] = LOOPBACK,
    still: Callable[[str], None] | None = None,
) -> FastAPI:
    """The service over `models`, by the name clients call them. hosts: the names it answers to, without port."""
    limits = limits or Limits()
    offer = _Offer(models=models, allowed=allowed, about=about or {})
    turns = Turns(speaking=limits.speaking, waiting=limits.waiting)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        turns.close()

    # No /docs: FastAPI's loads scripts from elsewhere. No telemetry, whatever the environment says.
    api = FastAPI(title="TrueSeed", docs_url=None, redoc_url=None, lifespan=lifespan, telemetry=_NO_TELEMETRY)
    api.add_middleware(Guard, hosts=hosts, body_bytes=limits.body_bytes)
    faults.install(api)

    @api.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return chat_page()

    @api.get("/v1/models")
    async def list_models() -> dict[str, Any]:
        return await offer.cards()

    @api.get("/v1/models/{name:path}")
    async def one_model(name: str) -> dict[str, Any]:
        return await offer.card(name)

    @api.post("/v1/chat/completions", response_model=None)
    async def chat_completions(body: ChatBody, request: Request) -> Response | dict[str, Any]:
        model = await offer.model(body.model)
        requests = body.requests(max_tokens=limits.max_tokens, seed=secrets.randbits(63))
        if requests[0].max_tokens > limits.max_tokens:
            raise Fault(
                400, f"max_tokens is at most {limits.max_tokens} here", code="invalid_value", param="max_tokens"
            )
        try:
            talk = turns.ask(model, requests)
        except Busy as err:
            headers = {"Retry-After": str(_RETRY_AFTER_S)}
            raise Fault(429, "too many are talking; try again shortly", code="busy", headers=headers) from err
        _watch(talk, still or allowed, body.model)
        return await (_streamed if body.stream else _whole)(request, body, talk)

    completions.install(api, offer.model, turns, limits)
    tokens.install(api, offer.only)
    return api


def _watch(talk: Talk, still: Callable[[str], None], name: str) -> None:
    """Breaks the answer off, with the reason, when the model may no longer speak."""

    async def looking() -> None:
        while not talk.left:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await run_in_threadpool(still, name)
            except Exception as err:
                talk.tell(err)
                return

    watching = asyncio.ensure_future(looking())
    talk.at_end(watching.cancel)


class _Gone(Exception):  # noqa: N818
    """The client left."""


async def _unless_gone(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """The result of `work`. Raises `_Gone` when the client leaves first."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise _Gone
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()


async def _whole(request: Request, body: ChatBody, talk: Talk) -> Response | dict[str, Any]:
    async def gather() -> dict[int, Answer]:
        return {index: item async for index, item in talk if isinstance(item, Answer)}

    try:
        answers = await _unless_gone(request, gather())
    except _Gone:
        return Response(status_code=499)
    finally:
        talk.leave()
    return Reply.to(body).whole([answers[index] for index in sorted(answers)])


async def _streamed(request: Request, body: ChatBody, talk: Talk) -> Response:
    try:
        first = await _unless_gone(request, anext(talk))  # so that what fails at once fails with a status
    except _Gone:
        talk.leave()
        return Response(status_code=499)
    except BaseException:
        talk.leave()
        raise

    async def pieces() -> AsyncIterator[tuple[int, str | Answer]]:
        yield first
        async for piece in talk:
            yield piece

    async def events() -> AsyncIterator[str]:
        try:
            async for chunk in _chunks(body, pieces()):
                yield f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"
            yield "data: [DONE]\n\n"
        except Exception as err:  # the status is sent already, so the error is an event
            if not isinstance(err, TrueSeedError):
                _log.exception("an answer of %s broke off", body.model)
            yield f"data: {json.dumps(fault(err).to_json())}\n\n"
        finally:
            talk.leave()

    return StreamingResponse(
        events(),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        background=BackgroundTask(talk.leave),  # for a client that left before the first event
    )


async def _chunks(body: ChatBody, pieces: AsyncIterator[tuple[int, str | Answer]]) -> AsyncIterator[dict[str, Any]]:
    reply, answers = Reply.to(body), []
    for index in range(body.choices):
        yield reply.chunk(index, {"role": "assistant", "content": ""})
    async for index, item in pieces:
        if isinstance(item, Answer):
            answers.append(item)
            yield reply.chunk(index, {}, item.finish)
        elif item:
            yield reply.chunk(index, {"content": item})
    if body.include_usage:
        yield reply.usage_chunk(answers)
