"""No kind of constraint may crowd out the others."""

from collections import Counter
from collections.abc import Sequence
from random import Random
from statistics import median

from trueseed.core.records import Record
from trueseed.curate.drop import Drop


def balance(most: float, seed: int, records: Sequence[Record]) -> list[Drop | None]:
    """Keeps of each kind at most `most` times the median count of the kinds; which ones is drawn with `seed`.

    The kind of a record is that of its first constraint; records without constraints stay.
    """
    kinds = [_kind(record) for record in records]
    counts = Counter(kind for kind in kinds if kind)
    if not counts:
        return [None] * len(records)
    cap = max(1, round(most * median(counts.values())))
    over = {kind: count - cap for kind, count in counts.items() if count > cap}
    drops: list[Drop | None] = [None] * len(records)
    for kind in sorted(over):
        places = [place for place, found in enumerate(kinds) if found == kind]
        for place in Random(f"{seed} {kind}").sample(places, over[kind]):
            drops[place] = Drop("balance", f"{counts[kind]} of kind {kind!r}, at most {cap}")
    return drops


def _kind(record: Record) -> str:
    constraints = record.task.get("constraints") or [{"kind": ""}]
    return str(constraints[0]["kind"])
