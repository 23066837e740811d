"""What a checkable constraint is: a kind and its arguments.

A kind is one pure function, `fault`: it reads an answer and says what is wrong with it, or "" when nothing is. The same
sentence is the reason of a rejection and what a teacher is told when it is asked to repair its answer. A second one,
`doomed`, reads the beginning of an answer and says whether it is lost already, so that nobody waits for the rest.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

import regex

Args = Mapping[str, Any]

# Which constraints can stand together is decided by family (see `task.together`).
Family = Literal["length", "count", "case", "words", "opening", "ending", "inline", "whole"]


def _as_they_are(args: Args) -> Mapping[str, str]:
    return {name: str(value) for name, value in args.items()}


def _never(_: str, **__: Any) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """fault: `fault(answer, **args)` is "" or one sentence; it never raises, whatever the answer.

    doomed: `doomed(beginning, **args)` is true only when every answer that begins so has a fault, the beginning by
    itself included. False says nothing: how an answer ends can mostly not be foreseen.

    draw: arguments (plain JSON) from a random stream. wordings: the instruction as people would put it, with `{name}`
    for what `say` makes of the arguments. how: the same spelt out step by step, for a teacher that needs it.
    """

    name: str
    family: Family
    fault: Callable[..., str]
    draw: Callable[[Random], Args]
    wordings: tuple[str, ...]
    how: str
    doomed: Callable[..., bool] = _never
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


def unlike(shape: str) -> Callable[..., bool]:
    """A `doomed`: what was said begins nothing of this shape, in which `{name}` stands for an argument.

    shape: a regular expression that every right answer matches as a whole, once blanks around it are taken off.
    """

    def doomed(beginning: str, **args: Any) -> bool:
        wanted = re.sub(r"{([a-z]+)}", lambda name: re.escape(str(args[name[1]])), shape)
        return regex.fullmatch(wanted, beginning.strip(), regex.DOTALL, partial=True) is None

    return doomed


def nothing(_: Random) -> Args:
    """Draws no arguments."""
    return {}
