"""Is a usage report what its signer signed, and does it add up? `trueseed verify FILE` shows it like a workspace."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trueseed.core.durable import state_folder
from trueseed.core.plural import many
from trueseed.errors import ConfigError
from trueseed.ledger.signing import Key, load
from trueseed.report import verify, verify_proof
from trueseed.teachers.supplier.usage_check import Opened, check
from trueseed.teachers.supplier.usage_report import SIGNER


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
                f"{many(len(report.lines), 'line')}, {many(totals.calls.answered, 'call')} answered, "
                f"{many(totals.charged.tokens, 'token')}, "
                f"{totals.charged.micros / 1e6:.2f} US dollars"
            )
        told = [f"{head}: {about}"] + [f"  broken: {text}" for text in self.opened.findings]
        return told + [f"  note: {text}" for text in self.opened.notes]


def path(
    place: Path, *, since: Path | None = None, keys: Sequence[str] = (), authorities: Sequence[Path] = ()
) -> "verify.Verification | verify_proof.Proof | Paper":
    """Re-reads a workspace, a proof (a zip), or a usage report. Raises `ConfigError` for anything else, `Broken` for a
    proof of which nothing can be said.
    """
    if place.is_file() and _is_zip(place):
        known = [Key.parse(text) for text in _key_texts(keys)]
        return verify_proof.proof(place, known, since=since, authorities=authorities)
    if place.is_file():
        return paper(place, keys)
    return verify.workspace(place, since=since, keys=keys, authorities=authorities)


def _is_zip(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return file.suffix == ".zip" or opened.read(2) == b"PK"
    except OSError as err:
        raise ConfigError(f"{file} cannot be read: {err.strerror}") from err


def paper(file: Path, keys: Sequence[str]) -> Paper:
    """Raises `ConfigError` when it cannot be read, is no usage report, or a key cannot be read."""
    try:
        raw = file.read_bytes()
    except OSError as err:
        raise ConfigError(f"{file} cannot be read: {err.strerror}") from err
    own = load("operator", state_folder() / "keys")
    return Paper(
        opened=check(raw, [Key.parse(text) for text in _key_texts(keys)], own=own.key(SIGNER) if own else None)
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
