"""How fast steps went here before: seconds a unit, from the statements of done steps in this workspace's ledger."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trueseed.ledger.log import Entry
from trueseed.ledger.statement import STEP
from trueseed.plan.draws import Floats, mean


@dataclass(frozen=True, slots=True)
class Tempos:
    """Seconds a unit by step, oldest first: a token that is trained on or heard about, a record for curation, a sample
    of each set, an answer or likelihood on a task, a judge's reply.
    """

    found: Mapping[str, tuple[float, ...]]

    def of(self, step: str, rng: np.random.Generator, draws: int) -> Floats | None:
        """Draws of the next one; None when the step was never done here."""
        seen = self.found.get(step)
        return mean(seen, rng, draws, low=min(seen) / 2) if seen else None


def tempos(entries: Iterable[Entry]) -> Tempos:
    found: defaultdict[str, list[float]] = defaultdict(list)
    for entry in entries:
        said = entry.predicate
        if entry.predicate_type == STEP and said["event"] == "done" and said["outputs"]:
            units = _units(said)
            if units and said["cost"]["seconds"] > 0:
                found[_name(said)].append(said["cost"]["seconds"] / units)
    return Tempos({step: tuple(each) for step, each in found.items()})


def training(config: Mapping[str, Any]) -> str:
    """Under which name the pace of training so is remembered: methods do not cost the same."""
    method = config.get("method", "sft")
    return "train" if method == "sft" else " ".join(["train", method, *filter(None, [config.get("signals")])])


def _name(said: Mapping[str, Any]) -> str:
    """By which the pace is remembered; of tasks and judges as `plan.tasks.Asks.tempo`."""
    asks = [each["source"] for each in said["asks"]]
    match said["step"]:
        case "train":
            return training(said["config"])
        case "score":
            return " ".join(["score", str(said["config"].get("scorer")), *(asks or ["student"])])
        case "judge" | "judge-check":
            return " ".join(["judge", *asks])
    return str(said["step"])


def _units(said: Mapping[str, Any]) -> float:
    counts = said["counts"]
    match said["step"]:
        case "train" | "signals":
            return float(counts.get("tokens", 0))
        case "curate":
            return float(counts.get("kept", 0) + sum(n for name, n in counts.items() if name.startswith("dropped:")))
        case "score" if not counts.get("cached"):
            return float(counts.get("answers", 0))
        case "judge" | "judge-check" if not counts.get("cached"):
            return float(counts.get("asked", 0))
        case "evaluate" | "baseline" if not said["asks"]:  # a teacher's answers say nothing of this machine
            return float(said["config"].get("samples", 0))
    return 0.0
