"""A provider's written permission: kept, written down as a terms document, and relied on by the reviewer's signature.

    made = permit(workspace, Path("letter.pdf"), Wanted(provider="OpenAI", sources=("openai/*@api",), ...))
    rely_on(workspace, made.id)     # of a document that somebody wrote by hand

It permits named uses of named sources on named days, and only what its provider could permit: see `terms/rules`. A
change of the document makes another digest, which has to be signed anew.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from trueseed.core.canonical import now
from trueseed.core.durable import write_atomic
from trueseed.errors import ConfigError
from trueseed.evidence import Document as Paper
from trueseed.evidence import faults, keep
from trueseed.ledger.log import Ledger
from trueseed.ledger.permitted import Relied, relied_on
from trueseed.ledger.statement import PERMISSION, subject
from trueseed.terms import check, files
from trueseed.terms.answers import relation_named, use_named
from trueseed.terms.catalog import Catalog
from trueseed.terms.model import WORDS, Document, Relation, Use
from trueseed.workspace import Workspace

TERMS = "terms"  # folder in a workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the letter says. sources: patterns. last: the last day on which it holds, None when it names none. project:
    for which alone, '' for all. because: what it permits, in our own words. clause: where in it.
    """

    provider: str
    sources: tuple[str, ...]
    uses: tuple[Use, ...]
    relations: tuple[Relation, ...] = WORDS
    since: date
    last: date | None = None
    project: str = ""
    lasting: bool = False
    features: tuple[str, ...] = ()
    because: str
    clause: str = "unknown"
    identity: str = ""


def wanted(
    *, uses: Iterable[str], relations: Iterable[str], sources: Iterable[str], features: Iterable[str], **said: Any
) -> Wanted:
    """From words; relations: the first three when none is given. Raises `ConfigError` for a use, a relation or a last
    day that is none.
    """
    if said.get("last") and said["last"] < said["since"]:
        raise ConfigError(f"it ends on {said['last']}, before it begins on {said['since']}")
    return Wanted(
        uses=tuple(use_named(each) for each in uses),
        relations=tuple(relation_named(each) for each in relations) or WORDS,
        sources=tuple(sources),
        features=tuple(features),
        **said,
    )


