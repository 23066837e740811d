"""Withdrawing a source, or a part of it, after the fact: what it touched, what must stop, what a rebuild needs.

A recall appends one statement, signed by the reviewer. Every later door looks for it, and a running server looks again,
so nothing else has to be told. What it reaches is quarantined, not deleted, until the reviewer releases the recall.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from trueseed import outgoing
from trueseed.core.artifacts import Artifact
from trueseed.core.canonical import now
from trueseed.errors import ConfigError
from trueseed.evidence import keep
from trueseed.ledger.lineage import Lineage
from trueseed.ledger.statement import RECALL_RELEASE, WITHDRAWAL, subject
from trueseed.ledger.withdrawals import Recalls, Withdrawal
from trueseed.outgoing import HandedOut, Server
from trueseed.teachers.answers import holdings
from trueseed.terms.answers import use_named
from trueseed.terms.ending import Ending, of_artifact
from trueseed.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What of a source is withdrawn; everything, when nothing is given. terms: id or digest of a document. asked: the
    first and the last day (UTC), '-' for an open end. asking_goes_on: the source may be asked again all the same.
    """

    terms: str = ""
    use: str = ""
    project: str = ""
    asked: tuple[str, str] = ("-", "-")
    asking_goes_on: bool = False


WHOLE = Part()
STOPS = frozenset({"records", "dataset", "signals", "weights", "scores"})  # kinds of artifacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far a source reached. touched: artifacts whose labels name it; stops: those that may no longer be trained on,
    compared with, served or published; stands: the other artifacts, from which a rebuild starts. endings: for each
    touched one, what the end of the source's licence would ask of it. servers: that speak now, and stop. exports: what
    left the workspace, where no recall gets.
    """

    source: str
    touched: tuple[Artifact, ...]
    stops: tuple[Artifact, ...]
    stands: tuple[Artifact, ...]
    endings: tuple[Ending, ...]
    servers: tuple[Server, ...]
    exports: tuple[HandedOut, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "touched": [str(artifact) for artifact in self.touched],
            "stops": [str(artifact) for artifact in self.stops],
            "stands": [str(artifact) for artifact in self.stands],
            "servers": [server.to_json() for server in self.servers],
            "exports": [each.to_json() for each in self.exports],
            "when_the_licence_ends": [
                {"artifact": str(artifact), **ending.to_json()}
                for artifact, ending in zip(self.touched, self.endings, strict=True)
            ],
        }


def reach(workspace: Workspace, source: str, part: Part = WHOLE) -> Reach:
    """What a recall would stop. Raises `ConfigError` when nothing in this workspace names the source, or the part."""
    return _reach(workspace, withdrawal(workspace, source, "", part))


def recall(workspace: Workspace, source: str, reason: str, part: Part = WHOLE) -> Reach:
    """Appends the withdrawal and returns what it stops. Raises as `reach`."""
    made = withdrawal(workspace, source, reason, part)
    reached = _reach(workspace, made)
    about = [subject(artifact.kind, artifact.digest) for artifact in reached.stops]
    workspace.ledger.append(WITHDRAWAL, about, made.to_json(), role="reviewer")
    return reached


def release(workspace: Workspace, source: str, evidence: Path, entries: Collection[int] = ()) -> tuple[Withdrawal, ...]:
    """Ends a recall of `source` that stands, with the reviewer's key; of several, those in `entries`. evidence: a file
    that shows that the cause ended; it is kept in the workspace under its digest.

    Raises `ConfigError` when no such recall stands, several do and none was named, the file cannot be read or is empty,
    or the reviewer's key is not here.
    """
    ending = _to_be_released(workspace, source, entries)
    (document,) = keep(workspace.folder, [evidence])
    digest = document.sha256
    for each in ending:
        said = {"withdrawal": each.index, "source": source, "evidence": digest, "at": now()}
        workspace.ledger.append(RECALL_RELEASE, [subject("evidence", digest)], said, role="reviewer")
    return ending


def _to_be_released(workspace: Workspace, source: str, entries: Collection[int]) -> tuple[Withdrawal, ...]:
    """Evidence that one cause ended is not taken for another's."""
    standing = {each.index: each for each in Recalls.read(workspace.ledger).standing.values() if each.source == source}
    told = "; ".join(f"--entry {index}: {each}" for index, each in standing.items())
    if not standing:
        raise ConfigError(f"no recall of {source!r} stands in {str(workspace.folder)!r}; there is nothing to release")
    if unknown := sorted(set(entries) - standing.keys()):
        raise ConfigError(f"entry {unknown[0]} is no recall of {source!r} that stands; those that do: {told}")
    if len(standing) > 1 and not entries:
        raise ConfigError(f"{len(standing)} recalls of {source!r} stand; name those whose cause ended: {told}")
    return tuple(each for index, each in standing.items() if not entries or index in entries)


