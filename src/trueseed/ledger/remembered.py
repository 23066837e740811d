"""What this user's own state folder remembers of a log: its newest checkpoint and its keys, as first met.

It lies outside the workspace, so a ledger that was rolled back, forked or signed anew with other keys contradicts it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from trueseed.core.durable import write_atomic
from trueseed.errors import ConfigError

LOCK_PATIENCE_S = 120.0  # an append takes milliseconds: whoever holds a lock for so long hangs


class Remembered:
    """The files `<state>/ledgers/<origin, "/" as "-">/{checkpoint,keys}`, byte for byte as in the ledger folder.

    Reading them raises `ConfigError` when one is there and cannot be read.
    """

    def __init__(self, state: Path, origin: str) -> None:
        self.folder = state / "ledgers" / origin.replace("/", "-")
        self._lock = FileLock(self.folder / "lock", timeout=LOCK_PATIENCE_S)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Held from comparing to keeping, so that copies of a log cannot both be continued unseen.

        Raises `OSError` when the folder cannot be written, `filelock.Timeout` when someone holds it for minutes.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock:
            yield

    @property
    def checkpoint(self) -> str | None:
        return _read(self.folder / "checkpoint")

    @property
    def identity(self) -> str | None:
        return _read(self.folder / "keys")

    def keep_place(self, folder: Path) -> None:
        """Where the ledger was opened last."""
        place = str(folder.resolve())
        if _read(self.folder / "place") != place:
            write_atomic(self.folder / "place", place)

    def keep_checkpoint(self, note: str) -> None:
        write_atomic(self.folder / "checkpoint", note)

    def keep_identity(self, note: str) -> None:
        write_atomic(self.folder / "keys", note)


def places(state: Path) -> tuple[Path, ...]:
    """Where this user's ledgers were opened last. Raises `ConfigError` when that cannot be read."""
    return tuple(Path(_read(path) or "") for path in sorted((state / "ledgers").glob("*/place")))


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as err:
        raise ConfigError(f"{path} cannot be read: {err.strerror}; make it readable, or set TRUESEED_STATE") from err
