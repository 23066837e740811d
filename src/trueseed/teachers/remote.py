"""A teacher behind an API: any OpenAI-compatible server, asked only inside a step, under an allowance.

    with Remote(endpoint, step, allowance=allowance, holds=holds) as model:
        for position, answer in Teacher(model, step).answers(requests): ...

Every call, also one that is tried again: room in the allowance for the most it can cost → the call → what it did cost.
A failure becomes an action (`actions`): what passes is asked again later, and holds no place meanwhile; what does not
pass ends the run once everything under way came back and was counted. The SDK retries nothing by itself.

Calls run on an event loop in a thread of their own; requests are pulled, and all is decided, in the caller's thread.
"""

import asyncio
import hashlib
import heapq
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, TypeVar

from trueseed.core.canonical import digest
from trueseed.core.chat import Answer, Request
from trueseed.core.durable import write_atomic
from trueseed.core.redact import redact
from trueseed.errors import ConfigError, Paused, Refused, TeacherError, TrueSeedError
from trueseed.teachers import actions, headers, wire
from trueseed.teachers.actions import Action
from trueseed.teachers.allowance import Allowance, Amount, Exhausted, Reservation, price_of
from trueseed.teachers.headers import Live
from trueseed.teachers.holds import Holds, hold
from trueseed.teachers.providers import Endpoint, Provider, Reach, provider, reach
from trueseed.teachers.throttle import Throttle
from trueseed.terms.model import parse_source
from trueseed.workspace import Step

TRIES = 6  # of one question that fails while others are answered
EVIDENCE = "evidence"  # folder of the workspace: what providers said when they suspended us, named by its SHA-256
MOST_SHOWN = 300  # characters of a provider's own words in an error

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class _Ticket:
    """A question on its way. answered_before: answers that others had got when it last failed."""

    position: int
    request: Request
    body: dict[str, Any]
    started_at: float = 0.0
    tries: int = 0
    answered_before: int = -1


@dataclass(slots=True, kw_only=True)
class _Done:
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

    @property
    def evidence(self) -> str:
        return hashlib.sha256(self.said.encode()).hexdigest()


