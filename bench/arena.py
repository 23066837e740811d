"""The arena: how long 130 models on 805 prompts take, and how many verdicts choosing the next pair saves.

    python -m bench.arena [--peer PATH/TO/python] [--rounds 5]

The peer is evalica (Rust), in an environment of its own (or TRUESEED_EVALICA), on the same 104,650 verdicts: each model
on each prompt against another, drawn at random. Ratings alone, and with a bootstrap of 100 draws, by turns; the peer
draws verdicts, ours prompts, which is why the intervals are not compared. Ours gives errors with the ratings. Then,
without a peer: everybody against everybody on every prompt, 6.7 million meetings, once with sandwich errors and once
with 1,000 bootstrap draws. Seconds are of processor time.

Choosing: models whose true ratings are drawn are judged forty pairs at a time, by Bradley and Terry's own law, until
their mean standard error is 0.25 log-odds (43 points). They are paired at random, where it tells most (chosen), and
where it would tell most if their true ratings were known (known), which no way to choose can do.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from bench.machine import save

from trueseed.errors import ConfigError
from trueseed.evaluate.bradley_terry import PRIOR_SD, Battles, fit, interval, ranks
from trueseed.evaluate.pairing import greedy, next_pairs

MODELS, PROMPTS = 130, 805
ERROR, BATCH = 0.25, 40

PEER = """
import json, sys, time
import evalica, numpy as np
found = np.load(sys.argv[1])
won = [evalica.Winner.X if s == 1 else evalica.Winner.Y if s == 0 else evalica.Winner.Draw for s in found["score"]]
xs, ys = found["a"].tolist(), found["b"].tolist()
for line in sys.stdin:
    at = time.process_time()
    if line.strip() == "fit":
        scores = evalica.bradley_terry(xs, ys, won, limit=10000, tolerance=1e-10).scores
        said = {str(k): float(v) for k, v in scores.items()}
    else:
        evalica.bootstrap(evalica.bradley_terry, xs, ys, won, n_resamples=100, bootstrap_method="percentile",
                          random_state=0)
        said = {}
    print(json.dumps({"seconds": time.process_time() - at, "scores": said}), flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", default=os.environ.get("TRUESEED_EVALICA", ""), help="python that has evalica")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    result = {
        "verdicts": beside(asked.peer, asked.rounds, rng),
        "everybody": everybody(rng),
        "choosing": [choosing(20, spread, 200) for spread in (0.5, 1.5, 2.5)] + [choosing(130, 1.5, 10)],
    }
    print(save("arena", result))


# ------------------------------------------------------------------------------------------------------------ time


def beside(peer: str, rounds: int, rng: np.random.Generator) -> dict[str, Any]:
    """Seconds of processor time, medians, by turns."""
    truth = rng.normal(0, 1, MODELS)
    a = np.repeat(np.arange(MODELS), PROMPTS)
    b = (a + rng.integers(1, MODELS, len(a))) % MODELS
    battles = Battles(
        models=tuple(f"m{n}" for n in range(MODELS)),
        samples=tuple(map(str, range(PROMPTS))),
        sample=np.tile(np.arange(PROMPTS, dtype=np.int32), MODELS),
        a=a.astype(np.int32),
        b=b.astype(np.int32),
        score=np.where(rng.random(len(a)) < 0.1, 0.5, rng.random(len(a)) < 1 / (1 + np.exp(truth[b] - truth[a]))),
    )
    mine: dict[str, list[float]] = {"fit": [], "bootstrap": []}
    theirs: dict[str, list[float]] = {"fit": [], "bootstrap": []}
    apart = None
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "v.npz", a=battles.a, b=battles.b, score=battles.score)
        words = [peer, "-c", PEER, f"{folder}/v.npz"]
        other = subprocess.Popen(words, stdin=-1, stdout=-1, text=True) if peer else None
        for _ in range(rounds):
            for what, resamples in (("fit", 0), ("bootstrap", 100)):
                mine[what].append(seconds(lambda resamples=resamples: fit(replace(battles), resamples=resamples)))
                if other:
                    said = told(other, what)
                    theirs[what].append(said["seconds"])
                    apart = _apart(battles, said["scores"]) if said["scores"] else apart
        if other:
            other.communicate()
    found: dict[str, Any] = {"models": MODELS, "verdicts": len(battles), "bootstrap_draws": 100}
    found["ours_s"] = {what: round(statistics.median(each), 3) for what, each in mine.items()}
    if peer:
        found["evalica_s"] = {what: round(statistics.median(each), 3) for what, each in theirs.items()}
        found["ratio"] = {what: round(found["evalica_s"][what] / found["ours_s"][what], 2) for what in mine}
        found["largest_difference_of_ratings"] = apart
    print(found, flush=True)
    return found


def told(peer: "subprocess.Popen[str]", what: str) -> dict[str, Any]:
    assert peer.stdin and peer.stdout
    peer.stdin.write(f"{what}\n")
    peer.stdin.flush()
    return dict(json.loads(peer.stdout.readline()))


