"""Lines that survive a kill: appended one JSON object at a time, read back up to the first torn line."""

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from trueseed.errors import Broken

SYNC_EVERY_S = 1.0  # a killed process loses nothing; a power cut loses at most this much


class Journal:
    """An append-only JSONL file with one writer.

    sync_every_s: how often an append waits for the disk; None leaves that to whoever calls `sync`.
    """

    def __init__(self, path: Path, *, sync_every_s: float | None = SYNC_EVERY_S) -> None:
        self.path, self._sync_every_s = path, sync_every_s
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = path.read_bytes() if path.exists() else b""
        self._earlier = whole[: whole.rfind(b"\n") + 1]  # a line without its end was torn by a kill
        self._file = path.open("ab")
        self._file.truncate(len(self._earlier))
        self._synced_at = time.monotonic()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The lines that were there when the journal was opened. Raises `Broken` for one that was damaged."""
        for number, line in enumerate(self._earlier.splitlines(), start=1):
            try:
                yield json.loads(line)
            except ValueError as err:
                raise Broken(f"{self.path}, line {number} is not what was written ({err}); delete that line") from err

    def append(self, line: Mapping[str, Any]) -> bytes:
        """Returns the line as it was written, without its end."""
        (written,) = self.extend([line])
        return written

    def extend(self, lines: Iterable[Mapping[str, Any]]) -> list[bytes]:
        """As `append` of each, in one write."""
        written = [json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() for line in lines]
        self._file.write(b"".join(line + b"\n" for line in written))
        self._file.flush()
        if self._sync_every_s is not None and time.monotonic() - self._synced_at > self._sync_every_s:
            self.sync()
        return written

    def sync(self) -> None:
        """Waits until the disk has every line. May run beside an `append` in another thread."""
        os.fsync(self._file.fileno())
        self._synced_at = time.monotonic()

    def close(self) -> None:
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
