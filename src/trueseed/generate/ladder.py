"""How a teacher is asked: plainly first, then with more and more help, always in its own words.

    plain    the task as the student will see it
    worked   after another task of the same kind that the teacher itself solved
    spelt    with the form spelt out step by step
    repair   shown its own failing answer, and told what is wrong with it
    formed   the bare prompt; its words are put into the form afterwards (see `formed`)

A record keeps the plain question and the accepted answer, never the help; its task says which rung was used.
"""

from dataclasses import dataclass
from random import Random
from typing import Literal

from trueseed.checks import Task, how
from trueseed.core.chat import Message, Watch
from trueseed.core.records import Record
from trueseed.generate.formed import Sentences, wanted

Rung = Literal["plain", "worked", "spelt", "repair", "formed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Help:
    """What may be shown besides the task. parents: ids of the records that are shown. watch: when enough was said."""

    messages: tuple[Message, ...]
    watch: Watch
    shown: str = ""  # words that the answer must not copy
    parents: tuple[str, ...] = ()


def plain(task: Task) -> Help:
    return Help(messages=task.messages, watch=task)


def worked(task: Task, example: Record) -> Help:
    shown = example.answer
    return Help(messages=(*example.messages, *task.messages), watch=task, shown=shown, parents=(example.id,))


def spelt(task: Task) -> Help:
    advice = " ".join(how(constraint) for constraint in task.constraints)
    return Help(messages=(Message("user", f"{task.text}\n\n{advice}"),), watch=task, shown=advice)


def bare(task: Task, rng: Random) -> Help:
    """Asks for a few sentences and takes as many as the form wants. Where one would do it takes one to three: a student
    must not learn to be short.
    """
    n = wanted(task.constraints[0])
    asked = "two or three" if n <= 2 else str(n)
    watch = Sentences(n if n > 1 else rng.randint(1, 3))
    return Help(messages=(Message("user", f"{task.prompt} Answer in {asked} short sentences."),), watch=watch)


def repair(task: Task, failed: Record, faults: dict[str, str]) -> Help:
    wrong = "; ".join(faults.values())
    advice = " ".join(how(constraint) for constraint in task.constraints)
    told = f"That is not right yet: {wrong}. {advice} Write the answer again, and nothing else."
    messages = (*failed.messages, Message("user", told))
    return Help(messages=messages, watch=task, shown=told, parents=(failed.id,))
