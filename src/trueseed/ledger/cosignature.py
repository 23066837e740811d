"""A witness's word on a checkpoint (https://c2sp.org/tlog-cosignature, v1): of all that I saw of this log by this time,
this is the largest, and it continues the rest.

    — witness.example/w1 jWbPPwAAAABkGFDL…        base64(key hash, 4 bytes || POSIX seconds, 8 || Ed25519, 64)
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from trueseed.errors import Broken
from trueseed.ledger.signing import Key, Signer, decode, encode

_LATEST = 2**63 - 1
_LENGTH = 4 + 8 + 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosigned:
    """at: POSIX seconds, by the witness's clock."""

    witness: Key
    at: int

    def __str__(self) -> str:
        try:
            when = datetime.fromtimestamp(self.at, UTC).isoformat().replace("+00:00", "Z")
        except (ValueError, OverflowError, OSError):
            when = f"{self.at} s after 1970"
        return f"{self.witness.name} at {when}"


def cosign(note: str, witness: Signer, name: str, at: int) -> str:
    """The signature line of the witness of this name under a checkpoint, at POSIX time `at`."""
    key = witness.key(name)
    signature = witness.sign(_message(note, at))
    return f"— {name} {encode(key.note_hash + struct.pack('>Q', at) + signature)}\n"


def cosigned(note: str, lines: str, witnesses: Iterable[Key]) -> Iterator[Cosigned]:
    """The cosignatures among signature lines that these witnesses made under this checkpoint; others are passed over.

    Raises `Broken` when one says that it is by one of them and does not match.
    """
    known = {(key.name, key.note_hash): key for key in witnesses if key.role == "witness"}
    for line in lines.splitlines():
        name, data = _parsed(line)
        key = known.get((name, data[:4]))
        if key is None:
            continue
        at = struct.unpack(">Q", data[4:12])[0] if len(data) == _LENGTH else _LATEST + 1
        if at > _LATEST or not key.verifies(data[12:], _message(note, at)):
            raise Broken(f"the cosignature of {name} does not match the checkpoint")
        yield Cosigned(witness=key, at=at)


def names(lines: str) -> tuple[str, ...]:
    """Who is said to have signed, in order. Raises `Broken` for lines that are no signature lines."""
    return tuple(dict.fromkeys(_parsed(line)[0] for line in lines.splitlines()))


def _parsed(line: str) -> tuple[str, bytes]:
    match line.split(" "):
        case ["—", name, data] if name and "+" not in name:
            try:
                return name, decode(data)
            except ValueError:
                pass
    raise Broken(f"{line[:80]!r} is no signature line")


def _message(note: str, at: int) -> bytes:
    body = note.rpartition("\n\n")[0] + "\n"
    return f"cosignature/v1\ntime {at}\n{body}".encode()
