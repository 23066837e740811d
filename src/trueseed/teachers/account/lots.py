"""What waits to be written into the account, brought to whoever writes it in lots.

Whatever comes while a lot is written goes with the next one, so a burst costs a few commits and not one a call, and a
call that comes alone waits for nobody.

The work is done in the event loop while it need not wait: to take part of a burst to its end before the next part is
read lets the first call leave first, and two threads that take the interpreter from each other cost more than the work.
Where it would have to wait (for another process's turn at the account, a server, the disk), it is done in a thread.

A burst that one turn of the loop takes in whole would be read whole before any of it leaves, so whoever reads what
comes reads a few at a time (`turn`), and those leave before the next are read. While a thread is at work all are read.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

FEW = 8  # read before they leave: fewer cost more transactions than the first of a burst gain, more keep them waiting
SHORTLY_S, TRIES = 0.0001, 5  # how soon it is tried again, and how often before a thread is to wait
_LOOK_S = 0.001  # between looks whether all is written, which is wanted once, at the end

Waiting = tuple[Any, "asyncio.Future[Any]"]


class Shortly(Exception):  # noqa: N818
    """Another process has its turn, which lasts about a millisecond."""


class Lots:
    """Used from one event loop at a time. work: takes a lot, in the thread, and gives a verdict on each, in order: what
    `verdict` returns, or an exception that it raises. at_once: the same without ever waiting, or None; it may raise
    `Shortly`.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Any]], Sequence[Any]],
        at_once: Callable[[Sequence[Any]], Sequence[Any] | None],
        thread: ThreadPoolExecutor,
    ) -> None:
        self._do, self._at_once, self._thread = work, at_once, thread
        self._waiting: list[Waiting] = []
        self._at_work = self._in_thread = False
        self._unread: deque[asyncio.Future[None]] = deque()

    async def turn(self) -> None:
        """Waits until it is this one's turn to be read, and then to be brought by `verdict` at once, or not at all."""
        if self._in_thread or (len(self._waiting) < FEW and not self._unread):
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unread.append(mine)
        await mine

    async def verdict(self, what: Any) -> Any:
        """Of `what`, once its lot was worked on. Raises what there is to say against it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((what, future))
        if not self._at_work:
            self._at_work = True
            loop.call_soon(self._bring)  # with all else that this turn of the loop still takes in
        said = await future
        if isinstance(said, Exception):
            raise said
        return said

    async def written(self) -> None:
        """Waits until nothing waits any more, of calls that were broken off either."""
        while self._at_work:
            await asyncio.sleep(_LOOK_S)

    def _bring(self, tries: int = TRIES) -> None:
        lot, self._waiting = self._waiting, []
        try:
            verdicts = self._at_once([what for what, _ in lot])
        except Shortly:
            if tries:
                self._waiting = lot
                time.sleep(SHORTLY_S)  # a timer of the loop's is ten times as coarse, and to hop threads takes longer
                lot[0][1].get_loop().call_soon(self._bring, tries - 1)
                return
            verdicts = None
        if verdicts is None:
            self._in_thread = True
            self._thread.submit(self._work, lot)
            self._read_on(len(self._unread))
        else:
            self._tell(lot, verdicts)

    def _work(self, lot: list[Waiting]) -> None:
        try:
            verdicts = self._do([what for what, _ in lot])
        except Exception as err:
            verdicts = [err] * len(lot)
        lot[0][1].get_loop().call_soon_threadsafe(self._tell, lot, verdicts)

    def _tell(self, lot: list[Waiting], verdicts: Sequence[Any]) -> None:
        self._in_thread = False
        for (_, future), said in zip(lot, verdicts, strict=True):
            if not future.done():
                future.set_result(said)
        self._read_on(FEW)
        if self._waiting:
            self._bring()
        else:
            self._at_work = False

    def _read_on(self, most: int) -> None:
        for _ in range(min(most, len(self._unread))):
            mine = self._unread.popleft()
            if not mine.done():
                mine.set_result(None)
        if self._unread:
            self._unread[0].get_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        """Those before were read by now; if none of them was to be brought, nobody else calls the next."""
        if not self._at_work:
            self._read_on(FEW)
