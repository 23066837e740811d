"""JSON in an answer, and which of its fields are right.

>>> compared({"name": "Ada", "tags": ["a"]}, found('Here: {"name": "Ada", "tags": ["b"]}'))
Fields(right=1, expected=2, given=2)
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

NOTHING = object()  # no JSON was found; null is a value


@dataclass(frozen=True, slots=True)
class Fields:
    """How many leaves are right, of those expected and those given. A leaf is a value that holds no other."""

    right: int
    expected: int
    given: int


def found(answer: str) -> Any:
    """The JSON that is all of the answer, or in its first fence that holds any, or its first object or list that
    reads; `NOTHING` where there is none.
    """
    pieces = [answer, *re.findall(r"```(?:json)?\s*\n(.*?)```", answer, re.DOTALL | re.IGNORECASE)]
    for piece in pieces:
        try:
            return json.loads(piece, parse_constant=_no_number)
        except (ValueError, RecursionError):
            continue
    decoder = json.JSONDecoder(parse_constant=_no_number)
    for start in re.finditer(r"[{\[]", answer):
        try:
            return decoder.raw_decode(answer, start.start())[0]
        except (ValueError, RecursionError):
            continue
    return NOTHING


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def compared(expected: Any, given: Any) -> Fields:
    """Leaf by leaf, by their places. Strings are compared without blanks around them, numbers by value."""
    ours, theirs = dict(_leaves(expected)), dict(_leaves(given)) if given is not NOTHING else {}
    right = sum(place in theirs and _same(leaf, theirs[place]) for place, leaf in ours.items())
    return Fields(right, len(ours), len(theirs))


def _leaves(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, dict) and value:
        for name, part in value.items():
            yield from _leaves(part, (*place, name))
    elif isinstance(value, list) and value:
        for position, part in enumerate(value):
            yield from _leaves(part, (*place, position))
    else:
        yield place, value


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return one.strip() == other.strip()
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)
