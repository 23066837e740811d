"""Are the documents in order? By schema and by sense, all faults at once, each with the file it is in.

    findings = check(Path("work/terms"))

An *error* must be mended; a *note* is something that a reader should know, such as a text without a digest.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from fnmatch import fnmatchcase
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from trueseed.core.canonical import file_digest
from trueseed.errors import ConfigError
from trueseed.terms import files
from trueseed.terms.catalog import SHIPPED
from trueseed.terms.model import Document, Letter, Relation, Use


@dataclass(frozen=True, slots=True)
class Finding:
    level: Literal["error", "note"]
    file: str
    text: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def check(extra: Path | None, shipped: Path = SHIPPED) -> list[Finding]:
    """What is wrong or worth knowing of the shipped documents and of those in folder `extra` (which may be absent)."""
    found: list[Finding] = []
    ours = _read(shipped, found)
    theirs = _read(extra, found) if extra is not None and extra.is_dir() else {}
    documents = {document.id: (file, document) for file, document in (*ours.items(), *theirs.items())}
    for file, document in ours.items():
        if Path(file).stem != document.id:
            found.append(Finding("error", file, f"is named otherwise than its id {document.id!r}; rename the file"))
    for file, document in (*ours.items(), *theirs.items()):
        found += [Finding("error", file, text) for text in faults(document, documents.keys())]
        found += [Finding("note", file, text) for text in _unknowns(document)]
    found += [Finding("error", file, text) for file, text in _overlaps(ours)]
    found += [Finding("error", file, text) for file, text in _overlaps(theirs)]
    found += _overrides(ours, theirs)
    found += _papers(theirs, extra.parent) if extra is not None else ()
    return sorted(found, key=lambda each: (each.level, each.file, each.text))


def told(findings: list[Finding], *, notes: bool) -> list[str]:
    """For people: errors, notes if they are wanted, and the sum."""
    errors = sum(each.level == "error" for each in findings)
    shown = [each for each in findings if notes or each.level == "error"]
    lines = [f"{each.level}: {each.file}: {each.text}" for each in shown]
    sums = [f"{n} {word}{'' if n == 1 else 's'}" for n, word in ((errors, "error"), (len(findings) - errors, "note"))]
    return [*lines, f"{', '.join(sums)}{'' if notes else ' (--notes shows them)'}"]


def _read(folder: Path, found: list[Finding]) -> dict[str, Document]:
    """By file. What cannot be read, and a second document with an id, become errors."""
    read: dict[str, Document] = {}
    for path in sorted(folder.rglob("*.toml")):
        try:
            document = files.read(path)
        except ConfigError as err:
            found.append(Finding("error", str(path), str(err).removeprefix(f"{path}: ").removeprefix(f"{path}, ")))
            continue
        if any(document.id == other.id for other in read.values()):
            found.append(Finding("error", str(path), f"a second document with id {document.id!r}; rename one"))
        read[str(path)] = document
    return read


def faults(document: Document, ids: Collection[str] = ()) -> Iterator[str]:
    """What is wrong with one document by itself. ids: of those that it may incorporate."""
    for identity in document.incorporates:
        if identity not in ids:
            yield f"incorporates {identity!r}, which is not there"
    until = document.effective_until
    if until is not None and isinstance(document.effective_from, date) and until <= document.effective_from:
        yield f"ends on {until}, not after it began on {document.effective_from}"
    if document.letter is not None:
        yield from _faults_of_letter(document, document.letter)
        return
    if not document.was_read:
        if not document.reported:
            yield "was not read, and does not say what is reported of it (reported)"
        if not document.settle_by:
            yield "was not read, and does not say what reading would settle it (settle_by)"
        return
    answered = {use for permission in document.permissions for use in permission.uses}
    for use in Use:
        if use not in answered and use not in document.silent_on:
            yield f"says nothing of {use.value}; give it a permission, or name it in silent_on if the text is silent"
        if document.permission(use, Relation.OUTPUT) and use in document.silent_on:
            yield f"is silent on {use.value} and gives it a permission; keep one"
    for permission in document.permissions:
        if permission.verdict == "unknown" and not permission.settle_by:
            uses = ", ".join(permission.uses)
            yield f"leaves {uses} open and does not say what would settle it (settle_by)"


def _faults_of_letter(document: Document, letter: Letter) -> Iterator[str]:
    """A written permission permits, on days, what it names, and rests on a paper."""
    if document.text_sha256 not in letter.evidence:
        yield f"its evidence is {letter.evidence}, which is not the file with the digest in text_sha256"
    if document.verification != "primary":
        yield "is a letter, so somebody read it: verification is primary, or it permits nothing"
    if document.effective_from == "unknown":
        yield "does not say from which day it permits (effective_from)"
    if not document.permissions or not document.sources:
        yield "permits nothing: name sources, and permissions with uses"
    if any(permission.verdict not in ("permit", "conditional") for permission in document.permissions):
        yield "is a letter and refuses something, which a letter cannot: leave that out, or write a document of its own"
    if document.binds_earlier or document.model_routes or document.incorporates or document.regions:
        yield "is a letter: binds_earlier, model_routes, incorporates and regions mean nothing in it"


def _unknowns(document: Document) -> Iterator[str]:
    """What the reader of the text did not note down: shown, never made up."""
    if document.letter is not None and document.effective_until is None:
        yield "a written permission without a last day (effective_until)"
    if document.verification not in ("own", "unread"):
        missing = [
            key for key in ("text_sha256", "effective_from", "observed_at") if getattr(document, key) == "unknown"
        ]
        if missing:
            yield f"not known: {', '.join(missing)}"
        vague = sum(permission.clause == "unknown" for permission in document.permissions)
        if vague and document.was_read:
            yield f"{vague} of {len(document.permissions)} permissions without a section"
    if not document.was_read:
        yield f"refuses everything: {document.verification}"


def _overlaps(read: Mapping[str, Document]) -> Iterator[tuple[str, str]]:
    """Two texts of which none is nearer to a source, on the same day."""
    general = [(file, document) for file, document in read.items() if document.letter is None]
    for (_, one), (file, other) in combinations(general, 2):
        shared = next(
            (f"{a} and {b}" if a != b else a for a in one.sources for b in other.sources if _same(a, b)), None
        )
        if shared and not set(one.features) ^ set(other.features) and _meet(one, other):
            yield file, f"governs {shared} on days on which {one.id!r} does; give one of them an effective_until"


def _same(one: str, other: str) -> bool:
    if len(one.replace("*", "")) != len(other.replace("*", "")):
        return False
    return one == other or fnmatchcase(one.replace("*", "x"), other) or fnmatchcase(other.replace("*", "x"), one)


def _meet(one: Document, other: Document) -> bool:
    def begins(document: Document) -> date:
        return document.effective_from if isinstance(document.effective_from, date) else date.min

    first, second = sorted((one, other), key=begins)
    return first.effective_until is None or begins(second) < first.effective_until


def _overrides(ours: Mapping[str, Document], theirs: Mapping[str, Document]) -> Iterator[Finding]:
    shipped = {document.id for document in ours.values()}
    for file, document in theirs.items():
        if document.letter is not None:
            if document.id in shipped:
                yield Finding(
                    "error", file, f"a letter cannot take the place of the shipped {document.id!r}; rename it"
                )
        elif document.id not in shipped:
            yield Finding("note", file, "stands beside the shipped ones: the operator's own document")
        else:
            yield Finding("note", file, f"takes the place of the shipped {document.id!r}: the operator's own reading")


def _papers(theirs: Mapping[str, Document], workspace: Path) -> Iterator[Finding]:
    """The letters themselves are there, as they were read."""
    for file, document in theirs.items():
        if document.letter is None:
            continue
        paper = workspace / document.letter.evidence
        if not paper.is_file():
            yield Finding("error", file, f"its evidence {paper} is missing; `trueseed terms permit` keeps it there")
        elif file_digest(paper) != document.text_sha256:
            yield Finding("error", file, f"its evidence {paper} was changed")
