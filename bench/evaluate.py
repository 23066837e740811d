"""Evaluation beside lm-evaluation-harness with its `hf` model: the same task files, weights, type and cores.

    TRUESEED_LMEVAL=<python with lm_eval[hf,ifeval]> python -m bench.evaluate [ROW …] [--turns 5] [--batch 32]

instructions: the 200 prompts of `bench/evaluate_prompts.jsonl`, in IFEval's own form and with all of its 25
instructions, answered greedily with at most 256 tokens and checked. choices: 5,000 log-likelihood requests, 1,250
questions of four choices out of our everyday prompts (as in `bench.score`). A turn is a slice of the file, the same for
both, who take turns (A B A B …) with a process each; over all turns the whole file is done once. Ours is what `trueseed
evaluate` does, ledger, intervals and contamination included; the harness's is `simple_evaluate` without intervals, at
the batch size that was fastest when tried on the last slice. Both in bf16. What a process takes until its first scores
(imports, weights, a few short requests) is told apart.

Two implementations of bf16 round differently, so that some greedy answers part at some word: how many did, and how many
verdicts are others for it, is told; a small slice is run in float32 too, where both must say the same.

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
from bench.evaluate_worker import COUNTED
from bench.machine import RESULTS, machine, save
from bench.score import WHEEL, choices

from trueseed.lm.source import resolve

PROMPTS = Path(__file__).with_name("evaluate_prompts.jsonl")
MAX_TOKENS = 256
BATCHES = {"instructions": (16, 32, 64), "choices": (1, 4, 8, 16, 32)}
FEW = {"instructions": 16, "choices": 32}  # samples in float32
SIDES = ("trueseed", "lm-eval")

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

    def evaluate(self, rows: Sequence[Row], max_tokens: int = MAX_TOKENS) -> Told:
        assert self._process.stdin
        self._files += 1
        file = self._scratch / f"{self._files}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        order = {"kind": self._kind, "file": str(file), "max_tokens": max_tokens}
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
def side(name: str, kind: str, few: Sequence[Row], *, dtype: str = "bfloat16", batch: int = 8) -> Iterator[Side]:
    """Loaded and warm; `load_s` is what that took."""
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        how = {"model": f"pypi:{WHEEL}", "folder": str(resolve(f"pypi:{WHEEL}").folder)}
        how |= {"dtype": dtype, "batch": batch, "scratch": temporary}
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
                found.evaluate(few, max_tokens=8)
                found.load_s = time.perf_counter() - begun
                yield found
            finally:
                process.kill()
                process.wait()


def punkt_for_nltk(folder: Path) -> Path:
    """The sentence model that our checker reads, as NLTK's `punkt_tab`, which the harness would download."""
    import punkt

    model, place = punkt.load_model("english"), folder / "tokenizers" / "punkt_tab" / "english"
    place.mkdir(parents=True)
    place.joinpath("collocations.tab").write_text("\n".join("\t".join(pair) for pair in model.collocations))
    place.joinpath("sent_starters.txt").write_text("\n".join(model.sent_starters))
    place.joinpath("abbrev_types.txt").write_text("\n".join(model.abbrev_types))
    place.joinpath("ortho_context.tab").write_text("\n".join(f"{word}\t{n}" for word, n in model.ortho_context.items()))
    return folder


def best_batch(kind: str, rows: Sequence[Row]) -> dict[int, float]:
    """Seconds by the harness's batch size, on answers of 64 tokens at most."""
    took = {}
    for batch in BATCHES[kind]:
        with side("lm-eval", kind, rows[:4], batch=batch) as peer:
            took[batch] = round(peer.evaluate(rows, max_tokens=64)["wall"], 2)
    print(f"  lm-eval by batch: {took}", flush=True)
    return took