class Remote:
    """A `ChatModel`. Raises `Refused` when the step did not name the source, its maker is on hold or its price is not
    known, `ConfigError` when the key or the address is missing; all before any call.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        step: Step,
        *,
        allowance: Allowance,
        holds: Holds,
        environment: Mapping[str, str] = os.environ,
        pause_s: float = 1.0,
    ) -> None:
        self.source = endpoint.source
        self._use = step.admits(self.source)
        holds.check(self.source)
        prices = {self.source: endpoint.price.exact} if endpoint.price else {}
        self._price = price_of(self.source, prices)
        self._provider, self._reach = provider(endpoint), reach(endpoint, environment)
        self._endpoint, self._step, self._allowance, self._holds = endpoint, step, allowance, holds
        self._throttle = Throttle(endpoint.at_once, pause_s)
        self._client = _client(endpoint, self._provider, self._reach)
        self._books = ThreadPoolExecutor(1, thread_name_prefix="allowance")  # it writes to a database
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name=f"ask {self.source}", daemon=True)
        self._thread.start()

    @property
    def live_limits(self) -> Mapping[str, Live]:
        """The provider's limits as its last answer told them; empty when it told none."""
        return self._throttle.live

    def __enter__(self) -> "Remote":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the thread. What is still under way is broken off, and stays charged at the most it can cost."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(_end(self._client), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._books.shutdown()

    # asking

    def answers(self, requests: Iterable[Request | None]) -> Iterator[tuple[int, Answer]]:
        """See `ChatModel.answers`. A question that cannot be answered comes back with finish `skipped`.

        Raises, once everything under way came back: `Refused` (hold, region), `Paused` (allowance, quota, a wait beyond
        patience), `ConfigError` (key, model, request), `TeacherError` (the server stays broken).
        """
        round_ = _Round(self, iter(requests))
        try:
            yield from round_.answers()
        finally:
            round_.break_off()

    def stream(self, request: Request) -> Iterator[str | Answer]:
        """Pieces as they come, then the whole. One try: what was spoken cannot be taken back. Raises as `answers`, and
        `ConfigError` for log-probabilities or tools, which are read from whole answers only.
        """
        if request.logprobs or request.tools:
            raise ConfigError("a stream carries no log-probabilities and no tools here; ask for the whole answer")
        ticket = _Ticket(position=0, request=request, body=self._body(request))
        arrived: SimpleQueue[str | _Done] = SimpleQueue()
        self._throttle.started()
        call = self._submit(self._speak(ticket, arrived.put), arrived.put)
        try:
            while isinstance(item := arrived.get(), str):
                yield item
        finally:
            call.cancel()
            self._throttle.ended()
        if item.answer is None:
            raise self._ending(item)
        self._counted(item)
        yield item.answer
        if item.error is not None:
            raise self._ending(item)

    def _body(self, request: Request) -> dict[str, Any]:
        return wire.body(request, model=self._endpoint.wire_model, provider=self._provider)

    # in the event loop

    def _submit(self, call: Any, put: Callable[[_Done], None]) -> "Future[None]":
        async def run() -> None:
            try:
                put(await call)
            except asyncio.CancelledError:
                raise
            except BaseException as err:  # it must reach the caller's thread, whatever it is
                put(_Done(error=err))

        return asyncio.run_coroutine_threadsafe(run(), self._loop)

    async def _call(self, ticket: _Ticket) -> _Done:
        """One call, paid for. A call of which nobody knows whether it arrived stays reserved at its upper bound."""
        reservation = await self._booked(self._reserve, ticket)
        try:
            async with asyncio.timeout(self._endpoint.timeout_s):  # the SDK's own starts anew with every byte
                async with self._client.chat.completions.with_streaming_response.create(**ticket.body) as response:
                    live = headers.live(_lower(response.headers), time.time())
                    raw = await _whole(response.iter_bytes())
        except Exception as err:
            return await self._failed(err, reservation)
        try:
            reply = wire.read(raw, ticket.request)
        except wire.Unusable as err:
            return await self._failed(err, reservation)
        error = await self._settle(reservation, reply.usage)
        return _Done(answer=reply.answer, error=error, live=live, usage_missing=reply.usage is None)

    async def _speak(self, ticket: _Ticket, put: Callable[[str], None]) -> _Done:
        body = {**ticket.body, "stream": True}
        if "stream_usage" not in self._provider.of(self._endpoint.wire_model).lacks:
            body["stream_options"] = {"include_usage": True}
        reservation = await self._booked(self._reserve, ticket)
        text, pieces, finish, usage = "", 0, None, None
        try:
            async with await self._client.chat.completions.create(**body) as chunks:
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
            return self._done(wire.Unusable("the stream ended before the answer did"))
        if usage and pieces > usage.completion:
            twice = wire.Unusable(f"the stream repeats itself: {pieces} pieces for {usage.completion} tokens")
            return await self._failed(twice, reservation)
        error = await self._settle(reservation, usage)
        answer = wire.finished(text, finish, ticket.request, usage)
        return _Done(answer=answer, error=error, usage_missing=usage is None)

    async def _failed(self, err: Exception, reservation: Reservation) -> _Done:
        done = self._done(err)
        try:
            if done.action and done.action.kind == "hold":  # at once, for every process that shares the account
                maker = parse_source(self.source).maker
                await self._booked(self._holds.place, maker, done.action.because, done.evidence)
            if isinstance(err, wire.Unusable):
                await self._booked(self._allowance.settle, reservation, reservation.upper, "failed")
            elif getattr(err, "response", None) is not None:  # the provider answered, and bills no error
                await self._booked(self._allowance.settle, reservation, Amount(requests=1), "failed")
            elif wire.never_left(err):
                await self._booked(self._allowance.release, reservation)
        except TrueSeedError as unbooked:  # a suspension weighs more than an account that cannot be written
            return done if done.action and done.action.kind == "hold" else _Done(error=unbooked)
        return done

    def _done(self, err: Exception) -> _Done:
        failure = wire.failure(err)
        words = " ".join(redact(failure.message, [self._reach.key]).split())
        return _Done(
            action=actions.decide(failure, time.time()),
            said=(f"{failure.status}: " if failure.status else "") + words,
            live=headers.live(failure.headers, time.time()),
        )

    def _reserve(self, ticket: _Ticket) -> Reservation:
        upper = wire.most(ticket.request)
        return self._allowance.reserve(
            source=self.source,
            use=self._use,
            project=self._step.workspace.project,
            request=digest(ticket.request.to_json()),
            upper=self._amount(upper),
        )

    async def _settle(self, reservation: Reservation, usage: wire.Usage | None) -> TrueSeedError | None:
        """Charges an answer. What hinders the account ends the run, but the answer was paid for and is handed on."""
        actual = self._amount(usage) if usage else reservation.upper  # not told: charged as if it had used everything
        try:
            await self._booked(self._allowance.settle, reservation, actual, "answered")
        except TrueSeedError as err:
            return err
        return None

    def _amount(self, usage: wire.Usage) -> Amount:
        return Amount(requests=1, tokens=usage.tokens, micros=self._price.micros(usage.prompt, usage.completion))

    async def _booked(self, write: Callable[..., T], *args: Any) -> T:
        return await self._loop.run_in_executor(self._books, partial(write, *args))

    # deciding, in the caller's thread

    def _counted(self, done: _Done) -> None:
        if done.usage_missing:
            self._step.count("usage_missing")  # and charged at its upper bound

    def _ending(self, done: _Done) -> TrueSeedError:
        """The error that the run ends with, after what has to be written down."""
        if done.error is not None:
            if isinstance(done.error, TrueSeedError):
                return done.error
            raise done.error
        assert done.action is not None
        action, said = done.action, f" ({done.told})" if done.told else ""
        message = f"{self.source}: {action.because}{said}. Next: {action.next}"
        match action.kind:
            case "hold":
                return self._held(message, action, done)
            case "refuse_region":
                return Refused(message)
            case "pause":
                return Paused(message)
            case "wait":
                return Paused(f"{message}; the same command resumes" + _when(action.after))
            case "fix" | "skip":
                return ConfigError(message)
            case "retry":
                return TeacherError(f"{message}. What was answered is kept; the same command resumes")

    def _held(self, message: str, action: Action, done: _Done) -> Refused:
        """The hold in account state and ledger, and the words that it rests on beside the ledger."""
        maker, workspace = parse_source(self.source).maker, self._step.workspace
        write_atomic(workspace.folder / EVIDENCE / f"{done.evidence}.txt", done.said)
        hold(workspace.ledger, self._holds, maker=maker, reason=action.because, evidence=done.evidence)
        return Refused(f"{message}. Everything of {maker!r} is on hold for us")


