"""Examples before the question: drawn once for a task, from a file apart, and never from its samples.

    shots = drawn(pool, taken, n=5, seed=7)           # what is asked and what is right, in the order of the file
    in_text(shots, "Question: 2 + 2?\\nAnswer:")       # one text, as lm-evaluation-harness puts them
    in_chat(shots)                                    # a question and an answer by turns

All samples of a task get the same examples, so that two models, and two samples, are asked alike, and what all begin
with is read once.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from trueseed.core.chat import Message
from trueseed.core.settings import Settings
from trueseed.errors import ConfigError
from trueseed.similarity.leaks import words_of

BETWEEN = "\n\n"  # two examples of a text
SHOT = "shot:"  # the id of an example begins with it, so that it is taken for no sample


class Fewshot(Settings):
    """n: so many examples. file: apart from the task's own, with rows as the scorer reads them. source: where it comes
    from, when that is not where the task does.
    """

    n: int = Field(ge=1)
    file: str
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Shot:
    """prompt: what was asked, in the task's template. right: the answer that is shown. row: as the file has it."""

    id: str
    prompt: str
    right: str
    row: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, "prompt": self.prompt, "right": self.right, "row": dict(self.row)}


def drawn(pool: Sequence[Shot], samples: Iterable[str], *, n: int, seed: int) -> tuple[Shot, ...]:
    """n of the pool that ask nothing a sample asks, in the pool's order. samples: the questions of all samples.

    Raises `ConfigError` when there are too few.
    """
    taken = {words_of(prompt) for prompt in samples}
    free = [at for at, shot in enumerate(pool) if words_of(shot.prompt) not in taken]
    if len(free) < n:
        inside = f"; {len(pool) - len(free)} ask what a sample of the task asks" if len(free) < len(pool) else ""
        raise ConfigError(
            f"fewshot: {n} examples are wanted, and the file has {len(free)} that can be shown{inside}. Take fewer, or "
            f"a file with more"
        )
    return tuple(pool[at] for at in sorted(random.Random(seed).sample(free, n)))


def in_text(shots: Sequence[Shot], prompt: str) -> str:
    """Each example is its prompt, a blank, its answer."""
    shown = (f"{shot.prompt}{'' if shot.prompt[-1:].isspace() else ' '}{shot.right}" for shot in shots)
    return BETWEEN.join((*shown, prompt))


def in_chat(shots: Sequence[Shot]) -> tuple[Message, ...]:
    return tuple(turn for shot in shots for turn in (Message("user", shot.prompt), Message("assistant", shot.right)))
