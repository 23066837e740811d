"""Training and validation: all records of one prompt go to the same side, so that validation asks something new."""

from collections.abc import Sequence
from random import Random

from trueseed.core.records import Record


def split(validation: float, seed: int, records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """Training and validation records, each in the given order.

    Whole prompts, drawn with `seed`, go to validation until it has the share `validation` of the records (rounded up,
    unless the share is 0), but never all of them.
    """
    prompts = [_prompt(record) for record in records]
    order = sorted(set(prompts))
    Random(seed).shuffle(order)
    chosen: set[str] = set()
    count = 0
    for prompt in order[:-1]:
        if count >= validation * len(records):
            break
        chosen.add(prompt)
        count += prompts.count(prompt)
    sides = list(zip(prompts, records, strict=True))
    return [r for p, r in sides if p not in chosen], [r for p, r in sides if p in chosen]


def _prompt(record: Record) -> str:
    return str(record.task.get("prompt") or record.messages[0].content)
