"""The Merkle tree of RFC 6962 section 2.1 (RFC 9162 section 2.1): roots, inclusion and consistency proofs.

Leaves are bytes; hashes are 32 raw bytes. The ledger is such a tree over its statements, and a records artifact carries
the root over its record ids, so one record's presence can be shown without the others.
"""

import hashlib
from collections.abc import Iterable, Sequence
from functools import reduce


def leaf_hash(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _split(size: int) -> int:
    """The largest power of two smaller than `size` (size ≥ 2)."""
    return 1 << ((size - 1).bit_length() - 1)


def root(hashes: Sequence[bytes]) -> bytes:
    """Root over leaf hashes; the empty tree's is SHA-256 of nothing."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    level = list(hashes)
    while len(level) > 1:  # pairing level by level gives RFC 6962's tree: a lone last node moves up unchanged
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(paired) * 2 :]
    return level[0]


class Frontier:
    """A tree that grows: the roots of its complete subtrees, largest first, are all that a next leaf or a root needs.

    `append` and `root` cost O(log size) hashes, so a log of any length grows at the same speed.
    """

    def __init__(self, hashes: Iterable[bytes] = ()) -> None:
        self.size = 0
        self._subtrees: list[bytes] = []
        for leaf in hashes:
            self.append(leaf)

    def append(self, leaf: bytes) -> None:
        """Adds a leaf hash."""
        self._subtrees.append(leaf)
        complete = self.size  # each trailing 1 bit of the old size is a subtree that the new leaf completes
        while complete & 1:
            right = self._subtrees.pop()
            self._subtrees[-1] = node_hash(self._subtrees[-1], right)
            complete >>= 1
        self.size += 1

    def root(self) -> bytes:
        """As `root` of all the leaf hashes so far."""
        if not self._subtrees:
            return root([])
        current = self._subtrees[-1]
        for left in reversed(self._subtrees[:-1]):
            current = node_hash(left, current)
        return current

    def copy(self) -> "Frontier":
        made = Frontier()
        made.size, made._subtrees = self.size, list(self._subtrees)
        return made


def inclusion(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Audit path of leaf `index`, nearest sibling first. Raises `IndexError` outside the tree."""
    if not 0 <= index < len(hashes):
        raise IndexError(f"leaf {index} is not in a tree of {len(hashes)}")
    if len(hashes) == 1:
        return []
    k = _split(len(hashes))
    if index < k:
        return [*inclusion(hashes[:k], index), root(hashes[k:])]
    return [*inclusion(hashes[k:], index - k), root(hashes[:k])]


class Tree:
    """A tree that grows, with the roots of all its complete subtrees: 2n hashes are kept, a further leaf costs O(1) and
    an audit path O(log n), also in the tree as it was at an earlier size.
    """

    def __init__(self, hashes: Iterable[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [[]]  # [k][i]: over the 2^k leaves from i * 2^k
        self.extend(hashes)

    @property
    def size(self) -> int:
        return len(self._levels[0])

    def extend(self, hashes: Iterable[bytes]) -> None:
        """Adds leaf hashes."""
        below = self._levels[0]
        below.extend(hashes)
        level = 1
        while len(below) > 1:
            if level == len(self._levels):
                self._levels.append([])
            above = self._levels[level]
            above.extend(node_hash(below[2 * i], below[2 * i + 1]) for i in range(len(above), len(below) // 2))
            below, level = above, level + 1

    def root(self, size: int | None = None) -> bytes:
        """As `root` of the first `size` hashes, or of all. Raises `IndexError` when there are not so many."""
        size = self.size if size is None else size
        if not 0 <= size <= self.size:
            raise IndexError(f"there are no {size} leaves in a tree of {self.size}")
        return self._over(0, size)

    def path(self, index: int, size: int | None = None) -> tuple[bytes, ...]:
        """As `inclusion` among the first `size` leaves, or all. Raises `IndexError` outside the tree."""
        size = self.size if size is None else size
        if not 0 <= index < size <= self.size:
            raise IndexError(f"leaf {index} is not in a tree of {size}")
        found = []
        for level in range((size - 1).bit_length()):
            first = (index >> level ^ 1) << level
            if first < size:  # else it is a lone last node, which moves up unchanged
                found.append(self._over(first, min(first + (1 << level), size)))
        return tuple(found)

    def _over(self, first: int, end: int) -> bytes:
        """Root over the leaves from `first` to before `end`; `first` is a multiple of a power of two not below their
        number.
        """
        parts = []
        while first < end:
            level = (end - first).bit_length() - 1
            parts.append(self._levels[level][first >> level])
            first += 1 << level
        return reduce(lambda right, left: node_hash(left, right), reversed(parts)) if parts else root([])


def root_from_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that `path` implies for leaf hash `leaf` (RFC 9162 section 2.1.3.2).

    Raises `ValueError` when the path has the wrong length.
    """
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    fn, sn, current = index, size - 1, leaf
    for sibling in path:
        if sn == 0:
            raise ValueError("the inclusion proof is too long")
        if fn & 1 or fn == sn:
            current = node_hash(sibling, current)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            current = node_hash(current, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise ValueError("the inclusion proof is too short")
    return current


def consistency(hashes: Sequence[bytes], old_size: int) -> list[bytes]:
    """Proof that the tree over the first `old_size` leaves is a prefix of this one (RFC 6962 section 2.1.2)."""
    if not 0 < old_size <= len(hashes):
        raise IndexError(f"no consistency proof from {old_size} to {len(hashes)}")

    def sub(part: Sequence[bytes], m: int, whole: bool) -> list[bytes]:
        if m == len(part):
            return [] if whole else [root(part)]
        k = _split(len(part))
        if m <= k:
            return [*sub(part[:k], m, whole), root(part[k:])]
        return [*sub(part[k:], m - k, False), root(part[:k])]

    return sub(hashes, old_size, True)


def is_consistent(old_root: bytes, old_size: int, new_root: bytes, new_size: int, path: Sequence[bytes]) -> bool:
    """Checks a consistency proof (RFC 9162 section 2.1.4.2)."""
    if old_size == new_size:
        return old_root == new_root and not path
    if not 0 < old_size < new_size or not path:
        return False
    steps = list(path) if old_size & (old_size - 1) else [old_root, *path]
    fn, sn = old_size - 1, new_size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first = second = steps[0]
    for sibling in steps[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            second = node_hash(second, sibling)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and first == old_root and second == new_root
