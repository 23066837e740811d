"""One call: room in the allowance for the most it can cost → the call → what it did cost.

    ended = await caller.whole(request, body)

Nothing is decided here but what a failure means for the books: an answer is charged by its usage, an error that the
provider answered with costs nothing, what never left is released, and a call of which nobody knows whether it arrived
stays charged at its upper bound.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from trueseed.core.canonical import digest
from trueseed.core.chat import Answer, Request
from trueseed.errors import TrueSeedError
from trueseed.teachers.account.allowance import Allowance, Amount, Price, Reservation
from trueseed.teachers.account.holds import Holds
from trueseed.teachers.account.way import Way
from trueseed.teachers.api import actions, headers, wire
from trueseed.teachers.api.actions import Action
from trueseed.teachers.api.headers import Live
from trueseed.teachers.api.providers import Provider
from trueseed.teachers.api.suspension import evidence, words
from trueseed.terms.model import Use, parse_source

MOST_SHOWN = 300  # characters of a provider's own words in an error

T = TypeVar("T")


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


class Books:
    """What one teacher's calls cost, in the account. Written in a thread of its own, since that is a database.

    Every method raises `AccountUnavailable`.
    """

    def __init__(
        self, *, source: str, use: Use, project: str, price: Price, allowance: Allowance, holds: Holds, way: Way
    ) -> None:
        self.source = source
        self._use, self._project, self._price = use, project, price
        self._allowance, self._holds, self._way = allowance, holds, way
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="allowance")

    async def reserve(self, request: Request) -> Reservation:
        """Raises `Exhausted`, `Refused` when the maker is on hold; then nothing is reserved."""
        return await self._written(
            self._allowance.reserve,
            source=self.source,
            use=self._use,
            project=self._project,
            request=digest(request.to_json()),
            upper=self._amount(wire.most(request)),
            way=self._way,
        )

    async def answered(self, reservation: Reservation, usage: wire.Usage | None) -> None:
        """usage: None when the provider did not tell; then it is charged as if it had used everything."""
        actual = self._amount(usage) if usage else reservation.upper
        await self._written(self._allowance.settle, reservation, actual, "answered")

    async def failed(self, reservation: Reservation, err: Exception) -> None:
        if isinstance(err, wire.Unusable):
            await self._written(self._allowance.settle, reservation, reservation.upper, "failed")
        elif getattr(err, "response", None) is not None:  # the provider answered, and bills no error
            await self._written(self._allowance.settle, reservation, Amount(requests=1), "failed")
        elif wire.never_left(err):
            await self._written(self._allowance.release, reservation)

    def cached(self, request: str) -> None:
        """Counts an answer that spared a call. Raises `OnHold`, and then it must not be handed out."""
        self._allowance.cached(source=self.source, use=self._use, project=self._project, request=request, way=self._way)

    async def hold(self, because: str, evidence: str) -> None:
        """At once, for every process that shares the account."""
        await self._written(self._holds.place, parse_source(self.source).maker, because, evidence, self._way)

    def close(self) -> None:
        """Waits until all is written."""
        self._thread.shutdown()

    def _amount(self, usage: wire.Usage) -> Amount:
        return Amount(requests=1, tokens=usage.tokens, micros=self._price.micros(usage.prompt, usage.completion))

    async def _written(self, write: Callable[..., T], *args: Any, **named: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(write, *args, **named))


class Caller:
    """Asks one model at one address, over the SDK's asynchronous `client`. key: never shown.

    timeout_s: for one call, from its first byte to its last.
    """

    def __init__(
        self, client: Any, books: Books, *, provider: Provider, model: str, key: str, timeout_s: float
    ) -> None:
        self._client, self._books = client, books
        self._provider, self._model, self._key, self._timeout_s = provider, model, key, timeout_s

    def body(self, request: Request) -> dict[str, Any]:
        """What goes over the wire. Raises `ConfigError` when the model cannot do what the request asks."""
        return wire.body(request, model=self._model, provider=self._provider)

    async def whole(self, request: Request, body: Mapping[str, Any]) -> Ended:
        """The answer in one piece. Raises what `Books.reserve` raises, and then nothing was sent."""
        reservation = await self._books.reserve(request)
        try:
            async with asyncio.timeout(self._timeout_s):  # the SDK's own starts anew with every byte
                async with self._client.chat.completions.with_streaming_response.create(**_as_is(body)) as response:
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
        reservation = await self._books.reserve(request)
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
        await self._client.close()

    async def _failed(self, err: Exception, reservation: Reservation) -> Ended:
        ended = self._unanswered(err)
        suspended = ended.action is not None and ended.action.kind == "hold"
        try:
            if suspended and ended.action is not None:
                await self._books.hold(ended.action.because, evidence(ended.said))
            await self._books.failed(reservation, err)
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
            await self._books.answered(reservation, usage)
        except TrueSeedError as err:
            return err
        return None


def _as_is(body: Mapping[str, Any]) -> dict[str, Any]:
    """The same arguments by a way on which the SDK does not look for its own types in each of them: they are JSON."""
    more = {name: value for name, value in body.items() if name not in ("model", "extra_body")}
    return {"model": body["model"], "messages": [], "extra_body": {**more, **body.get("extra_body", {})}}


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
