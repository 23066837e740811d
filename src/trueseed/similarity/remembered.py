"""Answers that passed by, remembered so that they are known again when a file brings them back without papers.

    remembered = Remembered(folder / "answers.sqlite")
    remembered.add(text, "openai/gpt-4@api", "asked to judge on 2026-03-01")
    remembered.recognise(outside)        # a Recognised, or None

No text is kept: of each answer the hash of its normalised words, and the smallest hashes of its runs of words, a
uniform sample of them ("bottom-k sketch", Broder 1997). A text holds the whole sample of an answer when it holds the
answer, whatever stands around it, so the part of the sample found estimates how much of the answer was kept.
"""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import sqlalchemy as sql

from trueseed.core.driver import Driver, Statement
from trueseed.similarity.fingerprint import fingerprint, normalise, shingles

WORDS = 4  # in a run: three are shared by chance, and with five one changed word in ten leaves too few
SAMPLE = 32  # runs kept of an answer: the estimate of how much was kept is off by less than 0.18 in 19 of 20 texts
ANSWERS = "answers.sqlite"  # file in a workspace
AT_LEAST_WORDS = 12  # shorter answers ("Yes.", "I'm sorry, but I can't help with that.") are everyone's
AT_LEAST_KEPT = 0.5
AT_ONCE = 400  # hashes in one question to SQLite, whose oldest versions take 999

_tables = sql.MetaData()
_answers = sql.Table(
    "answers",
    _tables,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("exact", sql.String(64), nullable=False, unique=True),
    sql.Column("source", sql.String, nullable=False),
    sql.Column("about", sql.String, nullable=False),
    sql.Column("runs", sql.Integer, nullable=False),  # how many were sampled
)
_runs = sql.Table(
    "runs",
    _tables,
    sql.Column("hash", sql.BigInteger, primary_key=True),
    sql.Column("answer", sql.Integer, primary_key=True),
    sqlite_with_rowid=False,
)


_ADD = Statement(
    "INSERT INTO answers (exact, source, about, runs) VALUES (:exact, :source, :about, :runs)"
    " ON CONFLICT (exact) DO NOTHING RETURNING id"
)
_ADD_RUN = Statement("INSERT INTO runs (hash, answer) VALUES (:hash, :answer)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """source: whose answer it was. about: what was said of it when it was remembered. kept: how much of it the text
    holds, 1 is all.
    """

    source: str
    about: str
    kept: float


@dataclass(frozen=True, slots=True)
class Sketch:
    """What is kept of an answer: its hash, and the smallest hashes of its runs of words."""

    exact: str
    sample: tuple[int, ...]
    source: str
    about: str


def sketch(text: str, source: str, about: str) -> Sketch | None:
    """None for an answer that is too short to be someone's."""
    if len(normalise(text).split()) < AT_LEAST_WORDS:
        return None
    return Sketch(fingerprint(text), tuple(sorted(_hashes(text))[:SAMPLE]), source, about)


class Remembered:
    """Answers by their fingerprints, in a SQLite file that several processes may share."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._engine = sql.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})
        sql.event.listen(self._engine, "connect", _prepare)
        with self._engine.begin() as connection:
            _tables.create_all(connection)

    def add(self, text: str, source: str, about: str) -> None:
        """Remembers an answer that is long enough to be someone's; of equal ones, the first."""
        self.add_all([(text, source, about)])

    def add_all(self, answers: Iterable[tuple[str, str, str]]) -> None:
        """As `add`, in one transaction: text, source and about of each."""
        self.keep([sketch(*answer) for answer in answers])

    def keep(self, sketches: Iterable[Sketch | None]) -> None:
        """Remembers answers that were sketched, in one transaction; None is one too short to be someone's."""
        with self._engine.begin() as connection:
            driver, rows = Driver.of(connection), list[dict[str, int]]()
            for each in sketches:
                if each is None:
                    continue
                said = {"exact": each.exact, "source": each.source, "about": each.about, "runs": len(each.sample)}
                for (answer,) in driver.all(_ADD, said):  # none when it is remembered already
                    rows += [{"hash": run, "answer": answer} for run in each.sample]
            if rows:
                driver.each(_ADD_RUN, sorted(rows, key=itemgetter("hash")))  # neighbours lie on one page

    def recognise(self, text: str) -> Recognised | None:
        """The remembered answer of which `text` holds most, when it holds at least half of it."""
        with self._engine.connect() as connection:
            same = connection.execute(sql.select(_answers).where(_answers.c.exact == fingerprint(text))).first()
            if same:
                return Recognised(source=same.source, about=same.about, kept=1.0)
            found = self._found(connection, sorted(_hashes(text)))
            if not found:
                return None
            rows = connection.execute(
                sql.select(_answers).where(_answers.c.id.in_([answer for answer, _ in found.most_common(AT_ONCE)]))
            ).all()
        best = max(rows, key=lambda row: (found[row.id] / row.runs, -row.id))
        kept = found[best.id] / best.runs
        recognised = Recognised(source=best.source, about=best.about, kept=kept)
        return recognised if kept >= AT_LEAST_KEPT else None

    def close(self) -> None:
        self._engine.dispose()

    def _found(self, connection: sql.Connection, hashes: Sequence[int]) -> Counter[int]:
        """How many sampled runs of each answer are among `hashes`."""
        found: Counter[int] = Counter()
        for start in range(0, len(hashes), AT_ONCE):
            some = _runs.c.hash.in_(hashes[start : start + AT_ONCE])
            found.update(connection.scalars(sql.select(_runs.c.answer).where(some)))
        return found


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")  # kept after a kill; a loss of power can take the last seconds


def _hashes(text: str) -> set[int]:
    """64-bit hashes of the runs of words, signed as SQL has them."""
    return {
        int.from_bytes(hashlib.blake2b(run.encode(), digest_size=8).digest(), signed=True)
        for run in shingles(text, WORDS)
    }
