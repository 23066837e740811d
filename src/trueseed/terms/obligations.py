"""Obligations of several sources, put together: their union, and whether one student can meet them all.

Only names can be at odds: a notice can always be added, a name cannot begin with two words.

>>> llama = Obligation(kind="name-begins-with", value="Llama", text="…", document="a")
>>> plain = Obligation(kind="name-without", value="Llama", text="…", document="b")
>>> [o.document for o in conflict([llama, plain], None)]
['a', 'b']
"""

from collections.abc import Iterable, Sequence
from itertools import combinations

from trueseed.errors import Refused
from trueseed.terms.model import Obligation


def union(groups: Iterable[Iterable[Obligation]]) -> tuple[Obligation, ...]:
    return tuple(sorted({obligation for group in groups for obligation in group}))


def conflict(obligations: Iterable[Obligation], student_name: str | None) -> tuple[Obligation, ...]:
    """The smallest set that no name meets (or that `student_name` does not); () when there is none."""
    about_names = sorted(o for o in set(obligations) if o.kind in ("name-begins-with", "name-without"))
    for size in range(1, len(about_names) + 1):
        for chosen in combinations(about_names, size):
            if not _can_be_named(chosen, student_name):
                return chosen
    return ()


def solve(obligations: Iterable[Obligation], student_name: str | None) -> tuple[Obligation, ...]:
    """All of them, sorted, each once. Raises `Refused` naming the smallest conflicting set."""
    wanted = union([obligations])
    if chosen := conflict(wanted, student_name):
        raise Refused(describe(chosen, student_name))
    return wanted


def describe(chosen: Sequence[Obligation], student_name: str | None) -> str:
    """A conflict in words."""
    asked = "; ".join(f"{o.document}, clause {o.clause}: {o.text}" for o in chosen)
    if student_name is not None and _can_be_named(chosen, None):
        return f"the name {student_name!r} does not meet what is asked of it ({asked}); choose another name"
    return f"no name meets all of this at once ({asked}); leave out one of these sources"


def _can_be_named(obligations: Sequence[Obligation], name: str | None) -> bool:
    """Whether `name` meets all of them, or, for None, some name does: the longest beginning asked for is the test."""
    beginnings = [o.value for o in obligations if o.kind == "name-begins-with"]
    candidate = name if name is not None else max(beginnings, key=len, default="")
    without = [o.value for o in obligations if o.kind == "name-without"]
    return all(candidate.startswith(word) for word in beginnings) and not any(
        word.casefold() in candidate.casefold() for word in without
    )
