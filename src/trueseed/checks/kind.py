"""What a checkable constraint is: a kind and its arguments.

A kind is one pure function, `fault`: it reads an answer and says what is wrong with it, or "" when nothing is. The same
sentence is the reason of a rejection and what a teacher is told when it is asked to repair its answer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

Args = Mapping[str, Any]

# Which constraints can stand together is decided by family (see `task.together`).
Family = Literal["length", "count", "case", "words", "opening", "ending", "inline", "whole"]


def _as_they_are(args: Args) -> Mapping[str, str]:
    return {name: str(value) for name, value in args.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """fault: `fault(answer, **args)` is "" or one sentence; it never raises, whatever the answer.

    draw: arguments (plain JSON) from a random stream. wordings: the instruction as people would put it, with `{name}`
    for what `say` makes of the arguments. how: the same spelt out step by step, for a teacher that needs it.
    """

    name: str
    family: Family
    fault: Callable[..., str]
    draw: Callable[[Random], Args]
    wordings: tuple[str, ...]
    how: str
    say: Callable[[Args], Mapping[str, str]] = _as_they_are


@dataclass(frozen=True, slots=True)
class Constraint:
    """One thing that an answer must satisfy."""

    kind: str
    args: Args

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "args": dict(self.args)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Constraint":
        return cls(value["kind"], value["args"])


def nothing(_: Random) -> Args:
    """Draws no arguments."""
    return {}
