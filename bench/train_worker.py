"""Contenders of `bench.train` that run in our own environment: our trainer, and a transformers loop written by hand.

python -m bench.train_worker trueseed|by_hand JOB.json       # the job as in `train_worker_trl`
"""

import json
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from trueseed.lm import checkpoint
from trueseed.train import network
from trueseed.train.batches import Example, Rows
from trueseed.train.loop import fit
from trueseed.train.settings import Config, Lora
from trueseed.train.stage import prepared

WIDTH = 512  # of a line that the loop by hand fills with rows
Row = dict[str, Any]


class Turns:
    """A step begins when it is this contender's turn."""

    def begin(self) -> None:
        if not sys.stdin.readline():
            sys.exit("the bench is gone")
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def end(self, loss: float, **more: float) -> None:
        took = {"wall": time.perf_counter() - self._wall, "processor": time.process_time() - self._processor}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print("@" + json.dumps({**took, "loss": loss, "gigabytes": peak, **more}), flush=True)


class Gated:
    """Steps that wait for their turn."""

    def __init__(self, steps: Sequence[Sequence[Rows]], turns: Turns) -> None:
        self._steps, self._turns = steps, turns

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, at: int) -> Sequence[Rows]:
        self._turns.begin()
        return self._steps[at]


def trueseed(job: dict[str, Any]) -> None:
    """`train.loop.fit` as every training uses it: bfloat16 with float32 masters, one packed batch a step."""
    turns = Turns()
    config = Config(
        learning_rate=job["learning_rate"],
        warmup_ratio=0.0,
        save_steps=10**6,
        lora=Lora(rank=job["lora"], alpha=2.0 * job["lora"]) if job["lora"] else None,
    )
    model, learner = prepared(config, Path(job["weights"]))
    steps = [(tuple(_example(at, row) for at, row in enumerate(step)),) for step in job["steps"]]
    print("@ready", flush=True)

    def progress(_done: int, _total: int, _unit: str, note: str) -> None:
        turns.end(float(note.split()[1].rstrip(",")))

    with tempfile.TemporaryDirectory() as folder:
        fit(
            learner,
            partial(network.loss, model),
            Gated(steps, turns),
            config,
            checkpoints=Path(folder),
            let_go=shutil.rmtree,
            progress=progress,
        )


def _example(at: int, row: Row) -> Example:
    return Example(id=str(at), tokens=tuple(row["tokens"]), mask=tuple(row["mask"]))


def by_hand(job: dict[str, Any]) -> None:
    """What one writes with transformers: rows packed into lines with a block-diagonal mask, all in bfloat16."""
    from peft import LoraConfig, get_peft_model

    turns, steps = Turns(), job["steps"]
    model = checkpoint.load(Path(job["weights"]), torch.bfloat16).train()
    if job["lora"]:
        how = LoraConfig(r=job["lora"], lora_alpha=2 * job["lora"], target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(model, how, autocast_adapter_dtype=False)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=job["learning_rate"], betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    pace = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(steps))
    print("@ready", flush=True)
    for step in steps:
        turns.begin()
        ids, positions, labels, mask = _lines(step)
        logits = model(input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False).logits
        loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        pace.step()
        optimizer.zero_grad()
        turns.end(loss.item())


def _lines(step: list[Row]) -> tuple[torch.Tensor, ...]:
    """ids, positions, labels B × T, and a mask B × 1 × T × T of what may be seen; first fit, longest rows first."""
    lines: list[list[Row]] = []
    for row in sorted(step, key=lambda row: -len(row["tokens"])):
        fits = (line for line in lines if sum(len(r["tokens"]) for r in line) + len(row["tokens"]) <= WIDTH)
        line = next(fits, None)
        lines.append([row]) if line is None else line.append(row)
    width = max(sum(len(row["tokens"]) for row in line) for line in lines)
    ids, positions, owner = torch.zeros(3, len(lines), width, dtype=torch.int64)
    labels = torch.full_like(ids, -100)
    owner -= 1
    for b, line in enumerate(lines):
        start = 0
        for n, row in enumerate(line):
            part = slice(start, start + len(row["tokens"]))
            ids[b, part], owner[b, part] = torch.tensor(row["tokens"]), n
            positions[b, part] = torch.arange(len(row["tokens"]))
            told = [t if counts else -100 for t, counts in zip(row["tokens"], row["mask"], strict=True)]
            labels[b, part] = torch.tensor([-100, *told[1:]])  # nothing is predicted from the row before
            start = part.stop
    mask = (owner[:, :, None] == owner[:, None, :]).tril()
    return ids, positions, labels, mask[:, None]


CONTENDERS: dict[str, Callable[[dict[str, Any]], None]] = {"trueseed": trueseed, "by_hand": by_hand}


def main() -> None:
    name, path = sys.argv[1:]
    CONTENDERS[name](json.loads(Path(path).read_text()))


if __name__ == "__main__":
    main()
