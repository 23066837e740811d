"""Comparisons by judges, as the report page shows them: who won, who judged, their cards, and samples with verdicts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from markupsafe import Markup

from trueseed.core.artifacts import Artifact, Store
from trueseed.report import plots
from trueseed.report.tasks import ticks
from trueseed.report.wording import figure, percent
from trueseed.worth import lines

SHOWN = 6  # samples of a comparison; the artifact has them all


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure of a judge's card beside its limit. plot: None where it is not known; why: why not. keeps: None of what
    need not be known, and is not.
    """

    name: str
    limit: str
    plot: Markup | None
    value: str
    bounds: str
    why: str
    keeps: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a judge said of pairs with a known right answer."""

    judge: str
    passed: bool
    told: str
    figures: tuple[Figure, ...]
    ticks: tuple[str, ...]


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
    """told: the result in a sentence. rates: name, plot and words of each win rate. judges: a line each. warnings: why
    it may not be believed. worth: what is known of contamination and looks.
    """

    a: str
    b: str
    task: str
    told: str
    rates: tuple[tuple[str, Markup, str], ...]
    judges: tuple[str, ...]
    warnings: tuple[str, ...]
    worth: tuple[str, ...]
    samples: tuple[Sample, ...]


def comparisons(tasks: Sequence[Artifact]) -> tuple[Comparison, ...]:
    """Of the scores on tasks, those that judges gave."""
    found = ((artifact, json.loads(artifact.path("scores.json").read_bytes())) for artifact in tasks)
    return tuple(_comparison(artifact, scores) for artifact, scores in found if "against" in scores)


def cards(tasks: Sequence[Artifact], store: Store) -> tuple[Card, ...]:
    """Of the judges of these comparisons, each once, as far as they were checked."""
    scores = [json.loads(artifact.path("scores.json").read_bytes()) for artifact in tasks]
    named = [judge["card"]["artifact"] for each in scores for judge in each.get("judges", ()) if judge["card"]]
    return tuple(card(json.loads(store.get(name).path("card.json").read_bytes())) for name in dict.fromkeys(named))


def card(said: Mapping[str, Any]) -> Card:
    """said: as `judging.check` writes it."""
    lows = [it["low"] for it in said["metrics"].values()]
    ends = (-1.0 if min(lows, default=0.0) < 0 else 0.0, 1.0)
    spent = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in said["cost"].items())
    faults = ", ".join(f"{name} {n}" for name, n in said["faults"].items()) or "none"
    scope = f"For {said['scope']}. " if said["scope"] else ""
    told = f"{said['pairs']} pairs in both orders; replies that were no verdict: {faults}; repaired {said['repaired']}"
    return Card(
        judge=said["judge"] if said["method"] == "words" else f"{said['judge']} by {said['method']}",
        passed=said["passed"],
        told=f"{scope}{told}{'; a pair takes ' if spent else ''}{spent}.{_sure(said['calibration'])}",
        figures=tuple(_figure(name, limit, said, ends) for name, limit in said["limits"].items()),
        ticks=ticks(ends),
    )


def _sure(calibration: Sequence[Mapping[str, float]]) -> str:
    held = ", ".join(
        f"{each['right']:.2f} of {each['pairs']} where it was by {each['sure']:.2f}" for each in calibration
    )
    return f" How often it was right by how sure it was: {held}." if held else ""


def _figure(name: str, limit: str, said: Mapping[str, Any], ends: tuple[float, float]) -> Figure:
    it, failed = said["metrics"].get(name), name in said["failed"]
    return Figure(
        name=name.replace("_", " "),
        limit=limit,
        plot=plots.span(it["value"], it["low"], it["high"], ends, "student") if it else None,
        value=figure(it["value"]) if it else "not known",
        bounds=f"{figure(it['low'])} to {figure(it['high'])}" if it else "",
        why="" if it else said["not_known"].get(name, ""),
        keeps=False if failed else True if it else None,
    )


def _comparison(artifact: Artifact, scores: Mapping[str, Any]) -> Comparison:
    a, b = scores["model"]["source"], scores["against"]["source"]
    with artifact.path("samples.jsonl").open(encoding="utf-8") as rows:
        samples = tuple(_sample(json.loads(row), a, b) for row in islice(rows, SHOWN))
    return Comparison(
        a=a,
        b=b,
        task=scores["task"]["name"],
        told=_told(scores),
        rates=tuple(_rates(scores["metrics"])),
        judges=tuple(_judge(judge) for judge in scores["judges"]),
        warnings=tuple(scores["warnings"]),
        worth=tuple(lines(scores)),
        samples=samples,
    )


def _told(scores: Mapping[str, Any]) -> str:
    counts = scores["counts"]
    counted = f"{counts['wins']} won, {counts['losses']} lost, {counts['ties']} tied, {counts['no_verdict']} undecided"
    return f"{'' if 'win_rate' in scores['metrics'] else 'No win rate: '}{counted}."


_RATES = {
    "win_rate": "Win rate",
    "weighted_win_rate": "By its chances",
    "win_rate_at_equal_length": "At equal length",
}


def _rates(metrics: Mapping[str, Mapping[str, float]]) -> list[tuple[str, Markup, str]]:
    found = [(name, metrics[key]) for key, name in _RATES.items() if key in metrics]
    return [
        (
            name,
            plots.span(it["value"], it["low"], it["high"], (0.0, 1.0), "student"),
            f"{percent(it['value'])} [{percent(it['low'])} to {percent(it['high'])}]",
        )
        for name, it in found
    ]


def _judge(judge: Mapping[str, Any]) -> str:
    card = (
        "not checked" if judge["card"] is None else "passed its card" if judge["card"]["passed"] else "failed its card"
    )
    voice = "" if judge["decides"] else ", without a voice"
    counts = judge["counts"]
    scope = f" (for {judge['scope']})" if judge["scope"] else ""
    flips = f"{counts['flips']} of {counts['samples']} flipped with the order"
    return f"{judge['source']} by {judge['method']}: {card}{scope}{voice}; {flips}"


def _reason(opinion: Mapping[str, Any]) -> str:
    """In the judge's words; else how its verdict was read, since it was asked for no reason; else why there is none."""
    if opinion["reason"] is not None or opinion["chance"] is None:
        return str(opinion["reason"] or opinion["told"])
    return f"{opinion['chance']:.2f} for the one shown first ({opinion['read']}); no reason was asked for"


def _sample(line: Mapping[str, Any], a: str, b: str) -> Sample:
    names = {"a": a, "b": b, "tie": "a tie", None: "no verdict"}
    opinions = tuple(
        Opinion(
            judge=judge,
            said=f"{'first shown first' if each['order'] == 'ab' else 'swapped'}: {names[each['winner']]}",
            reason=_reason(each),
        )
        for judge, said in line["judges"].items()
        for each in said
    )
    return Sample(prompt=line["prompt"], a=line["a"], b=line["b"], opinions=opinions)
