"""Cases: somebody asks what we did (a provider's inquiry, an audit), and until that ends nothing it is about may go.

    cases = Cases.read(ledger)
    cases.standing     # {index of the opening: Case}
    cases.standing[12].touches("openai/gpt-4@azure")

A case is known by the index of the entry that opened it. It is about makers, sources, or all ('*').

Predicates: `https://trueseed.dev/case/v1` {"state", "said", "documents", "at"} with "about" (it opens) or "case" (it
goes on); `https://trueseed.dev/case-end/v1` {"case", "state", "said", "documents", "at"}, signed by the reviewer.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from trueseed.errors import Broken
from trueseed.ledger.log import Entry, Ledger
from trueseed.ledger.statement import CASE, CASE_END

OPENED: Final = "opened"
GOING_ON: Final = ("investigating", "changes requested")
ENDS: Final = ("reinstated", "terminated")
ALL: Final = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One signed statement of a case. entry: its index. documents: (name, sha256)."""

    entry: int
    state: str
    said: str
    documents: tuple[tuple[str, str], ...]
    at: str

    def to_json(self) -> dict[str, Any]:
        documents = [{"name": name, "sha256": sha256} for name, sha256 in self.documents]
        return {"entry": self.entry, "state": self.state, "said": self.said, "documents": documents, "at": self.at}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """about: makers ('openai'), sources ('openai/gpt-4@api'), or '*' for everything. statements: oldest first."""

    index: int
    about: tuple[str, ...]
    statements: tuple[Statement, ...]

    @property
    def state(self) -> str:
        return self.statements[-1].state

    @property
    def ended(self) -> bool:
        return self.state in ENDS

    def touches(self, source: str) -> bool:
        return ALL in self.about or source in self.about or source.partition("/")[0] in self.about

    def to_json(self) -> dict[str, Any]:
        told = [each.to_json() for each in self.statements]
        return {"case": self.index, "about": list(self.about), "state": self.state, "statements": told}

    def __str__(self) -> str:
        about = ", ".join("everything" if each == ALL else each for each in self.about)
        return f"case {self.index} about {about} ({self.state} since {self.statements[-1].at})"


class Cases:
    """The cases of a log, entry by entry."""

    def __init__(self) -> None:
        self.all: dict[int, Case] = {}

    @classmethod
    def read(cls, ledger: Ledger | Iterable[Entry]) -> "Cases":
        """Raises `Broken` when the ledger changed underneath, or a statement is malformed."""
        made = cls()
        for entry in ledger.entries() if isinstance(ledger, Ledger) else ledger:
            made.see(entry)
        return made

    @property
    def standing(self) -> dict[int, Case]:
        return {index: case for index, case in self.all.items() if not case.ended}

    def see(self, entry: Entry) -> None:
        if entry.predicate_type not in (CASE, CASE_END):
            return
        said = _statement(entry)
        if entry.predicate_type == CASE and said.state == OPENED:
            self.all[entry.index] = Case(index=entry.index, about=_about(entry), statements=(said,))
            return
        case = self.all.get(entry.predicate["case"]) if isinstance(entry.predicate.get("case"), int) else None
        if case is None or case.ended:
            raise Broken(f"the statement in entry {entry.index} is about no case that is open")
        self.all[case.index] = replace(case, statements=(*case.statements, said))


def _statement(entry: Entry) -> Statement:
    states = ENDS if entry.predicate_type == CASE_END else (OPENED, *GOING_ON)
    match entry.predicate:
        case {"state": str(state), "said": str(said), "at": str(at), "documents": list(documents)} if state in states:
            try:
                named = tuple((str(each["name"]), str(each["sha256"])) for each in documents)
            except (KeyError, TypeError) as err:
                raise Broken(f"the case statement in entry {entry.index} names documents that are none") from err
            return Statement(entry=entry.index, state=state, said=said, documents=named, at=at)
    raise Broken(f"the case statement in entry {entry.index} is malformed")


def _about(entry: Entry) -> tuple[str, ...]:
    match entry.predicate.get("about"):
        case [_, *_] as about if all(isinstance(each, str) for each in about):
            return tuple(about)
    raise Broken(f"the case that entry {entry.index} opens does not say what it is about")