def withdrawal(workspace: Workspace, source: str, reason: str, part: Part) -> Withdrawal:
    """The statement to be made. Raises `ConfigError` for a use, day or document that is none."""
    first, last = (_day(text) for text in part.asked)
    if first and last and last < first:
        raise ConfigError(f"--asked-between {first} {last}: the second day is before the first")
    until = f"{last + timedelta(days=1)}T00:00:00Z" if last else ""
    if part.asking_goes_on and not until:
        until = f"{datetime.now(UTC) + timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}"  # not later
    return Withdrawal(
        index=-1,
        source=source,
        reason=reason,
        at=now(),
        terms=_documents(workspace, part.terms) if part.terms else (),
        use=use_named(part.use).value if part.use else "",
        project=part.project,
        since=f"{first}T00:00:00Z" if first else "",
        until=until,
        asking_goes_on=part.asking_goes_on,
    )


def _documents(workspace: Workspace, named: str) -> tuple[str, ...]:
    """Digests of every version of a document that is known here, or kept, and of those that it binds through."""
    known = (*workspace.catalog.documents, *workspace.catalog.kept)
    found = sorted(
        {each.digest for each in known if named in (each.id, each.digest) or named in [text.id for text in each.texts]}
    )
    if not found:
        workspace.catalog.document(named)  # says what is near
    return tuple(found)


def _day(text: str) -> date | None:
    try:
        return None if text == "-" else date.fromisoformat(text)
    except ValueError as err:
        raise ConfigError(f"--asked-between: {text!r} is not a day; write it as 2026-02-27, or '-' for no end") from err


def _reach(workspace: Workspace, made: Withdrawal) -> Reach:
    lineage, source = Lineage.read(workspace.ledger), made.source
    recalls = Recalls.read(workspace.ledger)
    named = lineage.artifacts_of(source) if made.is_whole else recalls.reaches(made)
    stored = {a.digest: a for a in workspace.store.all() if lineage.maker(a.digest) is not None}
    if not lineage.artifacts_of(source):
        kept = {held.source for held in holdings.of(workspace)}
        known = sorted({label[0] for digest in stored for label in lineage.labels(digest)} | kept)
        if source not in kept:
            raise ConfigError(
                f"nothing here comes from {source!r}; sources of this workspace: {', '.join(known) or 'none'}"
            )
    touched = tuple(artifact for digest, artifact in stored.items() if digest in named)
    return Reach(
        source=source,
        touched=touched,
        stops=tuple(a for a in touched if a.kind in STOPS),
        stands=tuple(artifact for digest, artifact in stored.items() if digest not in named),
        endings=tuple(
            of_artifact([each for each in workspace.labels(a) if each.source == source], a.kind, workspace.catalog)
            for a in touched
        ),
        servers=tuple(
            each
            for each in outgoing.servers(workspace.folder, workspace.ledger)
            if each.inputs & named or (source in each.sources and not each.inputs)
        ),
        exports=tuple(each for each in outgoing.handed_out(workspace.folder, workspace.ledger) if each.inputs & named),
    )
