"""Lines that are too many for an entry each: journalled, and sealed into the ledger in batches by their Merkle root.

    <folder>/<run>.jsonl     one line each, in the order they came
    <folder>/<run>.lock      held by the process that writes it, gone once all its lines are sealed

A ledger entry for every line would cost three fsyncs each. A seal covers a run of lines by their root (RFC 6962, a leaf
is a line without its end), so any one line is shown to have been there by itself and a few hashes, without the others.
What the gateway relays is kept so (`calls`), and so is what the cache holds (`teachers/answers/shelf`).
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from trueseed.core.canonical import now
from trueseed.core.journal import Journal
from trueseed.core.merkle import Frontier, leaf_hash, root_from_inclusion
from trueseed.errors import Broken
from trueseed.ledger.log import Entry, Ledger
from trueseed.ledger.statement import IMPORT, SEAL

Member = Literal["calls", "answers"]  # of a seal's predicate: which folder of the workspace its lines are in
SEALS = (SEAL, IMPORT)  # predicate types that may have such a member


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Lines of one journal that a seal covers. run: of the step that wrote them. first: from 0. root: hexadecimal."""

    run: str
    first: int
    count: int
    root: str

    def to_json(self) -> dict[str, Any]:
        return {"run": self.run, "first": self.first, "count": self.count, "root": self.root}


