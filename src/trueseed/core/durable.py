"""Writing so that nothing half-made is ever left behind: temporary file, fsync, rename, fsync of the folder.

Also the two folders outside any workspace: the cache (may be deleted at any time) and the user's state (keys, newest
checkpoints, account state: must not).
"""

import fcntl
import glob
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

JUST_MADE_S = 60.0


def cache_folder() -> Path:
    """Where downloads and conversions are kept: `TRUESEED_CACHE`, or the platform's cache folder."""
    return Path(os.environ.get("TRUESEED_CACHE") or platformdirs.user_cache_path("trueseed"))


def state_folder() -> Path:
    """Where keys, newest checkpoints and account state are kept: `TRUESEED_STATE`, or the platform's state folder."""
    return Path(os.environ.get("TRUESEED_STATE") or platformdirs.user_state_path("trueseed"))


def sync_folder(folder: Path) -> None:
    """Makes the folder's entries (creations, renames) durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def write_atomic(path: Path, data: bytes | str, *, mode: int = 0o644) -> None:
    """Replaces `path` by `data` in one step; a reader sees the old bytes or the new ones, never a mixture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def folder_atomic(final: Path) -> Iterator[Path]:
    """Yields an empty folder beside `final`; at a clean exit its files are synced and it is renamed to `final`.

    When `final` appeared meanwhile (another process was first), ours is dropped and theirs stays. After an exception,
    or a kill, `final` does not exist; what a kill leaves is named `.<name>.*` and is removed by a later caller.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    for left in final.parent.glob(f".{glob.escape(final.name)}.*"):
        _remove_if_abandoned(left)
    staged = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}."))
    living = _hold(staged)
    try:
        yield staged
        for path in sorted(staged.rglob("*")):
            if path.is_file():
                sync_file(path)
            else:
                sync_folder(path)
        staged.chmod(0o755)
        try:
            if not final.exists():
                staged.replace(final)
        except OSError:
            if not final.exists():  # else another process was first, between our look and our rename
                raise
        sync_folder(final.parent)
    finally:
        os.close(living)
        if staged.exists():
            shutil.rmtree(staged, ignore_errors=True)


def _hold(folder: Path) -> int:
    """A lock on the folder that ends with this process, however it ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _remove_if_abandoned(staged: Path) -> None:
    """Removes a staged folder whose maker died: nobody holds it, and it is too old to be just about to be held."""
    try:
        if time.time() - staged.stat().st_mtime < JUST_MADE_S:
            return
        os.close(_hold(staged))
    except OSError:
        return
    shutil.rmtree(staged, ignore_errors=True)
