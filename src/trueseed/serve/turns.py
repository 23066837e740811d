"""One thread, many answers: whoever asks a model hears it at once, and nobody waits for another's answer to end.

A model is never asked from two threads. One that can decode several chats together brings its own `Floor`; any other
speaks a piece of each answer in turn. An answer whose listener left ends at the next round.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from trueseed.core.chat import Answer, ChatModel, Request

Piece = tuple[int, str | Answer]


class Busy(Exception):  # noqa: N818
    """Too many answers are open already."""


class Floor(Protocol):
    """Answers of one model that are being spoken, by the key that `admit` gave.

    `admit` and `advance` may raise: `admit` for one request, `advance` for all that are open.
    """

    @property
    def free(self) -> int: ...

    @property
    def busy(self) -> bool: ...

    def admit(self, request: Request) -> int: ...

    def advance(self) -> Iterable[tuple[int, str | Answer | Exception]]: ...

    def drop(self, key: int) -> None: ...


@runtime_checkable
class _Floored(Protocol):
    def floor(self, slots: int) -> Floor: ...


class InTurn:
    """The `Floor` of a model that answers one at a time: a piece of each open stream per round."""

    def __init__(self, model: ChatModel, slots: int) -> None:
        self._model, self._slots, self._admitted = model, slots, 0
        self._streams: dict[int, Iterator[str | Answer]] = {}

    @property
    def free(self) -> int:
        return self._slots - len(self._streams)

    @property
    def busy(self) -> bool:
        return bool(self._streams)

    def admit(self, request: Request) -> int:
        self._admitted += 1
        self._streams[self._admitted] = iter(self._model.stream(request))
        return self._admitted

    def advance(self) -> Iterator[tuple[int, str | Answer | Exception]]:
        for key, stream in list(self._streams.items()):
            item = self._next(stream)
            if not isinstance(item, str):
                self.drop(key)
            yield key, item

    def drop(self, key: int) -> None:
        close = getattr(self._streams.pop(key), "close", None)  # generators have one; other iterators are let go
        if close is not None:
            close()

    def _next(self, stream: Iterator[str | Answer]) -> str | Answer | Exception:
        try:
            return next(stream)
        except StopIteration:
            return RuntimeError(f"{self._model.source} ended its stream without an answer")
        except Exception as err:
            return err


class Talk:
    """What one listener hears: `(which request, piece of text or the whole Answer)`, in order for each request."""

    def __init__(self, requests: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._heard: asyncio.Queue[Piece | Exception] = asyncio.Queue()
        self._open = requests
        self.left = False
        self._ends: list[Callable[[], object]] = []

    def at_end(self, call: Callable[[], object]) -> None:
        """To be called in the listener's event loop when nobody listens any more."""
        self._ends.append(call)

    def __aiter__(self) -> "Talk":
        return self

    async def __anext__(self) -> Piece:
        """The next piece. Raises whatever the model raised."""
        if not self._open:
            raise StopAsyncIteration
        item = await self._heard.get()
        if isinstance(item, Exception):
            raise item
        if isinstance(item[1], Answer):
            self._open -= 1
        return item

    def leave(self) -> None:
        """Nobody listens any more: the model stops at its next round."""
        self.left = True
        for call in self._ends:
            with suppress(RuntimeError):  # the event loop is closed, and with it what was to be ended
                self._loop.call_soon_threadsafe(call)

    def tell(self, item: Piece | Exception) -> None:
        """Called by the thread that speaks."""
        try:
            self._loop.call_soon_threadsafe(self._heard.put_nowait, item)
        except RuntimeError:  # the listener's event loop is closed
            self.leave()


@dataclass(frozen=True, slots=True)
class _Question:
    """One request of a talk; index: which."""

    model: ChatModel
    index: int
    request: Request
    talk: Talk


class _Stage:
    """A floor, and who listens to what is spoken there."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self.open: dict[int, _Question] = {}

    @property
    def free(self) -> int:
        return self._floor.free

    @property
    def busy(self) -> bool:
        return self._floor.busy

    def admit(self, question: _Question) -> None:
        try:
            self.open[self._floor.admit(question.request)] = question
        except Exception as err:
            question.talk.tell(err)

    def advance(self) -> None:
        """One round. Raises what the floor raises, after everyone heard it."""
        for key in [key for key, question in self.open.items() if question.talk.left]:
            del self.open[key]
            self._floor.drop(key)
        try:
            for key, item in self._floor.advance():
                question = self.open[key] if isinstance(item, str) else self.open.pop(key)
                question.talk.tell(item if isinstance(item, Exception) else (question.index, item))
        except Exception as err:
            for question in self.open.values():
                question.talk.tell(err)
            raise


class Turns:
    """The thread. It starts with the first question and ends with `close`.

    speaking: answers of a model in progress at once; waiting: answers queued behind them.
    """

    def __init__(self, *, speaking: int, waiting: int) -> None:
        self._speaking, self._most = speaking, speaking + waiting
        self._new: list[_Question] = []
        self._open = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._waiting: deque[_Question] = deque()  # this and the stages belong to the thread
        self._stages: dict[int, _Stage] = {}

    def ask(self, model: ChatModel, requests: Sequence[Request]) -> Talk:
        """Asks all of `requests`; to be called from a running event loop. Raises `Busy` when there is no room."""
        talk = Talk(len(requests))
        with self._changed:
            if self._open + len(requests) > self._most or self._closed:
                raise Busy
            self._open += len(requests)
            self._new += [_Question(model, index, request, talk) for index, request in enumerate(requests)]
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="trueseed-turns", daemon=True)
                self._thread.start()
            self._changed.notify()
        return talk

    def close(self) -> None:
        """Stops speaking. Waits for the round that is under way."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while self._listen():
            self._admit()
            self._advance()

    def _listen(self) -> bool:
        """Takes what was asked; sleeps when there is nothing to do. False at the end."""
        with self._changed:
            self._open = len(self._new) + len(self._waiting) + sum(len(stage.open) for stage in self._stages.values())
            self._changed.wait_for(lambda: self._new or self._waiting or self._stages or self._closed)
            self._waiting += self._new
            self._new = []
            return not self._closed

    def _admit(self) -> None:
        """Lets in whom there is room for, in the order they came."""
        for _ in range(len(self._waiting)):
            question = self._waiting.popleft()
            if question.talk.left:
                continue
            try:
                stage = self._stage(question.model)
            except Exception as err:
                question.talk.tell(err)
                continue
            if stage.free:
                stage.admit(question)
            else:
                self._waiting.append(question)

    def _advance(self) -> None:
        """A round everywhere. A floor that fell silent is let go, and with it its memory; one that failed, too."""
        for key, stage in list(self._stages.items()):
            try:
                if stage.busy:
                    stage.advance()
            except Exception:  # its listeners were told
                del self._stages[key]
                continue
            if not stage.busy:
                del self._stages[key]

    def _stage(self, model: ChatModel) -> _Stage:
        if id(model) not in self._stages:
            floor = model.floor(self._speaking) if isinstance(model, _Floored) else InTurn(model, self._speaking)
            self._stages[id(model)] = _Stage(floor)
        return self._stages[id(model)]