class Lines:
    """The journal of one run. Safe to share between threads. sync_every_s: as of a `Journal`."""

    def __init__(self, folder: Path, run: str, *, sync_every_s: float | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(folder, run)
        self._lock.acquire(timeout=0)  # a run has one writer; its name is random
        self._journal = Journal(folder / f"{run}.jsonl", sync_every_s=sync_every_s)
        self._guard = threading.Lock()
        self._run = run
        self._first, self._since = 0, Frontier()  # the lines after those that were handed out to be sealed
        self._handed: Batch | None = None

    def append(self, line: Mapping[str, Any]) -> bytes:
        """On return a killed process does not lose the line; a loss of power does not after the next `sync`.

        Returns the line as it was written, without its end.
        """
        (written,) = self.extend([line])
        return written

    def extend(self, lines: Iterable[Mapping[str, Any]]) -> list[bytes]:
        """As `append` of each, in one write."""
        with self._guard:
            written = self._journal.extend(lines)
            for line in written:
                self._since.append(leaf_hash(line))
            return written

    def sync(self) -> None:
        """Waits for the disk, which takes longer than a call may be held up: for a thread of its own."""
        self._journal.sync()

    @property
    def unsealed(self) -> Batch | None:
        """What to seal next: the lines so far, or those that were handed out before and not `sealed`."""
        with self._guard:
            if self._handed is None and self._since.size:
                root = self._since.root().hex()
                self._handed = Batch(run=self._run, first=self._first, count=self._since.size, root=root)
                self._first, self._since = self._first + self._since.size, Frontier()
            return self._handed

    def sealed(self, batch: Batch) -> None:
        """The seal of `batch` stands in the ledger. Lines may have been appended since it was handed out."""
        with self._guard:
            assert batch == self._handed
            self._handed = None

    def close(self) -> None:
        self._journal.close()
        self._lock.release()
        if not self._since.size and self._handed is None:
            Path(self._lock.lock_file).unlink(missing_ok=True)  # nothing is left for `seal_left`


def seal_left(
    ledger: Ledger, folder: Path, member: Member, *, step: str, died: Callable[[str], bool] = lambda _: True
) -> int:
    """Seals what killed processes journalled and did not seal; returns how many lines that were.

    step: the name of the steps that write there, for the seal. died: whether a run may be one that was killed; a file
    of any other is not ours to vouch for. What was written with a living writer is left to it.
    """
    found = 0
    known = seals(ledger, member)
    for path in sorted(folder.glob("*.jsonl")):
        lock = _lock(folder, path.stem)
        if path.stem in known and not Path(lock.lock_file).exists():
            continue  # its writer closed it
        if not died(path.stem):
            continue
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue  # its writer lives, and seals it
        try:
            covered, left = sum(batch.count for _, batch in known.get(path.stem, ())), Frontier()
            for line in islice(lines(path), covered, None):
                left.append(leaf_hash(line))
            if left.size:
                batch = Batch(run=path.stem, first=covered, count=left.size, root=left.root().hex())
                said = {"step": step, "run": path.stem, "counts": {}, "at": now(), member: batch.to_json()}
                ledger.append(SEAL, [], {**said, "reason": "the process died before it sealed them"})
                found += left.size
        finally:
            lock.release()
            Path(lock.lock_file).unlink(missing_ok=True)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class LineProof:
    """That a line stands under a seal. line: byte for byte. index, size: its place in the seal's batch. path: audit
    path. entry: of the ledger, the seal.
    """

    line: str
    index: int
    size: int
    path: tuple[bytes, ...]
    entry: int

    def verifies(self, sealed: str) -> bool:
        """Whether the line leads to the sealed root (hexadecimal)."""
        try:
            return root_from_inclusion(leaf_hash(self.line.encode()), self.index, self.size, self.path).hex() == sealed
        except ValueError:
            return False


def faults(ledger: Ledger, folder: Path, member: Member) -> Iterator[str]:
    """Whether the journals are what was sealed: one sentence for each that is not. Those that are gone: `missing`."""
    for run, sealed in sorted(seals(ledger, member).items()):
        path = folder / f"{run}.jsonl"
        if path.exists():
            yield from faults_of(path, sealed, member)


def missing(ledger: Ledger, folder: Path, member: Member) -> Iterator[tuple[Path, int]]:
    """Journals that were sealed and are gone, each with the first entry that seals it."""
    for run, sealed in sorted(seals(ledger, member).items()):
        if not (folder / f"{run}.jsonl").exists():
            yield folder / f"{run}.jsonl", sealed[0][0]


def faults_of(path: Path, sealed: list[tuple[int, Batch]], member: Member) -> Iterator[str]:
    """The same of one journal, whose seals are given with their entries, oldest first."""
    rest, expected = lines(path), 0
    for entry, batch in sealed:
        found = Frontier()
        for line in islice(rest, batch.count):
            found.append(leaf_hash(line))
        if batch.first != expected or found.size != batch.count or found.root().hex() != batch.root:
            which = f"lines {batch.first + 1} to {batch.first + batch.count}"
            yield f"{path}: {which} are not the {member} that entry {entry} of the ledger sealed"
        expected = batch.first + batch.count


def seals(ledger: Ledger, member: Member) -> dict[str, list[tuple[int, Batch]]]:
    """By run: the entry and the batch of each seal, oldest first. Raises `Broken` for a seal that names no lines."""
    found: dict[str, list[tuple[int, Batch]]] = {}
    ledger.refresh()
    for entry in ledger.entries():
        if batch := batch_of(entry, member):
            found.setdefault(batch.run, []).append((entry.index, batch))
    return found


def batch_of(entry: Entry, member: Member) -> Batch | None:
    """The lines that an entry seals, if it does. Raises `Broken` when it is malformed."""
    if entry.predicate_type not in SEALS or member not in entry.predicate:
        return None
    match entry.predicate[member]:
        case {"run": str(run), "first": int(first), "count": int(count), "root": str(root), **rest} if not rest:
            return Batch(run=run, first=first, count=count, root=root)
    raise Broken(f"the seal in entry {entry.index} does not say which {member} it covers")


def lines(path: Path) -> Iterator[bytes]:
    """The whole lines of a journal, without their ends; what comes after the last end was torn by a kill."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line[:-1]


def _lock(folder: Path, run: str) -> FileLock:
    # Closed by another thread than the one that opened it, when a server stops.
    return FileLock(folder / f"{run}.lock", thread_local=False)
