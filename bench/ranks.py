"""Several processes on one machine: what each of them holds in memory, and that they learn what one learns.

    python -m bench.ranks        # SmolLM2-135M-Instruct, alone, two with whole weights, two with shared ones

Fine-tuned, and half of its layers taught by the whole of it in memory. Everybody takes the same steps over
`bench/chats.jsonl` in bfloat16, one thread a process. `held` is what a process has in memory of its own between two
steps (anonymous pages, without what it had before the weights were read), `peak` the most of that at 20 ms' sampling
while it takes steps. Speed is not compared: two processes of one thread on one machine are no way to be fast.
"""

import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from bench.chats import WEIGHTS, chats, rows
from bench.machine import save

from trueseed.lm.layers import pick
from trueseed.lm.source import resolve
from trueseed.train import on_policy, ranks, sft, stage
from trueseed.train.settings import Config, Distil, Learning

STEPS = 4
SMALL: dict[str, Any] = {"dtype": "bfloat16", "tokens_per_batch": 256, "max_steps": STEPS, "learning_rate": 5e-5}
WAYS = {"alone": (1, "ddp"), "whole": (2, "ddp"), "shared out": (2, "fsdp")}


def anonymous() -> int:
    """Bytes of this process that are no file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))


class Watch:
    """What this process holds, looked at while it trains."""

    def __init__(self) -> None:
        self.before, self.peak, self.held, self._over = anonymous(), 0, 0, threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while not self._over.wait(0.02):
            self.peak = max(self.peak, anonymous())

    def step(self, done: int, *_: Any) -> None:
        if done == STEPS - 1:  # moments and all are there
            self.held, self.peak = anonymous(), 0
        elif done == STEPS:
            self._over.set()

    def told(self) -> dict[str, float]:
        found = {"held": self.held - self.before, "peak": self.peak - self.before}
        return {f"{name}_gigabytes": round(value / 2**30, 2) for name, value in found.items()}


def as_rank(rank: int, size: int, port: int, job: stage.Job, answers: Any) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size))
    torch.set_num_threads(1)

    def watched(job: stage.Job) -> None:
        watch = Watch()
        found = stage.learned(job, None, let_go=shutil.rmtree, progress=watch.step)
        answers.put((rank, watch.told(), [round(point.loss, 4) for point in found.course.points]))

    if rank:
        ranks.serve(watched)
        return
    ranks.give(job)
    watched(job)
    ranks.dismiss()


def measured(job: stage.Job, size: int) -> dict[str, Any]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = get_context("spawn")
    answers = context.Queue()
    every = [context.Process(target=as_rank, args=(rank, size, port, job, answers)) for rank in range(size)]
    for process in every:
        process.start()
    found = sorted(answers.get(timeout=900) for _ in every)
    for process in every:
        process.join()
    (_, first, losses), last = found[0], found[-1][1]
    return {**first, "of_the_last_process": last, "losses": losses}


def main() -> None:
    folder = resolve(WEIGHTS).folder
    learned = tuple(rows(folder, chats()))
    result: dict[str, Any] = {}
    for name in ("sft", "teacher in memory"):
        result[name] = {}
        for way, (size, parallel) in WAYS.items():
            with tempfile.TemporaryDirectory() as at:
                config: Learning = Config(**SMALL, parallel=parallel)
                method: Any = sft.method
                weights = folder
                if name != "sft":
                    config = Distil(**SMALL, parallel=parallel, signals="memory")
                    method = partial(on_policy.method, config, folder, None)
                    pick(folder, "every_other", weights := Path(at) / "half")
                job = stage.Job(
                    config=config, weights=weights, records=(), rows=learned, held_out=(), at=Path(at) / "steps",
                    method=method,
                )  # fmt: skip
                began = time.monotonic()
                result[name][way] = measured(job, size)
                print(name, way, json.dumps(result[name][way]), f"{time.monotonic() - began:.0f} s", flush=True)
    if "--print" not in sys.argv:
        print(save("ranks", result))


if __name__ == "__main__":
    main()
