"""Evaluation beside lm-evaluation-harness with its `hf` model: the same task files, weights, type and cores.

    TRUESEED_LMEVAL=<python with lm_eval[hf,ifeval]> python -m bench.evaluate [ROW …] [--turns 0 1 2] [--batch 40]
        [--gsm8k gsm8k_test.jsonl]

instructions: the 200 prompts of `bench/evaluate_prompts.jsonl`, in IFEval's own form and with all of its 25
instructions, answered greedily with at most 256 tokens and checked. choices: 5,000 log-likelihood requests, 1,250
questions of four choices out of our everyday prompts (as in `bench.score`). A turn is a slice of the file (40 prompts;
250 questions), the same for both, who take turns (A B A B …) with a process each. Ours is what `trueseed evaluate`
does, ledger, intervals and contamination included; the harness's is `simple_evaluate` without intervals, at the batch
size that was fastest when tried on the last slice. Both in bf16. What a process takes until its first scores (imports,
weights, a few short requests) is told apart, as `load_s`. Turns of several sittings add up: `--turns 3 4`.

Two implementations of bf16 round differently, so that some greedy answers part at some word: how many did, and how many
verdicts are others for it, is told; a small slice is run in float32 too, where both must say the same. With `--gsm8k`,
a copy of GSM8K's own file, its first questions are among that: as plain text after examples out of its last rows.

arena: the bootstrap of 130 models on 805 prompts, by `bench.arena`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from bench.arena import everybody
from bench.evaluate_worker import COUNTED, SHOTS
from bench.machine import RESULTS, machine, save
from bench.nltk_punkt import punkt_for_nltk
from bench.score import WHEEL, choices

from trueseed.lm.source import resolve

PROMPTS = Path(__file__).with_name("evaluate_prompts.jsonl")
MAX_TOKENS = 256
SLICES = 5  # of the file; a turn takes one
BATCHES = {"instructions": (20, 40), "choices": (8, 16, 32, 64)}
TIMED = ("instructions", "choices")
FEW = {"instructions": 8, "choices": 16, "gsm8k": 16}  # samples in float32
SHORT = {"instructions": 64, "choices": 64, "gsm8k": 128}  # their answers in tokens, at most
SIDES = ("trueseed", "lm-eval")
ROWS = ("instructions", "choices", "float32", "arena")

Row = dict[str, Any]
Told = dict[str, Any]


def samples(kind: str) -> list[Row]:
    """Rows that both sides read: ours wants `id` or `key`, the harness whatever its task names."""
    if kind == "instructions":
        return [json.loads(line) for line in PROMPTS.read_text(encoding="utf-8").splitlines()]
    pairs = choices(0)
    fours = [pairs[at : at + 4] for at in range(0, len(pairs), 4)]
    return [
        {"key": key, "prompt": four[0][0], "choices": [choice.strip() for _, choice in four], "target": 0}
        for key, four in enumerate(fours, start=1)
    ]


class Side:
    """A process. `evaluate` gives samples, seconds, processor seconds and the most memory."""

    def __init__(self, process: "subprocess.Popen[str]", kind: str, scratch: Path) -> None:
        self._process, self._kind, self._scratch = process, kind, scratch
        self._files = 0
        self.load_s = 0.0

    def evaluate(
        self, rows: Sequence[Row], max_tokens: int = MAX_TOKENS, batch: int = 8, examples: Sequence[Row] = ()
    ) -> Told:
        assert self._process.stdin
        self._files += 1
        file, shown = (self._scratch / f"{self._files}{end}.jsonl" for end in ("", "-examples"))
        for path, some in ((file, rows), (shown, examples)):
            path.write_text("".join(json.dumps(row) + "\n" for row in some), encoding="utf-8")
        order = {"kind": self._kind, "file": str(file), "max_tokens": max_tokens, "batch": batch}
        order["examples"] = str(shown) if examples else ""
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self.line()

    def line(self) -> Told:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            errors = (self._scratch / "errors").read_text(errors="replace")[-3000:]
            raise SystemExit(f"{self._process.args} ended with {self._process.wait()}:\n{errors}")
        told: Told = json.loads(line)
        return told


@contextmanager
def side(name: str, kind: str, few: Sequence[Row], *, dtype: str = "bfloat16") -> Iterator[Side]:
    """Loaded, and warm by a few prompts, where there are any, that no turn has; `load_s` is what that took."""
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        how = {"model": f"pypi:{WHEEL}", "folder": str(resolve(f"pypi:{WHEEL}").folder)}
        how |= {"dtype": dtype, "scratch": temporary}
        env = {**os.environ, "HF_HUB_OFFLINE": "1", "TRUESEED_STATE": f"{scratch}/state"}
        python = sys.executable
        if name == "lm-eval":
            python = os.environ["TRUESEED_LMEVAL"]
            env.pop("PYTHONPATH", None)  # what lies there is for another environment
            env |= {"HF_HOME": f"{scratch}/hf", "NLTK_DATA": str(punkt_for_nltk(scratch / "nltk"))}
        worker = Path(__file__).with_name("evaluate_worker.py")
        begun = time.perf_counter()
        with (scratch / "errors").open("w") as errors:
            process = subprocess.Popen(
                [python, worker, name, json.dumps(how)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=env,
            )  # fmt: skip
            try:
                found = Side(process, kind, scratch)
                found.line()
                if few:
                    found.evaluate([{**row, "prompt": f"Once more: {row['prompt']}"} for row in few], max_tokens=8)
                found.load_s = time.perf_counter() - begun
                yield found
            finally:
                process.kill()
                process.wait()


def best_batch(kind: str, rows: Sequence[Row]) -> dict[int, float]:
    """Seconds by the harness's batch size, on answers of 32 tokens at most."""
    with side("lm-eval", kind, rows[:4]) as peer:
        took = {size: round(peer.evaluate(rows, 32, size)["wall"], 1) for size in BATCHES[kind]}
    print(f"  lm-eval by batch: {took}", flush=True)
    return took


