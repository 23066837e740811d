"""Is everything still what the ledger says? Statements, signatures, tree, artifacts, relayed calls, the cache."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from trueseed.core.artifacts import Artifact, Kind, Store, check
from trueseed.core.durable import state_folder
from trueseed.core.plural import many
from trueseed.errors import Broken, ConfigError
from trueseed.evidence import Document
from trueseed.evidence import faults as faults_of_documents
from trueseed.ledger import batches
from trueseed.ledger.calls import CALLS, faults
from trueseed.ledger.cases import Cases
from trueseed.ledger.destroyed import Destroyed
from trueseed.ledger.lineage import Lineage
from trueseed.ledger.log import Ledger
from trueseed.ledger.permitted import relied_on
from trueseed.ledger.retention import Retention
from trueseed.ledger.sources import Runs
from trueseed.ledger.verify import Report, verify_ledger
from trueseed.ledger.withdrawals import LEAVE_OUT
from trueseed.report import reach
from trueseed.report.proof import terms_named
from trueseed.teachers.answers.cache import CACHE
from trueseed.terms.catalog import Catalog
from trueseed.workspace import KEPT


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """ledger: what re-reading the log found. artifacts: how many were re-hashed. findings: what is broken.
    notes: what is not broken, but worth knowing.
    """

    ledger: Report
    artifacts: int
    findings: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def broken(self) -> bool:
        return bool(self.findings)

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": "broken" if self.broken else "whole",
            "ledger": self.ledger.to_json(),
            "artifacts": self.artifacts,
            "findings": list(self.findings),
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        head = "BROKEN" if self.broken else "whole"
        told = [
            f"{head}: {many(self.ledger.size, 'ledger entry', 'ledger entries')}, "
            f"{many(self.artifacts, 'artifact')} re-read; root {self.ledger.root}"
        ]
        told += [f"  compared with: {text}" for text in self.ledger.evidence]
        return told + [f"  broken: {text}" for text in self.findings] + [f"  note: {text}" for text in self.notes]


def workspace(
    folder: Path, *, since: Path | None = None, keys: Sequence[str] = (), authorities: Sequence[Path] = ()
) -> Verification:
    """Re-reads a workspace. Raises `ConfigError` when there is none, or `since` or a key cannot be read."""
    if not (folder / "ledger").is_dir():
        raise ConfigError(f"there is no ledger in {str(folder)!r}; name a workspace that a run made")
    try:
        checkpoint = since.read_text() if since else None
        texts = [Path(key).read_text().strip() if Path(key).is_file() else key for key in keys]
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"--since or --key cannot be read: {err}") from err
    ledger = verify_ledger(
        folder / "ledger", state=state_folder(), since=checkpoint, keys=texts or None, authorities=authorities
    )
    findings, notes = list(ledger.findings), list(ledger.notes)
    checked = 0
    if not findings:
        log = Ledger.open(folder / "ledger", state=state_folder())
        checked = _artifacts(folder, log, findings, notes)
        findings += faults(log, folder / CALLS)
        findings += batches.faults(log, folder / CACHE, "answers")
        _answers(folder, log, findings, notes)
        findings += _documents(folder, log)
        findings += _letters(folder, log)
        _completeness(log, findings, notes)
    return Verification(ledger=ledger, artifacts=checked, findings=tuple(findings), notes=tuple(notes))


def _answers(folder: Path, ledger: Ledger, findings: list[str], notes: list[str]) -> None:
    """Cache files that are gone: they may be, but for what an open case or a hold touches."""
    gone, runs, retention = Destroyed.read(ledger), Runs.read(ledger).sources(), Retention()
    retention.catch_up(ledger)
    for path, entry in batches.missing(ledger, folder / CACHE, "answers"):
        if stone := gone.answers.get(path.stem):
            notes.append(f"{path.name} was {stone}; entry {entry} still says what it held")
        elif because := retention.forbids(runs[path.stem]):
            findings.append(f"{path} was deleted, and must stay: {because}")
        else:
            notes.append(f"{path} was deleted; entry {entry} still says what it held")
    for run, stone in gone.answers.items():
        if (folder / CACHE / f"{run}.jsonl").exists():
            findings.append(f"cache file {run}.jsonl is still here, and was {stone}; give `trueseed destroy` again")


def _completeness(ledger: Ledger, findings: list[str], notes: list[str]) -> None:
    """What makers counted of our calls, as far as anybody asked them."""
    try:
        reached = reach.read(ledger.entries())
    except Broken as err:
        findings.append(str(err))
    else:
        notes += [*reached.evidence, *reached.notes]


def _documents(folder: Path, ledger: Ledger) -> Iterator[str]:
    """Of every case: what was shown must be here as it was."""
    for case in Cases.read(ledger).all.values():
        named = (Document(name=name, sha256=sha256) for each in case.statements for name, sha256 in each.documents)
        yield from (f"case {case.index}: {fault}" for fault in faults_of_documents(folder, named))


def _letters(folder: Path, ledger: Ledger) -> Iterator[str]:
    """Each that the reviewer signed is here as it was; and no step went by one that nobody had signed."""
    try:
        signed = relied_on(ledger)
    except Broken as err:
        yield str(err)
        return
    papers = {Document(name=name, sha256=sha256) for name, sha256 in (each.evidence for each in signed.values())}
    yield from (f"a provider's letter: {fault}" for fault in faults_of_documents(folder, sorted(papers, key=str)))
    resting = (
        {document.digest: document.letters for document in Catalog.load(kept=folder / KEPT).kept if document.letters}
        if any(b'"letters":' in path.read_bytes() for path in (folder / KEPT).glob("*.json"))
        else {}
    )
    for entry in ledger.entries() if resting else ():
        for terms in sorted(terms_named(entry) & resting.keys()):
            for letter in resting[terms]:
                known = signed.get(letter.digest)
                if known is None or known.entry > entry.index:
                    yield f"entry {entry.index} goes by the letter {letter.id}, which no reviewer had signed by then"


def _left_out(ledger: Ledger, lineage: Lineage, store: Store) -> Iterator[str]:
    """Whether what steps made to leave recalled records out is free of them."""
    makers = (maker for made in lineage.artifacts() for maker in lineage.makers(made.digest))
    if any(maker.predicate["step"] == LEAVE_OUT for maker in makers):
        from trueseed.rebuild import leave_out

        yield from leave_out.faults(ledger, lineage, store)


def _artifacts(folder: Path, ledger: Ledger, findings: list[str], notes: list[str]) -> int:
    lineage = Lineage.read(ledger)
    store = Store(folder / "store")
    gone = Destroyed.read(ledger).artifacts
    promised = [(made.kind, made.digest) for made in lineage.artifacts()]
    for kind, digest in promised:
        place = store.folder / kind / digest
        if stone := gone.get(digest):
            told = f"{kind}:{digest[:12]} is still here, and was {stone}; give `trueseed destroy` again"
            findings.append(told) if place.exists() else notes.append(f"{kind}:{digest[:12]} was {stone}")
            continue
        try:
            check(Artifact(cast(Kind, kind), digest, place, {}))
        except Broken as err:
            findings.append(str(err))
    findings += [] if findings else _left_out(ledger, lineage, store)
    for path in sorted(store.folder.glob("*/*")):
        if not path.name.startswith(".") and (path.parent.name, path.name) not in promised:
            notes.append(f"{path.parent.name}:{path.name[:12]} is in the store, but no step in the ledger made it")
    return sum(digest not in gone for _, digest in promised)
