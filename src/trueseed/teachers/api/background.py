"""An event loop in a thread of its own, for whoever waits for many things at once and is not asynchronous itself."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """Runs coroutines beside the caller until it is closed."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def start(
        self, work: Coroutine[Any, Any, T], put: Callable[[T], None], failed: Callable[[BaseException], None]
    ) -> "Future[None]":
        """Begins `work`. What comes of it is handed to `put` or `failed`, in the loop's thread; to neither when the
        returned future is cancelled.
        """

        async def run() -> None:
            try:
                put(await work)
            except asyncio.CancelledError:
                raise
            except BaseException as err:  # it must reach the caller's thread, whatever it is
                failed(err)

        return asyncio.run_coroutine_threadsafe(run(), self._loop)

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Breaks off what still runs, awaits `last()`, and ends the thread. Does nothing the second time."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._end(last), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _end(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        running = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await last()
