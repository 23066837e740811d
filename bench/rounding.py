"""bf16 weights: kept in float32 beside, rounded to nearest after each step, or rounded at random in proportion.

    python -m bench.rounding [ROW …] [--seeds 3] [--steps 200]

Rows: `small`, a student of six layers of SmolLM2-135M at the rate of the distilling recipes; `whole`, all of its layers
at a rate whose steps are mostly smaller than bf16 can add. Each learns the 400 chats of `bench/chats.py`, two a step;
sixty are held out. Only what becomes of a step differs: gradients are those of the same bf16 network, moments are
float32, and AdamW is torch's fused one on float32 numbers. `masters` is `train.loop` as it is; the others widen a
weight, step, round it back and forget the wide one (stochastic rounding: Gupta et al. 2015, arXiv:1502.02551, section
3.1). Time is processor time: on one thread it says what a step costs on a machine that others use too.

Every run is a process of its own, so that its most memory is its own; seeds are outermost, so that what is done so far
can be compared. A seed decides the order of the chats and what is rounded up.
"""

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Protocol

import torch
from bench.chats import WEIGHTS, chats, rows
from bench.machine import RESULTS, save

from trueseed.lm import layers
from trueseed.lm.source import resolve
from trueseed.train import network
from trueseed.train.batches import Rows, in_batches, pack
from trueseed.train.loop import _BETAS, Masters, _optimizer, _rate, mean_loss
from trueseed.train.settings import Config
from trueseed.train.stage import prepared

ROWS = {"small": ([0, 6, 12, 18, 24, 29], 5e-4), "whole": (None, 1e-4)}
KINDS = ("masters", "nearest", "stochastic")
HELD_OUT, ROWS_A_STEP = 60, 2


class Optimizer(Protocol):
    def step(self, targets: int, rate: float) -> None:
        """From the gradient of a sum over `targets` tokens."""


class WithMasters:
    """As `train.loop` does it."""

    def __init__(self, model: torch.nn.Module, config: Config) -> None:
        self._masters, self._most = Masters(model), config.max_grad_norm
        self._optimizer = _optimizer(self._masters, config)
        self._masters.publish()

    def step(self, targets: int, rate: float) -> None:
        self._masters.finish(targets, self._most)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._masters.publish()


class Rounded:
    """Weights and gradients in bf16, moments in float32; a weight is wide only while it is stepped."""

    def __init__(self, model: torch.nn.Module, config: Config, *, seed: int, stochastic: bool) -> None:
        self._weights = [weight for weight in model.parameters() if weight.requires_grad]
        self._moments = [
            (torch.zeros_like(w, dtype=torch.float32), torch.zeros_like(w, dtype=torch.float32)) for w in self._weights
        ]
        self._config, self._stochastic, self._taken = config, stochastic, torch.zeros(())
        self._generator = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def step(self, targets: int, rate: float) -> None:
        norm = float(torch.nn.utils.get_total_norm([w.grad for w in self._weights])) / targets
        by = min(1.0, self._config.max_grad_norm / (norm + 1e-6)) / targets
        self._taken += 1
        for weight, (first, second) in zip(self._weights, self._moments, strict=True):
            assert weight.grad is not None
            wide, grad = weight.float(), weight.grad.float().mul_(by)
            torch._fused_adamw_(
                [wide], [grad], [first], [second], [], [self._taken], lr=rate, beta1=_BETAS[0], beta2=_BETAS[1],
                weight_decay=self._config.weight_decay if weight.ndim > 1 else 0.0, eps=1e-8,
                amsgrad=False, maximize=False,
            )  # fmt: skip
            weight.copy_(self._up_or_down(wide) if self._stochastic else wide)
            weight.grad = None

    def _up_or_down(self, wide: torch.Tensor) -> torch.Tensor:
        """Away from zero with a probability that is the share of the last bf16 place which would be cut."""
        bits = wide.view(torch.int32)
        cut = torch.randint(0, 1 << 16, bits.shape, generator=self._generator, dtype=torch.int32)
        return ((bits + cut) & -65536).view(torch.float32)


def one(kind: str, row: str, seed: int, steps: int) -> dict[str, Any]:
    """Trains, and tells the loss on held-out chats, seconds of processor time a step and the most memory."""
    layout, rate = ROWS[row]
    folder = resolve(WEIGHTS).folder
    data = rows(folder, chats())
    random.Random(7).shuffle(data)
    held, train = data[:HELD_OUT], data[HELD_OUT:]
    config = Config(learning_rate=rate)
    with tempfile.TemporaryDirectory() as scratch:
        if layout:
            layers.pick(folder, layout, Path(scratch) / "student")
            folder = Path(scratch) / "student"
        model, _ = prepared(config, folder)
    optimizer: Optimizer = (
        WithMasters(model, config)
        if kind == "masters"
        else Rounded(model, config, seed=seed, stochastic=kind == "stochastic")
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    losses, processor = [], 0.0
    for at, some in enumerate(drawn(train, seed, steps)):
        began, batch = time.process_time(), pack(some)
        loss = network.loss(model, batch)
        loss.backward()
        optimizer.step(batch.targets, _rate(at, steps, config))
        processor += time.process_time() - began
        losses.append(loss.item() / batch.targets)
    after = mean_loss(lambda batch: network.loss(model, batch), in_batches(held, 1024))
    return {
        "validation_loss": round(after, 4),
        "last_losses": round(statistics.mean(losses[-20:]), 4),
        "processor_s_a_step": round(processor / steps, 3),
        "most_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "most_memory_before_mb": round(before / 1024),
    }


def drawn(train: list[Any], seed: int, steps: int) -> list[Rows]:
    """Epoch after epoch in an order of its own."""
    rng = random.Random(seed)
    order: list[Any] = []
    while len(order) < steps * ROWS_A_STEP:
        order += rng.sample(train, len(train))
    return [tuple(order[at * ROWS_A_STEP : (at + 1) * ROWS_A_STEP]) for at in range(steps)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", default=list(ROWS), metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--one", nargs=2, metavar=("KIND", "SEED"), help="one run in this process, told as JSON")
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(one(asked.one[0], asked.rows[0], int(asked.one[1]), asked.steps)))
        return
    path = RESULTS / "rounding.json"
    found = json.loads(path.read_text())["rows"] if path.exists() else {}
    for row in asked.rows:
        found[row] = {"steps": asked.steps, "learning_rate": ROWS[row][1], "runs": {kind: [] for kind in KINDS}}
        for seed in range(asked.seeds):
            for kind in KINDS:
                command = [
                    sys.executable,
                    "-m",
                    "bench.rounding",
                    row,
                    "--steps",
                    str(asked.steps),
                    "--one",
                    kind,
                    str(seed),
                ]
                told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                found[row]["runs"][kind].append(told)
                print(row, kind, seed, told, flush=True)
            save("rounding", {"rows": found})


if __name__ == "__main__":
    main()