def permit(workspace: Workspace, letter: Path, wanted: Wanted) -> Document:
    """Keeps the letter, and writes what it permits into the workspace's terms folder. Nothing relies on it yet.

    Raises `ConfigError` when the letter cannot be read, its provider has no text for these sources, or a document with
    that id is there.
    """
    _must_be_of_its_texts(wanted, workspace.catalog)
    (paper,) = keep(workspace.folder, [letter])
    identity = wanted.identity or f"letter-{_word(wanted.provider)}-{wanted.since}-{paper.sha256[:8]}"
    path = workspace.folder / TERMS / f"{identity}.toml"
    if path.exists() or identity in {each.id for each in workspace.catalog.documents}:
        raise ConfigError(f"there is a document {identity!r} already; give another id with --id, or change that file")
    text = _toml(replace(wanted, identity=identity), paper, paper.kept_in(Path()).as_posix())
    document = files.parse(text, str(path))
    if wrong := [each for each in check.faults(document) if each]:
        raise ConfigError(f"that is no permission as it stands: {wrong[0]}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text)
    workspace.read_terms()
    return workspace.catalog.document(identity)


def rely_on(workspace: Workspace, identity: str) -> Relied:
    """Signs a letter's document with the reviewer's key; from then on it binds.

    Raises `ConfigError` when it is no letter, its paper is missing or changed, it was signed before, or the reviewer's
    key is not here.
    """
    document = workspace.catalog.document(identity)
    if document.letter is None:
        raise ConfigError(
            f"{identity!r} is no written permission: it has no `letter`; a text binds without a signature"
        )
    if wrong := [*faults(workspace.folder, [paper_of(document)]), *check.faults(document)]:
        raise ConfigError(f"{identity!r} cannot be relied on: {wrong[0]}")

    def not_yet(ledger: Ledger) -> None:
        if known := relied_on(ledger).get(document.digest):
            raise ConfigError(f"it is relied on already: {known}")

    paper = paper_of(document)
    said = {
        "document": document.id,
        "terms": document.digest,
        "provider": document.provider,
        "evidence": paper.to_json(),
        "at": now(),
    }
    about = [subject("terms", document.digest), subject("evidence", paper.sha256)]
    workspace.ledger.append(PERMISSION, about, said, role="reviewer", unless=not_yet)
    workspace.read_terms()
    return relied_on(workspace.ledger)[document.digest]


def paper_of(document: Document) -> Paper:
    """The letter itself."""
    assert document.letter is not None
    return Paper(name=document.letter.evidence.removeprefix("evidence/"), sha256=document.text_sha256)


def standing(workspace: Workspace, identity: str) -> dict[str, Any]:
    """How a letter stands, as plain JSON."""
    document = workspace.catalog.document(identity)
    relied = relied_on(workspace.ledger).get(document.digest)
    return {
        "document": document.id,
        "terms": document.digest,
        "whose": document.whose,
        "uses": [use.value for said in document.permissions for use in said.uses],
        "sources": list(document.sources),
        "effective_from": str(document.effective_from),
        "effective_until": str(document.effective_until or ""),
        "project": document.letter.project if document.letter else "",
        "relied_on": {"entry": relied.entry, **relied.to_json()} if relied else None,
    }


def lines(workspace: Workspace, identity: str) -> list[str]:
    """The same for people."""
    said = standing(workspace, identity)
    until = f" until {said['effective_until']}, that day not included" if said["effective_until"] else ""
    project = f", for the project {said['project']!r} alone" if said["project"] else ""
    signed = said["relied_on"]
    return [
        f"{identity}: {said['whose']}",
        f"  permits {', '.join(said['uses'])} of {', '.join(said['sources'])}{project}",
        f"  from {said['effective_from']}{until}",
        f"  signed by the reviewer on {signed['at']} (entry {signed['entry']})"
        if signed
        else f"  signed by no reviewer, so it permits nothing yet: `trueseed terms rely-on {identity}`",
    ]


def _must_be_of_its_texts(wanted: Wanted, catalog: Catalog) -> None:
    """A name that none of the sources' texts bears would lift nothing."""
    known = {
        text.provider
        for document in catalog.documents
        if document.letter is None and any(_meet(a, b) for a in wanted.sources for b in document.sources)
        for text in document.texts
    }
    if known and wanted.provider.casefold() not in {each.casefold() for each in known}:
        raise ConfigError(
            f"--from {wanted.provider!r}: no text for {', '.join(wanted.sources)} is that provider's, so it could "
            f"permit nothing there; the texts are of {', '.join(sorted(known))}"
        )


def _meet(one: str, other: str) -> bool:
    return fnmatchcase(one, other) or fnmatchcase(other, one)


def _word(text: str) -> str:
    return "".join(each if each.isalnum() else "-" for each in text.casefold()).strip("-") or "provider"


def _toml(wanted: Wanted, paper: Paper, place: str) -> str:
    until = wanted.last + timedelta(days=1) if wanted.last else None
    head: list[tuple[str, Any]] = [
        ("id", wanted.identity),
        ("provider", wanted.provider),
        ("document", f"Written permission of {wanted.provider}"),
        ("version", wanted.since.isoformat()),
        ("route", "letter"),
        ("sources", wanted.sources),
        ("features", wanted.features),
        ("effective_from", wanted.since),
        ("effective_until", until),
        ("observed_at", date.fromisoformat(now()[:10])),
        ("text_sha256", paper.sha256),
        ("where_read", f"{paper.name}, kept in the workspace as {place}"),
        ("verification", "primary"),
        ("on_termination", "unknown"),
        ("reaches_models_trained_on_output", "unknown"),
    ]
    letter = [("evidence", place), ("project", wanted.project), ("lasting", wanted.lasting)]
    permission: list[tuple[str, Any]] = [
        ("uses", wanted.uses),
        ("relations", wanted.relations),
        ("verdict", "permit"),
        ("clause", wanted.clause),
        ("because", wanted.because),
    ]
    lines = [*_pairs(head), "", "[letter]", *_pairs(letter), "", "[[permissions]]", *_pairs(permission)]
    return "\n".join(lines) + "\n"


def _pairs(pairs: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """What is empty is left out."""
    for name, value in pairs:
        match value:
            case None | "" | False | ():
                continue
            case True:
                yield f"{name} = true"
            case date():
                yield f"{name} = {value.isoformat()}"
            case tuple():
                yield f"{name} = [{', '.join(_string(str(each)) for each in value)}]"
            case _:
                yield f"{name} = {_string(value)}"


def _string(text: str) -> str:
    """JSON's strings are TOML's, but for one character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
