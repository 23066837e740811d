"""Limits per minute, as providers keep them: a bucket that starts full and fills up evenly.

A call takes its tokens before it is answered: those of the prompt and `max_tokens` for each choice or, where the client
gave none, those of the answer, which the simulator knows beforehand. A call that is refused takes nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Room:
    """What a bucket says of itself. full_in_s: seconds until it is full."""

    limit: int
    left: int
    full_in_s: float


class Bucket:
    """limit: what it holds, and what flows in during `minute_s` seconds of `clock`."""

    def __init__(self, limit: int, *, minute_s: float, clock: Callable[[], float]) -> None:
        self.limit = limit
        self._clock, self._per_s = clock, limit / minute_s
        self._level, self._at = float(limit), clock()

    def missing_s(self, amount: int) -> float:
        """Seconds until `amount` (at most a full bucket) can be taken; 0 for now."""
        self._flow()
        return max(0.0, (min(amount, self.limit) - self._level) / self._per_s)

    def take(self, amount: int) -> None:
        self._level -= min(amount, self.limit)

    @property
    def room(self) -> Room:
        self._flow()
        return Room(self.limit, max(0, int(self._level)), (self.limit - self._level) / self._per_s)

    def _flow(self) -> None:
        now = self._clock()
        self._level = min(float(self.limit), self._level + (now - self._at) * self._per_s)
        self._at = now


class Limits:
    """The buckets of one account by what they hold, `requests` and `tokens`; a limit of 0 is no bucket."""

    def __init__(self, *, requests: int, tokens: int, minute_s: float, clock: Callable[[], float]) -> None:
        given = {"requests": requests, "tokens": tokens}
        self._buckets = {kind: Bucket(limit, minute_s=minute_s, clock=clock) for kind, limit in given.items() if limit}

    def take(self, tokens: int) -> tuple[str, float] | None:
        """Takes one request of `tokens` tokens from all, or nothing: then which is short, and for how many seconds."""
        if not self._buckets:
            return None
        wanted = {"requests": 1, "tokens": tokens}
        for kind, bucket in self._buckets.items():
            if wait_s := bucket.missing_s(wanted[kind]):
                return kind, wait_s
        for kind, bucket in self._buckets.items():
            bucket.take(wanted[kind])
        return None

    @property
    def rooms(self) -> Mapping[str, Room]:
        return {kind: bucket.room for kind, bucket in self._buckets.items()}
