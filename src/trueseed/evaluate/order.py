"""Whether a judge goes by the order in which two answers are shown, and not by the answers.

    swayed(verdicts)      # by judge: pairs on which its verdict turned with the order, and all that it decided

Of a pair whose winner is whoever was shown first, or whoever was shown last, both orders together say nothing: half a
win for each. Where that is most of what a judge decided, ratings of its verdicts would be nearly even, and nearly
certain of it, whatever the answers are; so they are none, as there is no win rate then (`pairwise`).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trueseed.evaluate.verdicts import Verdict
from trueseed.teachers.rubric import MARGIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Swayed:
    """turned: of the pairs decided, those on which the verdict turned with the order."""

    turned: int
    decided: int

    def told(self, judge: str) -> str:
        return (
            f"the judge {judge} has no voice: on {self.turned} of {self.decided} pairs of answers that it decided the "
            f"verdict turned with their order, so the order decides, and not the answers"
        )


def swayed(verdicts: Iterable[Verdict]) -> dict[str, Swayed]:
    """By judge, of those who turned on more than half of what they decided. No verdict comes twice."""
    pairs: defaultdict[str, defaultdict[tuple[str, frozenset[str]], list[Verdict]]]
    pairs = defaultdict(lambda: defaultdict(list))
    for each in verdicts:
        pairs[each.judge][each.sample, frozenset((each.a, each.b))].append(each)
    found = {judge: Swayed(turned=sum(map(_turned, met.values())), decided=len(met)) for judge, met in pairs.items()}
    return {judge: each for judge, each in found.items() if 2 * each.turned > each.decided}


def _turned(said: Sequence[Verdict]) -> bool:
    """Whether the same place won in both orders; by chances, only where both together are even."""
    won = [each.first_won for each in said if each.order]
    if len(won) < 2 or None in won or won[0] != won[1]:
        return False
    name = said[0].a
    worth = sum(each.worth if each.a == name else 1 - each.worth for each in said) / len(said)
    return abs(worth - 0.5) <= MARGIN
