"""What the network has read before and need not read again: the words every chat begins with, and recent prompts."""

import threading
from collections import OrderedDict
from collections.abc import Sequence

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

    def begin(self, cache: Cache, row: int, prompt: tuple[int, ...]) -> Tensor | None:
        """Fills a row with what was read of a prompt before: all of it, then logits_V after it are given back; or its
        beginning, or nothing.
        """
        if known := self._known(prompt):
            cache.restore(row, known[0])
            return known[1]
        if self._begins(prompt):
            cache.restore(row, self._read_beginning())
        return None

    def remember(self, cache: Cache, row: int, prompt: tuple[int, ...], logits_V: Tensor) -> None:
        """That a row holds this prompt, and nothing more yet."""
        kept = cache.keep(row)
        with self._lock:
            self._recent[prompt] = kept, logits_V.clone()
            while sum(map(len, self._recent)) > TOKENS:
                self._recent.popitem(last=False)

    def forget(self) -> None:
        with self._lock:
            self._recent.clear()

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
