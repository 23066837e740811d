"""What nothing scores on a task: a choice made by chance, or an empty answer.

    floor(task)        # {"acc": {"value": 0.25, "by": "a choice by chance"}}

A small student often stands no higher, and then the number says nothing of it: two models on the floor are not thereby
equal.
"""

from typing import Any

from trueseed.evaluate.task import Task

CHANCE, EMPTY = "a choice by chance", "an empty answer"


def floor(task: Task) -> dict[str, dict[str, Any]]:
    """By metric. Nothing for texts, of which no likelihood is nobody's. Code that nobody wrote is not executed: it
    passes no test.
    """
    if task.scorer.needs == "text":
        return {}
    if task.scorer.needs == "choices":
        chances = [1 / len(sample.row["choices"]) for sample in task.samples]
        return {name: {"value": sum(chances) / len(chances), "by": CHANCE} for name in task.scorer.metrics}
    if task.scorer.executes:
        return {name: {"value": 0.0, "by": EMPTY} for name in task.scorer.metrics}
    counts = [task.scorer.score(sample.row, [""]).counts for sample in task.samples]
    found = {}
    for name in task.scorer.metrics:
        pairs = [each[name] for each in counts if name in each]
        top, out_of = (sum(side) for side in zip(*pairs, strict=True)) if pairs else (0.0, 0.0)
        found[name] = {"value": top / out_of if out_of else 0.0, "by": EMPTY}
    return found
