"""What one teacher's calls cost, in the account: room before a call, its charge after it.

    reservation = await tab.reserve(request)
    ...  # the call
    await tab.answered(reservation, usage)

Calls that come or go in the same moment are written in one transaction (`account.lots`).
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from trueseed.core.canonical import digest
from trueseed.core.chat import Request
from trueseed.errors import TrueSeedError
from trueseed.teachers.account.allowance import Allowance, Amount, Price, Reservation
from trueseed.teachers.account.amounts import NOTHING
from trueseed.teachers.account.charging import Closed, Wanted
from trueseed.teachers.account.holds import Holds
from trueseed.teachers.account.lots import Lots
from trueseed.teachers.account.quotas import Refusal
from trueseed.teachers.account.way import Way
from trueseed.teachers.api import wire
from trueseed.terms.model import Use, parse_source

Verdict = Reservation | Exception | None  # None: the call that was over is closed


class Tab:
    """Used from one event loop, but for `cached` and `close`. What writes raises `AccountUnavailable`."""

    def __init__(
        self, *, source: str, use: Use, project: str, price: Price, allowance: Allowance, holds: Holds, way: Way
    ) -> None:
        self.source = source
        self._use, self._project, self._price = use, project, price
        self._allowance, self._holds, self._way = allowance, holds, way
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="allowance")
        self._lots = Lots(self._work, self._at_once, self._thread)

    async def reserve(self, request: Request) -> Reservation:
        """Raises `Exhausted`, `OutOfQuota`, `Refused` when the maker is on hold; then nothing is reserved."""
        upper = self._amount(wire.most(request))
        wanted = Wanted(self.source, self._use, self._project, digest(request.to_json()), upper)
        kept: Reservation = await self._lots.verdict(wanted)
        return kept

    async def answered(self, reservation: Reservation, usage: wire.Usage | None) -> None:
        """usage: None when the provider did not tell; then it is charged as if it had used everything."""
        actual = self._amount(usage) if usage else reservation.upper
        await self._lots.verdict(Closed(reservation, actual, "answered", self._way))

    async def failed(self, reservation: Reservation, err: Exception, refusal: Refusal | None = None) -> None:
        """refusal: what the provider said of its quota, if that is why."""
        if isinstance(err, wire.Unusable):
            await self._lots.verdict(Closed(reservation, reservation.upper, "failed", self._way, refusal))
        elif getattr(err, "response", None) is not None:  # the provider answered, and bills no error
            await self._lots.verdict(Closed(reservation, Amount(requests=1), "failed", self._way, refusal))
        elif wire.never_left(err):
            await self._lots.verdict(Closed(reservation, NOTHING, "released"))

    def cached(self, request: str) -> None:
        """Counts an answer that spared a call. Raises `OnHold`, and then it must not be handed out."""
        self._allowance.cached(source=self.source, use=self._use, project=self._project, request=request, way=self._way)

    async def hold(self, because: str, evidence: str) -> None:
        """At once, for every process that shares the account."""
        maker, loop = parse_source(self.source).maker, asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._holds.place, maker, because, evidence, self._way)

    async def written(self) -> None:
        """Waits until all is written, of calls that were broken off too."""
        await self._lots.written()

    def close(self) -> None:
        """Ends the thread, once it has written what it has."""
        self._thread.shutdown()

    def _amount(self, usage: wire.Usage) -> Amount:
        return Amount(requests=1, tokens=usage.tokens, micros=self._price.micros(usage.prompt, usage.completion))

    def _at_once(self, lot: Sequence[Wanted | Closed]) -> list[Verdict] | None:
        """None when it would have to be waited for, or anything is wrong: then nothing was done."""
        try:
            return self._together(lot, wait=False)
        except Exception:
            return None

    def _work(self, lot: Sequence[Wanted | Closed]) -> list[Verdict]:
        try:
            return self._together(lot)
        except TrueSeedError as err:  # the account cannot be had
            return [err] * len(lot)
        except Exception as err:
            if len(lot) == 1:
                return [err]
            return [verdict for each in lot for verdict in self._work([each])]  # whose fault it is shows alone

    def _together(self, lot: Sequence[Wanted | Closed], *, wait: bool = True) -> list[Verdict]:
        over = [each for each in lot if not isinstance(each, Wanted)]
        wanted = [each for each in lot if isinstance(each, Wanted)]
        told = iter(self._allowance.together(over, wanted, way=self._way, wait=wait))
        return [next(told) if isinstance(each, Wanted) else None for each in lot]
