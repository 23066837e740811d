"""Answers that teach nothing good: too short or long, refusals, cut off, repetitive, wrong by their own constraints."""

import re
from collections.abc import Sequence

from trueseed.checks import Task, refuses, unsound
from trueseed.checks.text import lines, words
from trueseed.core.records import Record
from trueseed.core.settings import Settings
from trueseed.curate.drop import Drop

_UNFINISHED = re.compile(r"(,|\b(and|or|the|a|an|of|to|in|with|for|is|are|that|because))$", re.IGNORECASE)


class Config(Settings):
    """Bounds in words."""

    min_words: int = 3
    max_words: int = 300


def quality(config: Config, records: Sequence[Record]) -> list[Drop | None]:
    return [_judge(config, record) for record in records]


def _judge(config: Config, record: Record) -> Drop | None:
    answer, length = record.answer, len(words(record.answer))
    if length < config.min_words:
        return Drop("too short", f"{length} words")
    if length > config.max_words:
        return Drop("too long", f"{length} words")
    if refuses(answer):
        return Drop("refusal", answer[:60])
    if is_cut_off(answer):
        return Drop("cut off", answer[-60:])
    if "constraints" in record.task:
        faults = Task.from_json(record.task).faults(answer)
        return Drop("wrong", "; ".join(faults.values())) if faults else None
    empty = unsound(answer, record.messages[0].content)
    return Drop("unsound", empty) if empty else None


def is_cut_off(answer: str) -> bool:
    """Whether it seems to stop in the middle: a comma or a small connecting word at the end, or an open code fence.

    A missing full stop proves nothing: lists, titles and signatures end without one.
    """
    found = lines(answer)
    if not found:
        return False
    return bool(_UNFINISHED.search(found[-1])) or answer.count("```") % 2 == 1
