"""A provider's inquiry, or anybody's audit, as a case: signed statements with documents, from opening to end.

    case = open_case(workspace, ["openai"], Word(said="asked about December"), [Path("letter.pdf")])
    note(workspace, case.index, Word(said="answered", state="investigating"), [])
    close(workspace, case.index, Word(said="account restored", state="reinstated"), [Path("mail.txt")])

While it is open nothing that it touches is deleted (`ledger/retention`). The reviewer ends it, over a document.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trueseed.core.canonical import now
from trueseed.errors import ConfigError
from trueseed.evidence import Document, faults, keep
from trueseed.ledger.cases import ALL, ENDS, GOING_ON, OPENED, Case, Cases
from trueseed.ledger.holds import held
from trueseed.ledger.lineage import Lineage
from trueseed.ledger.log import Ledger
from trueseed.ledger.statement import CASE, CASE_END, subject
from trueseed.terms.model import parse_source
from trueseed.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What is said of a case. state: that it is in from now on, '' for the one it was in."""

    said: str
    state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A case as it stands. touched: artifacts (`kind:digest`) that may not be deleted while it is open. holds: on the
    makers that it is about, as this ledger has them. faults: documents that are missing or changed.
    """

    case: Case
    touched: tuple[str, ...]
    holds: tuple[str, ...]
    faults: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        beside = {"touched": list(self.touched), "holds": list(self.holds), "faults": list(self.faults)}
        return {**self.case.to_json(), **beside}


def open_case(workspace: Workspace, about: Sequence[str], word: Word, files: Iterable[Path] = ()) -> Case:
    """Opens a case about makers, sources, or '*'. Raises `ConfigError` for a name that is none, or a file that cannot
    be read.
    """
    if not about:
        raise ConfigError("say what the case is about: a maker, a source, or '*' for everything")
    for name in about:
        if name != ALL:
            parse_source(name if "/" in name else f"{name}/any@api")
    documents = keep(workspace.folder, files)
    said = {"about": sorted(set(about)), **_said(word.said, OPENED, documents)}
    entry = workspace.ledger.append(CASE, _subjects(documents), said)
    return Cases.read(workspace.ledger).all[entry.index]


def note(workspace: Workspace, index: int, word: Word, files: Iterable[Path] = ()) -> Case:
    """Adds a statement. Raises `ConfigError` when the case is not open, or for a state or file that is none."""
    case = _open(Cases.read(workspace.ledger), index)
    state = word.state.replace("-", " ") or (case.state if case.state in GOING_ON else GOING_ON[0])
    if state not in GOING_ON:
        raise ConfigError(f"a case is not {state!r} between opening and end; choose {_either(GOING_ON)}")
    return _append(workspace, index, Word(said=word.said, state=state), files)


def close(workspace: Workspace, index: int, word: Word, files: Sequence[Path]) -> Case:
    """Ends a case, with the reviewer's key, and lets go of what was kept for it alone.

    Raises `ConfigError` when it is not open, no document shows the end, or the reviewer's key is not here.
    """
    _open(Cases.read(workspace.ledger), index)
    if word.state not in ENDS:
        raise ConfigError(f"a case does not end as {word.state!r}; choose {_either(ENDS)}")
    if not files:
        raise ConfigError("give the document that shows how the case ended, with --document")
    closed = _append(workspace, index, word, files)
    workspace.retained.sweep()
    return closed


def standing(workspace: Workspace, index: int) -> Standing:
    """Raises `ConfigError` when there is no such case."""
    case = Cases.read(workspace.ledger).all.get(index)
    if case is None:
        raise ConfigError(f"there is no case {index} in {str(workspace.folder)!r}; `trueseed case list` names them")
    lineage = Lineage.read(workspace.ledger)
    touched = tuple(
        f"{made.kind}:{made.digest[:12]}"
        for made in lineage.artifacts()
        if any(case.touches(source) for source, _, _ in lineage.labels(made.digest))
    )
    holds = sorted({maker for maker, _ in held(workspace.ledger) if case.touches(f"{maker}/")})
    documents = [Document(name=name, sha256=sha256) for each in case.statements for name, sha256 in each.documents]
    return Standing(case=case, touched=touched, holds=tuple(holds), faults=tuple(faults(workspace.folder, documents)))


def _append(workspace: Workspace, index: int, word: Word, files: Iterable[Path]) -> Case:
    def still_open(ledger: Ledger) -> None:
        _open(Cases.read(ledger), index)

    documents = keep(workspace.folder, files)
    said = {"case": index, **_said(word.said, word.state, documents)}
    if word.state in ENDS:
        workspace.ledger.append(CASE_END, _subjects(documents), said, role="reviewer", unless=still_open)
    else:
        workspace.ledger.append(CASE, _subjects(documents), said, unless=still_open)
    return Cases.read(workspace.ledger).all[index]


def _open(cases: Cases, index: int) -> Case:
    case = cases.all.get(index)
    if case is None:
        known = ", ".join(str(each) for each in cases.standing) or "none is open"
        raise ConfigError(f"there is no case {index}; open: {known}")
    if case.ended:
        raise ConfigError(f"{case} ended; open a new one")
    return case


def _said(said: str, state: str, documents: Sequence[Document]) -> dict[str, object]:
    return {"state": state, "said": said, "documents": [each.to_json() for each in documents], "at": now()}


def _subjects(documents: Sequence[Document]) -> list[dict[str, object]]:
    return [subject("document", sha256) for sha256 in sorted({each.sha256 for each in documents})]


def _either(names: Sequence[str]) -> str:
    return " or ".join(repr(name) for name in names)
