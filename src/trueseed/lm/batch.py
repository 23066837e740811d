"""The talks that are decoded together, in the first rows of one cache, while the prompts of others are read."""

from collections.abc import Sequence

from torch import Tensor

from trueseed.lm.memory import Memory
from trueseed.lm.network import Network
from trueseed.lm.prompts import AT_ONCE, Prompts
from trueseed.lm.sampling import Sampling, choose
from trueseed.lm.talk import Talk


class Batch:
    """Up to `slots` talks. beside: how many tokens of prompts are read in a pass that talks wait for. With
    `deterministic`, every shape that a talk's numbers pass through is fixed or depends on its own prompt alone: pieces
    of prompts are read one by one, and a step runs over all slots, idle ones too.
    """

    def __init__(
        self, network: Network, memory: Memory, slots: int, *, deterministic: bool = False, beside: int = AT_ONCE
    ) -> None:
        self._network, self._slots, self._deterministic, self._beside = network, slots, deterministic, beside
        self._cache = network.cache(max(slots, 2))
        self._talks: list[Talk] = []  # talk i lives in row i of the cache
        self._prompts = Prompts(memory, self._cache, apart=deterministic)

    @property
    def free(self) -> int:
        return self._slots - len(self._talks) - len(self._prompts)

    @property
    def busy(self) -> bool:
        return bool(self._talks or self._prompts)

    def admit(self, talk: Talk) -> None:
        self._prompts.admit(talk)

    def advance(self) -> list[Talk]:
        """One pass: a token more for each talk, and the first for those whose prompt is then read to its end; gives
        back those that ended.
        """
        reading = self._prompts.take(len(self._talks), self._beside if self._talks else AT_ONCE)
        tokens = [talk.ids[-1] for talk in self._talks]
        if tokens or reading.pieces:
            logits_SV = self._network.step(self._cache, tokens, reading.pieces, fixed=self._deterministic)
        if tokens:
            _hear(self._talks, logits_SV[: len(tokens)])
        if reading.talks:
            after = logits_SV[len(tokens) :].unbind() if reading.pieces else ()
            _hear(reading.talks, self._prompts.done(reading, after))
        self._talks += reading.talks
        return self._take_ended()

    def _take_ended(self) -> list[Talk]:
        """Removes the talks that ended; the last rows move into theirs, and the half read prompt's behind them."""
        before = len(self._talks)
        ended = [talk for talk in self._talks if talk.finish]
        for row in range(before - 1, -1, -1):
            if self._talks[row].finish:
                last = self._talks.pop()
                if row < len(self._talks):
                    self._talks[row] = last
                self._cache.end(row, len(self._talks))
        if ended and self._prompts.begun:
            self._cache.end(len(self._talks), before)
        return ended


def _hear(talks: Sequence[Talk], logits_SV: Tensor) -> None:
    """The next token of each talk."""
    sampling = Sampling(
        temperature=tuple(talk.request.temperature for talk in talks),
        top_p=tuple(talk.request.top_p for talk in talks),
        seed=tuple(talk.request.seed for talk in talks),
        position=tuple(len(talk.ids) for talk in talks),
        logprobs=tuple(talk.request.logprobs for talk in talks),
    )
    choice = choose(logits_SV, sampling)
    for talk, token, logprob in zip(talks, choice.tokens, choice.logprobs, strict=True):
        talk.hear(token, logprob)
