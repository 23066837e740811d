"""Waiting until there is room again: for `trueseed run FILE --wait`.

While it waits nothing is open and no lock is held, so that a recall, a hold or a release gets through; going on is the
whole work again, which looks at all of them anew. Time is measured by a clock that cannot be set and that goes on while
the machine sleeps, so a jump of the wall clock neither shortens nor lengthens a wait.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from trueseed.errors import Paused
from trueseed.teachers.account.clock import Clock
from trueseed.workspace import Progress

SHORTEST_S = 1.0  # so that two clocks that disagree do not keep it busy
LONGEST_NAP_S = 60.0  # after a sleep of the machine it is late by at most this

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Sleep:
    """What waiting needs of the machine; another in tests."""

    clock: Clock
    nap: Callable[[float], None] = time.sleep


def patiently(work: Callable[[], T], tell: Progress, sleep: Sleep | None = None) -> T:
    """`work`, again after each pause that is over at a known time. Raises `Paused` when nobody knows until when, and
    whatever else `work` raises. tell: seconds waited, of how many.
    """
    sleep = sleep or Sleep(clock=Clock())
    while True:
        try:
            return work()
        except Paused as pause:
            if pause.until is None:
                raise
            _wait(pause.until, str(pause), tell, sleep)


def _wait(until: datetime, why: str, tell: Progress, sleep: Sleep) -> None:
    began = sleep.clock.steady()
    seconds = max(SHORTEST_S, (until - datetime.fromtimestamp(sleep.clock.wall(), UTC)).total_seconds())
    note = f"until {until:%Y-%m-%d %H:%M:%S} UTC: {why}"
    while (passed := sleep.clock.steady() - began) < seconds:
        tell("wait", int(passed), round(seconds), "seconds", note)
        sleep.nap(min(LONGEST_NAP_S, max(SHORTEST_S, seconds / 100), seconds - passed))
    tell("wait", round(seconds), round(seconds), "seconds", note)
