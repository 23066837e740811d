"""Records become token sequences, and sequences become packed batches without padding or cross-contamination.

A batch is a *trie*: sequences that begin alike share the tokens of their common beginning, so a system prompt is
computed once a batch rather than once a row. Sharing changes nothing: a token's hidden state depends only on what
stands before it, and every row attends to its own path alone. Attention runs on *grids*, the paths padded to
rectangles of similar length; everything else runs on the N distinct tokens.

Shapes: N distinct tokens, A answer tokens to be predicted, B × T a grid, C cells of grids.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Literal

import torch

from trueseed.core.plural import many
from trueseed.core.records import Record
from trueseed.errors import ConfigError
from trueseed.lm.format import Format

_PADDING = 0.8  # a row shorter than this share of its grid's longest row begins a grid of its own …
_GRID_ROWS = 4  # … once the grid has this many rows: small matrix products are slower than padding


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A record as tokens. mask: true where the loss counts. id: the record's."""

    id: str
    tokens: tuple[int, ...]
    mask: tuple[bool, ...]

    @property
    def targets(self) -> int:
        """How many tokens are predicted. The first token of a sequence has nothing to be predicted from."""
        return sum(self.mask[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """kept: in the order of the records. too_long: ids of records left out, never cut; room: of how many tokens more
    than they might have, and what says so.
    """

    kept: tuple[Example, ...]
    too_long: tuple[str, ...]
    room: str

    def __str__(self) -> str:
        """What was left out, for people."""
        long, of = len(self.too_long), len(self.kept) + len(self.too_long)
        return f"{long} of {of} records left out (`too_long: drop`): more than {self.room}"


def examples(
    records: Iterable[Record],
    form: Format,
    *,
    max_length: int,
    too_long: Literal["drop", "refuse"] = "drop",
    contexts: Mapping[str, int | None] = MappingProxyType({}),
    may_be_none: bool = False,
) -> Examples:
    """Tokenises records. Those of more tokens than `max_length`, or than the smallest of the `contexts` (by whose they
    are; None: not known), are left out whole and named.

    Raises `ConfigError` when a record has no trainable token, when one is too long and that is to be refused, or when
    nothing remains, unless it `may_be_none`.
    """
    most, what = max_length, f"max_length={max_length} tokens; raise it"
    room = f"{max_length} tokens (`max_length`)"
    for whose, context in contexts.items():
        if context is not None and context < most:
            most, what = context, f"the {whose}'s context of {context} tokens; take records that it can read"
            room = f"{context} tokens (the {whose}'s context)"
    kept, long, empty = [], [], []
    for record in records:
        tokens, mask = form.training(record.messages)
        example = Example(id=record.id, tokens=tuple(tokens), mask=tuple(mask))
        if not example.targets or not record.answer.strip():
            empty.append(record.id)
        elif len(tokens) > most:
            long.append(record.id)
        else:
            kept.append(example)
    if empty:
        raise ConfigError(
            f"{len(empty)} records have no trainable token, so the loss would say nothing: {_some(empty)}. "
            f"Take records with empty answers out of the dataset"
        )
    if long and too_long == "refuse":
        raise ConfigError(
            f"{many(len(long), 'record')} of more than {room}, and `too_long: refuse` is set: {_some(long)}. Raise "
            f"max_length as far as contexts go, take them out of the dataset, or have them left out (`too_long: drop`)"
        )
    if not kept and not may_be_none:
        raise ConfigError(
            f"no record remains to train on: {many(len(long), 'record')} longer than {what}"
            if long
            else "the dataset has no records; curate some first"
        )
    return Examples(kept=tuple(kept), too_long=tuple(long), room=room)


def _some(ids: Sequence[str]) -> str:
    return ", ".join(identity[:16] for identity in ids[:5]) + (", …" if len(ids) > 5 else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one forward pass reads. All tensors int64.

    ids: of the rows, shortest first. tokens N, positions N: distinct tokens of the trie, and their depth. answers A:
    where in N the next token is predicted; labels A: what it should be; row A: whose answer it is, an index into ids;
    place A: which of that row's answer tokens, from 0. grids, each B × T: indices into N, one row per sequence, padded
    on the right with 0 (causal attention never looks there). owner N: the cell, of all grids flattened one after
    another, that computes a token; copies C: the cells that repeat a token owned elsewhere; copied C: that token.
    row_tokens: tokens of the sequences as if nothing were shared.
    """

    ids: tuple[str, ...]
    tokens: torch.Tensor
    positions: torch.Tensor
    answers: torch.Tensor
    labels: torch.Tensor
    row: torch.Tensor
    place: torch.Tensor
    grids: tuple[torch.Tensor, ...]
    owner: torch.Tensor
    copies: torch.Tensor
    copied: torch.Tensor
    row_tokens: int

    @property
    def targets(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Batch":
        """The same, its tensors on a device. Untested on CUDA."""
        if self.tokens.device == device:
            return self
        every = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {
            name: value.to(device) for name, value in every.items() if isinstance(value, torch.Tensor)
        }
        return replace(self, grids=tuple(grid.to(device) for grid in self.grids), **moved)


@dataclass(slots=True)
class _Node:
    index: int
    after: dict[int, "_Node"]


def pack(rows: Sequence[Example]) -> Batch:
    """One batch of these sequences, in any order."""
    rows = sorted(rows, key=lambda row: (len(row.tokens), row.tokens))
    tokens: list[int] = []
    positions: list[int] = []
    paths: list[list[int]] = []
    answers: list[int] = []
    labels: list[int] = []
    row_of: list[int] = []
    place: list[int] = []
    beginnings: dict[int, _Node] = {}
    for index, row in enumerate(rows):
        after, path = beginnings, []
        for position, token in enumerate(row.tokens[:-1]):  # nothing is predicted from the last token
            if token not in after:
                after[token] = _Node(len(tokens), {})
                tokens.append(token)
                positions.append(position)
            path.append(after[token].index)
            after = after[token].after
        paths.append(path)
        predicting = [at for at in range(len(path)) if row.mask[at + 1]]
        answers += [path[at] for at in predicting]
        labels += [row.tokens[at + 1] for at in predicting]
        row_of += [index] * len(predicting)
        place += range(len(predicting))
    grids = list(_grids(paths))
    owner, copies, copied = _owners(grids, len(tokens))
    return Batch(
        ids=tuple(row.id for row in rows),
        tokens=torch.tensor(tokens),
        positions=torch.tensor(positions),
        grids=tuple(torch.tensor([path + [0] * (len(grid[-1]) - len(path)) for path in grid]) for grid in grids),
        owner=torch.tensor(owner),
        copies=torch.tensor(copies, dtype=torch.int64),
        copied=torch.tensor(copied, dtype=torch.int64),
        answers=torch.tensor(answers, dtype=torch.int64),
        labels=torch.tensor(labels, dtype=torch.int64),
        row=torch.tensor(row_of, dtype=torch.int64),
        place=torch.tensor(place, dtype=torch.int64),
        row_tokens=sum(len(row.tokens) for row in rows),
    )


def _grids(paths: Sequence[list[int]]) -> Iterator[list[list[int]]]:
    """Paths (shortest first) in groups of similar length."""
    grid: list[list[int]] = []
    for path in paths:
        if len(grid) >= _GRID_ROWS and len(grid[0]) < _PADDING * len(path):
            yield grid
            grid = []
        grid.append(path)
    yield grid


def _owners(grids: Sequence[list[list[int]]], n: int) -> tuple[list[int], list[int], list[int]]:
    owner, copies, copied = [-1] * n, [], []
    start = 0
    for grid in grids:
        width = len(grid[-1])
        for path in grid:
            for column, token in enumerate(path):
                if owner[token] < 0:
                    owner[token] = start + column
                else:
                    copies.append(start + column)
                    copied.append(token)
            start += width
    return owner, copies, copied


Rows = tuple[Example, ...]


def plan(
    rows: Sequence[Example], *, tokens_per_batch: int, gradient_accumulation_steps: int, seed: int, epoch: int
) -> tuple[tuple[Rows, ...], ...]:
    """The optimizer steps of an epoch, each the batches it accumulates. A pure function of its arguments.

    A step takes shuffled rows until the next would not fit; within a step rows that begin alike travel together, so
    that they share. A row longer than a batch gets one of its own.
    """
    order = list(range(len(rows)))
    random.Random(f"{seed}:{epoch}").shuffle(order)
    steps = []
    for step in _filled([rows[at] for at in order], tokens_per_batch * gradient_accumulation_steps):
        alike = sorted(step, key=lambda row: row.tokens)
        steps.append(tuple(_filled(alike, tokens_per_batch)))
    return tuple(steps)


def in_batches(rows: Sequence[Example], tokens_per_batch: int) -> tuple[Rows, ...]:
    """All rows once, for measuring."""
    return tuple(_filled(sorted(rows, key=lambda row: row.tokens), tokens_per_batch))


def _filled(rows: Iterable[Example], budget: int) -> Iterator[Rows]:
    group: list[Example] = []
    used = 0
    for row in rows:
        if group and used + len(row.tokens) > budget:
            yield tuple(group)
            group, used = [], 0
        group.append(row)
        used += len(row.tokens)
    if group:
        yield tuple(group)
