"""A row of a published file, and what tells which kind it is.

A question of several turns is several samples: the first goes by the question's own id, later ones by `81/2`.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from trueseed.evaluate.verdicts import Verdict

FOLLOWS = "follows"  # in a question's row: the sample whose answer comes before it
REFERENCE = "reference"  # in a question's row: an answer that judges are shown
OURS = "trueseed"  # in a row that we wrote: whose model spoke; others do not read it

Row = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer as a file has it. sample: its id. generator: the file's name for the model. instruction: what was
    asked, where the file says so. said: what we wrote of its origin.
    """

    sample: str
    output: str
    generator: str
    instruction: str = ""
    dataset: str = ""
    said: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One judge's mark for one answer, more being better."""

    sample: str
    model: str
    judge: str
    score: float
    reason: str = ""


Judged = Verdict | Mark | None  # None: the judge gave no verdict


@dataclass(frozen=True, kw_only=True)
class Reader(Generic[T]):
    """How one kind of row is read. format: its name. fields: that it must have; fits: what else tells it. read: raises
    `ValueError` for a row that is wrong.
    """

    format: str
    fields: tuple[str, ...]
    read: Callable[[Row], Iterable[T]]
    fits: Callable[[Row], bool] = lambda _: True


def reader_of(row: Any, readers: Sequence[Reader[T]]) -> Reader[T] | None:
    """The first that the row is for."""
    if not isinstance(row, Mapping):
        return None
    return next((each for each in readers if row.keys() >= set(each.fields) and each.fits(row)), None)


def lacking(row: Any, readers: Sequence[Reader[Any]]) -> str:
    """Why none of them is for the row, in words."""
    if not isinstance(row, Mapping):
        return "it is not a JSON object"
    told = []
    for each in readers:
        missing = [name for name in each.fields if name not in row]
        told.append(
            f"{each.format} needs {', '.join(missing)}" if missing else f"{each.format}: its members are others"
        )
    return "; ".join(told)


def turn_id(question: Any, turn: int) -> str:
    """turn: from 1."""
    return str(question) if turn == 1 else f"{question}/{turn}"


def first_turn(sample: str, known: Container[str]) -> str:
    """The sample that its conversation began with, of those that are known; itself, where it is no later turn of one.

    >>> first_turn("81/2", {"81", "81/2"}), first_turn("HumanEval/2", {"HumanEval/1", "HumanEval/2"})
    ('81', 'HumanEval/2')
    """
    question, slash, turn = sample.rpartition("/")
    return question if slash and turn.isdigit() and question in known else sample


def question_id(row: Row, *names: str) -> int | str:
    """Under the first of these names that the row has. Raises `ValueError` where it is no number and no string."""
    name = next((each for each in names if each in row), names[-1])
    found = row.get(name)
    if isinstance(found, bool) or not isinstance(found, int | str) or found == "":
        raise ValueError(f"{name!r} must be a number or a string, not {found!r}"[:300])
    return found


def chosen_turns(row: Row) -> list[Any]:
    """Those of the first choice; none where it has none."""
    choices = row["choices"]
    first = choices[0] if isinstance(choices, list) and choices else None
    turns = first.get("turns") if isinstance(first, Mapping) else None
    return turns if isinstance(turns, list) else []


def text(row: Row, name: str) -> str:
    """Raises `ValueError` where it is no string, or empty."""
    if not isinstance(found := row.get(name), str) or not found:
        raise ValueError(f"{name!r} must be a string that is not empty, not {found!r}"[:300])
    return found


def origin_in(row: Row) -> Mapping[str, Any]:
    found = row.get(OURS)
    return found if isinstance(found, Mapping) else {}