def _apart(battles: Battles, scores: dict[str, float]) -> float:
    """In log-odds, with both averages at zero."""
    theirs = np.log([scores[str(n)] for n in range(MODELS)])
    return float(np.abs(fit(battles).ratings - (theirs - theirs.mean())).max())


def everybody(rng: np.random.Generator) -> dict[str, Any]:
    """Of right and wrong answers."""
    skill, ease = rng.normal(0, 1, MODELS), rng.normal(0, 1, PROMPTS)
    scores = (rng.random((MODELS, PROMPTS)) < 1 / (1 + np.exp(-skill[:, None] - ease[None]))).astype(float)
    names, samples = [f"m{n}" for n in range(MODELS)], [str(n) for n in range(PROMPTS)]
    battles = Battles.of_scores(names, samples, scores)
    fitted = fit(battles)
    found = {
        "models": MODELS,
        "prompts": PROMPTS,
        "meetings": len(battles),
        "sandwich_s": round(seconds(lambda: fit(Battles.of_scores(names, samples, scores))), 2),
        "ranks_s": round(seconds(lambda: ranks(fitted)), 2),
        "bootstrap_draws": 1000,
        "bootstrap_s": round(seconds(lambda: fit(battles, resamples=1000)), 2),
    }
    print(found, flush=True)
    return found


def seconds(work: Callable[[], object]) -> float:
    """Of processor time."""
    at = time.process_time()
    work()
    return time.process_time() - at


# ------------------------------------------------------------------------------------------------------------ verdicts


HOW = ("random", "chosen", "known")


def choosing(models: int, spread: float, rounds: int) -> dict[str, Any]:
    """spread: standard deviation of the true ratings, log-odds. verdicts: medians. saved: beside random pairs. inside:
    share of true ratings that their 95 % intervals held, and its standard error over rounds.
    """
    found = {how: np.array([until(models, spread, how, seed) for seed in range(rounds)]) for how in HOW}
    verdicts = {how: float(np.median(each[:, 0])) for how, each in found.items()}
    held = {how: (each[:, 1].mean(), each[:, 1].std(ddof=1) / rounds**0.5) for how, each in found.items()}
    row = {
        "models": models,
        "spread": spread,
        "rounds": rounds,
        "verdicts": verdicts,
        "saved": {how: round(1 - verdicts[how] / verdicts["random"], 3) for how in HOW[1:]},
        "inside": {how: [round(mean, 4), round(error, 4)] for how, (mean, error) in held.items()},
    }
    print(row, flush=True)
    return row


def until(models: int, spread: float, how: str, seed: int) -> tuple[int, float]:
    """Verdicts it took, and the share of true ratings inside."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, spread, models)
    truth -= truth.mean()
    names, rows = [f"m{n}" for n in range(models)], np.empty((0, 3))
    batch = BATCH * models // 20
    while True:
        places = pairs(how, names, rows, truth, batch, rng)
        won = rng.random(batch) < 1 / (1 + np.exp(truth[places[:, 1]] - truth[places[:, 0]]))
        rows = np.concatenate([rows, np.column_stack([places, won])])
        try:
            fitted = fit(battles_of(names, rows))
        except ConfigError:
            continue  # somebody met nobody yet
        if not fitted.regularised and np.sqrt(np.diag(fitted.covariance)).mean() < ERROR:
            bounds = [interval(fitted, at) for at in range(models)]
            held = [low <= true <= high for true, (low, high) in zip(truth, bounds, strict=True)]
            return len(rows), float(np.mean(held))


def pairs(
    how: str, names: list[str], rows: np.ndarray, truth: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Places of whom to judge next (count, 2)."""
    n = len(names)
    if how == "random":
        first = rng.integers(0, n, count)
        return np.stack([first, (first + rng.integers(1, n, count)) % n], 1)
    if how == "chosen":
        told = next_pairs(names, battles_of(names, rows), count=count, seed=len(rows))
        return np.array([(int(a[1:]), int(b[1:])) for a, b in told])
    apart = truth[:, None] - truth[None, :]
    weight = 1 / (2 + np.exp(apart) + np.exp(-apart))  # p(1 - p)
    asked = np.zeros((n, n))
    np.add.at(asked, (rows[:, 0].astype(int), rows[:, 1].astype(int)), 1)
    told = (asked + asked.T) * weight
    information = np.diag(told.sum(1)) - told + np.eye(n) / PRIOR_SD**2
    return np.array(greedy(np.linalg.inv(information), weight, count, len(rows)))


def battles_of(names: list[str], rows: np.ndarray) -> Battles:
    """Each on a prompt of its own."""
    a, b, score = rows.T
    return Battles(
        models=tuple(names),
        samples=tuple(map(str, range(len(rows)))),
        sample=np.arange(len(rows), dtype=np.int32),
        a=a.astype(np.int32),
        b=b.astype(np.int32),
        score=score,
    )


if __name__ == "__main__":
    main()
