"""The talks that are decoded together, in the first rows of one cache: read what is new, step what is under way."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from trueseed.lm.memory import Memory
from trueseed.lm.network import Network
from trueseed.lm.sampling import Sampling, choose
from trueseed.lm.talk import Talk

READ_AT_ONCE = 2048  # tokens of prompts that go through the network together: bounds memory


class Batch:
    """Up to `slots` talks. With `deterministic`, every shape that a talk's numbers pass through is fixed or depends on
    its own prompt alone: prompts are read one by one, and a step runs over all slots, idle ones too.
    """

    def __init__(self, network: Network, memory: Memory, slots: int, *, deterministic: bool = False) -> None:
        self._network, self._memory, self._slots, self._deterministic = network, memory, slots, deterministic
        self._cache = network.cache(max(slots, 2))
        self._talks: list[Talk] = []  # talk i lives in row i of the cache
        self._new: list[Talk] = []

    @property
    def free(self) -> int:
        return self._slots - len(self._talks) - len(self._new)

    @property
    def busy(self) -> bool:
        return bool(self._talks or self._new)

    def admit(self, talk: Talk) -> None:
        self._new.append(talk)

    def advance(self) -> list[Talk]:
        """One token for each new talk, or if there is none for every talk; gives back those that ended."""
        if self._new:
            first = len(self._talks)
            self._talks += self._new
            self._new = []
            for rows in self._readable(first):
                prompts = [self._talks[row].prompt for row in rows]
                self._hear(rows, self._memory.read(self._cache, rows, prompts))
        else:
            rows = range(len(self._talks))
            tokens = [talk.ids[-1] for talk in self._talks]
            self._hear(rows, self._network.step(self._cache, tokens, fixed=self._deterministic))
        return self._take_ended()

    def _readable(self, first: int) -> Iterator[range]:
        """The new rows in runs of bounded size."""
        start, tokens = first, 0
        for row in range(first, len(self._talks)):
            length = len(self._talks[row].prompt)
            if row > start and (self._deterministic or tokens + length > READ_AT_ONCE):
                yield range(start, row)
                start, tokens = row, 0
            tokens += length
        yield range(start, len(self._talks))

    def _hear(self, rows: Sequence[int], logits_SV: Tensor) -> None:
        talks = [self._talks[row] for row in rows]
        sampling = Sampling(
            temperature=tuple(talk.request.temperature for talk in talks),
            top_p=tuple(talk.request.top_p for talk in talks),
            seed=tuple(talk.request.seed for talk in talks),
            position=tuple(len(talk.ids) for talk in talks),
            logprobs=tuple(talk.request.logprobs for talk in talks),
        )
        choice = choose(logits_SV[: len(talks)], sampling)
        for talk, token, logprob in zip(talks, choice.tokens, choice.logprobs, strict=True):
            talk.hear(token, logprob)

    def _take_ended(self) -> list[Talk]:
        """Removes the talks that ended; the last rows move into theirs."""
        ended = [talk for talk in self._talks if talk.finish]
        for row in range(len(self._talks) - 1, -1, -1):
            if self._talks[row].finish:
                last = self._talks.pop()
                if row < len(self._talks):
                    self._talks[row] = last
                self._cache.end(row, len(self._talks))
        return ended
