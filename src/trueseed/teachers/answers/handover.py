"""The cache handed to another workspace, and taken from one: whole, with proofs, or not at all.

    write(workspace, path)                    what this ledger sealed, as `exported` describes it
    take(workspace, path, keys)               what verifies under a trusted key, kept byte for byte as it came

Taking is a statement of its own in our ledger: which log, which key, how many answers of whom, the root over the lines.
The answers keep the day, the use and the terms they were asked under, and pass our door like any other.
"""

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock

from trueseed.core.canonical import now
from trueseed.core.durable import sync_folder
from trueseed.core.merkle import Frontier, Tree, leaf_hash
from trueseed.errors import Broken, ConfigError
from trueseed.ledger.batches import Batch, lines, seals
from trueseed.ledger.proof import prove_inclusion
from trueseed.ledger.signing import Key, encode
from trueseed.ledger.statement import IMPORT
from trueseed.ledger.withdrawals import Recalls
from trueseed.teachers.answers.cache import CACHE, seal_the_dead
from trueseed.teachers.answers.exported import IMPORTED, Export, Head, read
from trueseed.teachers.answers.kept import Kept
from trueseed.terms.catalog import keep
from trueseed.workspace import KEPT, Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """answers: by source. left_out: how many were not exported, by reason."""

    answers: dict[str, int]
    left_out: dict[str, int]
    seals: int
    log: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """log: where they were asked. key: that vouches for it. terms: ids of the documents that came along, by digest.
    checkpoint: size and root of that log. known: it was taken before.
    """

    log: str
    key: str
    answers: dict[str, int]
    terms: dict[str, str]
    checkpoint: tuple[int, str]
    known: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sealed:
    """One answer and where it stands. tree: of its whole batch."""

    kept: Kept
    line: str
    entry: int
    index: int
    tree: Tree

    def to_json(self) -> dict[str, Any]:
        path = [encode(each) for each in self.tree.path(self.index)]
        return {"answer": self.line, "seal": self.entry, "index": self.index, "path": path}


def write(workspace: Workspace, path: Path, *, sources: Sequence[str] = ()) -> Written:
    """Exports the answers of sources that match one of the patterns (all, if there are none).

    Left out are answers that were recalled, what was itself imported, and questions that have no answer. Raises
    `ConfigError` when `path` is there already or nothing is left to export, `Broken` when a file is not as sealed.
    """
    if path.exists():
        raise ConfigError(f"{path} is there already; name another file, or remove it")
    ledger, folder = workspace.ledger, workspace.folder / CACHE
    seal_the_dead(ledger, folder)
    chosen = _Chosen(workspace, sources)
    answers: Counter[str] = Counter()
    entries: set[int] = set()
    terms: set[str] = set()
    for each in chosen:
        answers[each.kept.source] += 1
        entries.add(each.entry)
        terms.add(each.kept.terms)
    if not answers:
        why = "; ".join(f"{reason}: {n}" for reason, n in chosen.left_out.items())
        raise ConfigError(f"there is nothing to export in {folder}{f' ({why})' if why else ''}")
    key = str(ledger.key("operator"))
    head = Head(log=ledger.origin, key=key, terms=len(terms), seals=len(entries), answers=answers.total())
    with _in_one_step(path) as file:
        _put(file, head.to_json())
        for digest in sorted(terms):
            _put(file, {"terms": chosen.document(digest).to_json()})
        for entry in sorted(entries):
            _put(file, {"seal": prove_inclusion(ledger, entry)})
        for each in chosen:
            _put(file, each.to_json())
    return Written(answers=dict(answers), left_out=dict(chosen.left_out), seals=len(entries), log=ledger.origin)


