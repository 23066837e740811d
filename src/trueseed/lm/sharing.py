"""Which tokens of many sequences must be read, when each beginning that they share is read once.

In lexicographic order a sequence shares with the one right before it whatever it shares with any before it. So one pass
over them in that order finds all there is to share, and of a pass of bounded size only its last sequence must be kept
for the next: what is computed never depends on how many sequences there are, and neither does the memory.

A `Row` reads its own tokens after a beginning of an earlier row; rows that wait for as many others make a *wave* and
are read together. Nothing here knows of tensors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

TOKENS = 2048  # distinct ones of a pass, unless one sequence has more
CELLS = 16384  # rows × the longest of them: the positions that a pass has room for
SHORTEST = 8  # a beginning of fewer tokens is not worth waiting for


@dataclass(frozen=True, slots=True)
class Row:
    """One sequence. start: its first tokens that another row has read. after: that row's number in its pass, −1 for the
    last of the pass before. wave: how many rows it waits for, one after another.
    """

    tokens: tuple[int, ...]
    start: int
    after: int
    wave: int

    @property
    def own(self) -> tuple[int, ...]:
        return self.tokens[self.start :]


@dataclass(frozen=True, slots=True)
class Pass:
    """Sequences that are read together. members: which they are, row by row."""

    members: tuple[int, ...]
    rows: tuple[Row, ...]

    @property
    def waves(self) -> Iterator[list[int]]:
        """Numbers of the rows that have tokens of their own, wave by wave."""
        for wave in range(max(row.wave for row in self.rows) + 1):
            if numbers := [at for at, row in enumerate(self.rows) if row.wave == wave and row.own]:
                yield numbers


def passes(sequences: Sequence[tuple[int, ...]], kept: tuple[int, ...] = ()) -> Iterator[Pass]:
    """All sequences once, in passes of bounded size. kept: the sequence that is kept from an earlier pass."""
    order = sorted(range(len(sequences)), key=sequences.__getitem__)
    members: list[int] = []
    rows: list[Row] = []
    used = longest = 0
    for member in order:
        row = _placed(sequences[member], rows, kept)
        longest = max(longest, len(row.tokens))
        if rows and (used + len(row.own) > TOKENS or (len(rows) + 1) * longest > CELLS):
            yield Pass(tuple(members), tuple(rows))
            kept = rows[-1].tokens
            members, rows, used, longest = [], [], 0, len(row.tokens)
            row = _placed(sequences[member], rows, kept)
        members.append(member)
        rows.append(row)
        used += len(row.own)
    if rows:
        yield Pass(tuple(members), tuple(rows))


def _placed(tokens: tuple[int, ...], rows: Sequence[Row], kept: tuple[int, ...]) -> Row:
    """After the row that has read most of its beginning, or an earlier one when that costs few tokens: rows that wait
    for fewer others make larger waves.
    """
    start, after = _common(tokens, rows[-1].tokens if rows else kept), len(rows) - 1
    if start < len(tokens):
        while after >= 0 and rows[after].start >= start - SHORTEST:
            start, after = min(start, rows[after].start), rows[after].after
        if start < SHORTEST:
            start, after = 0, -1
    return Row(tokens, start, after, rows[after].wave + 1 if after >= 0 else 0)


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    n = min(len(one), len(other))
    if one[:n] == other[:n]:
        return n
    low, high = 0, n  # one[:low] is common, one[:high] is not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle)
    return low
