"""Contenders of `bench.distil` that run in our own environment.

    python -m bench.distil_worker sft|in_memory|stored|on_policy JOB.json

The job: {"weights": folder, "teacher": folder, "learning_rate", "steps": as in `train_worker_trl`, "signals": folder of
stored log-probabilities of their rows (for `stored`), "questions", "max_new_tokens", "temperature", "beta" (for
`on_policy`)}. It waits before each step for a line on standard input and answers with one of JSON.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from bench.train_worker import Gated, Turns, _example

from trueseed.core.chat import user
from trueseed.lm.format import Format
from trueseed.lm.network import Network
from trueseed.train import distil, network, online
from trueseed.train.batches import Example
from trueseed.train.loop import Loss, Steps, fit
from trueseed.train.own_words import OwnWords, Speaker
from trueseed.train.settings import Distil, Learning, OnPolicy
from trueseed.train.signals import Signals
from trueseed.train.stage import prepared

Job = dict[str, Any]
HOW: dict[str, Any] = {"warmup_ratio": 0.0, "save_steps": 10**6}


def sft(job: Job) -> None:
    config = Learning(learning_rate=job["learning_rate"], **HOW)
    model, learner = prepared(config, Path(job["weights"]))
    _run(learner, partial(network.loss, model), _given(job), config)


def in_memory(job: Job) -> None:
    """The whole vocabulary, forward KL."""
    config = Distil(learning_rate=job["learning_rate"], signals="memory", loss_top_k=0, **HOW)
    model, learner = prepared(config, Path(job["weights"]))
    teacher = online.load(Path(job["teacher"]), torch.bfloat16)
    _run(learner, online.Loss(model, teacher, online.asked(config)), _given(job), config)


def stored(job: Job) -> None:
    """The 32 most probable tokens and the rest as one, forward KL."""
    config = Distil(learning_rate=job["learning_rate"], **HOW)
    model, learner = prepared(config, Path(job["weights"]))
    _run(learner, distil.Loss(model, Signals.open(Path(job["signals"])), config), _given(job), config)


def on_policy(job: Job) -> None:
    """Every step on the student's own words."""
    how = {"lmbda": 1.0, "beta": job["beta"], "max_new_tokens": job["max_new_tokens"], "tokens_per_batch": 4096}
    config = OnPolicy(learning_rate=job["learning_rate"], sampling_temperature=job["temperature"], **how, **HOW)
    model, learner = prepared(config, Path(job["weights"]))
    teacher, form = online.load(Path(job["teacher"]), torch.bfloat16), Format(Path(job["weights"]))
    prompts = {f"{at:04}": user(question) for at, question in enumerate(job["questions"])}
    rows = tuple(Example(id=each, tokens=(0, 0), mask=(False, True)) for each in prompts)
    with tempfile.TemporaryDirectory() as notes:
        speakers = [Speaker("student", lambda: Network.of(model))]
        words = OwnWords([[rows]] * job["turns"], prompts, form, speakers, config, Path(notes))
        _run(learner, online.Loss(model, teacher, online.asked(config)), words, config, words)


def _given(job: Job) -> Steps:
    return [(tuple(_example(f"{s}-{r}", row) for r, row in enumerate(step)),) for s, step in enumerate(job["steps"])]


def _run(learner: Any, loss: Loss, steps: Any, config: Learning, words: OwnWords | None = None) -> None:
    turns = Turns()
    print("@ready", flush=True)

    def progress(_done: int, _total: int, _unit: str, note: str) -> None:
        said = words.told()["student"] if words else {}
        turns.end(float(note.split()[1].rstrip(",")), **{key: said[key] for key in ("answers", "tokens") if said})

    with tempfile.TemporaryDirectory() as folder:
        fit(
            learner,
            loss,
            Gated(steps, turns),
            config,
            checkpoints=Path(folder),
            let_go=shutil.rmtree,
            progress=progress,
        )


CONTENDERS: dict[str, Callable[[Job], None]] = {
    "sft": sft,
    "in_memory": in_memory,
    "stored": stored,
    "on_policy": on_policy,
}


def main() -> None:
    name, path = sys.argv[1:]
    CONTENDERS[name](json.loads(Path(path).read_text()))


if __name__ == "__main__":
    main()
