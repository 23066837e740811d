"""Keys and values of sequences that are read and spoken.

Every row holds one sequence. What is cached at a position is written once, and never again while the row lives: a row
that begins as another needs no copy of what both have in full pages. Two forms of one thing: `Pages`, which grow with
each row and which our kernel follows; and `Grid`, one tensor a layer, as torch's attention wants it.

Shapes: K key-value heads, D head, C cached positions.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

PAGE = 16  # positions; a multiple of 16 (`attention.h`). Pages of 32 and 64 were no faster and held more (docs/log.md)
BUCKET = 64  # a grid's lengths are rounded up to a multiple of this


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Of keys and values: what all sequences of a network have in common."""

    layers: int
    heads: int
    width: int
    dtype: torch.dtype
    device: torch.device

    def page(self) -> Tensor:
        """(layers, 2, K, PAGE, D), zero: what is not yet written is multiplied by nothing, and must be a number."""
        shape = (self.layers, 2, self.heads, PAGE, self.width)
        return torch.zeros(shape, dtype=self.dtype, device=self.device)


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """Keys and values of a sequence, read only. pieces: pages, or of a `Grid` one (layers, 2, K, length, D)."""

    pieces: tuple[Tensor, ...]
    length: int


class Cache(ABC):
    """lengths: positions filled, by row."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.lengths = [0] * rows

    @abstractmethod
    def reserve(self) -> None:
        """Room for `lengths` positions."""

    @abstractmethod
    def keep(self, row: int) -> Kept:
        """What a row holds, to `restore` later."""

    @abstractmethod
    def restore(self, row: int, kept: Kept, length: int | None = None) -> None:
        """The row becomes what was kept, or its first `length` positions."""

    @abstractmethod
    def copy(self, source: int, target: int, length: int | None = None) -> None:
        """Row `target` becomes as row `source`, or as its first `length` positions."""

    @abstractmethod
    def end(self, row: int, last: int) -> None:
        """Row `row` holds nothing any more, or what row `last` held, which then holds nothing."""


class Pages(Cache):
    """Each row is a list of pages (layers, 2, K, PAGE, D), the last of them partly filled; what lies where in a page is
    the kernel's, so they are copied whole. Full pages may be those of other rows and of what was kept; they go when
    nobody holds them.
    """

    def __init__(self, form: Form, rows: int) -> None:
        super().__init__(rows)
        self._form = form
        self._pages: list[list[Tensor]] = [[] for _ in range(rows)]
        self._table = np.zeros((rows, 8), dtype=np.int64)

    @property
    def table(self) -> "np.ndarray[tuple[int, int], np.dtype[np.int64]]":
        """Where in memory each page of a row begins, (rows, at least as many as the longest has)."""
        return self._table

    def reserve(self) -> None:
        for row, length in enumerate(self.lengths):
            while len(self._pages[row]) * PAGE < length:
                self._add(row, self._form.page())

    def keep(self, row: int) -> Kept:
        return self._first(row, self.lengths[row])

    @torch.inference_mode()
    def restore(self, row: int, kept: Kept, length: int | None = None) -> None:
        length = kept.length if length is None else length
        full, rest = divmod(length, PAGE)
        pieces = kept.pieces[:full]
        self._take(row)
        for piece in pieces:
            self._add(row, piece)
        if rest:
            self._add(row, self._form.page())
            self._pages[row][-1].copy_(kept.pieces[full])
        self.lengths[row] = length

    def copy(self, source: int, target: int, length: int | None = None) -> None:
        self.restore(target, self._first(source, self.lengths[source] if length is None else length))

    def end(self, row: int, last: int) -> None:
        length, pages = self.lengths[last], self._take(last)
        if row != last:
            self._take(row)
            for page in pages:
                self._add(row, page)
            self.lengths[row] = length

    def _first(self, row: int, length: int) -> Kept:
        """Full pages are shared; of the rest a copy, since the row goes on writing there."""
        full, rest = divmod(length, PAGE)
        pages = self._pages[row]
        last = [pages[full].clone()] if rest else []
        return Kept((*pages[:full], *last), length)

    def _add(self, row: int, page: Tensor) -> None:
        at = len(self._pages[row])
        if at == self._table.shape[1]:
            self._table = np.pad(self._table, ((0, 0), (0, at)))
        self._pages[row].append(page)
        self._table[row, at] = page.data_ptr()

    def _take(self, row: int) -> list[Tensor]:
        pages, self._pages[row], self.lengths[row] = self._pages[row], [], 0
        return pages


class Grid(Cache):
    """All rows are as long as the longest needs, in buckets. What was never written is zero: attention masks it, and
    zero times anything but a number is none.
    """

    def __init__(self, form: Form, rows: int) -> None:
        super().__init__(rows)
        shape = (2, rows, form.heads, 0, form.width)
        self._layers = [torch.zeros(shape, dtype=form.dtype, device=form.device) for _ in range(form.layers)]

    @property
    def capacity(self) -> int:
        return self._layers[0].shape[3]

    @property
    def dtype(self) -> torch.dtype:
        return self._layers[0].dtype

    @property
    def device(self) -> torch.device:
        return self._layers[0].device

    def layer(self, index: int) -> Tensor:
        """Keys and values of a layer: (2, rows, K, capacity, D)."""
        return self._layers[index]

    def reserve(self) -> None:
        self.reserve_positions(max(self.lengths))

    def reserve_positions(self, length: int) -> None:
        """Room for so many positions in every row. Layer by layer, so that little is held twice."""
        capacity = -(-length // BUCKET) * BUCKET
        if capacity <= self.capacity:
            return
        for at, old in enumerate(self._layers):
            two, rows, heads, before, width = old.shape
            grown = old.new_empty(two, rows, heads, capacity, width)
            grown[..., :before, :] = old
            grown[..., before:, :] = 0
            self._layers[at] = grown

    @torch.inference_mode()
    def keep(self, row: int) -> Kept:
        length = self.lengths[row]
        return Kept((torch.stack([layer[:, row, :, :length] for layer in self._layers]),), length)

    @torch.inference_mode()
    def restore(self, row: int, kept: Kept, length: int | None = None) -> None:
        [whole] = kept.pieces
        self._write(row, [layer[..., : kept.length if length is None else length, :] for layer in whole])

    @torch.inference_mode()
    def copy(self, source: int, target: int, length: int | None = None) -> None:
        length = self.lengths[source] if length is None else length
        self._write(target, [layer[:, source, :, :length] for layer in self._layers])

    def end(self, row: int, last: int) -> None:
        if row != last:
            self.copy(last, row)
        self.lengths[last] = 0

    def _write(self, row: int, layers: list[Tensor]) -> None:
        """layers: (2, K, length, D) each."""
        self.lengths[row] = layers[0].shape[2]
        self.reserve_positions(self.lengths[row])
        for layer, written in zip(self._layers, layers, strict=True):
            layer[:, row, :, : self.lengths[row]] = written
