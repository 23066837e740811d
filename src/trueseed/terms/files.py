"""One TOML file read as one document, with errors that name the file, the line, the key and the nearest valid key.

A file is somebody's to write by hand, so it is small text or an error: nothing huge, binary or deeply nested is parsed.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from trueseed.errors import ConfigError
from trueseed.terms.model import Document, Duty, Letter, Permission, Regions, Upstream

MOST_BYTES = 1_000_000
_SET_HERE = {"reading", "companions", "beside", "letters"}
_TABLES: Mapping[Any, type] = {
    "permissions": Permission, "duties": Duty, "regions": Regions, "upstream": Upstream, "letter": Letter
}  # fmt: skip
ADAPTER = TypeAdapter(Document)


def read(path: Path) -> Document:
    """The document in one file. Raises `ConfigError` naming the file and, where it can be told, line and key."""
    if not path.is_file():
        raise ConfigError(f"{path}: not a file; a terms document is one TOML file")
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as err:
        raise ConfigError(f"{path}: cannot be read: {err}") from err
    if len(content) > MOST_BYTES:
        raise ConfigError(f"{path}: larger than {MOST_BYTES} bytes; keep the text itself elsewhere and name its digest")
    try:
        return parse(content.decode("utf-8"), str(path))
    except UnicodeDecodeError as err:
        raise ConfigError(f"{path}: not UTF-8 (byte {err.start}); save it as UTF-8 text") from err


def parse(text: str, file: str) -> Document:
    """One document from TOML. Raises `ConfigError` naming `file`, the line, the key and the nearest valid key."""
    try:
        raw = tomllib.loads(text)
    except RecursionError as err:
        raise ConfigError(f"{file}: nested too deeply for a terms document") from err
    except ValueError as err:
        raise ConfigError(f"{file}: not valid TOML: {err}") from err
    _reject_unknown(raw.keys(), Document, (), file, text)
    _reject_days(raw, file, text)
    try:
        document: Document = ADAPTER.validate_python(raw)
    except ValidationError as err:
        first = min(
            err.errors(), key=lambda each: each["type"] != "unexpected_keyword_argument"
        )  # why others are missing
        loc = first["loc"]
        if first["type"] == "unexpected_keyword_argument" and loc[0] in _TABLES:
            _reject_unknown([str(loc[-1])], _TABLES[loc[0]], loc[:-1], file, text)
        message = f"{_place(file, text, loc)}: {'.'.join(map(str, loc))}: {first['msg']}"
        raise ConfigError(message) from err
    _reject_repeats(document, file, text)
    return document


def _reject_unknown(keys: Iterable[str], table: type, loc: Sequence[str | int], file: str, text: str) -> None:
    valid = [field.name for field in fields(table) if field.name not in _SET_HERE]
    for key in keys:
        if key not in valid:
            near = difflib.get_close_matches(key, valid, n=1, cutoff=0)
            name = ".".join(map(str, (*loc, key)))
            raise ConfigError(
                f"{_place(file, text, (*loc, key))}: unknown key {name!r}; nearest valid key: {near[0]!r}"
            )


def _reject_days(raw: Mapping[str, Any], file: str, text: str) -> None:
    """Numbers would be taken for seconds since 1970."""
    for key in ("effective_from", "effective_until", "observed_at"):
        if key in raw and not isinstance(raw[key], date | str):
            raise ConfigError(f"{_place(file, text, (key,))}: {key}: not a day; write it as 2024-02-27, or 'unknown'")


def _reject_repeats(document: Document, file: str, text: str) -> None:
    seen = set()
    for number, permission in enumerate(document.permissions):
        place = _place(file, text, ("permissions", number))
        if permission.verdict == "conditional" and not permission.has_conditions:
            raise ConfigError(f"{place}: a conditional permission needs a condition (distributed, commercial, …)")
        for said in ((use, relation) for use in permission.uses for relation in permission.relations):
            if said in seen:
                raise ConfigError(f"{place}: {said[0].value} ({said[1].value}) is given two permissions; keep one")
            seen.add(said)


def _place(file: str, text: str, loc: Sequence[str | int]) -> str:
    """`file, line 12`; `file` alone where the line cannot be told (an inline table, a key that is missing)."""
    line = _line(text.splitlines(), loc)
    return f"{file}, line {line}" if line else file


def _line(lines: Sequence[str], loc: Sequence[str | int]) -> int:
    """The number of the line that sets the key at `loc`, counted from 1; 0 when it was not found."""
    start, loc = 0, list(loc)
    if loc and loc[0] in _TABLES:
        headers = [n for n, each in enumerate(lines) if re.match(rf"\s*\[+\s*{loc[0]}\s*\]+", each)]
        which = loc[1] if len(loc) > 1 and isinstance(loc[1], int) else 0
        if which >= len(headers):
            return 0
        start = headers[which] + 1
        loc = [each for each in loc[1:] if isinstance(each, str)]
        if not loc:
            return start
    for number, each in enumerate(lines[start:], start + 1):
        if number > start + 1 and start and each.lstrip().startswith("["):
            return start
        if re.match(rf"""\s*["']?{re.escape(str(loc[0]))}["']?\s*=""", each):
            return number
    return start
