"""Account time: a clock that no jump of the machine's clock moves, so that a jump neither frees budget nor loses any.

Within one run of the machine, account time follows the wall clock while that goes at the pace of the steady clock
(which counts from the start of the machine, sleep included, and cannot be set). A wall clock that is set back or
forward is not followed: account time goes on at the steady pace from where it was. After a restart the wall clock is
believed again, except that account time never goes back; what was used stands under the times that passed, so going
back would offer what is left of them a second time. All hosts of one account share the time of the foremost.

What this costs: a clock that was wrong when the account first saw it, and was put right, shifts the account's days
until the machine restarts. They stay as long as days are.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from trueseed.core.driver import Driver, Statement
from trueseed.teachers.account.process import boot, this_process

BELIEVED_MS = 2_000  # steps up to here are followed: leap seconds, and time daemons stepping a clock that drifted

log = logging.getLogger(__name__)


def _steady() -> float:
    try:
        return time.clock_gettime(time.CLOCK_BOOTTIME)  # unlike CLOCK_MONOTONIC it goes on while a laptop sleeps
    except (AttributeError, OSError):
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class Clock:
    """The machine's clocks; other ones in tests. wall: seconds since 1970. steady: seconds since the machine started.
    boot: changes with every start. host: whose clocks these are.
    """

    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = _steady
    boot: str = field(default_factory=boot)
    host: str = field(default_factory=lambda: this_process().host)


_ALL = Statement("SELECT host, boot, at, steady FROM clocks")
_KEEP = Statement(
    "INSERT INTO clocks (host, boot, at, steady) VALUES (:host, :boot, :at, :steady)"
    " ON CONFLICT (host) DO UPDATE SET boot = excluded.boot, at = excluded.at, steady = excluded.steady"
)


def tick(driver: Driver, clock: Clock) -> int:
    """Account time now, in milliseconds since 1970. Call it in a writing transaction."""
    wall, steady = round(clock.wall() * 1000), round(clock.steady() * 1000)
    seen = {host: (of, int(at), int(then)) for host, of, at, then in driver.all(_ALL, {})}
    ours = seen.get(clock.host)
    now = wall
    if ours is not None and ours[0] == clock.boot:
        expected = ours[1] + steady - ours[2]
        if abs(wall - expected) > BELIEVED_MS:
            log.debug("the machine's clock is %+d s off the account's and is not followed", (wall - expected) // 1000)
            now = expected
    now = max([now, *(at for _, at, _ in seen.values())])
    driver.each(_KEEP, [{"host": clock.host, "boot": clock.boot, "at": now, "steady": steady}])
    return now
