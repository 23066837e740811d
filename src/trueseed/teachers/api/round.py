"""One round of questions: what to start, what to wait for, what to ask again, and when to end. It decides, and sends
nothing: calls are started through `Line`, and all is decided in the thread of whoever pulls the answers.
"""

import heapq
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from trueseed.core.chat import Answer, Request
from trueseed.errors import ConfigError, TeacherError, TrueSeedError
from trueseed.teachers.account.limits import Exhausted
from trueseed.teachers.api.actions import Action
from trueseed.teachers.api.call import Ended
from trueseed.teachers.api.throttle import Throttle

TRIES = 6  # of one question that fails while others are answered
SOONEST_S = 0.05  # a wait that is over by the machine's clock need not be over in account time


class Line(Protocol):
    """What a round may do with the outside."""

    def body(self, request: Request) -> Mapping[str, Any]:
        """What goes over the wire. Raises `ConfigError` when the model cannot do what the request asks."""
        ...

    def start(self, request: Request, body: Mapping[str, Any], put: Callable[[Ended], None]) -> "Future[None]":
        """Begins a call; `put` is called from another thread when it ended, unless the future is cancelled."""
        ...

    def ending(self, ended: Ended) -> TrueSeedError:
        """The error that the round ends with, after what has to be written down."""
        ...

    def count(self, what: str) -> None: ...


@dataclass(slots=True, kw_only=True)
class _Ticket:
    """A question on its way. answered_before: answers that others had got when it last failed."""

    position: int
    request: Request
    body: Mapping[str, Any]
    started_at: float = 0.0
    tries: int = 0
    answered_before: int = -1


