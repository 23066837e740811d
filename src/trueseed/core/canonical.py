"""How things are hashed and timed: the one home of both.

JSON is made canonical by RFC 8785 and hashed with SHA-256; digests are 64 lower-case hexadecimal characters. Times are
UTC, to the second, in RFC 3339 with a `Z`.

>>> digest({"b": 1, "a": [True, None]}) == digest({"a": [True, None], "b": 1})
True
"""

import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import rfc8785


def canonical(value: Any) -> bytes:
    """`value` (plain JSON types) as RFC 8785 bytes. Raises `rfc8785.CanonicalizationError` for anything else.

    What was read back from canonical bytes gives the same bytes.
    """
    quick = _quickly(value)
    if quick is not None and _is_plain(quick, value):
        return quick
    try:
        return bytes(rfc8785.dumps(value))
    except rfc8785.IntegerDomainError:
        return bytes(rfc8785.dumps(_as_doubles(value)))
    except UnicodeEncodeError as err:
        raise rfc8785.CanonicalizationError(f"a key is not Unicode text: {err}") from err


def parse_canonical(data: bytes) -> Any:
    """The value whose canonical bytes these are. Raises `ValueError` (or `RecursionError`) for any others."""
    value = _plain(data)
    if value is not _NOT_PLAIN and _quickly(value) == data:
        return value
    value = json.loads(data)
    if canonical(value) != data:
        raise ValueError("not the canonical form (RFC 8785) of its value")
    return value


# The standard library writes JSON ten times as fast as rfc8785, which is written in Python. Both write the same bytes
# of the same value where it has no fraction, no integer beyond 2^53, and no character from U+D800 on (there, keys sort
# otherwise in UTF-16). Such values are told by what is written; rfc8785 decides the rest.
_write = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode
_SORTS_OTHERWISE = re.compile("[\ud800-\U0010ffff]")
_NOT_PLAIN = object()


def _quickly(value: Any) -> bytes | None:
    """As the standard library writes it; None when it does not."""
    try:
        return _write(value).encode()
    except (TypeError, ValueError, RecursionError):
        return None


def _is_plain(written: bytes, value: Any) -> bool:
    """Whether it reads back as that value, and is plain: a key that is no text, or a tuple, does not."""
    return bool(_plain(written) == value)


def _plain(data: bytes) -> Any:
    """What is written, or `_NOT_PLAIN` when it has what the standard library writes otherwise than RFC 8785 asks."""
    try:
        text = data.decode()
        return _NOT_PLAIN if not text.isascii() and _SORTS_OTHERWISE.search(text) else _read(text)
    except (ValueError, RecursionError):
        return _NOT_PLAIN


def _small(digits: str) -> int:
    number = int(digits)
    if abs(number) >= 2**53:
        raise ValueError(f"{digits} is written as a double is")
    return number


def _fraction(digits: str) -> float:
    raise ValueError(f"{digits} is written as a double is")


_read = json.JSONDecoder(parse_float=_fraction, parse_int=_small, parse_constant=_fraction).decode


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
