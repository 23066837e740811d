"""How many calls may be under way: more while answers come, half when the provider says slow down, none while it asks
for quiet or is broken. Pure: it is told what happened and when, and never sleeps.

Additive increase, multiplicative decrease, as TCP does it (RFC 5681): each answer opens one more place until the first
"slow down", afterwards a round of answers does. Calls that were started before a decrease say nothing against the new
number. Where the provider says how many requests are left, and when all are back, they are taken to come back evenly,
as in a token bucket; one that counts by fixed minutes says "slow down" now and then.

A time that the provider names is believed, unless it is as good as none (`AT_ONCE_S`), or was in vain: then it is
doubled up to our own pause, which doubles too.

After `BREAK_AFTER` failures in a row the circuit opens: one call at a time tries again, after growing pauses.
"""

from collections.abc import Mapping

from trueseed.teachers.api.headers import Live

FIRST = 4  # calls under way before anything is known
BREAK_AFTER = 5  # failures in a row
LONGEST_PAUSE = 6  # doublings of the pause: 64 times the first
AT_ONCE_S = 0.1  # a shorter quiet than this is none; providers that mean it name 200 ms and more
TOKENS_BACK = 0.1  # the share of used-up tokens that is waited for; one call rarely needs more
TRIALS_UNKNOWN, TRIALS_KNOWN = 3, 12  # of a broken server, when it never answered here, and when it did


class Throttle:
    """at_most: calls under way. pause_s: the first pause after a failure, or a "slow down" that names no time."""

    def __init__(self, at_most: int, pause_s: float = 1.0) -> None:
        self.at_most, self.pause_s = at_most, pause_s
        self.limit = float(min(FIRST, at_most))
        self.in_flight = 0
        self.live: Mapping[str, Live] = {}  # what the provider last said of its limits
        self.opens_at = 0.0  # nothing starts before
        self._growing_fast = True
        self._decreased_at = float("-inf")
        self._slowed_in_a_row = 0
        self._failed_in_a_row = 0
        self._trials = 0
        self._ever_answered = False
        self._left: float | None = None  # requests, as the provider counts them, at …
        self._left_at = 0.0
        self._back_per_s = 0.0

    def room(self, now: float) -> int:
        """How many calls may start now."""
        if now < self.opens_at:
            return 0
        limit = 1 if self._is_broken else int(self.limit)
        left = self._left_now(now)
        return max(0, min(limit - self.in_flight, limit if left is None else int(left)))

    def next_at(self, now: float) -> float | None:
        """When a call may start although nothing comes back until then; None when that is now, or never."""
        if now < self.opens_at:
            return self.opens_at
        left = self._left_now(now)
        return now + (1 - left) / self._back_per_s if left is not None and left < 1 else None

    def given_up(self) -> bool:
        """Whether a broken server was tried again often enough."""
        return self._trials > (TRIALS_KNOWN if self._ever_answered else TRIALS_UNKNOWN)

    # what happened

    def started(self) -> None:
        self.in_flight += 1
        if self._left is not None:
            self._left -= 1

    def answered(self, live: Mapping[str, Live], now: float) -> None:
        """A call came back with an answer, and with what the provider says is left."""
        self._returned(live, now)
        self._ever_answered = True
        self._slowed_in_a_row = self._failed_in_a_row = self._trials = 0
        self.limit = min(self.at_most, self.limit + (1.0 if self._growing_fast else 1.0 / self.limit))

    def slowed(self, after: float | None, live: Mapping[str, Live], started_at: float, now: float) -> float:
        """The provider asked for quiet. after: seconds, None when it did not say. Returns how long it will be."""
        self._returned(live, now)
        self._growing_fast = False
        if started_at >= self._decreased_at:
            self.limit = max(1.0, self.limit / 2)
            self._decreased_at = now
            self._slowed_in_a_row += 1
        doublings = 2 ** min(max(self._slowed_in_a_row - 1, 0), LONGEST_PAUSE)
        quiet: float = self.pause_s * doublings
        if after is not None and after >= AT_ONCE_S:
            quiet = max(after, min(after * doublings, quiet))
        self.close_for(quiet, now)
        return quiet

    def failed(self, now: float) -> float:
        """The call failed in a way that may pass. Returns after how long to try this one again."""
        self.in_flight -= 1
        self._failed_in_a_row += 1
        pause: float = self.pause_s * 2 ** min(self._trials, LONGEST_PAUSE)
        if self._is_broken:
            self._trials += 1
            self.close_for(pause, now)
        return pause

    def ended(self) -> None:
        """The call came back and says nothing about the load."""
        self.in_flight -= 1

    def close_for(self, seconds: float, now: float) -> None:
        self.opens_at = max(self.opens_at, now + seconds)

    @property
    def _is_broken(self) -> bool:
        return self._failed_in_a_row >= BREAK_AFTER

    def _returned(self, live: Mapping[str, Live], now: float) -> None:
        self.in_flight -= 1
        self.live = live or self.live
        requests = live.get("requests")
        if requests and requests.limit and requests.remaining is not None and requests.resets_in:
            self._left, self._left_at = self._fraction_kept(requests.remaining, now), now
            self._back_per_s = max(requests.limit - requests.remaining, 0) / requests.resets_in
            self._left = self._left if self._back_per_s else None
        for name, each in live.items():
            if name != "requests" and each.remaining == 0 and each.resets_in is not None:
                self.close_for(each.resets_in * TOKENS_BACK, now)

    def _fraction_kept(self, remaining: int, now: float) -> float:
        """Providers tell whole requests. What we took to be left is more exact, as long as it is not another number:
        otherwise each answer would take back the part of a request that came back since the one before.
        """
        expected = self._left_now(now)
        agrees = expected is not None and remaining <= expected < remaining + 1
        return expected if expected is not None and agrees else float(remaining)

    def _left_now(self, now: float) -> float | None:
        if self._left is None:
            return None
        return self._left + (now - self._left_at) * self._back_per_s + 1e-6  # so that `next_at` is not a hair early
