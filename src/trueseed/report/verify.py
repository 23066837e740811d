"""Is everything still what the ledger says? Statements, signatures, tree, every byte of artifacts, relayed calls.

Also of a usage report, which stands on its own: its signature, its form, and that its sums add up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from trueseed.core.artifacts import Artifact, Kind, Store, check
from trueseed.core.durable import state_folder
from trueseed.errors import Broken, ConfigError
from trueseed.ledger.calls import CALLS, faults
from trueseed.ledger.lineage import Lineage
from trueseed.ledger.log import Ledger
from trueseed.ledger.signing import Key, load
from trueseed.ledger.verify import Report, verify_ledger
from trueseed.teachers.usage_check import Opened
from trueseed.teachers.usage_check import check as check_usage
from trueseed.teachers.usage_report import SIGNER


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
            f"{head}: {self.ledger.size} ledger entries, {self.artifacts} artifacts re-read; root {self.ledger.root}"
        ]
        return told + [f"  broken: {text}" for text in self.findings] + [f"  note: {text}" for text in self.notes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """A usage report that was checked; see `Opened`."""

    opened: Opened

    @property
    def broken(self) -> bool:
        return bool(self.opened.findings)

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": "broken" if self.broken else "whole",
            "findings": list(self.opened.findings),
            "notes": list(self.opened.notes),
            "signed_by": self.opened.signed_by,
            "report": self.opened.report.to_json() if self.opened.report and not self.broken else None,
        }

    def lines(self) -> list[str]:
        head, report = "BROKEN" if self.broken else "whole", self.opened.report
        about = "a usage report"
        if report is not None:
            totals = report.totals
            about += (
                f" on {report.maker!r} in {report.month} by {report.entity!r}, made {report.at}: "
                f"{len(report.lines)} lines, {totals.calls.answered} calls answered, {totals.charged.tokens} tokens, "
                f"{totals.charged.micros / 1e6:.2f} US dollars"
            )
        told = [f"{head}: {about}"] + [f"  broken: {text}" for text in self.opened.findings]
        return told + [f"  note: {text}" for text in self.opened.notes]


def path(place: Path, *, since: Path | None = None, keys: Sequence[str] = ()) -> "Verification | Paper":
    """Re-reads a workspace, or a file that is a usage report. Raises `ConfigError` for anything else."""
    return paper(place, keys) if place.is_file() else workspace(place, since=since, keys=keys)


def paper(file: Path, keys: Sequence[str]) -> Paper:
    """Raises `ConfigError` when it cannot be read, is no usage report, or a key cannot be read."""
    try:
        raw = file.read_bytes()
    except OSError as err:
        raise ConfigError(f"{file} cannot be read: {err.strerror}") from err
    own = load("operator", state_folder() / "keys")
    return Paper(
        opened=check_usage(raw, [Key.parse(text) for text in _key_texts(keys)], own=own.key(SIGNER) if own else None)
    )


def _key_texts(keys: Sequence[str]) -> list[str]:
    """Each a key, or a file that holds one: the first line that is a verifier key, as in a ledger's `keys`."""
    texts = []
    for key in keys:
        try:
            text = Path(key).read_text() if Path(key).is_file() else key
        except (OSError, UnicodeDecodeError) as err:
            raise ConfigError(f"--key cannot be read: {err}") from err
        texts.append(next((line for line in text.splitlines() if line.count("+") >= 2), text.strip()))
    return texts


def workspace(folder: Path, *, since: Path | None = None, keys: Sequence[str] = ()) -> Verification:
    """Re-reads a workspace. Raises `ConfigError` when there is none, or `since` or a key cannot be read."""
    if not (folder / "ledger").is_dir():
        raise ConfigError(f"there is no ledger in {str(folder)!r}; name a workspace that a run made")
    try:
        checkpoint = since.read_text() if since else None
        texts = [Path(key).read_text().strip() if Path(key).is_file() else key for key in keys]
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"--since or --key cannot be read: {err}") from err
    ledger = verify_ledger(folder / "ledger", state=state_folder(), since=checkpoint, keys=texts or None)
    findings, notes = list(ledger.findings), list(ledger.notes)
    checked = 0
    if not findings:
        log = Ledger.open(folder / "ledger", state=state_folder())
        checked = _artifacts(folder, log, findings, notes)
        findings += faults(log, folder / CALLS)
    return Verification(ledger=ledger, artifacts=checked, findings=tuple(findings), notes=tuple(notes))


def _artifacts(folder: Path, ledger: Ledger, findings: list[str], notes: list[str]) -> int:
    lineage = Lineage.read(ledger)
    store = Store(folder / "store")
    promised = [(made.kind, made.digest) for made in lineage.artifacts()]
    for kind, digest in promised:
        place = store.folder / kind / digest
        try:
            check(Artifact(cast(Kind, kind), digest, place, {}))
        except Broken as err:
            findings.append(str(err))
    for path in sorted(store.folder.glob("*/*")):
        if not path.name.startswith(".") and (path.parent.name, path.name) not in promised:
            notes.append(f"{path.parent.name}:{path.name[:12]} is in the store, but no step in the ledger made it")
    return len(promised)
