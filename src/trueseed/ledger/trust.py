"""Whom of others this user believes: witnesses by key, time-stamping authorities by root certificate.

<state>/witnesses                 a verifier key a line
<state>/authorities/<12 hex>.pem  root certificates
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trueseed.core.canonical import sha256
from trueseed.core.durable import write_atomic
from trueseed.errors import ConfigError
from trueseed.ledger.signing import Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """authorities: PEM."""

    witnesses: tuple[Key, ...] = ()
    authorities: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, state: Path | None, keys: Iterable[Key] = (), authorities: Sequence[Path] = ()) -> "Trust":
        """What the user's state keeps, and what was given. Raises `ConfigError` when one of them cannot be read."""
        try:
            given = [path.read_bytes() for path in authorities]
            kept = [path.read_bytes() for path in sorted((state / "authorities").glob("*.pem"))] if state else []
            lines = (state / "witnesses").read_text() if state and (state / "witnesses").exists() else ""
        except (OSError, UnicodeDecodeError) as err:
            raise ConfigError(f"whom to trust cannot be read: {err}") from err
        known = [Key.parse(line) for line in lines.splitlines() if line.strip()]
        witnesses = dict.fromkeys([*(key for key in keys if key.role == "witness"), *known])
        return cls(witnesses=tuple(witnesses), authorities=tuple(dict.fromkeys([*given, *kept])))


def remember_witness(state: Path, key: Key) -> None:
    known = dict.fromkeys([*map(str, Trust.of(state).witnesses), str(key)])
    write_atomic(state / "witnesses", "".join(f"{each}\n" for each in known))


def remember_authority(state: Path, pem: bytes) -> None:
    write_atomic(state / "authorities" / f"{sha256(pem)[:12]}.pem", pem)