class Round:
    """The questions taken, those that wait to be asked again, and why it will end. patience_s: the longest wait."""

    def __init__(
        self, requests: Iterator[Request | None], line: Line, throttle: Throttle, *, patience_s: float
    ) -> None:
        self._source, self._line, self._throttle, self._patience_s = requests, line, throttle, patience_s
        self._arrived: SimpleQueue[tuple[_Ticket, Ended]] = SimpleQueue()
        self._calls: dict[int, Future[None]] = {}  # under way, by position
        self._again: list[tuple[float, int, _Ticket]] = []  # a heap: not before, position
        self._taken = self._answered = 0
        self._exhausted = self._asleep = False  # asleep: nothing to ask until the next answer was seen
        self._quiet_since: float | None = None
        self._ending: BaseException | None = None

    def answers(self) -> Iterator[tuple[int, Answer]]:
        """As `ChatModel.answers`. Raises the round's ending once everything under way came back."""
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
            ticket, ended = arrived
            answer = self._judge(ticket, ended)
            if answer is not None:
                self._asleep = False
                yield ticket.position, answer

    def break_off(self) -> None:
        """The consumer is gone, or something was raised: nothing more is wanted."""
        for call in self._calls.values():
            call.cancel()
            self._throttle.ended()
        self._calls.clear()

    # what to start, and what to wait for

    def _start(self) -> None:
        """As many calls as there is room for: first what waited, then new ones."""
        while self._ending is None and self._throttle.room(time.monotonic()) > 0:
            ticket = self._due() or self._fresh()
            if ticket is None:
                return
            ticket.started_at = time.monotonic()
            self._throttle.started()
            self._calls[ticket.position] = self._line.start(ticket.request, ticket.body, partial(self._put, ticket))

    def _put(self, ticket: _Ticket, ended: Ended) -> None:
        self._arrived.put((ticket, ended))

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
                body = self._line.body(request)
            except ConfigError as err:
                self._ending = err
                return None
            self._taken += 1
            return _Ticket(position=self._taken - 1, request=request, body=body)
        self._exhausted, self._asleep = request is _END, request is None
        return None

    def _next(self) -> tuple[_Ticket, Ended] | None:
        """The next call that comes back; None when something may be started before that."""
        now = time.monotonic()
        wake = None if self._ending else self._startable_at(now)
        try:
            ticket, ended = self._arrived.get(timeout=None if wake is None else max(0.0, wake - now))
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
        return ticket, ended

    def _startable_at(self, now: float) -> float | None:
        """When a call can start although none comes back before; None when only one that comes back makes room."""
        opens = self._throttle.next_at(now)
        if opens is None and self._throttle.room(now) == 0:
            return None
        if not (self._exhausted or self._asleep):
            return opens
        return max(opens or now, self._again[0][0]) if self._again else None

    # what a call that came back leads to

    def _judge(self, ticket: _Ticket, ended: Ended) -> Answer | None:
        """Takes the action that a call's end asks for; the answer, if there is one to hand on."""
        now = time.monotonic()
        if ended.answer is not None:
            return self._answer(ended, ended.answer, now)
        if isinstance(ended.error, Exhausted):
            self._throttle.ended()
            self._wait_for_room(ticket, ended.error, now)
        elif ended.action is None or ended.action.kind not in ("retry", "wait", "skip"):
            self._throttle.ended()
            self._end(ended)
        elif ended.action.kind == "skip":
            self._throttle.ended()
            return self._skipped(f"{ended.action.because} ({ended.told})")
        elif ended.action.kind == "wait":
            self._slow_down(ticket, ended, ended.action, now)
        else:
            return self._try_again(ticket, ended, now)
        return None

    def _answer(self, ended: Ended, answer: Answer, now: float) -> Answer:
        self._throttle.answered(ended.live, now)
        self._answered, self._quiet_since = self._answered + 1, None
        if ended.usage_missing:
            self._line.count("usage_missing")  # and charged at its upper bound
        if ended.error is not None:
            self._end(ended)
        return answer

    def _end(self, ended: Ended) -> None:
        """The first ending is the one that is told; but a suspension is written down whenever it arrives, and told
        rather than the refusals of calls that met its hold before.
        """
        suspended = ended.action is not None and ended.action.kind == "hold"
        if self._ending is None or suspended:
            error = self._line.ending(ended)
            self._ending = self._ending if isinstance(self._ending, KeyboardInterrupt) else error

    def _wait_for_room(self, ticket: _Ticket, error: Exhausted, now: float) -> None:
        """Our own allowance: a limit per minute is waited for, one per day ends the run."""
        seconds = (error.until - datetime.now(UTC)).total_seconds() if error.until else None
        if seconds is None or seconds > self._patience_s:
            self._ending = self._ending or error
            return
        wait = max(SOONEST_S, seconds)
        self._throttle.close_for(wait, now)
        heapq.heappush(self._again, (now + wait, ticket.position, ticket))

    def _slow_down(self, ticket: _Ticket, ended: Ended, action: Action, now: float) -> None:
        self._line.count("waited")
        quiet = self._throttle.slowed(action.after, ended.live, ticket.started_at, now)
        self._quiet_since = self._quiet_since if self._quiet_since is not None else now
        if now + quiet - self._quiet_since > self._patience_s:
            self._end(replace(ended, action=replace(action, after=quiet)))
            return
        heapq.heappush(self._again, (now + quiet, ticket.position, ticket))

    def _try_again(self, ticket: _Ticket, ended: Ended, now: float) -> Answer | None:
        """Later; or never, when the server is broken, or fails at this question alone."""
        self._line.count("retried")
        pause = self._throttle.failed(now)
        if self._throttle.given_up():
            self._end(ended)
            return None
        if self._answered != ticket.answered_before:
            ticket.tries, ticket.answered_before = ticket.tries + 1, self._answered
        if ticket.tries >= TRIES:
            return self._skipped(f"it failed {TRIES} times while others were answered ({ended.told})")
        heapq.heappush(self._again, (now + pause, ticket.position, ticket))
        return None

    def _skipped(self, because: str) -> Answer:
        self._line.count("skipped")
        return Answer(text="", finish="skipped", prompt_tokens=0, completion_tokens=0, because=because)


_END = object()
