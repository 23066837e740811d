"""JSON lines that somebody else wrote, read strictly: what is wrong is told with its line, all of it at once."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from trueseed.errors import ConfigError

SHOWN = 10  # lines that an error names


def json_lines(path: Path, what: str) -> Iterator[tuple[int, Any]]:
    """By line, from 1; a `ValueError` in the place of what is not JSON. Raises `ConfigError` for a file that cannot be
    read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"{what}: {str(path)!r} cannot be read: {err}") from err
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as err:
                yield number, ValueError(f"not JSON ({err})")


def told(wrong: Sequence[str], what: str) -> ConfigError:
    """One error of all that is wrong, the first ten by name."""
    more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    return ConfigError(f"{what}: {'; '.join(wrong[:SHOWN])}{more}")
