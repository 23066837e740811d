"""Near-duplicates by MinHash (Broder 1997) with locality-sensitive hashing, confirmed by the true resemblance.

Two texts resemble each other as the shingles they share divided by the shingles of both (Jaccard). MinHash finds
candidates in constant time; a candidate counts only when its true resemblance reaches the threshold, so there are no
false alarms, and with the default bands a pair at the threshold is missed in about 1 of 30 cases, a closer one hardly
ever.
"""

import warnings
from functools import cache, partial
from typing import TYPE_CHECKING

from trueseed.similarity.fingerprint import shingles

if TYPE_CHECKING:
    from datasketch import MinHash


class NearIndex:
    """Texts by key. threshold: resemblance from which two texts are the same. n: words in a shingle."""

    def __init__(self, threshold: float, *, n: int = 3, permutations: int = 128) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from datasketch import MinHash, MinHashLSH  # imports scipy, which takes a second

        self.threshold = threshold
        self._n = n
        self._empty = partial(MinHash, num_perm=permutations, seed=1)
        # Lower than the threshold: a candidate too many costs one exact comparison, a candidate missed is a duplicate.
        bands = _bands(max(0.05, threshold - 0.15), permutations)
        self._candidates = MinHashLSH(num_perm=permutations, params=bands)
        self._shingles: dict[str, frozenset[str]] = {}

    def add(self, key: str, text: str) -> None:
        """Raises `ValueError` for a key that is there already."""
        if key in self._shingles:
            raise ValueError(f"key {key!r} is in the index already")
        self._shingles[key] = frozenset(shingles(text, self._n))
        self._candidates.insert(key, self._hashed(self._shingles[key]))

    def nearest(self, text: str) -> tuple[str, float] | None:
        """Key and resemblance of the most similar text at or above the threshold; the earliest added among equals."""
        own = frozenset(shingles(text, self._n))
        found = set(self._candidates.query(self._hashed(own)))
        near = [(_resemblance(own, self._shingles[key]), key) for key in self._shingles if key in found]
        best = max(near, key=lambda pair: pair[0], default=(0.0, ""))
        return (best[1], best[0]) if near and best[0] >= self.threshold else None

    def _hashed(self, parts: frozenset[str]) -> "MinHash":
        hashed = self._empty()
        hashed.update_batch([part.encode() for part in sorted(parts)])
        return hashed


@cache
def _bands(threshold: float, permutations: int) -> tuple[int, int]:
    """How many bands of how many rows suit a threshold: two integrals for every pair, so found once."""
    from datasketch import MinHashLSH

    suited = MinHashLSH(threshold=threshold, num_perm=permutations)
    return suited.b, suited.r


def _resemblance(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other) if one or other else 1.0
