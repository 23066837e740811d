"""What a model thought of each next token: its k most probable ones, and the mass of everything else."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TopK:
    """Over the whole vocabulary at temperature 1, at A places of one token sequence. Natural logarithms.

    ids (A, k) int32: most probable first, equal ones by id; which of equal ones at the edge are kept is not said.
    logprobs (A, k) float32. tail (A,) float32: log of the probability of all other tokens together, −inf when there
    are none.
    """

    ids: NDArray[np.int32]
    logprobs: NDArray[np.float32]
    tail: NDArray[np.float32]
