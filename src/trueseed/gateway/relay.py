"""An admitted call on its way: forwarded, watched, settled, and only then let go to its end.

The call outlives its client: a provider bills an answer also when nobody listens any more, so it is read to its end and
settled as what it was.
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

from starlette.responses import StreamingResponse

from trueseed.access.faults import Fault
from trueseed.core.redact import redact
from trueseed.gateway import answer
from trueseed.gateway.answer import Garbled, Stream
from trueseed.gateway.events import event, payloads
from trueseed.gateway.faults import ours, theirs
from trueseed.gateway.metrics import Metrics
from trueseed.gateway.ticket import Ended, Return, Ticket
from trueseed.teachers.account.amounts import Amount
from trueseed.teachers.account.quotas import Refusal
from trueseed.teachers.api import wire
from trueseed.teachers.api.actions import Action, Failure, decide
from trueseed.teachers.api.forward import BrokenOff, Forward, NeverLeft, Reply
from trueseed.teachers.api.suspension import words

END_S = 1.0  # between the event that ends a stream and the end of its bytes
_log = logging.getLogger(__name__)


class Declined(Exception):  # noqa: N818
    """The provider answered with an error."""

    def __init__(self, reply: Reply, raw: bytes) -> None:
        super().__init__(f"status {reply.status}")
        self.failure = wire.told(reply.status, reply.headers, raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Road:
    """What every call goes by. settle: brings what came back to the desk. suspended: tells it that the maker suspended
    the account.
    """

    settle: Callable[[Return], Awaitable[Amount]]
    suspended: Callable[[Ticket, Action, str], Awaitable[None]]
    forward: Forward
    metrics: Metrics


class Relay:
    """One call, whose answer comes whole."""

    def __init__(self, ticket: Ticket, road: Road) -> None:
        self._ticket, self._road = ticket, road

    async def whole(self) -> bytes:
        """The answer, settled. Raises `Fault`."""
        upstream = self._ticket.upstream
        try:
            reply, raw = await self._road.forward.whole(upstream, self._ticket.wanted.to(upstream))
            if reply.status != 200:
                raise Declined(reply, raw)
            _must_be_plain(reply)
            ended = answer.whole(raw)
        except Exception as err:
            raise await self._failed(err) from err
        await self._settle(ended)
        return raw

    async def _settle(self, ended: Ended) -> None:
        """Raises `Fault` when it cannot be committed; the answer is then not let go."""
        began = time.perf_counter()
        ticket = self._ticket
        try:
            charged = await self._road.settle(Return(ticket, ended))
        except Exception as err:
            _log.warning("the answer of call %s is not let go: %s", ticket.id, err)
            raise ours(err) from err
        self._road.metrics.settled(
            ticket.wanted.source,
            ticket.use.value,
            ended.end,
            tokens=charged.tokens,
            micros=charged.micros,
            seconds=time.perf_counter() - began,
        )

    async def _failed(self, err: Exception) -> Fault:
        """Settles a call that gave no answer, and says what the client is told."""
        source, key = self._ticket.wanted.source, self._ticket.upstream.key
        match err:
            case Declined():
                action = decide(err.failure, time.time())
                refusal = _of_quota(action, err.failure, key)
                ended = Ended(end="declined", status=err.failure.status or 0, because=action.because, refusal=refusal)
                told = await self._declined(action, err.failure)
            case NeverLeft():
                ended = Ended(end="unsent", because=str(err))
                told = Fault(502, f"{source} cannot be reached ({err})", code="upstream_unreachable")
            case Garbled():
                ended = Ended(end="garbled", status=200, because="not a chat completion")
                said = redact(str(err), [key])
                told = Fault(502, f"{source} gave something that is not an answer: {said}", code="upstream_failed")
                if err.failure and ((action := decide(err.failure, time.time())).kind == "hold" or action.quota):
                    ended = replace(ended, refusal=_of_quota(action, err.failure, key))
                    told = await self._declined(action, err.failure)
            case BrokenOff():
                ended = Ended(end="unknown", because=str(err))
                told = Fault(502, f"{source} broke off ({err}); it may be billed all the same", code="upstream_failed")
            case _:
                _log.error("call %s failed", self._ticket.id, exc_info=err)
                ended = Ended(end="unknown", because=f"the gateway failed ({type(err).__name__})")
                told = ours(err)
        try:
            await self._settle(ended)
        except Fault as unsettled:
            return unsettled
        return told

    async def _declined(self, action: Action, failure: Failure) -> Fault:
        """What the client is told, once a suspension is written down."""
        source, key = self._ticket.wanted.source, self._ticket.upstream.key
        if action.kind == "hold":
            try:
                await self._road.suspended(self._ticket, action, words(failure, key))
            except Exception as failed:
                _log.exception("the hold on the maker of %s could not be written down", source)
                return ours(failed)
        return theirs(source, action, failure, key)


class Streamed(Relay):
    """One call whose answer comes as events."""

    def __init__(self, ticket: Ticket, road: Road) -> None:
        super().__init__(ticket, road)
        # Unbounded: a slow client must not delay the settlement, and no answer is longer than `wire.MOST_BYTES`.
        self._queue: asyncio.Queue[bytes | Fault | None] = asyncio.Queue()
        self._gone = False

    async def response(self) -> StreamingResponse:
        """The answer as events, once the first is there; `pump` must run beside it. Raises `Fault`."""
        first = await self._queue.get()
        if isinstance(first, Fault):
            raise first
        headers = {"X-TrueSeed-Call": self._ticket.id, "X-Request-Id": self._ticket.id}
        headers |= {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._let_go(first), media_type="text/event-stream", headers=headers)

    async def pump(self) -> None:
        """Reads the stream to its end and settles it, whether or not anyone listens."""
        stream = Stream(self._ticket.wanted)
        upstream = self._ticket.upstream
        try:
            async with self._road.forward.ask(upstream, self._ticket.wanted.to(upstream)) as reply:
                if reply.status != 200:
                    raise Declined(reply, await reply.whole())
                _must_be_plain(reply)
                if not reply.headers.get("content-type", "").startswith("text/event-stream"):
                    raise Garbled("a stream was asked for, and something else came")
                await self._read(reply, stream)
            ended = stream.ended()
            if ended.end == "unknown":
                raise BrokenOff(ended.because)
            await self._settle(ended)
            self._put(b"".join(stream.held))
            self._put_end(None)
        except Fault as err:  # it could not be settled
            self._put_end(err)
        except Exception as err:
            self._put_end(await self._failed(err))

    async def _read(self, reply: Reply, stream: Stream) -> None:
        """Lets go what may be let go. A provider that has said the last word and then hangs is not waited for."""
        try:
            async with asyncio.timeout(None) as bounded:
                async for payload in payloads(reply.pieces()):
                    self._put(stream.take(payload))
                    if stream.is_done and bounded.when() is None:
                        bounded.reschedule(asyncio.get_running_loop().time() + END_S)
        except (BrokenOff, TimeoutError):
            if not stream.is_done:
                raise

    async def _let_go(self, first: bytes | None) -> AsyncIterator[bytes]:
        item: bytes | Fault | None = first
        try:
            while item is not None:
                if isinstance(item, Fault):
                    yield event(json.dumps(item.to_json()).encode())
                    return
                yield item
                item = await self._queue.get()
        finally:
            self._gone = True

    def _put(self, item: bytes | None) -> None:
        if item and not self._gone:
            self._queue.put_nowait(item)

    def _put_end(self, item: Fault | None) -> None:
        self._queue.put_nowait(item)


def _of_quota(action: Action, failure: Failure, key: str) -> Refusal | None:
    return Refusal(action.because, words(failure, key)) if action.quota else None


def _must_be_plain(reply: Reply) -> None:
    """Raises `Garbled` for bytes that cannot be read here."""
    if (encoding := reply.headers.get("content-encoding", "identity")) != "identity":
        raise Garbled(f"it came compressed by {encoding[:20]!r}, which was not asked for")