def measure(kind: str, turns: Sequence[int], batch: int) -> Iterator[Told]:
    """Both sides on these slices of the file, by turns."""
    rows = samples(kind)
    with side("trueseed", kind, rows[:8]) as ours, side("lm-eval", kind, rows[:8]) as theirs:
        load = {"trueseed": ours.load_s, "lm-eval": theirs.load_s}
        for turn in turns:
            some = rows[turn::SLICES]
            told = {"trueseed": ours.evaluate(some), "lm-eval": theirs.evaluate(some, batch=batch)}
            both = [told[name].pop("samples") for name in SIDES]
            seconds = {name: {**told[name], "load_s": load[name]} for name in SIDES}
            yield {"turn": turn, "load": machine()["load"], **seconds, "agreement": agreement(kind, *both)}


def summary(kind: str, turns: Sequence[Told]) -> dict[str, Any]:
    """Of all turns so far. whole_s: what the whole file would take at the median turn's speed."""
    count = len(samples(kind))
    found: dict[str, Any] = {"samples": sum(turn["agreement"]["samples"] for turn in turns), "of": count}
    for name in SIDES:
        a_sample = statistics.median(turn[name]["wall"] / turn["agreement"]["samples"] for turn in turns)
        found[name] = {
            "whole_s": round(a_sample * count, 1),
            "load_s": round(statistics.median(turn[name]["load_s"] for turn in turns), 1),
            "peak_mb": max(turn[name]["peak_mb"] for turn in turns),
        }
    for what in ("wall", "processor"):
        ratios = [turn["lm-eval"][what] / turn["trueseed"][what] for turn in turns]
        found[f"trueseed_is_times_by_{what}"] = round(statistics.median(ratios), 2)
        found[f"ratios_by_{what}"] = [round(ratio, 2) for ratio in ratios]
    for metric in COUNTED[kind]:
        parts = [turn["agreement"][metric] for turn in turns]
        sums = {name: [sum(part[name][at] for part in parts) for at in (0, 1)] for name in SIDES}
        scores = {name: round(right / out_of, 4) for name, (right, out_of) in sums.items()}
        found[metric] = {**scores, "differ": sum(part["differ"] for part in parts)}
    if kind == "instructions":
        found["other_text"] = sum(turn["agreement"]["other_text"] for turn in turns)
    return found


