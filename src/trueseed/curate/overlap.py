"""Records that share words with the prompts of evaluation, in the question or in the answer."""

from collections.abc import Iterable, Sequence

from trueseed.core.records import Record
from trueseed.curate.drop import Drop
from trueseed.similarity import NearIndex, OverlapIndex
from trueseed.similarity.held_out import HeldOut

NEAR = 0.7  # resemblance of two prompts, in runs of two words


def overlap(held_out: Iterable[str], n: int, records: Sequence[Record]) -> list[Drop | None]:
    """held_out: prompts without their constraints, which are alike on purpose. n: words in a row that count."""
    prompts = sorted(set(held_out))
    runs, near = OverlapIndex(prompts, n=n), NearIndex(NEAR, n=2)
    for prompt in prompts:
        near.add(prompt, prompt)
    return [_judge(record, runs, near) for record in records]


def repeated(held_out: HeldOut, records: Sequence[Record]) -> list[Drop | None]:
    """Records that are a held-out sample or nearly are: just those with which the door lets nobody train."""
    return [
        next((Drop("held out", f"{leak.how} as sample {leak.sample!r} of {of}") for of, leak in found), None)
        for found in map(held_out.leaks, records)
    ]


def _judge(record: Record, runs: OverlapIndex, near: NearIndex) -> Drop | None:
    prompt = str(record.task.get("prompt") or record.messages[0].content)
    for text in (prompt, record.answer):
        if shared := runs.shared(text):
            return Drop("held out", f"shares {shared!r}")
    if alike := near.nearest(prompt):
        return Drop("held out", f"asks like {alike[0]!r}")
    return None
