"""How things are hashed and timed: the one home of both.

JSON is made canonical by RFC 8785 and hashed with SHA-256; digests are 64 lower-case hexadecimal characters. Times are
UTC, to the second, in RFC 3339 with a `Z`.

>>> digest({"b": 1, "a": [True, None]}) == digest({"a": [True, None], "b": 1})
True
"""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import rfc8785


def canonical(value: Any) -> bytes:
    """`value` (plain JSON types) as RFC 8785 bytes. Raises `rfc8785.CanonicalizationError` for anything else.

    What was read back from canonical bytes gives the same bytes.
    """
    try:
        return bytes(rfc8785.dumps(value))
    except rfc8785.IntegerDomainError:
        return bytes(rfc8785.dumps(_as_doubles(value)))
    except UnicodeEncodeError as err:
        raise rfc8785.CanonicalizationError(f"a key is not Unicode text: {err}") from err


def _as_doubles(value: Any) -> Any:
    """Large integers as the double that is written with the same digits: 1e17 is read back as an integer."""
    if isinstance(value, dict):
        return {key: _as_doubles(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_as_doubles(each) for each in value]
    if isinstance(value, int) and 2**53 <= abs(value) < 10**21 and rfc8785.dumps(float(value)) == b"%d" % value:
        return float(value)
    return value


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`."""
    return sha256(canonical(value))


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes. Raises `OSError` when it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def now() -> str:
    """The time as `2026-11-21T09:30:00Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
