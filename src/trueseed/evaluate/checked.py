"""A judge that is no model: of two answers that one is better which holds against the sample's own check.

    judge = Checked()
    judge.compare([Pair(question="2 + 2?", first="4", second="5", row={"check": {"scorer": "number", "target": 4}})])

It is exact, asks nobody and costs nothing, where what is asked can be checked: by any scorer that reads answers. Two
answers that both hold, or both do not, tie. It says nothing of a question without a check.
"""

from collections.abc import Iterable, Iterator

from trueseed.evaluate.scorers import is_right
from trueseed.teachers.judge import Pair, Ruling, Side

SOURCE = "own/checks"
SCOPE = "questions with a `check`"
BY_CONSTRUCTION = (
    "these pairs were told apart by the same checks, so it agrees by construction: its card shows that it works, and "
    "not that a check asks for what you want"
)


class Checked:
    """See the module."""

    source = SOURCE

    def compare(self, pairs: Iterable[Pair]) -> Iterator[tuple[int, Ruling[Side]]]:
        """See `Compares`."""
        for place, pair in enumerate(pairs):
            yield place, _ruling(pair)


def _ruling(pair: Pair) -> Ruling[Side]:
    if not pair.row.get("check"):
        return Ruling(fault="out_of_scope", told="this question has no `check`")
    row = {"prompt": pair.question, "check": pair.row["check"]}
    first, second = (is_right(row, answer) for answer in (pair.first, pair.second))
    side: Side = "tie" if first == second else "first" if first else "second"
    held = {(True, True): "both hold", (False, False): "neither holds"}.get((first, second), f"only the {side} holds")
    return Ruling(value=side, reason=f"{held} against the check {pair.row['check']['scorer']!r}", read="check")
