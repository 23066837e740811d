"""A coroutine that goes on in the very moment when what it waits for is there.

    word: Word[int] = Word()
    Errand(ask(word), over=print).begin()      # runs until `ask` awaits the word
    word.give(7)                               # `ask` goes on here, and has gone as far as it can when this returns

asyncio has a task go on at the next turn of its loop, when all is taken in that this turn brings. Of fifty requests
that come together the first would then leave when the fiftieth was read. And a task costs more than what many do in it.

An errand is no task: what asks for the task it runs in (`asyncio.timeout`, anyio) needs a task of its own. Futures and
coroutines that wait for them can be awaited as ever.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Going = Callable[[], object]


class Word(Generic[T]):
    """What one errand or one task waits for. Given once, in the loop's own thread."""

    __slots__ = ("_error", "_go_on", "_is_given", "_value")

    def __init__(self) -> None:
        self._is_given = False
        self._go_on: Going | None = None
        self._value: T
        self._error: BaseException | None = None

    def give(self, value: T) -> None:
        self._value = value
        self._given()

    def fail(self, error: BaseException) -> None:
        """The error is raised where the word is waited for."""
        self._error = error
        self._given()

    def _given(self) -> None:
        self._is_given = True
        if self._go_on is not None:
            self._go_on()

    def __await__(self) -> Generator[Any, None, T]:
        if not self._is_given:
            if _underway:
                yield self
            else:
                yield from self._of_task()
        if self._error is not None:
            raise self._error
        return self._value

    def _of_task(self) -> Generator[Any, None, None]:
        future = asyncio.get_running_loop().create_future()
        self._go_on = lambda: None if future.done() else future.set_result(None)
        yield from future


class Errand:
    """over: told of the errand when it has ended; of what it returns or raises nobody hears but the loop's handler."""

    __slots__ = ("_coroutine", "_has_ended", "_over")

    def __init__(self, coroutine: Coroutine[Any, Any, object], over: "Callable[[Errand], object]") -> None:
        self._coroutine, self._over, self._has_ended = coroutine, over, False

    def begin(self) -> None:
        self._go_on()

    def cancel(self, msg: str | None = None) -> None:
        """As of a task: at the next turn of the loop, so that whoever goes through a set of them may."""
        asyncio.get_running_loop().call_soon(self._go_on, asyncio.CancelledError(msg))

    def _go_on(self, error: object = None) -> None:
        """error: to raise in it; a future that calls here names itself, and says by itself what came of it."""
        if self._has_ended:  # it was cancelled, and what it waited for comes all the same
            return
        _underway.append(self)
        try:
            if isinstance(error, asyncio.CancelledError):
                awaited = self._coroutine.throw(error)
            else:
                awaited = self._coroutine.send(None)
        except (StopIteration, asyncio.CancelledError):
            self._end()
        except BaseException as err:
            self._end()
            told = {"message": "an errand failed", "exception": err}
            asyncio.get_running_loop().call_exception_handler(told)
        else:
            self._await(awaited)
        finally:
            _underway.pop()

    def _end(self) -> None:
        self._has_ended = True
        self._over(self)

    def _await(self, awaited: Any) -> None:
        if isinstance(awaited, Word):
            awaited._go_on = self._go_on
        elif awaited is None:  # `asyncio.sleep(0)`
            asyncio.get_running_loop().call_soon(self._go_on)
        else:
            awaited._asyncio_future_blocking = False
            awaited.add_done_callback(self._go_on)


_underway: list[Errand] = []  # the innermost last: one may have another go on
