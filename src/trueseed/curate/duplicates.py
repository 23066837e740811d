"""Answers that were given before, exactly or nearly. The first stays."""

from collections.abc import Sequence

from trueseed.core.records import Record
from trueseed.curate.drop import Drop
from trueseed.similarity import NearIndex, fingerprint


def duplicates(threshold: float, records: Sequence[Record]) -> list[Drop | None]:
    """threshold: resemblance of answers (shared runs of three words) from which they are the same."""
    seen: dict[str, str] = {}
    index = NearIndex(threshold)
    drops: list[Drop | None] = []
    for position, record in enumerate(records):
        print_ = fingerprint(record.answer)
        if print_ in seen:
            drops.append(Drop("duplicate", f"of {seen[print_]}"))
        elif near := index.nearest(record.answer):
            drops.append(Drop("near duplicate", f"{near[1]:.2f} like {near[0].partition(' ')[0]}"))
        else:
            drops.append(None)
            index.add(f"{record.id} {position}", record.answer)
        seen.setdefault(print_, record.id)
    return drops
