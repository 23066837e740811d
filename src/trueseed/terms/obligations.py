"""Obligations of several sources, put together: their union, whether one student can meet them all, and how.

Names can be at odds (none begins with two words), and so can licences: one that allows nothing to be added bears no
other's, and no other's restrictions. A notice, a file or words to display can always be added.

>>> llama = Obligation(kind="name-begins-with", value="Llama", text="…", document="a")
>>> plain = Obligation(kind="name-without", value="Llama", text="…", document="b")
>>> smallest({"one": [llama], "two": [plain], "three": []}, None)
('one', 'two')
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from typing import Any, TypeVar

from trueseed.errors import Refused
from trueseed.terms.model import Obligation, ObligationKind, plain

Party = TypeVar("Party", bound=Hashable)
_ABOUT_NAMES: tuple[ObligationKind, ...] = ("name-begins-with", "name-begins-otherwise", "name-without")
_ABOUT_LICENCES: tuple[ObligationKind, ...] = ("licensed-as", "pass-on-restrictions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """What meets all obligations at once. begins_with: what the student's name must begin with, '' for anything;
    without: what must not be in it. licence: the only one it may be handed out under, '' when there is a choice.
    notice: sentences for a file `Notice`. files, terms: to hand on with the student. display: words to show.
    restrictions: to make part of the student's own terms. to_do: what people have to see to.
    """

    begins_with: str
    without: tuple[str, ...]
    licence: str
    notice: tuple[str, ...]
    files: tuple[str, ...]
    terms: tuple[str, ...]
    display: tuple[str, ...]
    restrictions: tuple[str, ...]
    to_do: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {str(name): value for name, value in plain(self).items()}

    def lines(self) -> list[str]:
        """For people; nothing is said of what is not owed."""
        name = [f"a name that begins with {self.begins_with!r}"] if self.begins_with else []
        name += [f"a name without {word!r}" for word in self.without]
        return [
            *name,
            *([f"handed out under {self.licence} alone"] if self.licence else []),
            *(f"in a file named Notice: {sentence}" for sentence in self.notice),
            *(f"with it: {file}" for file in (*self.files, *self.terms)),
            *(f"shown: {words}" for words in self.display),
            *(f"in its own terms: {restriction}" for restriction in self.restrictions),
            *self.to_do,
        ]


def union(groups: Iterable[Iterable[Obligation]]) -> tuple[Obligation, ...]:
    return tuple(sorted({obligation for group in groups for obligation in group}))


def smallest(parties: Mapping[Party, Iterable[Obligation]], student_name: str | None) -> tuple[Party, ...]:
    """The fewest parties whose obligations no student meets together (or none of `student_name`), first in order of
    several; () when all can be met.
    """
    binding = {party: binds for party, owed in parties.items() if (binds := [o for o in owed if _can_bind(o)])}
    if _can_be_met(list(chain(*binding.values())), student_name):
        return ()
    for size in range(1, len(binding) + 1):
        for chosen in combinations(binding, size):
            if not _can_be_met(list(chain(*(binding[party] for party in chosen))), student_name):
                return chosen
    raise AssertionError("all of them together cannot be met")


def conflict(obligations: Iterable[Obligation], student_name: str | None) -> tuple[Obligation, ...]:
    """The smallest set that no student meets (or none that is called `student_name`); () when there is none."""
    return smallest({each: (each,) for each in sorted(set(obligations))}, student_name)


def solve(obligations: Iterable[Obligation], student_name: str | None) -> Solution:
    """What meets all of them. Raises `Refused` naming the smallest conflicting set."""
    wanted = union([obligations])
    if chosen := conflict(wanted, student_name):
        raise Refused(describe(chosen, student_name))

    def values(*kinds: ObligationKind) -> tuple[str, ...]:
        return tuple(dict.fromkeys(o.value or o.text for o in wanted if o.kind in kinds))

    named = {o for o in wanted if o.kind in ("mark-changes", "delete-on-termination", "regions", "users", "conduct")}
    return Solution(
        begins_with=max(values("name-begins-with"), key=len, default=""),
        without=values("name-without"),
        licence=next(iter(values("licensed-as")), ""),
        notice=values("notice-file"),
        files=values("ship-file"),
        terms=values("pass-on-terms"),
        display=values("display"),
        restrictions=tuple(dict.fromkeys(o.text for o in wanted if o.kind == "pass-on-restrictions")),
        to_do=tuple(dict.fromkeys(o.text for o in sorted(named) if o.text))
        + tuple(o.text for o in wanted if o.kind == "name-begins-otherwise"),
    )


def describe(chosen: Sequence[Obligation], student_name: str | None) -> str:
    """A conflict in words."""
    asked = "; ".join(f"{o.document}, clause {o.clause}: {o.text}" for o in chosen)
    if student_name is not None and _can_be_met(chosen, None):
        return f"the name {student_name!r} does not meet what is asked of it ({asked}); choose another name"
    what = "name" if any(o.kind in _ABOUT_NAMES for o in chosen) else "licence"
    return f"no {what} meets all of this at once ({asked}); leave out one of these sources"


def _can_bind(obligation: Obligation) -> bool:
    return obligation.kind in _ABOUT_NAMES or obligation.kind in _ABOUT_LICENCES


def _can_be_met(obligations: Sequence[Obligation], name: str | None) -> bool:
    return _can_be_named(obligations, name) and _can_be_licensed(obligations)


def _can_be_named(obligations: Sequence[Obligation], name: str | None) -> bool:
    """Whether `name` meets all of them, or, for None, some name does: the longest beginning asked for is the test."""
    beginnings = [o.value for o in obligations if o.kind == "name-begins-with"]
    candidate = name if name is not None else max(beginnings, key=len, default="")
    folded = candidate.casefold()
    without = [o.value.casefold() for o in obligations if o.kind == "name-without"]
    otherwise = tuple(o.value.casefold() for o in obligations if o.kind == "name-begins-otherwise")
    return (
        all(candidate.startswith(word) for word in beginnings)
        and not any(word in folded for word in without)
        and not folded.startswith(otherwise)
    )


def _can_be_licensed(obligations: Sequence[Obligation]) -> bool:
    """One licence that allows nothing to be added, at most, and then no other document's restrictions."""
    only = [o for o in obligations if o.kind == "licensed-as"]
    restricted = [o for o in obligations if o.kind == "pass-on-restrictions"]
    return len({o.value for o in only}) <= 1 and not any(
        restriction.document != licence.document for licence in only for restriction in restricted
    )
