"""Withdrawing a source, or a part of it, after the fact: what it touched, what must stop, what a rebuild needs.

A recall appends one statement, signed by the reviewer. Every later door looks for it, and a running server looks again,
so nothing else has to be told. What it reaches is quarantined, not deleted, until the reviewer releases the recall.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from trueseed.core.artifacts import Artifact
from trueseed.core.canonical import now
from trueseed.errors import ConfigError
from trueseed.evidence import keep
from trueseed.ledger.lineage import Lineage
from trueseed.ledger.statement import RECALL_RELEASE, WITHDRAWAL, subject
from trueseed.ledger.withdrawals import Recalls, Withdrawal
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far a source reached. touched: artifacts whose labels name it; stops: those that may no longer be trained on,
    served or published; stands: the other artifacts, from which a rebuild starts. endings: for each touched one, what
    the end of the source's licence would ask of it.
    """

    source: str
    touched: tuple[Artifact, ...]
    stops: tuple[Artifact, ...]
    stands: tuple[Artifact, ...]
    endings: tuple[Ending, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "touched": [str(artifact) for artifact in self.touched],
            "stops": [str(artifact) for artifact in self.stops],
            "stands": [str(artifact) for artifact in self.stands],
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


def release(workspace: Workspace, source: str, evidence: Path) -> tuple[Withdrawal, ...]:
    """Ends every recall of `source` that stands, with the reviewer's key. evidence: a file that shows that the cause
    ended; it is kept in the workspace under its digest.

    Raises `ConfigError` when no recall stands, the file cannot be read or is empty, or the reviewer's key is not here.
    """
    standing = tuple(each for each in Recalls.read(workspace.ledger).standing.values() if each.source == source)
    if not standing:
        raise ConfigError(f"no recall of {source!r} stands in {str(workspace.folder)!r}; there is nothing to release")
    (document,) = keep(workspace.folder, [evidence])
    digest = document.sha256
    for each in standing:
        said = {"withdrawal": each.index, "source": source, "evidence": digest, "at": now()}
        workspace.ledger.append(RECALL_RELEASE, [subject("evidence", digest)], said, role="reviewer")
    return standing


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
        stops=tuple(a for a in touched if a.kind in ("records", "dataset", "weights")),
        stands=tuple(artifact for digest, artifact in stored.items() if digest not in named),
        endings=tuple(
            of_artifact([each for each in workspace.labels(a) if each.source == source], a.kind, workspace.catalog)
            for a in touched
        ),
    )
