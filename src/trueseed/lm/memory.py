"""What the network has read before and need not read again: the words every chat begins with, and recent prompts."""

import threading
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor

from trueseed.lm.cache import Cache, Kept
from trueseed.lm.network import Network

TOKENS = 4096  # of recent prompts that are remembered, to bound memory
SHORTEST = 8  # a common beginning shorter than this is not worth a mask


class Memory:
    """beginning: ids that prompts of this chat format begin with. A prompt asked again, as for a second sample, costs a
    copy; another prompt that begins the same way is read from there on.
    """

    def __init__(self, network: Network, beginning: Sequence[int]) -> None:
        self._network = network
        self._beginning = tuple(beginning) if len(beginning) >= SHORTEST else ()
        self._beginning_kept: Kept | None = None
        self._lock = threading.Lock()  # several threads may stream from one engine
        self._recent: OrderedDict[tuple[int, ...], tuple[Kept, Tensor]] = OrderedDict()

    def read(self, cache: Cache, rows: Sequence[int], prompts: Sequence[tuple[int, ...]]) -> Tensor:
        """Prompts into rows of the cache; logits_SV after each."""
        found: dict[tuple[int, ...], Tensor] = {}
        fresh: dict[tuple[int, ...], int] = {}
        for row, prompt in zip(rows, prompts, strict=True):
            if known := self._known(prompt):
                cache.restore(row, known[0])
                found[prompt] = known[1]
            else:
                fresh.setdefault(prompt, row)
        start = len(self._beginning)
        for begins in (True, False):
            part = {prompt: row for prompt, row in fresh.items() if self._begins(prompt) == begins}
            if part:
                logits_SV = self._read(cache, part, start if begins else 0)
                found |= dict(zip(part, logits_SV, strict=True))
        for row, prompt in zip(rows, prompts, strict=True):
            if prompt in fresh and fresh[prompt] != row:
                cache.copy(fresh[prompt], row)
        for prompt, row in fresh.items():
            self._remember(prompt, cache.keep(row), found[prompt].clone())
        return torch.stack([found[prompt] for prompt in prompts])

    def forget(self) -> None:
        with self._lock:
            self._recent.clear()

    def _read(self, cache: Cache, rows: dict[tuple[int, ...], int], start: int) -> Tensor:
        if start:
            beginning = self._read_beginning()
            for row in rows.values():
                cache.restore(row, beginning)
        return self._network.read(cache, tuple(rows.values()), [prompt[start:] for prompt in rows], start)

    def _read_beginning(self) -> Kept:
        """Keys and values of what every chat begins with."""
        if self._beginning_kept is None:
            alone = self._network.cache(1)
            self._network.read(alone, [0], [self._beginning])
            self._beginning_kept = alone.keep(0)
        return self._beginning_kept

    def _begins(self, prompt: tuple[int, ...]) -> bool:
        length = len(self._beginning)
        return 0 < length < len(prompt) and prompt[:length] == self._beginning

    def _known(self, prompt: tuple[int, ...]) -> tuple[Kept, Tensor] | None:
        with self._lock:
            if prompt in self._recent:
                self._recent.move_to_end(prompt)
            return self._recent.get(prompt)

    def _remember(self, prompt: tuple[int, ...], kept: Kept, logits_V: Tensor) -> None:
        with self._lock:
            self._recent[prompt] = kept, logits_V
            while sum(map(len, self._recent)) > TOKENS:
                self._recent.popitem(last=False)
