"""Comparisons by judges, as the report page shows them: who won, who judged, what speaks against them, and samples."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from trueseed.core.artifacts import Artifact
from trueseed.report.wording import percent

SHOWN = 6  # samples of a comparison; the artifact has them all


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What one judge said of a sample: of either order, who won, or why nobody did."""

    judge: str
    said: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A prompt, both answers, and what was said of them."""

    prompt: str
    a: str
    b: str
    opinions: tuple[Opinion, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """told: the result in a sentence. judges: a line each. warnings: why it may not be believed."""

    a: str
    b: str
    task: str
    told: str
    judges: tuple[str, ...]
    warnings: tuple[str, ...]
    samples: tuple[Sample, ...]


def comparisons(tasks: Sequence[Artifact]) -> tuple[Comparison, ...]:
    """Of the scores on tasks, those that judges gave."""
    found = ((artifact, json.loads(artifact.path("scores.json").read_bytes())) for artifact in tasks)
    return tuple(_comparison(artifact, scores) for artifact, scores in found if "against" in scores)


def _comparison(artifact: Artifact, scores: Mapping[str, Any]) -> Comparison:
    a, b = scores["model"]["source"], scores["against"]["source"]
    with artifact.path("samples.jsonl").open(encoding="utf-8") as lines:
        samples = tuple(_sample(json.loads(line), a, b) for line in islice(lines, SHOWN))
    return Comparison(
        a=a,
        b=b,
        task=scores["task"]["name"],
        told=_told(scores),
        judges=tuple(_judge(judge) for judge in scores["judges"]),
        warnings=tuple(scores["warnings"]),
        samples=samples,
    )


def _told(scores: Mapping[str, Any]) -> str:
    counts, metrics = scores["counts"], scores["metrics"]
    counted = f"{counts['wins']} won, {counts['losses']} lost, {counts['ties']} tied, {counts['no_verdict']} undecided"
    if "win_rate" not in metrics:
        return f"No win rate: {counted}."
    rates = [f"{name} {_interval(metrics[key])}" for key, name in _RATES.items() if key in metrics]
    return f"{'; '.join(rates)} ({counted})."


_RATES = {"win_rate": "Win rate", "win_rate_at_equal_length": "at equal length"}


def _interval(found: Mapping[str, float]) -> str:
    return f"{percent(found['value'])} [{percent(found['low'])} to {percent(found['high'])}]"


def _judge(judge: Mapping[str, Any]) -> str:
    card = (
        "not checked" if judge["card"] is None else "passed its card" if judge["card"]["passed"] else "failed its card"
    )
    voice = "" if judge["decides"] else ", without a voice"
    counts = judge["counts"]
    return f"{judge['source']}: {card}{voice}; {counts['flips']} of {counts['samples']} flipped with the order"


def _sample(line: Mapping[str, Any], a: str, b: str) -> Sample:
    names = {"a": a, "b": b, "tie": "a tie", None: "no verdict"}
    opinions = tuple(
        Opinion(
            judge=judge,
            said=f"{'first shown first' if each['order'] == 'ab' else 'swapped'}: {names[each['winner']]}",
            reason=each["reason"] or each["told"],
        )
        for judge, said in line["judges"].items()
        for each in said
    )
    return Sample(prompt=line["prompt"], a=line["a"], b=line["b"], opinions=opinions)
