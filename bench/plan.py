"""A plan's interval: how often does what a run asks lie inside the 95 % that eight rows promised?

    python -m bench.plan [--runs 40] [--rows 8]

Teachers are made up: how often each kind succeeds on each rung is drawn at random. For each, eight rows are asked of it
as a rehearsal does (half plainly, then what failed on the next rung), the interval is made from them, and one whole
course of the recipe is walked with the true rates. What is counted is the number of questions. The walk is held to the
real recipe by tests (tests/generate/test_course.py); what this measures is whether eight rows are read rightly.
"""

import argparse
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from bench.machine import save

from trueseed.checks import TRAIN_KINDS
from trueseed.generate.course import LIKENESS, Seen, imagine
from trueseed.generate.ladder import Rung
from trueseed.generate.verifiable import Config

LADDERS: tuple[list[Rung], ...] = (["plain"], ["plain", "formed"], ["plain", "worked", "spelt", "repair"])
KINDS, SURE = list(TRAIN_KINDS)[:12], 10**7

Rates = Mapping[tuple[str, Rung], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=40, help="of each ladder")
    parser.add_argument("--rows", type=int, default=8)
    asked = parser.parse_args()
    rng = np.random.default_rng(11)
    ladders = {" ".join(rungs): covered(rungs, asked.runs, asked.rows, rng) for rungs in LADDERS}
    result = {"rows": asked.rows, "runs_of_each": asked.runs, "records": 100, "ladders": ladders}
    print(save("plan", result))


def covered(rungs: list[Rung], runs: int, rows: int, rng: np.random.Generator) -> dict[str, Any]:
    """How many runs lay inside, and the actual beside the median of the estimate (5th, 50th, 95th percentile)."""
    tries = 2 if "formed" in rungs else 8  # as the quickstart has it, and as is the default
    config = Config(accept=100, kinds=KINDS, rungs=rungs, tries=tries, ahead=64)
    inside, ratios = 0, []
    for _ in range(runs):
        rates = teacher(rungs, rng)
        sure = {key: Seen(judged=SURE, accepted=round(SURE * rate)) for key, rate in rates.items()}
        actual = imagine(config, sure, rng, draws=1).asked.sum()
        drawn = imagine(config, rehearsed(rates, rungs, rows, rng), rng).asked.sum((1, 2))
        low, likely, high = np.quantile(drawn, (0.025, 0.5, 0.975))
        inside += bool(low <= actual <= high)
        ratios.append(actual / likely)
    print(f"{' '.join(rungs)}: {inside} of {runs} inside", flush=True)
    spread = [round(float(each), 3) for each in np.quantile(ratios, (0.05, 0.5, 0.95))]
    return {"inside": inside, "of": runs, "actual_over_likely": spread}


def teacher(rungs: list[Rung], rng: np.random.Generator) -> Rates:
    likeness = math.exp(rng.uniform(*map(math.log, LIKENESS)))
    mean = {rung: rng.uniform() for rung in rungs}
    return {
        (kind, rung): rng.beta(max(mean[rung] * likeness, 1e-3), max((1 - mean[rung]) * likeness, 1e-3))
        for kind in KINDS
        for rung in rungs
    }


def rehearsed(rates: Rates, rungs: list[Rung], rows: int, rng: np.random.Generator) -> dict[tuple[str, Rung], Seen]:
    seen: dict[tuple[str, Rung], Seen] = {}
    failed: list[tuple[str, int]] = []
    fresh = iter(KINDS * rows)
    for n in range(rows):
        climbs = [(kind, at) for kind, at in failed if _next(rungs, at) is not None] if n >= rows // 2 else []
        kind, at = climbs[0] if climbs else (next(fresh), -1)
        failed = [each for each in failed if each != (kind, at)]
        above = _next(rungs, at)
        assert above is not None
        right, so_far = rng.random() < rates[kind, rungs[above]], seen.get((kind, rungs[above]), Seen())
        seen[kind, rungs[above]] = Seen(judged=so_far.judged + 1, accepted=so_far.accepted + right)
        failed += [] if right else [(kind, above)]
    return seen


def _next(rungs: list[Rung], at: int) -> int | None:
    """The rung above; `worked` needs an answer that was right, which a rehearsal rarely has of the same kind."""
    return next((i for i in range(at + 1, len(rungs)) if rungs[i] != "worked"), None)


if __name__ == "__main__":
    main()
