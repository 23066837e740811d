"""Waiting until there is room again: for `trueseed run FILE --wait`.

While it waits nothing is open and no lock is held, so that a recall, a hold or a release gets through; going on is the
whole work again, which looks at all of them anew. Time is measured by a clock that cannot be set and that goes on while
the machine sleeps, so a jump of the wall clock neither shortens nor lengthens a wait.

A try that comes back from where the last one stood was in vain, whatever time was named: the next one waits at least
twice as long, 1 second, 2, 4 … 60, until one gets further.
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
LONGEST_S = 60.0  # what a wait grows to when it was in vain
LONGEST_NAP_S = 60.0  # after a sleep of the machine it is late by at most this

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Sleep:
    """What waiting needs of the machine; another in tests."""

    clock: Clock
    nap: Callable[[float], None] = time.sleep


@dataclass(slots=True)
class _Place:
    """Passes on what a try of the work tells, and remembers where it stands."""

    tell: Progress
    at: tuple[str, int, int, str, str] | None = None

    def __call__(self, step: str, done: int, total: int, unit: str, note: str) -> None:
        self.at = (step, done, total, unit, note)
        self.tell(step, done, total, unit, note)


def patiently(work: Callable[[Progress], T], tell: Progress, sleep: Sleep | None = None) -> T:
    """`work`, again after each pause that is over at a known time; it is given whom to tell how far it is. Raises
    `Paused` when nobody knows until when, and whatever else `work` raises. tell: that, and seconds waited, of how many.
    """
    sleep = sleep or Sleep(clock=Clock())
    shortest_s, stood = SHORTEST_S, None
    while True:
        place = _Place(tell)
        try:
            return work(place)
        except Paused as pause:
            if pause.until is None:
                raise
            shortest_s = SHORTEST_S if place.at != stood else shortest_s
            _wait(pause.until, str(pause), tell, sleep, shortest_s)
            shortest_s, stood = min(LONGEST_S, 2 * shortest_s), place.at


def _wait(until: datetime, why: str, tell: Progress, sleep: Sleep, shortest_s: float) -> None:
    began = sleep.clock.steady()
    seconds = max(shortest_s, (until - datetime.fromtimestamp(sleep.clock.wall(), UTC)).total_seconds())
    note = f"until {until:%Y-%m-%d %H:%M:%S} UTC: {why}"
    while (passed := sleep.clock.steady() - began) < seconds:
        tell("wait", int(passed), round(seconds), "seconds", note)
        sleep.nap(min(LONGEST_NAP_S, max(SHORTEST_S, seconds / 100), seconds - passed))
    tell("wait", round(seconds), round(seconds), "seconds", note)
