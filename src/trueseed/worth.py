"""What a score is worth, in words: what of the test the model was trained on, and how often the test was looked at.

Read off scores.json, where `evaluate.contamination` put both, for the command line, comparisons and the report.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from trueseed.core.plural import form, many
from trueseed.ledger.looks import told
from trueseed.similarity.leaks import IN_A_ROW

ALIKE = 1e-9  # rounding of bounds


def lines(scores: Mapping[str, Any]) -> list[str]:
    """What stands in scores of contamination and looks, in words; nothing for scores of before."""
    sides = scores.get("contestants", {}).values()
    words = of_training(scores) + [f"{side['source']}: {line}" for side in sides for line in of_training(side)]
    return words + of_looks([scores, *sides]) + of_floor(scores, scores.get("metric", ""))


def of_floor(scores: Mapping[str, Any], metric: str) -> list[str]:
    """Whether a score is no higher than what nothing scores (`evaluate.floor`); nothing where it is."""
    floor, found = scores.get("floor", {}).get(metric), scores.get("metrics", {}).get(metric)
    if not floor or not found or found["low"] > floor["value"] + ALIKE:
        return []
    return [f"on the floor: its {metric} may be {floor['value']:.3f}, which {floor['by']} gets"]


def of_looks(scores: Iterable[Mapping[str, Any]]) -> list[str]:
    """How often the samples were looked at, by whichever of these scores, all on one task, knows of most."""
    looks = max((each["looks"] for each in scores if each.get("looks")), key=_times, default=None)
    return [f"{told(looks)}; the more looks, the less an interval says"] if looks else []


def _times(looks: Mapping[str, Any]) -> int:
    return int(looks["times"])


def sides(scores: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Of a comparison by judges, or a round of many, what is known of every side, as scores have it, by the name it has
    in verdicts.
    """
    if "entrants" in scores:
        return dict(scores["entrants"])
    names = {"a": scores["model"]["source"], "b": scores["against"]["source"]}
    return {name: scores.get("contestants", {}).get(side, {}) for side, name in names.items()}


def share(scores: Mapping[str, Any]) -> float | None:
    """Of the samples, how many stand in what the model was trained on here; None where nothing of that is known."""
    found = (scores.get("contamination") or {}).get("share")
    return None if found is None else float(found)


def brief(share: float | None) -> str:
    """The same in a few words, for a row of a table."""
    return "training data unknown" if share is None else f"{share:.1%} in its training data here"


def of_training(scores: Mapping[str, Any]) -> list[str]:
    """As `lines`, without the looks."""
    found, words = scores.get("contamination"), list[str]()
    if found and "contaminated" in found:
        ways = f"{found['same']} the same, {found['near']} nearly, {found['run']} by {IN_A_ROW} words in a row"
        of = f"{found['contaminated']} of {found['samples']} samples ({found['share']:.1%})"
        words.append(f"in the training data ({many(found['records'], 'record')}): {of}: {ways}")
        for name, each in (found.get("without") or {}).items():
            interval = f"[{each['low']:.3f}, {each['high']:.3f}]"
            words.append(f"without these, {name} {each['value']:.3f}  95 % {interval}  n {each['n']}")
        if found["contaminated"] and not found.get("without"):
            words.append("without these there is no score: too few samples are left, or it was measured elsewhere")
        if (examples := found.get("examples")) and examples["contaminated"]:
            known = examples["contaminated"]
            shown = many(examples["shown"], "example")
            words.append(f"of {shown} shown, {known} {form(known, 'is', 'are')} in the training data")
    return words + [f"training data unknown: {each}" for each in (found or {}).get("unknown", ())]
