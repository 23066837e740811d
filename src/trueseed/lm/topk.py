"""What a model thought of each next token: its k most probable ones, the mass of everything else, and some of that."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """Tokens of the tail, which stand for all of it.

    ids (A, m) int32: each token's count is its share of the tail's mass times m on average, and never one or more away
    from that. entropy (A,) float32: of the whole tail's tokens among themselves, in nats.
    """

    ids: NDArray[np.int32]
    entropy: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TopK:
    """Over the whole vocabulary at temperature 1, at A places of one token sequence. Natural logarithms.

    ids (A, k) int32: most probable first, equal ones by id; which of equal ones at the edge are kept is not said.
    logprobs (A, k) float32. tail (A,) float32: log of the probability of all other tokens together, −inf when there are
    none.
    """

    ids: NDArray[np.int32]
    logprobs: NDArray[np.float32]
    tail: NDArray[np.float32]
    drawn: Drawn | None = None

    @property
    def k(self) -> int:
        return int(self.ids.shape[1])

    @property
    def draws(self) -> int:
        return 0 if self.drawn is None else int(self.drawn.ids.shape[1])