def measure(kind: str, turns: int, batch: int) -> dict[str, Any]:
    """Both sides over the whole file, slice by slice, by turns."""
    rows = samples(kind)
    slices = [rows[turn::turns] for turn in range(turns)]
    tried = {} if batch else best_batch(kind, slices[-1][: 256 // len(rows[0].get("choices", "1"))])
    batch = batch or min(tried, key=tried.__getitem__)
    told: dict[str, list[Told]] = {name: [] for name in SIDES}
    with side("trueseed", kind, rows[:8]) as ours, side("lm-eval", kind, rows[:8], batch=batch) as theirs:
        for some in slices:
            for name, each in zip(SIDES, (ours, theirs), strict=True):
                told[name].append(each.evaluate(some))
                print(f"  {name}: {told[name][-1]['wall']:.1f} s", flush=True)
        load = {"trueseed": ours.load_s, "lm-eval": theirs.load_s}
    ratios = [b["wall"] / a["wall"] for a, b in zip(*told.values(), strict=True)]
    return {
        "samples": len(rows),
        "requests": sum(len(row.get("choices", "1")) for row in rows),
        "batch_of_lm_eval": batch,
        "lm_eval_s_by_batch": tried,
        **{name: summary(told[name], load[name]) for name in SIDES},
        "trueseed_is_times": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
        "whole_is_times": round(ratio_of(told), 2),
        "agreement": agreement(kind, *(merged(told[name]) for name in SIDES)),
        "load": machine()["load"],
    }


def ratio_of(told: dict[str, list[Told]]) -> float:
    ours, theirs = (sum(turn["wall"] for turn in told[name]) for name in SIDES)
    return theirs / ours


def summary(turns: Sequence[Told], load_s: float) -> dict[str, Any]:
    return {
        "seconds": round(sum(turn["wall"] for turn in turns), 1),
        "seconds_a_turn": round(statistics.median(turn["wall"] for turn in turns), 2),
        "turns": [round(turn["wall"], 2) for turn in turns],
        "processor_s": round(sum(turn["processor"] for turn in turns), 1),
        "load_s": round(load_s, 1),
        "peak_mb": turns[-1]["peak_mb"],
    }


def merged(turns: Sequence[Told]) -> Told:
    return {name: sample for turn in turns for name, sample in turn["samples"].items()}


def agreement(kind: str, ours: Told, theirs: Told) -> dict[str, Any]:
    """scores: of both. differ: samples that count otherwise, by metric."""
    assert ours.keys() == theirs.keys(), "not the same samples"
    pairs = [(ours[name], theirs[name]) for name in ours]
    found: dict[str, Any] = {"samples": len(pairs)}
    for metric in COUNTED[kind]:
        counts = [(sum(one[metric][at] for one in of.values()) for at in (0, 1)) for of in (ours, theirs)]
        scores = {name: round(right / out_of, 4) for name, (right, out_of) in zip(SIDES, counts, strict=True)}
        found[metric] = {**scores, "differ": sum(one[metric][0] != other[metric][0] for one, other in pairs)}
    if kind == "instructions":
        found["other_text"] = sum(one["said"].strip() != other["said"].strip() for one, other in pairs)
    else:
        apart = [abs(a - b) for one, other in pairs for a, b in zip(one["said"], other["said"], strict=True)]
        found["logprob_differs_by"] = {"median": statistics.median(apart), "most": max(apart)}
    return found


def in_float32(kind: str) -> dict[str, Any]:
    rows = samples(kind)[: FEW[kind]]
    told = []
    for name in SIDES:
        with side(name, kind, rows[:2], dtype="float32") as one:
            told.append(one.evaluate(rows)["samples"])
    return agreement(kind, *told)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", default=["instructions", "choices", "float32", "arena"], metavar="ROW")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--batch", type=int, default=0, help="of the harness; by default the fastest is looked for")
    asked = parser.parse_args()
    if not os.environ.get("TRUESEED_LMEVAL"):
        print("left out but for the arena: TRUESEED_LMEVAL names no Python with lm_eval")
        asked.rows = ["arena"]
    path = RESULTS / "evaluate.json"
    rows = json.loads(path.read_text()).get("rows", {}) if path.exists() else {}
    for row in asked.rows:
        print(row, flush=True)
        if row == "arena":
            rows[row] = everybody(np.random.default_rng(0))
        elif row == "float32":
            rows[row] = {kind: in_float32(kind) for kind in COUNTED}
        else:
            rows[row] = measure(row, asked.turns, asked.batch)
        print(f"  {rows[row]}", flush=True)
        print(save("evaluate", {"model": WHEEL, "max_tokens": MAX_TOKENS, "rows": rows, **whole(rows)}))


def whole(rows: dict[str, Any]) -> dict[str, Any]:
    """Both kinds together, once both were measured."""
    if not COUNTED.keys() <= rows.keys():
        return {}
    seconds = {name: round(sum(rows[kind][name]["seconds"] for kind in COUNTED), 1) for name in SIDES}
    return {"whole": {**seconds, "trueseed_is_times": round(seconds["lm-eval"] / seconds["trueseed"], 2)}}


if __name__ == "__main__":
    main()
