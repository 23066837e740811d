"""One thread, many answers: models take turns, a piece at a time.

A model is not asked from two threads at once. Every open answer gets one piece per round, so that a short question is
not stuck behind a long one, and one whose listener left is dropped at its next turn.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Iterator, Sequence

from trueseed.core.chat import Answer, ChatModel, Request

Piece = tuple[int, str | Answer]


class Busy(Exception):  # noqa: N818
    """Too many answers are open already."""


class Talk:
    """What one listener hears: `(which request, piece of text or the whole Answer)`, in order for each request."""

    def __init__(self, requests: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._heard: asyncio.Queue[Piece | Exception] = asyncio.Queue()
        self._open = requests
        self.left = False

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
        """Nobody listens any more: the model stops at its next turn."""
        self.left = True

    def tell(self, item: Piece | Exception) -> None:
        """Called by the thread that speaks."""
        try:
            self._loop.call_soon_threadsafe(self._heard.put_nowait, item)
        except RuntimeError:  # the listener's event loop is closed
            self.leave()


class _Voice:
    """One answer being spoken."""

    def __init__(self, model: ChatModel, index: int, request: Request, talk: Talk) -> None:
        self._model, self._index, self._request, self._talk = model, index, request, talk
        self._stream: Iterator[str | Answer] | None = None

    def speak(self) -> bool:
        """One piece; False when this was the last."""
        if self._talk.left:
            self._stop()
            return False
        try:
            if self._stream is None:
                self._stream = iter(self._model.stream(self._request))
            item = next(self._stream)
        except StopIteration:
            self._talk.tell(RuntimeError(f"{self._model.source} ended its stream without an answer"))
            return False
        except Exception as err:
            self._talk.tell(err)
            return False
        self._talk.tell((self._index, item))
        if isinstance(item, Answer):
            self._stop()
            return False
        return True

    def _stop(self) -> None:
        close = getattr(self._stream, "close", None)  # generators have one; other iterators are simply dropped
        if close is not None:
            close()


class Turns:
    """The thread. It starts with the first question and ends with `close`."""

    def __init__(self, *, speaking: int, waiting: int) -> None:
        self._speaking, self._most = speaking, speaking + waiting
        self._new: deque[_Voice] = deque()
        self._open = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def ask(self, model: ChatModel, requests: Sequence[Request]) -> Talk:
        """Asks all of `requests`; to be called from a running event loop. Raises `Busy` when there is no room."""
        talk = Talk(len(requests))
        with self._changed:
            if self._open + len(requests) > self._most or self._closed:
                raise Busy
            self._open += len(requests)
            self._new.extend(_Voice(model, index, request, talk) for index, request in enumerate(requests))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="trueseed-turns", daemon=True)
                self._thread.start()
            self._changed.notify()
        return talk

    def close(self) -> None:
        """Stops speaking. Waits for the piece that is being spoken."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        voices: deque[_Voice] = deque()
        while self._gather(voices):
            voice = voices.popleft()
            if voice.speak():
                voices.append(voice)
                continue
            with self._changed:
                self._open -= 1

    def _gather(self, voices: deque[_Voice]) -> bool:
        """Lets the waiting ones in while there is room; sleeps when nobody speaks. False at the end."""
        with self._changed:
            self._changed.wait_for(lambda: voices or self._new or self._closed)
            while self._new and len(voices) < self._speaking:
                voices.append(self._new.popleft())
            return not self._closed
