"""How often a held-out set was looked at: every step that measured somebody on it, counted from the log alone.

    looks = looks_at(task.digest, lineage)
    str(looks)        # 'looked at 14 times by 6 students and 2 others since 2026-11-30'

Whoever chooses among models by their scores on one set learns the set, without a sample of it in the training data
(adaptive overfitting: Dwork et al. 2015). A score's interval knows nothing of that: it is one look's. What only reads
scores that are there (comparing, a leaderboard, judges) is no further look, nor is the same command given again, which
measures nothing. Deleting scores, or the set, takes no look back.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from trueseed.core.plural import many
from trueseed.ledger.lineage import Edge, Lineage
from trueseed.ledger.log import Entry

MEASURING = frozenset({"score", "evaluate", "baseline"})  # steps that ask a model what a set holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """times: steps that measured a model on the set. students: models among them that were trained here; others: all
    else. since: the day when the set was frozen, '' when the log does not know it.
    """

    times: int
    students: int
    others: int
    since: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        who = many(self.students, "student") + (f" and {many(self.others, 'other')}" if self.others else "")
        since = f" since {self.since}" if self.since else ""
        return f"looked at {many(self.times, 'time')} by {who}{since}"


def looks_at(held_out: str, lineage: Lineage, *, now_by: str = "", trained: bool = False) -> Looks:
    """held_out: digest of the artifact. now_by: who looks at this moment, whose step is not closed yet: the digest of
    its weights, or its source; trained: whether it was trained here.
    """
    makers = lineage.makers(held_out)
    steps = {edge.index: edge for edge in lineage.edges() if _is_look(edge, held_out)}
    seen = dict(_whom(edge, lineage) for edge in steps.values())
    if now_by:
        seen[now_by] = trained
    return Looks(
        times=len(steps) + bool(now_by),
        students=sum(seen.values()),
        others=len(seen) - sum(seen.values()),
        since=str(makers[0].predicate["at"])[:10] if makers else "",
    )


def told(said: Mapping[str, Any]) -> str:
    """Of looks as they stand in scores."""
    return str(Looks(**said))


def _is_look(edge: Edge, held_out: str) -> bool:
    read = edge.input.digest == held_out and edge.role == "input"
    return read and edge.step in MEASURING and edge.output.kind == "scores"


def _whom(edge: Edge, lineage: Lineage) -> tuple[str, bool]:
    """Who was measured, by its weights or else by its source, and whether it was trained here."""
    entry = next(each for each in lineage.makers(edge.output.digest) if each.index == edge.index)
    weights = [each["digest"] for each in entry.predicate["inputs"] if each["kind"] == "weights"]
    if not weights:
        return next(_asked(entry), ""), False
    return weights[-1], is_trained(weights[-1], lineage)


def is_trained(weights: str, lineage: Lineage) -> bool:
    """Whether a step here made them by training."""
    return any(maker.predicate["effect"] == "train" for maker in lineage.makers(weights))


def _asked(entry: Entry) -> Iterator[str]:
    for each in entry.predicate["asks"]:
        yield str(each["source"])
