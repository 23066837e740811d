"""Deleting in a workspace, which is asked first: what an open case or a hold touches is put aside instead.

    retained = Retained(folder, ledger)
    retained.let_go(path, sources)     # gone, or in retained/ until nothing forbids it any more

    retained/<name>-<random>/about.json    {"was", "sources", "because", "at"}
    retained/<name>-<random>/what          the file or folder

What was put aside goes by itself, at the next deletion or when a case is closed, once nothing touches it.
"""

import json
import secrets
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from trueseed.core.canonical import now
from trueseed.core.durable import sync_folder, write_atomic
from trueseed.ledger.log import Ledger
from trueseed.ledger.retention import Retention, must_stay

RETAINED = "retained"  # folder in a workspace
ABOUT, WHAT = "about.json", "what"


class Retained:
    """What of one workspace would have been deleted, and had to stay."""

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self._folder, self._ledger = folder, ledger
        self._retention = Retention()

    def must_stay(self, sources: Collection[str]) -> str:
        """Why what comes from these sources may not be deleted now; '' when it may. Raises `Broken`."""
        self._ledger.refresh()
        self._retention.catch_up(self._ledger)
        return must_stay(self._retention, sources)

    def let_go(self, path: Path, sources: Collection[str]) -> None:
        """Deletes a file or folder, or puts it aside when it must stay. Nothing there: nothing is done."""
        self.sweep()
        if not path.exists():
            return
        if because := self.must_stay(sources):
            self._put_aside(path, sources, because)
        else:
            remove(path)

    def sweep(self) -> int:
        """Deletes what was put aside and need not stay any more; returns how many."""
        free = [place for place, sources in self.all() if not self.must_stay(sources)]
        for place in free:
            remove(place)
        return len(free)

    def all(self) -> Iterator[tuple[Path, frozenset[str]]]:
        """What was put aside, with its sources; what does not say them stays where it is."""
        for place in sorted((self._folder / RETAINED).glob("*")):
            try:
                said = json.loads((place / ABOUT).read_text())
                yield place, frozenset(map(str, said["sources"]))
            except (OSError, ValueError, KeyError, TypeError):
                continue

    def _put_aside(self, path: Path, sources: Collection[str], because: str) -> None:
        place = self._folder / RETAINED / f"{path.name}-{secrets.token_hex(6)}"
        said = {
            "was": path.relative_to(self._folder).as_posix(),
            "sources": sorted(sources),
            "because": because,
            "at": now(),
        }
        write_atomic(place / ABOUT, json.dumps(said, sort_keys=True) + "\n")
        path.rename(place / WHAT)
        sync_folder(place)


def remove(path: Path) -> None:
    """A file or a folder; nothing there is no error."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