def agreement(kind: str, ours: Told, theirs: Told) -> dict[str, Any]:
    """By metric what both count (right, out of), and how many samples count otherwise."""
    assert ours.keys() == theirs.keys(), "not the same samples"
    pairs = [(ours[name], theirs[name]) for name in ours]
    found: dict[str, Any] = {"samples": len(pairs)}
    for metric in COUNTED[kind]:
        sums = [[sum(one[metric][at] for one in of.values()) for at in (0, 1)] for of in (ours, theirs)]
        differ = sum(one[metric][0] != other[metric][0] for one, other in pairs)
        found[metric] = {**dict(zip(SIDES, sums, strict=True)), "differ": differ}
    if kind != "choices":
        found["other_text"] = sum(one["said"].strip() != other["said"].strip() for one, other in pairs)
    else:
        apart = [abs(a - b) for one, other in pairs for a, b in zip(one["said"], other["said"], strict=True)]
        found["logprob_differs_by"] = {"median": statistics.median(apart), "most": max(apart)}
    return found


def in_float32(kind: str, rows: Sequence[Row], examples: Sequence[Row] = ()) -> dict[str, Any]:
    """examples: shown before each; then `with_mark` says how many answers hold ####, which the strict filter reads."""
    told = []
    for name in SIDES:
        with side(name, kind, (), dtype="float32") as one:
            told.append(one.evaluate(rows, SHORT[kind], examples=examples)["samples"])
    found = agreement(kind, *told)
    if examples:
        marks = [sum("####" in each["said"] for each in samples.values()) for samples in told]
        found |= {"examples": len(examples), "with_mark": dict(zip(SIDES, marks, strict=True))}
    return found


def gsm8k(file: Path) -> tuple[list[Row], list[Row]]:
    """Its first questions, and its last rows as examples."""
    lines = file.read_text(encoding="utf-8").splitlines()
    rows = [{"key": key, **json.loads(line)} for key, line in enumerate(lines, start=1)]
    return rows[: FEW["gsm8k"]], rows[-SHOTS:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", default=ROWS, metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--turns", type=int, nargs="+", default=range(5), help="which; those measured before are kept")
    parser.add_argument("--batch", type=int, default=0, help="of the harness; by default the fastest is looked for")
    parser.add_argument("--gsm8k", type=Path, help="GSM8K's file of test questions, for the row float32")
    asked = parser.parse_args()
    if not os.environ.get("TRUESEED_LMEVAL"):
        print("all but the arena left out: TRUESEED_LMEVAL names no Python with lm_eval")
        asked.rows = ["arena"]
    path = RESULTS / "evaluate.json"
    rows = json.loads(path.read_text()).get("rows", {}) if path.exists() else {}
    for row in asked.rows:
        print(row, flush=True)
        for found in measured(row, rows.get(row, {}), asked):
            rows[row] = found
            said = {name: it for name, it in found.items() if name != "turns"}
            print(f"  {said}\n{save('evaluate', {'model': WHEEL, 'rows': rows, **whole(rows)})}", flush=True)


def measured(row: str, before: dict[str, Any], asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What is known of a row, after each turn or kind."""
    if row == "arena":
        yield everybody(np.random.default_rng(0))
    elif row == "float32":
        found = dict(before)
        for kind in ("gsm8k", *TIMED) if asked.gsm8k else TIMED:
            some = gsm8k(asked.gsm8k) if kind == "gsm8k" else (samples(kind)[: FEW[kind]],)
            found[kind] = in_float32(kind, *some)
            yield found
    else:
        tried = before.get("lm_eval_s_by_batch", {})
        batch = asked.batch or before.get("batch_of_lm_eval")
        if not batch:
            tried = best_batch(row, samples(row)[-1::-SLICES][:40])
            batch = min(tried, key=tried.__getitem__)
        at_this = before.get("turns", ()) if batch == before.get("batch_of_lm_eval") else ()
        turns = {turn["turn"]: turn for turn in at_this}
        for turn in measure(row, asked.turns, batch):
            turns[turn["turn"]] = turn
            kept = [turns[at] for at in sorted(turns)]
            yield {"batch_of_lm_eval": batch, "lm_eval_s_by_batch": tried, **summary(row, kept), "turns": kept}


def whole(rows: dict[str, Any]) -> dict[str, Any]:
    """Both kinds together, once both were measured."""
    if not set(TIMED) <= rows.keys():
        return {}
    seconds = {name: round(sum(rows[kind][name]["whole_s"] for kind in TIMED), 1) for name in SIDES}
    return {"whole_s": seconds, "whole_is_times": round(seconds["lm-eval"] / seconds["trueseed"], 2)}


if __name__ == "__main__":
    main()
