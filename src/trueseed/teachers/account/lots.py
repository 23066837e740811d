"""What waits to be written into the account, brought to whoever writes it in lots.

Whatever comes while a lot is written goes with the next one, so a burst costs a few commits and not one a call, and a
call that comes alone waits for nobody.

The work is done in the event loop while it need not wait: to take part of a burst to its end before the next part is
read lets the first call leave first, and two threads that take the interpreter from each other cost more than the work.
Where it would have to wait (for another process's turn at the account, a server, the disk), it is done in a thread.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_LOOK_S = 0.001  # between looks whether all is written, which is wanted once, at the end

Waiting = tuple[Any, "asyncio.Future[Any]"]


class Lots:
    """Used from one event loop at a time. work: takes a lot, in the thread, and gives a verdict on each, in order: what
    `verdict` returns, or an exception that it raises. at_once: the same without ever waiting, or None.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Any]], Sequence[Any]],
        at_once: Callable[[Sequence[Any]], Sequence[Any] | None],
        thread: ThreadPoolExecutor,
    ) -> None:
        self._do, self._at_once, self._thread = work, at_once, thread
        self._waiting: list[Waiting] = []
        self._at_work = False

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
        lot[0][1].get_loop().call_soon_threadsafe(self._tell, lot, verdicts)

    def _tell(self, lot: list[Waiting], verdicts: Sequence[Any]) -> None:
        for (_, future), said in zip(lot, verdicts, strict=True):
            if not future.done():
                future.set_result(said)
        if self._waiting:
            self._bring()
        else:
            self._at_work = False
