"""What of a workspace is beyond its store: servers that speak now, and what was handed out. Read off the ledger.

    servers(folder, ledger)       # steps that are open, and whose process lives
    handed_out(folder, ledger)    # files that left, as their closing statements name them

A step holds a lock as long as its process lives, so a server that was killed is not taken for one that runs.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from trueseed.core.canonical import digest
from trueseed.core.plural import many
from trueseed.ledger.lineage import CLOSINGS, labels_of
from trueseed.ledger.log import Ledger
from trueseed.ledger.statement import STEP

SERVING = frozenset({"serve", "gateway"})
TO = "to"  # in the configuration of a step that hands out: the place, seen from the workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """step: `serve` (a student) or `gateway` (a source). where: `terminal`, `http:PORT`, or '' for a gateway. process:
    its id; 0 when it did not say. models: what it speaks for. inputs: digests. sources: of its labels.
    """

    step: str
    where: str
    process: int
    since: str
    models: tuple[str, ...]
    inputs: frozenset[str]
    sources: frozenset[str]

    def to_json(self) -> dict[str, Any]:
        return {"step": self.step, "where": self.where, "process": self.process, "since": self.since,
                "models": list(self.models)}  # fmt: skip

    def __str__(self) -> str:
        where = f" at {self.where}" if self.where else ""
        process = f", process {self.process}" if self.process else ""
        return f"{self.step}{where}{process}, since {self.since}: {', '.join(self.models)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOut:
    """place: where it was put; None when the statement does not say. sha256: of the canonical JSON of path and SHA-256
    of each file. inputs: digests of what it holds.
    """

    entry: int
    at: str
    place: Path | None
    files: int
    sha256: str
    inputs: frozenset[str]

    @property
    def still_there(self) -> bool:
        return self.place is not None and self.place.exists()

    def to_json(self) -> dict[str, Any]:
        return {"entry": self.entry, "at": self.at, "place": str(self.place or ""), "files": self.files,
                "sha256": self.sha256, "still_there": self.still_there}  # fmt: skip

    def __str__(self) -> str:
        place = str(self.place or "an unknown place")
        there = "" if self.still_there else ", not there any more"
        return f"{place} ({many(self.files, 'file')}, sha256 {self.sha256[:12]}, entry {self.entry}, {self.at}{there})"


def seen_from(workspace: Path, place: Path) -> str:
    """How a statement says a place: relative to the workspace, so that it tells no more of the machine than it must."""
    return os.path.relpath(place.resolve(), workspace.resolve())


def servers(workspace: Path, ledger: Ledger) -> Iterator[Server]:
    """Those whose process lives."""
    opened: dict[str, Mapping[str, Any]] = {}
    for entry in ledger.entries():
        said = entry.predicate
        if entry.predicate_type == STEP and said.get("step") in SERVING:
            if said["event"] == "opened":
                opened[said["run"]] = said
            elif said["event"] in CLOSINGS:
                opened.pop(said["run"], None)
    for begun in opened.values():
        if _is_held(workspace / "steps" / f"{begun['fingerprint'][:16]}.lock"):
            yield _server(begun)


def handed_out(workspace: Path, ledger: Ledger) -> Iterator[HandedOut]:
    """Oldest first."""
    for entry in ledger.entries():
        said = entry.predicate
        if entry.predicate_type == STEP and said.get("event") == "done" and said.get("handed_out"):
            to = said["config"].get(TO)
            yield HandedOut(
                entry=entry.index,
                at=str(said["at"]),
                place=(workspace.resolve() / to).resolve() if to else None,
                files=len(said["handed_out"]),
                sha256=digest(said["handed_out"]),
                inputs=frozenset(each["digest"] for each in said["inputs"]),
            )


def _server(said: Mapping[str, Any]) -> Server:
    config = said["config"]
    asked = [each["source"] for each in said["asks"]]
    return Server(
        step=str(said["step"]),
        where=str(config.get("where", "")),
        process=int(config.get("process", 0)),
        since=str(said["at"]),
        models=(*(f"{each['kind']}:{each['digest'][:12]}" for each in said["inputs"]), *asked),
        inputs=frozenset(each["digest"] for each in said["inputs"]),
        sources=frozenset(source for source, _, _ in labels_of(said)),
    )


def _is_held(path: Path) -> bool:
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False