class _Chosen:
    """The sealed answers to export, in the order of an export; may be gone through again. left_out: by reason."""

    def __init__(self, workspace: Workspace, sources: Sequence[str]) -> None:
        self.left_out: Counter[str] = Counter()
        self._ledger, self._catalog, self._folder = workspace.ledger, workspace.catalog, workspace.folder / CACHE
        self._sources = tuple(sources) or ("*",)
        self._recalled = Recalls.read(workspace.ledger)
        batches = (pair for run in seals(workspace.ledger, "answers").values() for pair in run)
        self._batches = sorted(batches, key=lambda pair: pair[0])

    def __iter__(self) -> Iterator[_Sealed]:
        self.left_out.clear()
        for entry, batch in self._batches:
            path = self._folder / f"{batch.run}.jsonl"
            if batch.run.startswith(IMPORTED):
                imported = self._ledger.entry(entry).predicate["sources"]
                self.left_out["imported: its own ledger exports it"] += sum(imported.values())
            elif not path.exists():
                self.left_out["its file was deleted"] += batch.count
            else:
                yield from self._of(entry, batch, path)

    def document(self, digest: str) -> Any:
        document = self._catalog.by_digest(digest)
        if document is None:
            raise Broken(f"the terms document {digest} is missing from {KEPT}; restore it from a copy")
        return document

    def _of(self, entry: int, batch: Batch, path: Path) -> Iterator[_Sealed]:
        def covered() -> Iterator[bytes]:
            return islice(lines(path), batch.first, batch.first + batch.count)

        tree = Tree(leaf_hash(line) for line in covered())
        if tree.size != batch.count or tree.root().hex() != batch.root:
            raise Broken(f"{path} is not what entry {entry} of the ledger sealed; `trueseed verify` tells more")
        for index, line in enumerate(covered()):
            kept = Kept.parse(line)
            if reason := self._why_not(kept):
                self.left_out[reason] += 1
            else:
                yield _Sealed(kept=kept, line=line.decode(), entry=entry, index=index, tree=tree)

    def _why_not(self, kept: Kept) -> str:
        if not any(fnmatchcase(kept.source, pattern) for pattern in self._sources):
            return "of another source"
        if self._recalled.takes_back(kept.entered):
            return "recalled"
        return "without an answer" if kept.answer.finish == "skipped" else ""


def take(workspace: Workspace, path: Path, keys: Sequence[Key]) -> Taken:
    """Imports an export that verifies under one of `keys`; what was imported before is left as it is.

    Raises `ConfigError` when it is no export, is this workspace's own or is signed by none of the keys, `Broken` when
    anything in it does not verify; then nothing of it is taken.
    """
    ledger, folder = workspace.ledger, workspace.folder / CACHE
    if all(key.name == ledger.origin for key in keys):
        raise ConfigError(f"{ledger.origin} is this workspace's own log: what it asked is in its cache already")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with FileLock(folder / "import.lock"):
        for left in folder.glob(".import.*"):  # by a killed import
            left.unlink()
        with _staged(folder) as staged:
            export, batch = _copy(path, staged, keys)
            for document in export.terms.values():
                keep(document, workspace.folder / KEPT)
            workspace.read_terms()
            known = batch.run in seals(ledger, "answers")
            final = folder / f"{batch.run}.jsonl"
            if not known:
                ledger.append(IMPORT, [], _said(export, batch))
            if not final.exists():  # a kill may have come between the statement and this
                staged.replace(final)
                sync_folder(folder)
    return Taken(
        log=export.head.log,
        key=str(export.operator),
        answers=dict(sorted(export.sources.items())),
        terms={digest: document.id for digest, document in sorted(export.terms.items())},
        checkpoint=export.checkpoint,
        known=known,
    )


def _copy(path: Path, staged: Path, keys: Sequence[Key]) -> tuple[Export, Batch]:
    """Checks an export line by line, and writes what was checked: never the file again, which may change."""
    hashed, tree, export = sha256(), Frontier(), None
    with staged.open("wb") as file:
        for line, export in read(path, keys):  # noqa: B007  it is wanted as it is in the end
            file.write(line + b"\n")
            hashed.update(line + b"\n")
            tree.append(leaf_hash(line))
        file.flush()
        os.fsync(file.fileno())
    assert export is not None
    run = f"{IMPORTED}{hashed.hexdigest()[:32]}"
    return export, Batch(run=run, first=0, count=tree.size, root=tree.root().hex())


def _said(export: Export, batch: Batch) -> dict[str, Any]:
    size, root = export.checkpoint
    return {
        "of": export.head.log,
        "key": str(export.operator),
        "checkpoint": {"size": size, "root": root},
        "sources": dict(sorted(export.sources.items())),
        "terms": sorted(export.terms),
        "answers": batch.to_json(),
        "at": now(),
    }


@contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=".import.")  # mode 0600
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def _in_one_step(path: Path) -> Iterator[BinaryIO]:
    """A file that appears at `path` when it is whole; nobody else may read it."""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as err:
        raise ConfigError(f"{path} cannot be written: {err.strerror}; name another file") from err
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
    sync_folder(path.parent)


def _put(file: BinaryIO, value: dict[str, Any]) -> None:
    file.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
