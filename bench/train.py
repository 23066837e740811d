"""Training on 400 real chat records: ours beside TRL and beside a transformers loop written by hand.

    TRUESEED_TRL=path/to/python python -m bench.train [--turns 7] [--only whole|lora]
    TRUESEED_TRL=path/to/python python -m bench.train --trl      # which of TRL's settings is fastest here

Every contender is a process of its own that trains SmolLM2-135M-Instruct on the same rows (`bench/chats.jsonl`),
sixteen a step, in the same order, at the same learning rates, with AdamW; the loss of each step is kept, so one sees
that all learn the same. They take turns step by step (A B C A B C …), so that a busy machine is unfair to all of them;
the first turn warms up and is not counted. Tokens are useful ones: no padding. `processor` is tokens per second of
processor time times the number of threads: what an idle machine would give. `gigabytes` is the peak resident memory of
the process.

Precision: matrix products in bfloat16 everywhere. TRL and the loop by hand keep weights and moments in bfloat16 too,
which is their fastest; ours keeps float32 masters.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from bench.chats import WEIGHTS, chats, rows
from bench.machine import RESULTS, save

from trueseed.lm.source import resolve

ROWS = 16  # a step
RATES = {0: 5e-5, 16: 5e-4}  # learning rate by rank of the adapters; 0: the whole network
HERE = Path(__file__).parent
Step = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """worker: what its process runs, before the job's path. job: what differs from the others'."""

    name: str
    worker: tuple[str, ...]
    job: dict[str, Any]


@dataclass
class Turns:
    """What a contender said after each of its steps."""

    said: list[dict[str, float]] = field(default_factory=list)

    def result(self, tokens: Sequence[int]) -> dict[str, Any]:
        counted = list(zip(self.said, tokens, strict=False))[1:]
        wall = [n / each["wall"] for each, n in counted]
        busy = [n * torch.get_num_threads() / each["processor"] for each, n in counted]
        return {
            "tokens_per_s": round(statistics.median(wall), 1),
            "lowest": round(min(wall), 1),
            "highest": round(max(wall), 1),
            "tokens_per_s_by_processor_time": round(statistics.median(busy), 1),
            "gigabytes": round(self.said[-1]["gigabytes"], 2),
            "loss": [round(each["loss"], 3) for each in self.said],
        }


def ours(name: str, worker: str, lora: int = 0) -> Contender:
    return Contender(name=name, worker=(sys.executable, "-m", "bench.train_worker", worker), job={"lora": lora})


def trl(name: str, lora: int = 0, batch: int = 0, padding_free: bool = False, defaults: bool = False) -> Contender:
    python = os.environ.get("TRUESEED_TRL")
    if not python:
        sys.exit("set TRUESEED_TRL to the Python of an environment that has trl, peft and torch")
    job = {"lora": lora, "batch": batch or ROWS, "padding_free": padding_free, "defaults": defaults}
    return Contender(name=name, worker=(python, str(HERE / "train_worker_trl.py")), job=job)


@contextmanager
def running(contender: Contender, weights: Path, steps: list[Step]) -> Iterator[subprocess.Popen[str]]:
    lora = contender.job["lora"]
    job = {"weights": str(weights), "steps": steps, "learning_rate": RATES[lora], **contender.job}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(job, file)
        file.flush()
        process = subprocess.Popen(
            [*contender.worker, file.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            if _line(process, contender.name) != "ready":
                sys.exit(f"{contender.name} did not begin as a worker does")
            yield process
        finally:
            process.kill()
            process.wait()


def _line(process: subprocess.Popen[str], name: str) -> str:
    """The next line that is meant for us."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("@"):
            return line[1:].strip()
    sys.exit(f"{name} ended early, with code {process.wait()}; its reason stands above")


def take_turns(contenders: Sequence[Contender], weights: Path, steps: list[Step], turns: int) -> dict[str, Turns]:
    found = {contender.name: Turns() for contender in contenders}
    with ExitStack() as stack:
        processes = [stack.enter_context(running(contender, weights, steps)) for contender in contenders]
        for _ in range(turns + 1):
            for contender, process in zip(contenders, processes, strict=True):
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
                found[contender.name].said.append(said := json.loads(_line(process, contender.name)))
                print(f"  {contender.name}: {said['wall']:.1f} s", file=sys.stderr, flush=True)
    return found


def compare(contenders: Sequence[Contender], weights: Path, steps: list[Step], turns: int) -> dict[str, Any]:
    """The first is the one whose multiples are told."""
    tokens = [sum(len(row["tokens"]) for row in step) for step in steps]
    results = {n: t.result(tokens) for n, t in take_turns(contenders, weights, steps, turns).items()}
    first = results[contenders[0].name]
    for name, result in results.items():
        result["trueseed_is_times"] = round(first["tokens_per_s"] / result["tokens_per_s"], 2)
        print(
            f"{name:36} {result['tokens_per_s']:6.0f} tokens/s, by processor time "
            f"{result['tokens_per_s_by_processor_time']:6.0f}, {result['gigabytes']:5.2f} GB   "
            f"{contenders[0].name} is {result['trueseed_is_times']:.2f} ×",
            flush=True,
        )
        print("    loss " + " ".join(f"{loss:.3f}" for loss in result["loss"]), flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=7, help="steps that count, at most 24")
    parser.add_argument("--trl", action="store_true", help="compare TRL's own settings")
    parser.add_argument("--only", choices=["whole", "lora"], help="one of the two; the other's results stay")
    asked = parser.parse_args()
    weights = resolve(WEIGHTS).folder
    read = [{"tokens": row.tokens, "mask": row.mask} for row in rows(weights, chats())]
    steps = [read[at : at + ROWS] for at in range(0, len(read), ROWS)]
    if asked.trl:
        batches = [trl(f"TRL, {n} rows a pass", batch=n) for n in (16, 8)]
        compare([*batches, trl("TRL, padding-free", padding_free=True)], weights, steps, asked.turns)
        return
    bouts = {
        "whole": [ours("trueseed", "trueseed"), trl("TRL, tuned"), ours("transformers by hand", "by_hand")],
        "lora": [
            ours("trueseed, LoRA", "trueseed", lora=16),
            trl("TRL, LoRA", lora=16),
            ours("transformers and peft by hand", "by_hand", lora=16),
        ],
    }
    facts = {
        "records": len(read),
        "rows_a_step": ROWS,
        "tokens": sum(len(row["tokens"]) for row in read),
        "targets": sum(sum(row["mask"][1:]) for row in read),
        "turns": asked.turns,
    }
    stored = RESULTS / "train.json"
    before = json.loads(stored.read_text()) if asked.only and stored.exists() else {}
    results: dict[str, Any] = before.get("results", {}) if before.get("data") == facts else {}
    for name, contenders in bouts.items():
        if asked.only in (None, name):
            results |= compare(contenders, weights, steps, asked.turns)
            saved = save("train", {"data": facts, "results": results})  # so far: a killed bench keeps what it has
    print(saved)


if __name__ == "__main__":
    main()
