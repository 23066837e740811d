"""What a score is worth, in words: what of the test the model was trained on, and how often the test was looked at.

Read off scores.json, where `evaluate.contamination` put both, for the command line, comparisons and the report.
"""

from collections.abc import Mapping
from typing import Any

from trueseed.core.plural import form, many
from trueseed.ledger.looks import told
from trueseed.similarity.leaks import IN_A_ROW


def lines(scores: Mapping[str, Any]) -> list[str]:
    """What stands in scores of contamination and looks, in words; nothing for scores of before."""
    sides = scores.get("contestants", {}).values()
    words = of_training(scores) + [f"{side['source']}: {line}" for side in sides for line in of_training(side)]
    looks = max((each["looks"] for each in (scores, *sides) if "looks" in each), key=_times, default=None)
    return words + ([f"{told(looks)}; the more looks, the less an interval says"] if looks else [])


def _times(looks: Mapping[str, Any]) -> int:
    return int(looks["times"])


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
