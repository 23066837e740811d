"""A request must come whole, soon and with a head of bounded length, or its connection is ended.

uvicorn waits for ever on a client that sends a byte now and then, and httptools takes in a head of any length: each
such connection holds a descriptor and memory that others need. Bodies are bounded by `guard`.
"""

import asyncio
from typing import TYPE_CHECKING

from uvicorn.protocols.http.auto import AutoHTTPProtocol

if TYPE_CHECKING:  # either of uvicorn's two protocols, by what is installed; they have the same shape
    from uvicorn.protocols.http.h11_impl import H11Protocol as _Protocol
else:
    _Protocol = AutoHTTPProtocol

WITHIN_S = 60.0  # from the first byte that a client owes to the last
HEAD_BYTES = 64 * 1024  # as h11 bounds it, nginx and Node.js lower


class Arrival(_Protocol):
    """One connection of a server."""

    within_s = WITHIN_S
    _owing: asyncio.TimerHandle | None = None
    _of_head = 0  # bytes of a head that is not whole yet, but for those that came with what was before it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._owes()

    def data_received(self, data: bytes) -> None:
        in_head, cycle = self._in_head(), self.cycle
        super().data_received(data)
        self._of_head = self._of_head + len(data) if in_head and self.cycle is cycle else 0
        if self._of_head > HEAD_BYTES:
            self._end()
        elif self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
            self._owes()
        else:
            self._owes_nothing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._owes_nothing()
        super().connection_lost(exc)

    def _in_head(self) -> bool:
        return self.cycle is None or self.scope is not self.cycle.scope

    def _owes(self) -> None:
        """Anew for every request; a byte now and then does not put it off."""
        if self._owing is None:
            self._owing = asyncio.get_running_loop().call_later(self.within_s, self._end)

    def _owes_nothing(self) -> None:
        if self._owing is not None:
            self._owing.cancel()
            self._owing = None

    def _end(self) -> None:
        self._owes_nothing()
        self.transport.abort()
