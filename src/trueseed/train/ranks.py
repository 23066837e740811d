"""Several processes that take the same steps: each computes its share of a step's rows, and the gradients are summed.

    torchrun --nproc-per-node 2 -m trueseed run run.yaml

Rank 0 runs the command. Only it opens steps, asks, and writes: the ledger, checkpoints, the student. The others wait in
`serve` for what it trains, learn along on the same rows, and go when it is done (`dismiss`). They read the weights from
the same path, so on several machines that must lie on a disk they share.

Gradients are summed in float32 (gloo on processors, nccl on CUDA, untested there): of whole weights once a step, of
weights that are shared out once a batch (`shards`). The loss is that of one process, but for the order in which numbers
add up.

What fails in one process while all are at work is told by the first and ends all (`Ranks.agreed`). A process that fails
elsewhere ends with its own sentence, and torchrun ends the others; the run then goes on from its last checkpoint.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal

import torch
from torch import distributed

from trueseed.errors import ConfigError, TrueSeedError
from trueseed.lm.device import chosen
from trueseed.train.batches import Example, Rows

_PATIENCE = timedelta(days=14)  # of those who wait while rank 0 asks teachers


class Along(Exception):  # noqa: N818  no error: the first process tells what happened
    """Ends the job of a process that is not the first."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """Who takes a step together, and which of them this process is. lockstep: whether all must read as many batches,
    since each pass needs all of them (weights that are shared out).
    """

    rank: int = 0
    size: int = 1
    lockstep: bool = False

    @property
    def device(self) -> torch.device:
        """Where this process computes: its own CUDA device where there are any (untested, which is said), else the
        processor.
        """
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return chosen(f"cuda:{os.environ.get('LOCAL_RANK', '0')}")

    def share(self, batches: Sequence[Rows]) -> tuple[Rows, ...]:
        """This process's rows of each batch: a run of neighbours, since those share beginnings. A batch of which it has
        none is left out; in lockstep it is one row that is read and not learned.
        """
        if self.size == 1:
            return tuple(batches)
        mine = [(_cut(rows, self.size)[self.rank], rows) for rows in batches]
        return tuple(own or _idle(rows) for own, rows in mine if own or self.lockstep)

    def span(self, n: int) -> tuple[int, int]:
        """From where to where this process's share of n things goes."""
        return n * self.rank // self.size, n * (self.rank + 1) // self.size

    def add_(self, tensors: Sequence[torch.Tensor]) -> None:
        """Each becomes its sum over all processes, the same bits in all of them."""
        if self.size > 1:
            for tensor in tensors:
                distributed.all_reduce(tensor)

    def total(self, *numbers: float) -> tuple[float, ...]:
        """The sum over all processes of each."""
        told = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        self.add_([told])
        return tuple(told.tolist())

    def everybodys(self, mine: list[Any]) -> list[Any]:
        """The lists of all processes, one after another."""
        if self.size == 1:
            return mine
        found: list[list[Any]] = [[] for _ in range(self.size)]
        distributed.all_gather_object(found, mine)
        return [each for one in found for each in one]

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """For what each process does by itself: an error of any of them ends all, told by the first."""
        failed: TrueSeedError | None = None
        try:
            yield
        except TrueSeedError as err:
            if self.size == 1:
                raise
            failed = err
        mine = [] if failed is None else [(self.rank, type(failed), str(failed))]
        for rank, kind, sentence in self.everybodys(mine):
            raise self.ended(kind(sentence if not rank else f"process {rank}: {sentence}")) from failed

    def ended(self, error: TrueSeedError) -> Exception:
        """Of an error that all processes come to, what each raises."""
        return error if not self.rank else Along(str(error))


def _cut(rows: Rows, parts: int) -> list[Rows]:
    """Runs of neighbours with about as many tokens each."""
    total = sum(len(row.tokens) for row in rows)
    found: list[list[Example]] = [[] for _ in range(parts)]
    before = 0
    for row in rows:
        found[min(parts - 1, (before + len(row.tokens) // 2) * parts // total)].append(row)
        before += len(row.tokens)
    return [tuple(part) for part in found]


def _idle(rows: Rows) -> Rows:
    shortest = min(rows, key=lambda row: len(row.tokens))
    return (replace(shortest, mask=(False,) * len(shortest.mask)),)


ALONE = Ranks()


def launched() -> Ranks:
    """As `torchrun` says it in the environment."""
    return Ranks(rank=int(os.environ.get("RANK", "0")), size=int(os.environ.get("WORLD_SIZE", "1")))


def together(parallel: Literal["ddp", "fsdp"]) -> Ranks:
    """Who trains together, in the way a run file says. Raises `ConfigError` when weights are to be shared out and there
    is nobody to share with.
    """
    ranks = replace(launched(), lockstep=parallel == "fsdp")
    if ranks.lockstep and ranks.size == 1:
        raise ConfigError(
            "`parallel: fsdp` shares the weights out among processes, and there is one; start it with "
            "`torchrun --nproc-per-node N -m trueseed run FILE`, or leave `parallel` out"
        )
    return ranks


def give(job: Any) -> None:
    """For rank 0: the others begin with the job, whatever it is, and do from then on as this process does."""
    if launched().size > 1:
        _give(job)


def serve(work: Callable[[Any], None]) -> None:
    """For all others: `work` on each job that rank 0 gives, until it dismisses them."""
    _join()
    while True:
        box: list[Any] = [None]
        distributed.broadcast_object_list(box, src=0)
        if box[0] is None:
            distributed.destroy_process_group()
            return
        with suppress(Along):
            work(box[0])


def dismiss() -> None:
    """For rank 0, at its end, whether or not it trained anything."""
    if launched().size > 1:
        _give(None)
        distributed.destroy_process_group()


def _give(job: Any) -> None:
    _join()
    distributed.broadcast_object_list([job], src=0)


def _join() -> None:
    if distributed.is_initialized():
        return
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    try:
        if torch.cuda.is_available():
            torch.cuda.set_device(launched().device)
        distributed.init_process_group(backend, timeout=_PATIENCE)
    except (ValueError, RuntimeError) as err:
        raise ConfigError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']} but the processes do not find each other ({err}); "
            f"start them with `torchrun --nproc-per-node N -m trueseed run FILE`"
        ) from err
