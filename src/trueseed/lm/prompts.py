"""Prompts that wait to be read, and what of them goes through the network in the next pass, beside the talks under way.

A long prompt is read over several passes (chunked prefill: Sarathi, arXiv:2308.16369), so that no talk stands still for
all of it. They are read in the order they came; at most one is half read.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trueseed.lm.cache import Cache
from trueseed.lm.memory import Memory
from trueseed.lm.talk import Talk

AT_ONCE = 2048  # tokens of prompts that go through the network together: bounds memory
BESIDE = 64  # and beside talks that somebody listens to; half as many cost a sixth more (docs/log.md)


@dataclass(slots=True)
class Reading:
    """What one pass reads, into the rows from `first` on. talks: those whose prompt is then read to its end, row by
    row. pieces: what is fed, by row; the last may be of a prompt that goes on. known: logits after prompts that were
    read before, by row; twins: by row, which other one reads the same prompt.
    """

    first: int
    talks: list[Talk] = field(default_factory=list)
    pieces: dict[int, Sequence[int]] = field(default_factory=dict)
    known: dict[int, Tensor] = field(default_factory=dict)
    twins: dict[int, int] = field(default_factory=dict)


class Prompts:
    """apart: how a prompt is cut depends on itself alone."""

    def __init__(self, memory: Memory, cache: Cache, *, apart: bool) -> None:
        self._memory, self._cache, self._apart = memory, cache, apart
        self._waiting: deque[Talk] = deque()
        self.begun = False  # the first of them has a row already, the one after those who speak

    def __len__(self) -> int:
        return len(self._waiting)

    def admit(self, talk: Talk) -> None:
        self._waiting.append(talk)

    def take(self, first: int, room: int) -> Reading:
        """What is read now, of about `room` tokens; the rows from `first` on are free, or that of the half read one."""
        self._let_go(first)
        reading = Reading(first)
        rows: dict[tuple[int, ...], int] = {}
        while self._waiting:
            prompt, row = self._waiting[0].prompt, first + len(reading.talks)
            if prompt in rows:
                reading.twins[row] = rows[prompt]
            elif room <= 0:
                break
            elif not self.begun and (known := self._memory.begin(self._cache, row, prompt)) is not None:
                reading.known[row] = known
            else:
                left = prompt[self._cache.lengths[row] :]
                reading.pieces[row] = piece = left[: BESIDE if self._apart else room]
                room -= len(piece)
                self.begun = len(piece) < len(left)
                if self.begun:
                    break
                rows[prompt] = row
            reading.talks.append(self._waiting.popleft())
        return reading

    def done(self, reading: Reading, after_pieces: Sequence[Tensor]) -> Tensor:
        """Keeps what was read; logits_SV after the prompt of each of its talks. after_pieces: logits_V after each."""
        after = {**reading.known, **dict(zip(reading.pieces, after_pieces, strict=True))}
        for row, talk in enumerate(reading.talks, reading.first):
            if row in reading.twins:
                self._cache.copy(reading.twins[row], row)
                after[row] = after[reading.twins[row]]
            elif row in reading.pieces:
                self._memory.remember(self._cache, row, talk.prompt, after[row])
        return torch.stack([after[row] for row, _ in enumerate(reading.talks, reading.first)])

    def _let_go(self, first: int) -> None:
        """Of those whom nobody listens to any more."""
        if self.begun and self._waiting[0].finish:
            self._cache.end(first, first)
            self.begun = False
        self._waiting = deque(talk for talk in self._waiting if not talk.finish)
