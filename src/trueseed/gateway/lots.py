"""What waits for the desk, brought to it in lots.

Whatever comes while the desk is at work goes with the next lot, so a burst costs a few commits and not one a call, and
a call that comes alone waits for nobody.

The desk works in the event loop while it need not wait: to take part of a burst to its end before the next part is read
lets the first call leave first, and two threads that take the interpreter from each other cost more than the work.
Where it would have to wait (for another process's turn at the account, a server, the disk), it works in a thread of its
own.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Waiting = tuple[Any, "asyncio.Future[Any]"]


class Lots:
    """Used from one event loop. work: takes a lot, in the thread, and gives a verdict on each, in order: what `verdict`
    returns, or an exception that it raises. at_once: the same without ever waiting, or None.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Any]], Sequence[Any]],
        at_once: Callable[[Sequence[Any]], Sequence[Any] | None],
        thread: ThreadPoolExecutor,
    ) -> None:
        self._do, self._at_once, self._thread = work, at_once, thread
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Waiting] = []
        self._at_work = False

    async def verdict(self, what: Any) -> Any:
        """Of `what`, once its lot was worked on. Raises what the desk has to say against it."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append((what, future))
        if not self._at_work:
            self._at_work = True
            self._loop.call_soon(self._bring)  # with all else that this turn of the loop still takes in
        said = await future
        if isinstance(said, Exception):
            raise said
        return said

    def _bring(self) -> None:
        lot, self._waiting = self._waiting, []
        verdicts = self._at_once([what for what, _ in lot])
        if verdicts is None:
            self._thread.submit(self._work, lot)
        else:
            self._tell(lot, verdicts)

    def _work(self, lot: list[Waiting]) -> None:
        try:
            verdicts = self._do([what for what, _ in lot])
        except Exception as err:
            verdicts = [err] * len(lot)
        self._loop.call_soon_threadsafe(self._tell, lot, verdicts)

    def _tell(self, lot: list[Waiting], verdicts: Sequence[Any]) -> None:
        for (_, future), said in zip(lot, verdicts, strict=True):
            if not future.done():
                future.set_result(said)
        if self._waiting:
            self._bring()
        else:
            self._at_work = False
