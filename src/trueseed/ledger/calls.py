"""Calls relayed for others: one line each in a journal, sealed into the ledger in batches by their Merkle root.

    <workspace>/calls/<run>.jsonl     one line a call, in the order they ended
    <workspace>/calls/<run>.lock      held by the process that writes it

A ledger entry for every call would cost three fsyncs each. A seal covers a run of lines by their root (RFC 6962, a leaf
is a line without its end), so any one call is shown to have been there by its line and a few hashes, without the
others:

    proof = prove(ledger, folder, "call-5e0c")
    proof.verifies(root)              # the root that the seal in entry `proof.entry` names

A line holds digests, names and amounts; never what was asked or answered, and no secret.
"""

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from trueseed.core.canonical import now
from trueseed.core.journal import Journal
from trueseed.core.merkle import Frontier, inclusion, leaf_hash, root, root_from_inclusion
from trueseed.errors import ConfigError
from trueseed.ledger.log import Ledger
from trueseed.ledger.statement import SEAL

CALLS = "calls"  # folder in a workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Lines of one journal that a seal covers. run: of the step that wrote them. first: from 0. root: hexadecimal."""

    run: str
    first: int
    count: int
    root: str

    def to_json(self) -> dict[str, Any]:
        return {"run": self.run, "first": self.first, "count": self.count, "root": self.root}


class Calls:
    """The journal of one step. Safe to share between threads."""

    def __init__(self, folder: Path, run: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(folder, run)
        self._lock.acquire(timeout=0)  # a run has one writer; its name is random
        self._journal = Journal(folder / f"{run}.jsonl", sync_every_s=None)
        self._guard = threading.Lock()
        self._run = run
        self._first, self._since = 0, Frontier()  # the lines after those that were handed out to be sealed
        self._handed: Batch | None = None

    def append(self, line: Mapping[str, Any]) -> None:
        """On return a killed process does not lose the line; a loss of power does not after the next `sync`."""
        self.extend([line])

    def extend(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """As `append` of each, in one write."""
        with self._guard:
            for written in self._journal.extend(lines):
                self._since.append(leaf_hash(written))

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


def seal_left(ledger: Ledger, folder: Path) -> int:
    """Seals what killed processes journalled and did not seal; returns how many calls that were."""
    found = 0
    seals = _seals(ledger)
    for path in sorted(folder.glob("*.jsonl")):
        lock = _lock(folder, path.stem)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue  # its writer lives, and seals it
        try:
            leaves, covered = _leaves(path), sum(batch.count for _, batch in seals.get(path.stem, ()))
            if left := leaves[covered:]:
                batch = Batch(run=path.stem, first=covered, count=len(left), root=_root(left))
                said = {"step": "gateway", "run": path.stem, "counts": {}, "at": now(), "calls": batch.to_json()}
                ledger.append(SEAL, [], {**said, "reason": "the process died before it sealed them"})
                found += len(left)
        finally:
            lock.release()
            Path(lock.lock_file).unlink(missing_ok=True)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class CallProof:
    """That a call stands under a seal. line: the call, byte for byte. index, size: its place in the seal's batch.
    path: audit path. entry: of the ledger, the seal.
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


def prove(ledger: Ledger, folder: Path, call: str) -> CallProof:
    """Shows that the call of this id is sealed. Raises `ConfigError` when it is not there, or not sealed yet."""
    for path in sorted(folder.glob("*.jsonl")):
        leaves = _leaves(path)
        position = next((at for at, leaf in enumerate(leaves) if _id(leaf) == call), None)
        if position is None:
            continue
        for entry, batch in _seals(ledger).get(path.stem, ()):
            index = position - batch.first
            if 0 <= index < batch.count:
                hashes = [leaf_hash(leaf) for leaf in leaves[batch.first : batch.first + batch.count]]
                return CallProof(
                    line=leaves[position].decode(),
                    index=index,
                    size=batch.count,
                    path=tuple(inclusion(hashes, index)),
                    entry=entry,
                )
        raise ConfigError(f"call {call!r} is not sealed yet; the gateway seals at intervals and when it stops")
    raise ConfigError(f"there is no call {call!r} in {folder}; its id is in the answer's header X-TrueSeed-Call")


def faults(ledger: Ledger, folder: Path) -> Iterator[str]:
    """Whether the journals are what was sealed: one sentence for each that is not."""
    for run, seals in sorted(_seals(ledger).items()):
        path = folder / f"{run}.jsonl"
        if not path.exists():
            yield f"{path}, whose calls entry {seals[0][0]} of the ledger seals, is missing"
            continue
        leaves, expected = _leaves(path), 0
        for entry, batch in seals:
            covered = leaves[batch.first : batch.first + batch.count]
            if batch.first != expected or len(covered) != batch.count or _root(covered) != batch.root:
                lines = f"lines {batch.first + 1} to {batch.first + batch.count}"
                yield f"{path}: {lines} are not the calls that entry {entry} of the ledger sealed"
            expected = batch.first + batch.count


def _seals(ledger: Ledger) -> dict[str, list[tuple[int, Batch]]]:
    """By run: the entry and the batch of each seal, oldest first."""
    found: dict[str, list[tuple[int, Batch]]] = {}
    ledger.refresh()
    for entry in ledger.entries():
        if entry.predicate_type == SEAL and "calls" in entry.predicate:
            batch = Batch(**entry.predicate["calls"])
            found.setdefault(batch.run, []).append((entry.index, batch))
    return found


def _leaves(path: Path) -> list[bytes]:
    whole = path.read_bytes()
    return whole.split(b"\n")[:-1]


def _root(leaves: list[bytes]) -> str:
    return root([leaf_hash(leaf) for leaf in leaves]).hex()


def _id(leaf: bytes) -> str:
    try:
        return str(json.loads(leaf)["call"])
    except (ValueError, KeyError, TypeError):
        return ""  # `faults` says that it was changed


def _lock(folder: Path, run: str) -> FileLock:
    # Closed by another thread than the one that opened it, when a server stops.
    return FileLock(folder / f"{run}.lock", thread_local=False)
