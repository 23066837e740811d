"""What a model thought of each next token: its k most probable ones, the mass of everything else, and some of that."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TopK:
    """Over the whole vocabulary at temperature 1, at A places of one token sequence. Natural logarithms.

    ids (A, k + m) int32: most probable first, equal ones by id; which of equal ones at the edge are kept is not said.
    The last m = `drawn` are drawn from all other tokens, each by its share of their mass, and may come more than once.
    logprobs (A, k + m) float32. tail (A,) float32: log of the probability of all tokens but the k together, −inf when
    there are none.
    """

    ids: NDArray[np.int32]
    logprobs: NDArray[np.float32]
    tail: NDArray[np.float32]
    drawn: int = 0

    @property
    def k(self) -> int:
        return int(self.ids.shape[1]) - self.drawn
