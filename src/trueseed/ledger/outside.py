"""What others said of a log's checkpoints: witnesses by cosignature, authorities by time stamp.

    outside/<size, 8 digits>/checkpoint             as the operator signed it, byte for byte
    outside/<size>/<12 hex>.cosignatures            signature lines of witnesses, as they answered
    outside/<size>/<12 hex>.tsr                     RFC 3161 responses over the bytes of `checkpoint`
    outside/<size>/consistency                      in a proof only: that the proof's checkpoint continues this one

The folder lies in the ledger, and travels in proofs. What is in it counts for whoever trusts the witness's key or the
authority's root, and for nobody else: whoever holds the operator's key can make a witness of their own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from trueseed.core.canonical import sha256
from trueseed.core.durable import write_atomic
from trueseed.errors import Broken
from trueseed.ledger.checkpoint import Checkpoint
from trueseed.ledger.cosignature import cosigned, names
from trueseed.ledger.signing import Key
from trueseed.ledger.succession import Succession
from trueseed.ledger.timestamp import stamped
from trueseed.ledger.trust import Trust

OUTSIDE = "outside"
COSIGNATURES, STAMP = ".cosignatures", ".tsr"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A checkpoint, and who vouches for it. by: those that are trusted. others: how many more say so, in words.
    findings: what does not hold.
    """

    place: str
    note: str
    checkpoint: Checkpoint
    by: tuple[str, ...]
    others: tuple[str, ...]
    findings: tuple[str, ...]


def files(ledger: Path) -> dict[str, bytes]:
    """Of a ledger folder, by their names in it. Raises `OSError`."""
    found = sorted(path for path in (ledger / OUTSIDE).glob("*/*") if not path.name.startswith("."))
    return {path.relative_to(ledger).as_posix(): path.read_bytes() for path in found if path.is_file()}


def keep(ledger: Path, note: str, size: int, answer: bytes = b"", kind: str = "") -> None:
    """Writes a checkpoint, and what was answered to it, when there is an answer of a kind."""
    place = ledger / OUTSIDE / f"{size:08d}"
    write_atomic(place / "checkpoint", note)
    if kind:
        write_atomic(place / f"{sha256(answer)[:12]}{kind}", answer)


def seen(files: Mapping[str, bytes], operator: Key | Succession, trust: Trust) -> Iterator[Seen]:
    """Each checkpoint in `outside/`, smallest first. Raises `Broken` when one is not the operator's."""
    for name in sorted(files):
        place, _, last = name.rpartition("/")
        if not place.startswith(f"{OUTSIDE}/") or last != "checkpoint":
            continue
        try:
            note = files[name].decode()
            checkpoint = Checkpoint.open(note, operator)
            if place != f"{OUTSIDE}/{checkpoint.size:08d}":
                raise Broken(f"it has {checkpoint.size} entries")
        except (Broken, UnicodeDecodeError) as err:
            raise Broken(f"{name} is not a checkpoint of this log: {err}") from err
        by: list[str] = []
        others: list[str] = []
        findings: list[str] = []
        for beside in sorted(each for each in files if each.startswith(f"{place}/") and each != name):
            try:
                _hear(beside, files[beside], note, trust, by, others)
            except (Broken, UnicodeDecodeError) as err:
                findings.append(f"{beside}: {err}")
        yield Seen(
            place=place, note=note, checkpoint=checkpoint, by=tuple(by), others=tuple(others), findings=tuple(findings)
        )


def _hear(name: str, data: bytes, note: str, trust: Trust, by: list[str], others: list[str]) -> None:
    if name.endswith(COSIGNATURES):
        lines = data.decode()
        heard = list(cosigned(note, lines, trust.witnesses))
        by += [f"witness {each}" for each in heard]
        known = {each.witness.name for each in heard}
        others += [f"witness {each}, whose key was not given" for each in names(lines) if each not in known]
    elif name.endswith(STAMP) and trust.authorities:
        stamp = stamped(data, note.encode(), trust.authorities)
        by += [f"time stamp of {stamp}"] if stamp else []
        others += [] if stamp else ["a time stamp that leads to none of the roots given"]
    elif name.endswith(STAMP):
        others.append("a time stamp, whose authority's root was not given")
