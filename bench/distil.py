"""Distillation: what learning from a teacher's log-probabilities costs beside fine-tuning, and the same on-policy step
beside TRL's GKD trainer.

    python -m bench.distil [--turns 7] [--only signals]
    TRUESEED_TRL=path/to/python python -m bench.distil --only on-policy

The teacher is SmolLM2-135M-Instruct, the student the same with a little noise on its weights: as large as the teacher,
and with something to learn. Every contender is a process of its own, and they take turns step by step, as in
`bench.train`. `signals`: the same rows (`bench/chats.jsonl`) by fine-tuning, with the teacher in memory (its whole
vocabulary compared) and from its 32 stored log-probabilities. `on-policy`: each step answers the same sixteen questions
anew, at the same temperature, with at most as many new tokens, and learns from the teacher's view of that. Answers are
drawn, so their number of tokens differs a little: tokens of answers a second are compared, and told beside the seconds
of a step. `loss` is in nats an answer token on both sides. TRL prints another number (`printed`): its trainer divides
the sum over what the student said by how many labels the dataset's own answers have, here four tokens ("Yes." and its
end) for each of sixteen questions.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from bench.chats import WEIGHTS, chats, rows
from bench.machine import save
from bench.train import ROWS, Contender, Step, Turns, take_turns

from trueseed.lm import checkpoint
from trueseed.lm.engine import Engine
from trueseed.lm.source import resolve
from trueseed.lm.vocabulary import Vocabulary
from trueseed.train.batches import Example
from trueseed.train.signals import About, write

K = 32
NOISE = 0.05
ON_POLICY: dict[str, Any] = {"max_new_tokens": 96, "temperature": 0.9, "beta": 0.5, "learning_rate": 1e-6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=7, help="steps that count, at most 24")
    parser.add_argument("--only", choices=["signals", "on-policy"], help="one of the two comparisons")
    asked = parser.parse_args()
    teacher = resolve(WEIGHTS).folder
    with tempfile.TemporaryDirectory() as folder:
        student = noisy(teacher, Path(folder))
        for name, bench in (("signals", signals), ("on-policy", on_policy)):
            if asked.only in (None, name):
                found = bench(student, teacher, asked.turns)
                print(save(f"distil-{name}", {"model": WEIGHTS, "turns": asked.turns, **found}))


def noisy(teacher: Path, folder: Path) -> Path:
    """Weights that are each a factor of about 1 ± `NOISE` off."""
    torch.manual_seed(0)
    model = checkpoint.load(teacher)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1 + NOISE * torch.randn_like(weight))
    checkpoint.save(model, folder, like=teacher)
    return folder


def ours(name: str, worker: str, **job: Any) -> Contender:
    return Contender(name=name, worker=(sys.executable, "-m", "bench.distil_worker", worker), job={"lora": 0, **job})


def signals(student: Path, teacher: Path, turns: int) -> dict[str, Any]:
    read = rows(teacher, chats())[: ROWS * (turns + 1)]
    steps: list[Step] = [
        [{"tokens": row.tokens, "mask": row.mask} for row in read[at : at + ROWS]] for at in range(0, len(read), ROWS)
    ]
    with tempfile.TemporaryDirectory() as folder:
        _heard(teacher, read, Path(folder))
        job = {"teacher": str(teacher), "signals": folder}
        contenders = [
            ours("fine-tuning", "sft", **job),
            ours("teacher in memory, whole vocabulary", "in_memory", **job),
            ours(f"stored log-probabilities, {K} a token", "stored", **job),
        ]
        found = take_turns(contenders, student, steps, turns)
    tokens = [sum(len(row["tokens"]) for row in step) for step in steps]
    results = {name: told.result(tokens) for name, told in found.items()}
    first = found[contenders[0].name]
    for name, result in results.items():
        pairs = zip(first.said[1:], found[name].said[1:], strict=True)
        result["of_fine_tuning"] = round(statistics.median(a["wall"] / b["wall"] for a, b in pairs), 3)
        print(
            f"{name:38} {result['tokens_per_s']:6.0f} tokens/s, by processor time "
            f"{result['tokens_per_s_by_processor_time']:6.0f}, {result['gigabytes']:5.2f} GB   "
            f"{result['of_fine_tuning']:.2f} of fine-tuning's speed",
            flush=True,
        )
    targets = sum(row.targets for row in read)
    return {"rows_a_step": ROWS, "tokens": sum(tokens), "targets": targets, "results": results}


def _heard(teacher: Path, read: Sequence[Example], folder: Path) -> None:
    """What the teacher thinks of the rows, stored."""
    engine = Engine(teacher, "bench/smollm2@weights")
    thoughts = engine.topk([(list(row.tokens), list(row.mask)) for row in read], K)
    names = (f"{at // ROWS}-{at % ROWS}" for at in range(len(read)))
    about = About.teacher(engine.source, Vocabulary.of(teacher), K)
    write(folder, about, ((n, r.tokens, r.mask, said) for n, r, said in zip(names, read, thoughts, strict=True)))


def on_policy(student: Path, teacher: Path, turns: int) -> dict[str, Any]:
    python = os.environ.get("TRUESEED_TRL")
    if not python:
        sys.exit("set TRUESEED_TRL to the Python of an environment that has trl and torch")
    questions = [chat[0].content for chat in chats()[:ROWS]]
    job = {"lora": 0, "teacher": str(teacher), "questions": questions, "turns": turns + 1, **ON_POLICY}
    script = str(Path(__file__).parent / "distil_worker_trl.py")
    contenders = [ours("trueseed", "on_policy", **job), Contender(name="TRL's GKD", worker=(python, script), job=job)]
    found = take_turns(contenders, student, [], turns)
    results = {name: _said(told) for name, told in found.items()}
    times = [a / b for a, b in zip(*(result.pop("rates") for result in results.values()), strict=True)]
    for name, result in results.items():
        print(
            f"{name:12} {result['tokens_per_s']:6.1f} answer tokens/s, {result['seconds_a_step']:6.2f} s a step of "
            f"{result['tokens_a_step']:.0f} answer tokens, {result['gigabytes']:5.2f} GB",
            flush=True,
        )
        print("    loss " + " ".join(f"{loss:.4f}" for loss in result["loss"]), flush=True)
    print(f"trueseed is {statistics.median(times):.2f} ×, from {min(times):.2f} to {max(times):.2f}")
    ratios = {"median": round(statistics.median(times), 2), "lowest": round(min(times), 2)}
    return {"answers_a_step": ROWS, **ON_POLICY, "trueseed_is_times": ratios, "results": results}


def _said(told: Turns) -> dict[str, Any]:
    """The first step warms up and is not timed. rates: answer tokens a second of each step."""
    of_steps, counted = _each(told, "tokens"), told.said[1:]
    tokens, printed = of_steps[1:], [each["loss"] for each in told.said]
    divisors = _each(told, "divided_by") if "divided_by" in told.said[0] else of_steps
    losses = [loss * by / n for loss, by, n in zip(printed, divisors, of_steps, strict=True)]
    rates = [n / each["wall"] for n, each in zip(tokens, counted, strict=True)]
    busy = [n * torch.get_num_threads() / each["processor"] for n, each in zip(tokens, counted, strict=True)]
    return {
        "tokens_per_s": round(statistics.median(rates), 1),
        "tokens_per_s_by_processor_time": round(statistics.median(busy), 1),
        "seconds_a_step": round(statistics.median(each["wall"] for each in counted), 2),
        "tokens_a_step": round(statistics.mean(tokens), 1),
        "gigabytes": round(counted[-1]["gigabytes"], 2),
        "loss": [round(loss, 5) for loss in losses],
        "rates": rates,
        **({"printed": [round(loss, 5) for loss in printed]} if divisors != of_steps else {}),
    }


def _each(told: Turns, name: str) -> list[float]:
    """Of a sum that grows from step to step, what each step added."""
    sums = [each[name] for each in told.said]
    return [now - before for now, before in zip(sums, [0, *sums], strict=False)]


if __name__ == "__main__":
    main()
