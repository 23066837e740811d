"""Lines that survive a kill: appended one JSON object at a time, read back up to the first torn line."""

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from trueseed.errors import Broken, ConfigError

SYNC_EVERY_S = 1.0  # a killed process loses nothing; a power cut loses at most this much


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode  # `json.dumps` makes one for every line


class Journal:
    """An append-only JSONL file with one writer.

    sync_every_s: how often an append waits for the disk; None leaves that to whoever calls `sync`.
    """

    def __init__(self, path: Path, *, sync_every_s: float | None = SYNC_EVERY_S) -> None:
        self.path, self._sync_every_s = path, sync_every_s
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)  # a line that found no room must not be waiting to be written later
        self._size = self._earlier = _whole_lines(path)  # bytes; a line without its end was torn by a kill
        self._file.truncate(self._size)
        self._file.seek(0, os.SEEK_END)
        self._synced_at = time.monotonic()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The lines that were there when the journal was opened. Raises `Broken` for one that was damaged."""
        place = number = 0
        with self.path.open("rb") as file:
            while place < self._earlier:
                raw, number = file.readline(), number + 1
                place += len(raw)
                try:
                    yield dict(json.loads(raw))
                except (ValueError, TypeError) as err:
                    raise Broken(
                        f"{self.path}, line {number} is not what was written ({err}); delete that line"
                    ) from err

    def append(self, line: Mapping[str, Any]) -> bytes:
        """Returns the line as it was written, without its end. Raises `ConfigError` when it cannot be written, for want
        of room for instance; then nothing of it was.
        """
        (written,) = self.extend([line])
        return written

    def extend(self, lines: Iterable[Mapping[str, Any]]) -> list[bytes]:
        """As `append` of each, in one write: all of them or none."""
        written = [_encode(line).encode() for line in lines]
        left = whole = b"".join(line + b"\n" for line in written)
        with self._told():
            try:
                while left:
                    left = left[self._file.write(left) :]
            except OSError:
                with suppress(OSError):  # else it is cut when the journal is opened again
                    self._file.truncate(self._size)
                raise
        self._size += len(whole)
        if self._sync_every_s is not None and time.monotonic() - self._synced_at > self._sync_every_s:
            self.sync()
        return written

    def sync(self) -> None:
        """Waits until the disk has every line. May run beside an `append` in another thread."""
        with self._told():
            os.fsync(self._file.fileno())
        self._synced_at = time.monotonic()

    def close(self) -> None:
        if not self._file.closed:
            with self._file:
                self.sync()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as err:
            raise ConfigError(
                f"{self.path} cannot be written: {err.strerror}; free some room or make it writable, and give the same "
                f"command again"
            ) from err


def _whole_lines(path: Path, chunk: int = 1 << 16) -> int:
    """Bytes up to and with the last end of a line; read from the end, since a journal may be long."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - chunk)
            file.seek(start)
            if (found := file.read(end - start).rfind(b"\n")) >= 0:
                return start + found + 1
            end = start
    return 0
