"""One call: room in the allowance for the most it can cost → the call → what it did cost.

    ended = await caller.whole(request, body)

Nothing is decided here but what a failure means for the books: an answer is charged by its usage, an error that the
provider answered with costs nothing, what never left is released, and a call of which nobody knows whether it arrived
stays charged at its upper bound.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trueseed.core.chat import Answer, Request
from trueseed.errors import TrueSeedError
from trueseed.teachers.account.allowance import Reservation
from trueseed.teachers.account.quotas import Refusal
from trueseed.teachers.api import actions, headers, wire
from trueseed.teachers.api.actions import Action
from trueseed.teachers.api.headers import Live
from trueseed.teachers.api.providers import Provider
from trueseed.teachers.api.suspension import evidence, words
from trueseed.teachers.api.tab import Tab

MOST_SHOWN = 300  # characters of a provider's own words in an error


@dataclass(slots=True, kw_only=True)
class Ended:
    """How a call ended: with an answer, with an action to take, or with an error that ends everything.

    said: the provider's own words, without secrets.
    """

    answer: Answer | None = None
    action: Action | None = None
    error: BaseException | None = None
    said: str = ""
    usage_missing: bool = False
    live: Mapping[str, Live] = field(default_factory=dict)

    @property
    def told(self) -> str:
        """As much of it as an error shows."""
        return self.said[:MOST_SHOWN]


class Caller:
    """Asks one model at one address, over the SDK's asynchronous `client`. key: never shown.

    timeout_s: for one call, from its first byte to its last.
    """

    def __init__(self, client: Any, tab: Tab, *, provider: Provider, model: str, key: str, timeout_s: float) -> None:
        self._client, self._tab = client, tab
        self._provider, self._model, self._key, self._timeout_s = provider, model, key, timeout_s

    def body(self, request: Request) -> dict[str, Any]:
        """What goes over the wire. Raises `ConfigError` when the model cannot do what the request asks."""
        return wire.body(request, model=self._model, provider=self._provider)

    async def whole(self, request: Request, body: Mapping[str, Any]) -> Ended:
        """The answer in one piece. Raises what `Tab.reserve` raises, and then nothing was sent."""
        reservation = await self._tab.reserve(request)
        asks = self._client.chat.completions if request.echo is None else self._client.completions
        try:
            async with asyncio.timeout(self._timeout_s):  # the SDK's own starts anew with every byte
                async with asks.with_streaming_response.create(**_as_is(body)) as response:
                    live = headers.live(_lower(response.headers), time.time())
                    raw = await _whole(response.iter_bytes())
        except Exception as err:
            return await self._failed(err, reservation)
        try:
            reply = wire.read(raw, request)
        except wire.Unusable as err:
            return await self._failed(err, reservation)
        error = await self._settle(reservation, reply.usage)
        return Ended(answer=reply.answer, error=error, live=live, usage_missing=reply.usage is None)

    async def spoken(self, request: Request, body: Mapping[str, Any], put: Callable[[str], None]) -> Ended:
        """The same as a stream, whose pieces are handed to `put` as they come."""
        streamed = {**_as_is(body), "stream": True}
        if "stream_usage" not in self._provider.of(self._model).lacks:
            streamed["stream_options"] = {"include_usage": True}
        reservation = await self._tab.reserve(request)
        text, pieces, finish, usage = "", 0, None, None
        try:
            async with await self._client.chat.completions.create(**streamed) as chunks:
                async for chunk in chunks:
                    usage = wire.usage_of(chunk.usage.model_dump()) if chunk.usage else usage
                    for choice in chunk.choices[:1]:
                        finish = choice.finish_reason or finish
                        if choice.delta.content:
                            text, pieces = text + choice.delta.content, pieces + 1
                            put(choice.delta.content)
        except Exception as err:
            return await self._failed(err, reservation)
        if finish is None:  # cut off: it stays charged at its upper bound
            return self._unanswered(wire.Unusable("the stream ended before the answer did"))
        if usage and pieces > usage.completion:
            twice = wire.Unusable(f"the stream repeats itself: {pieces} pieces for {usage.completion} tokens")
            return await self._failed(twice, reservation)
        error = await self._settle(reservation, usage)
        answer = wire.finished(text, finish, request, usage)
        return Ended(answer=answer, error=error, usage_missing=usage is None)

    async def close(self) -> None:
        await self._tab.written()
        await self._client.close()

    async def _failed(self, err: Exception, reservation: Reservation) -> Ended:
        ended = self._unanswered(err)
        suspended = ended.action is not None and ended.action.kind == "hold"
        try:
            if suspended and ended.action is not None:
                await self._tab.hold(ended.action.because, evidence(ended.said))
            await self._tab.failed(reservation, err, _of_quota(ended))
        except TrueSeedError as unbooked:  # a suspension weighs more than an account that cannot be written
            return ended if suspended else Ended(error=unbooked)
        return ended

    def _unanswered(self, err: Exception) -> Ended:
        failure = wire.failure(err)
        return Ended(
            action=actions.decide(failure, time.time()),
            said=words(failure, self._key),
            live=headers.live(failure.headers, time.time()),
        )

    async def _settle(self, reservation: Reservation, usage: wire.Usage | None) -> TrueSeedError | None:
        """What hinders the account ends the run, but the answer was paid for and is handed on."""
        try:
            await self._tab.answered(reservation, usage)
        except TrueSeedError as err:
            return err
        return None


def _of_quota(ended: Ended) -> Refusal | None:
    return Refusal(ended.action.because, ended.said) if ended.action and ended.action.quota else None


def _as_is(body: Mapping[str, Any]) -> dict[str, Any]:
    """The same arguments by a way on which the SDK does not look for its own types in each of them: they are JSON."""
    more = {name: value for name, value in body.items() if name not in ("model", "extra_body")}
    empty: dict[str, Any] = {"prompt": ""} if "prompt" in body else {"messages": []}
    return {"model": body["model"], **empty, "extra_body": {**more, **body.get("extra_body", {})}}


async def _whole(pieces: AsyncIterator[bytes]) -> bytes:
    """The body of a response. Raises `Unusable` when it is larger than any answer."""
    raw = bytearray()
    async for piece in pieces:
        raw += piece
        if len(raw) > wire.MOST_BYTES:
            raise wire.Unusable(f"the response is larger than {wire.MOST_BYTES} bytes")
    return bytes(raw)


def _lower(found: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in found.items()}
