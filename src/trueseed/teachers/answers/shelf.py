"""Answers on disk: files of lines that only grow, and an index of where each answer lies.

    <folder>/<run>.jsonl       one line an answer (`kept`), of one step, sealed when it closes (`ledger/batches`)
    <folder>/import-*.jsonl    an export of another ledger, byte for byte as it was accepted (`exported`)
    <folder>/index.sqlite      can be deleted at any time: it is made from the files

Nothing is held in memory but what one answer takes. Several processes may use one folder: each writes a file of its
own, and all share the index. The folder holds texts, so nobody but its owner may read it.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from trueseed.core.journal import SYNC_EVERY_S
from trueseed.errors import Broken, ConfigError
from trueseed.ledger.batches import Lines
from trueseed.teachers.answers.exported import IMPORTED, answer_in
from trueseed.teachers.answers.kept import Kept

INDEX = "index.sqlite"
PATIENCE_S = 30.0  # for another process that writes to the index

_TABLES = """
    CREATE TABLE IF NOT EXISTS files (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, taken INTEGER NOT NULL, step TEXT NOT NULL,
        asked INTEGER NOT NULL, prompt INTEGER NOT NULL, completion INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS places (
        key BLOB NOT NULL, file INTEGER NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL,
        PRIMARY KEY (key, file, start)) WITHOUT ROWID;
"""
_BEGIN_FILE = "INSERT OR IGNORE INTO files (name, taken, step, asked, prompt, completion) VALUES (?, 0, '', 0, 0, 0)"
_PLACE = "INSERT OR IGNORE INTO places (key, file, start, length) VALUES (?, ?, ?, ?)"
_TAKE = (  # by whoever is first: its writer, or a process that opens the folder meanwhile
    "UPDATE files SET taken = ?, step = ?, asked = asked + 1, prompt = prompt + ?, completion = completion + ?"
    " WHERE id = ? AND taken = ?"
)
_FIND = (
    "SELECT files.name, places.start, places.length FROM places JOIN files ON files.id = places.file"
    " WHERE places.key = ? ORDER BY files.id, places.start"
)


class Place(NamedTuple):
    """Where a line lies. run: its file's name without the suffix. start, length: in bytes."""

    run: str
    start: int
    length: int


class Tally(NamedTuple):
    """What the files of one step hold: answers and tokens."""

    asked: int
    prompt_tokens: int
    completion_tokens: int


class Shelf:
    """A folder of answers, made if need be. Raises `Broken` when a file holds a whole line that is none."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self._index = self._opened()

    def find(self, key: bytes) -> list[Place]:
        """Where answers with this key lie."""
        return [Place(*row) for row in self._index.execute(_FIND, (key,))]

    def read(self, place: Place) -> Kept:
        """Raises `Broken` when the file does not hold an answer there."""
        path = self.path(place.run)
        try:
            with path.open("rb") as file:
                file.seek(place.start)
                line = file.read(place.length)
            if found := parse(place.run, line):
                return found
            raise ValueError("there is something else")
        except (OSError, ValueError) as err:
            raise Broken(
                f"{path} does not hold an answer at byte {place.start} any more ({err}); restore it, or delete it "
                f"together with {self.folder / INDEX}"
            ) from err

    def path(self, run: str) -> Path:
        return self.folder / f"{run}.jsonl"

    def written_by(self, step: str) -> Tally:
        """What earlier tries of the step with this fingerprint left here."""
        query = "SELECT sum(asked), sum(prompt), sum(completion) FROM files WHERE step = ?"
        return Tally(*(int(n or 0) for n in self._index.execute(query, (step,)).fetchone()))

    def runs(self) -> list[str]:
        """The files, oldest name first."""
        return sorted(path.stem for path in self.folder.glob("*.jsonl"))

    def begin(self, run: str) -> int:
        """Makes a file, and its number in the index."""
        self.path(run).touch(mode=0o600)
        with self._writing():
            return self._file(run)

    def add(self, file: int, kept: Kept, place: Place) -> None:
        """Notes where a line was written just now, in the file of this number."""
        with self._writing():
            self._note(file, kept, place)

    def take_in(self, run: str) -> None:
        """Notes what a file holds that the index does not know. Raises `Broken` as `Shelf`."""
        with self._writing():
            identity = self._file(run)
            (end,) = self._index.execute("SELECT taken FROM files WHERE id = ?", (identity,)).fetchone()
            for start, line in _lines(self.path(run), end):
                end = start + len(line) + 1
                place = Place(run, start, len(line))
                try:
                    if kept := parse(run, line):
                        self._note(identity, kept, place)
                except ValueError as err:
                    raise Broken(
                        f"{self.path(run)} holds something else than an answer at byte {start} ({err}); restore the "
                        f"file, or delete it"
                    ) from err
            self._index.execute("UPDATE files SET taken = ? WHERE id = ?", (end, identity))

    def forget(self, run: str) -> None:
        """Takes out of the index all that it knows of a file, which is gone."""
        with self._writing():
            self._index.execute("DELETE FROM places WHERE file = (SELECT id FROM files WHERE name = ?)", (run,))
            self._index.execute("DELETE FROM files WHERE name = ?", (run,))

    def close(self) -> None:
        self._index.close()

    def _opened(self) -> sqlite3.Connection:
        path = self.folder / INDEX
        for attempt in ("as it is", "anew"):
            try:
                if attempt == "anew":
                    for part in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
                        part.unlink(missing_ok=True)
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
                index = sqlite3.connect(path, timeout=PATIENCE_S, isolation_level=None, check_same_thread=False)
                index.execute("PRAGMA journal_mode = WAL")
                index.execute("PRAGMA synchronous = OFF")  # it can be made again
                index.executescript(_TABLES)
                self._index = index
                self._bring_up_to_date()
                return index
            except sqlite3.OperationalError as err:
                raise ConfigError(f"{path} cannot be used ({err}); free it, and give the same command again") from err
            except sqlite3.DatabaseError:
                continue
        raise ConfigError(f"{path} cannot be made; see that its disk is sound")

    def _bring_up_to_date(self) -> None:
        known = dict(self._index.execute("SELECT name, taken FROM files"))
        for run in self.runs():
            if self.path(run).stat().st_size > known.get(run, 0):
                self.take_in(run)
        for run in known.keys() - set(self.runs()):
            self.forget(run)

    def _file(self, run: str) -> int:
        self._index.execute(_BEGIN_FILE, (run,))
        return int(self._index.execute("SELECT id FROM files WHERE name = ?", (run,)).fetchone()[0])

    def _note(self, file: int, kept: Kept, place: Place) -> None:
        self._index.execute(_PLACE, (kept.key, file, place.start, place.length))
        step = "" if place.run.startswith(IMPORTED) else kept.step
        tokens = (kept.answer.prompt_tokens, kept.answer.completion_tokens)
        self._index.execute(_TAKE, (place.start + place.length + 1, step, *tokens, file, place.start))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction, alone among the writers. Raises `ConfigError` when the index cannot be written."""
        try:
            self._index.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._index.execute("COMMIT")
            except BaseException:
                if self._index.in_transaction:
                    self._index.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as err:
            raise ConfigError(
                f"{self.folder / INDEX} cannot be written ({err}); free its disk, or end the process that holds it. "
                f"Nothing that was answered is lost; the same command goes on"
            ) from err


class Writer:
    """One file of a shelf, being written."""

    def __init__(self, shelf: Shelf, run: str) -> None:
        self._shelf, self._run, self._end, self._file = shelf, run, 0, shelf.begin(run)
        self.lines = Lines(shelf.folder, run, sync_every_s=SYNC_EVERY_S)

    def add(self, kept: Kept) -> None:
        """On return a killed process does not lose it."""
        length = len(self.lines.append(kept.to_json()))
        self._shelf.add(self._file, kept, Place(self._run, self._end, length))
        self._end += length + 1

    def close(self, seal: Callable[[Lines], None] | None) -> None:
        """Waits for the disk; `seal` is given the lines when all of them are there."""
        with closing(self.lines):
            self.lines.sync()
            if seal:
                seal(self.lines)


def parse(run: str, line: bytes) -> Kept | None:
    """The answer in a line of a file; None in the other lines of an import. Raises `ValueError` when it is damaged."""
    held = answer_in(line) if run.startswith(IMPORTED) else line
    return None if held is None else Kept.parse(held)


def _lines(path: Path, start: int) -> Iterator[tuple[int, bytes]]:
    """The whole lines from byte `start` on, with where each begins."""
    with path.open("rb") as file:
        file.seek(start)
        for line in file:
            if line.endswith(b"\n"):
                yield start, line[:-1]
            start += len(line)