class _Round:
    """One `answers`: the questions taken, those that wait to be asked again, and why it will end."""

    def __init__(self, remote: Remote, source: Iterator[Request | None]) -> None:
        self._remote, self._source = remote, source
        self._throttle, self._step = remote._throttle, remote._step
        self._arrived: SimpleQueue[tuple[_Ticket, _Done]] = SimpleQueue()
        self._calls: dict[int, Future[None]] = {}  # under way, by position
        self._again: list[tuple[float, int, _Ticket]] = []  # a heap: not before, position
        self._taken = self._answered = 0
        self._exhausted = self._asleep = False  # asleep: nothing to ask until the next answer was seen
        self._quiet_since: float | None = None
        self._ending: BaseException | None = None

    def answers(self) -> Iterator[tuple[int, Answer]]:
        while True:
            self._start()
            if not self._calls and (self._ending or not self._again):
                if self._ending:
                    raise self._ending
                if self._exhausted:
                    return
                if self._asleep:
                    raise TeacherError("the requests wait for an answer, but nothing was asked")
            arrived = self._next()
            if arrived is None:
                continue
            ticket, done = arrived
            answer = self._judge(ticket, done)
            if answer is not None:
                self._asleep = False
                yield ticket.position, answer

    def break_off(self) -> None:
        """The consumer is gone, or something was raised: nothing more is wanted."""
        for call in self._calls.values():
            call.cancel()
            self._throttle.ended()
        self._calls.clear()

    def _start(self) -> None:
        """As many calls as there is room for: first what waited, then new ones."""
        while self._ending is None and self._throttle.room(time.monotonic()) > 0:
            ticket = self._due() or self._fresh()
            if ticket is None:
                return
            ticket.started_at = time.monotonic()
            self._throttle.started()
            put = partial(self._put, ticket)
            self._calls[ticket.position] = self._remote._submit(self._remote._call(ticket), put)

    def _put(self, ticket: _Ticket, done: _Done) -> None:
        self._arrived.put((ticket, done))

    def _due(self) -> _Ticket | None:
        if self._again and self._again[0][0] <= time.monotonic():
            return heapq.heappop(self._again)[2]
        return None

    def _fresh(self) -> _Ticket | None:
        if self._exhausted or self._asleep:
            return None
        request = next(self._source, _END)
        if isinstance(request, Request):
            try:
                body = self._remote._body(request)
            except ConfigError as err:
                self._ending = err
                return None
            self._taken += 1
            return _Ticket(position=self._taken - 1, request=request, body=body)
        self._exhausted, self._asleep = request is _END, request is None
        return None

    def _next(self) -> tuple[_Ticket, _Done] | None:
        """The next call that comes back; None when something may be started before that."""
        now = time.monotonic()
        wake = None if self._ending else self._startable_at(now)
        try:
            ticket, done = self._arrived.get(timeout=None if wake is None else max(0.0, wake - now))
        except Empty:
            return None
        except (
            KeyboardInterrupt
        ) as stop:  # what is under way is paid for, so it is heard out; a second one does not wait
            if isinstance(self._ending, KeyboardInterrupt):
                raise
            self._ending = stop
            return None
        del self._calls[ticket.position]
        return ticket, done

    def _startable_at(self, now: float) -> float | None:
        """When a call can start although none comes back before; None when only one that comes back makes room."""
        opens = self._throttle.next_at(now)
        if opens is None and self._throttle.room(now) == 0:
            return None
        if not (self._exhausted or self._asleep):
            return opens
        return max(opens or now, self._again[0][0]) if self._again else None

    def _judge(self, ticket: _Ticket, done: _Done) -> Answer | None:
        """Takes the action that a call's end asks for; the answer, if there is one to hand on."""
        now = time.monotonic()
        if done.answer is not None:
            self._throttle.answered(done.live, now)
            self._answered, self._quiet_since = self._answered + 1, None
            self._remote._counted(done)
            if done.error is not None:
                self._ending = self._ending or self._remote._ending(done)
            return done.answer
        if isinstance(done.error, Exhausted):
            self._throttle.ended()
            self._wait_for_room(ticket, done.error, now)
        elif done.action is None or done.action.kind not in ("retry", "wait", "skip"):
            self._throttle.ended()
            self._ending = self._ending or self._remote._ending(done)
        elif done.action.kind == "skip":
            self._throttle.ended()
            return self._skipped(f"{done.action.because} ({done.told})")
        elif done.action.kind == "wait":
            self._slow_down(ticket, done, done.action, now)
        else:
            return self._try_again(ticket, done, now)
        return None

    def _wait_for_room(self, ticket: _Ticket, error: Exhausted, now: float) -> None:
        """Our own allowance: a limit per minute is waited for, one per day ends the run."""
        seconds = (error.until - datetime.now(UTC)).total_seconds() if error.until else None
        if seconds is None or seconds > self._remote._endpoint.patience_s:
            self._ending = self._ending or error
            return
        self._throttle.close_for(max(0.0, seconds), now)
        heapq.heappush(self._again, (now + max(0.0, seconds), ticket.position, ticket))

    def _slow_down(self, ticket: _Ticket, done: _Done, action: Action, now: float) -> None:
        self._step.count("waited")
        quiet = self._throttle.slowed(action.after, done.live, ticket.started_at, now)
        self._quiet_since = self._quiet_since if self._quiet_since is not None else now
        if now + quiet - self._quiet_since > self._remote._endpoint.patience_s:
            self._ending = self._ending or self._remote._ending(done)
            return
        heapq.heappush(self._again, (now + quiet, ticket.position, ticket))

    def _try_again(self, ticket: _Ticket, done: _Done, now: float) -> Answer | None:
        """Later; or never, when the server is broken, or fails at this question alone."""
        self._step.count("retried")
        pause = self._throttle.failed(now)
        if self._throttle.given_up():
            self._ending = self._ending or self._remote._ending(done)
            return None
        if self._answered != ticket.answered_before:
            ticket.tries, ticket.answered_before = ticket.tries + 1, self._answered
        if ticket.tries >= TRIES:
            return self._skipped(f"it failed {TRIES} times while others were answered ({done.told})")
        heapq.heappush(self._again, (now + pause, ticket.position, ticket))
        return None

    def _skipped(self, because: str) -> Answer:
        self._step.count("skipped")
        return Answer(text="", finish="skipped", prompt_tokens=0, completion_tokens=0, because=because)


_END = object()


def _client(endpoint: Endpoint, found: Provider, where: Reach) -> Any:
    try:
        import openai
    except ImportError as err:
        raise ConfigError("remote teachers need the OpenAI SDK: pip install 'trueseed[remote]'") from err
    common: dict[str, Any] = {
        "api_key": where.key,
        "max_retries": 0,
        "timeout": endpoint.timeout_s,
        "http_client": openai.DefaultAsyncHttpxClient(follow_redirects=False),  # prompts go where the source says
    }
    if found.is_azure:
        version = endpoint.api_version or os.environ.get("OPENAI_API_VERSION") or found.api_version
        return openai.AsyncAzureOpenAI(azure_endpoint=where.base_url, api_version=version, **common)
    client = openai.AsyncOpenAI(base_url=where.base_url, **common)
    if not where.is_usual:  # the SDK would tell our organisation at OpenAI to whoever is asked
        client.organization = client.project = None
    return client


async def _end(client: Any) -> None:
    calls = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await client.close()


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


def _when(after: float | None) -> str:
    if after is None:
        return ""
    at = datetime.now(UTC) + timedelta(seconds=after)
    return f", from {at:%Y-%m-%d %H:%M} UTC"
