"""What waits to be written into the account, brought to whoever writes it in lots.

Whatever comes while a lot is written goes with the next one, so a burst costs a few commits and not one a call, and a
call that comes alone waits for nobody.

The work is done in the event loop while it need not wait: to take part of a burst to its end before the next part is
read lets the first call leave first, and two threads that take the interpreter from each other cost more than the work.
Where it would have to wait (for another process's turn at the account, a server, the disk), it is done in a thread.

A burst that one turn of the loop takes in need not be taken in whole before any of it leaves: with `most`, as soon
as that many wait they are worked on, in the midst of that turn, and an errand (`core.errand`) goes on with its verdict
there and then.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from trueseed.core.errand import Word

SHORTLY_S, TRIES = 0.0001, 5  # how soon it is tried again, and how often before a thread is to wait
_LOOK_S = 0.001  # between looks whether all is written, which is wanted once, at the end

Waiting = tuple[Any, Word[Any]]


class Shortly(Exception):  # noqa: N818
    """Another process has its turn, which lasts about a millisecond."""


class Lots:
    """Used from one event loop at a time. work: takes a lot, in the thread, and gives a verdict on each, in order: what
    `verdict` returns, or an exception that it raises. at_once: the same without ever waiting, or None; it may raise
    `Shortly`. most: how many wait for more to come; None is all of a turn of the loop.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Any]], Sequence[Any]],
        at_once: Callable[[Sequence[Any]], Sequence[Any] | None],
        thread: ThreadPoolExecutor,
        most: int | None = None,
    ) -> None:
        self._do, self._at_once, self._thread = work, at_once, thread
        self._most = most
        self._waiting: list[Waiting] = []
        self._at_work = self._is_due = False

    async def verdict(self, what: Any) -> Any:
        """Of `what`, once its lot was worked on. Raises what there is to say against it."""
        word: Word[Any] = Word()
        self._waiting.append((what, word))
        if not self._at_work:
            if len(self._waiting) == self._most:
                self._bring()
            elif not self._is_due:
                self._is_due = True
                asyncio.get_running_loop().call_soon(self._bring_the_rest)
        said = await word
        if isinstance(said, Exception):
            raise said
        return said

    async def written(self) -> None:
        """Waits until nothing waits any more, of calls that were broken off either."""
        while self._at_work or self._waiting:
            await asyncio.sleep(_LOOK_S)

    def _bring_the_rest(self, before: int = 0) -> None:
        """As long as a turn of the loop brings more, the next may as well; then all that came."""
        if self._at_work or len(self._waiting) == before:
            self._is_due = False
            if self._waiting and not self._at_work:
                self._bring()
        else:
            asyncio.get_running_loop().call_soon(self._bring_the_rest, len(self._waiting))

    def _bring(self, tries: int = TRIES) -> None:
        self._at_work = True
        lot, self._waiting = self._waiting, []
        try:
            verdicts = self._at_once([what for what, _ in lot])
        except Shortly:
            if tries:
                self._waiting = lot
                time.sleep(SHORTLY_S)  # a timer of the loop's is ten times as coarse, and to hop threads takes longer
                asyncio.get_running_loop().call_soon(self._bring, tries - 1)
                return
            verdicts = None
        if verdicts is None:
            self._thread.submit(self._work, lot, asyncio.get_running_loop())
        else:
            self._tell(lot, verdicts)

    def _work(self, lot: list[Waiting], loop: asyncio.AbstractEventLoop) -> None:
        try:
            verdicts = self._do([what for what, _ in lot])
        except Exception as err:
            verdicts = [err] * len(lot)
        loop.call_soon_threadsafe(self._tell, lot, verdicts)

    def _tell(self, lot: list[Waiting], verdicts: Sequence[Any]) -> None:
        for (_, word), said in zip(lot, verdicts, strict=True):
            word.give(said)
        if self._waiting:  # it came while the lot was worked on
            asyncio.get_running_loop().call_soon(self._bring)
        else:
            self._at_work = False
