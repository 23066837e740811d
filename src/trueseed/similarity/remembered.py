"""Answers that passed by, remembered so that they are known again when a file brings them back without papers.

    remembered = Remembered(folder / "answers.sqlite")
    remembered.add(text, "openai/gpt-4@api", "asked to judge on 2026-03-01")
    remembered.recognise(outside)        # a Recognised, or None

No text is kept: of each answer the hash of its bare words, and the smallest hashes of its runs of words, a uniform
sample of them ("bottom-k sketch", Broder 1997). A text holds the whole sample of an answer when it holds the answer,
whatever stands around it, so the part of the sample found estimates how much of the answer was kept. The bare words are
the same whether numbers, addresses and links were redacted or not, and in look-alike letters (`fingerprint.bare`).

An answer that several gave, or that lies in several places, has a `Mark` of each.
"""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import sqlalchemy as sql

from trueseed.core.canonical import sha256
from trueseed.core.driver import Driver, Statement
from trueseed.similarity.fingerprint import bare, normalise, runs

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
    sql.Column("runs", sql.Integer, nullable=False),  # how many were sampled; 0: known by its hash alone
)
_runs = sql.Table(
    "runs",
    _tables,
    sql.Column("hash", sql.BigInteger, primary_key=True),
    sql.Column("answer", sql.Integer, primary_key=True),
    sqlite_with_rowid=False,
)
_MARK = ("source", "terms", "held", "record", "about")
_marks = sql.Table(  # absent of what was remembered before there were any
    "marks",
    _tables,
    sql.Column("answer", sql.Integer, primary_key=True),
    *(sql.Column(name, sql.String, primary_key=name in ("source", "terms", "held"), nullable=False) for name in _MARK),
    sqlite_with_rowid=False,
)
_taken = sql.Table(
    "taken",
    _tables,
    sql.Column("name", sql.String, primary_key=True),
    sql.Column("until", sql.BigInteger, nullable=False),
)
HASHED_AS = 2  # 1: the normalised words, digits and marks of redaction among them

_ADD = Statement(
    "INSERT INTO answers (exact, source, about, runs) VALUES (:exact, :source, :about, :runs)"
    " ON CONFLICT (exact) DO NOTHING RETURNING id"
)
_FIND = Statement("SELECT id FROM answers WHERE exact = :exact")
_ADD_RUN = Statement("INSERT INTO runs (hash, answer) VALUES (:hash, :answer)")
_ADD_MARK = Statement(
    "INSERT INTO marks (answer, source, terms, held, record, about)"
    " VALUES (:answer, :source, :terms, :held, :record, :about) ON CONFLICT DO NOTHING"
)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Mark:
    """Whose an answer is. about: what was said of it when it was remembered. terms: digest of the document it was given
    under, '' when that was not said. held: the artifact it was found in, '' for an answer by itself. record: its id
    there.
    """

    source: str
    terms: str = ""
    held: str = ""
    record: str = ""
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """source: whose answer it was. about: what was said of it when it was remembered. kept: how much of it the text
    holds, 1 is all. marks: of everyone who gave it and every place it lies in; the first is of `source`.
    """

    source: str
    about: str
    kept: float
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Sketch:
    """What is kept of an answer: its hash, and the smallest hashes of its runs of words."""

    exact: str
    sample: tuple[int, ...]
    mark: Mark


def sketch(text: str, mark: Mark) -> Sketch | None:
    """None for an answer that is too short to be someone's."""
    words = bare(text)
    if len(words.split()) < AT_LEAST_WORDS:
        return None
    return Sketch(sha256(words.encode()), tuple(sorted(_hashes(words))[:SAMPLE]), mark)


def seal(text: str, mark: Mark) -> Sketch | None:
    """As `sketch`, to be known as a whole only: for a chat, of which the better part may be what others ask as well."""
    made = sketch(text, mark)
    return made and Sketch(made.exact, (), mark)


class Remembered:
    """Answers by their fingerprints, in a SQLite file that several processes may share."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._engine = sql.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})
        sql.event.listen(self._engine, "connect", _prepare)
        with self._engine.begin() as connection:
            _tables.create_all(connection)

        self._hashed_before = self._mark_the_old()

    def add(self, text: str, source: str, about: str) -> None:
        """Remembers an answer that is long enough to be someone's."""
        self.add_all([(text, source, about)])

    def add_all(self, answers: Iterable[tuple[str, str, str]]) -> None:
        """As `add`, in one transaction: text, source and about of each."""
        self.keep([sketch(text, Mark(source=source, about=about)) for text, source, about in answers])

    def keep(self, sketches: Iterable[Sketch | None], *, taken: tuple[str, int] | None = None) -> None:
        """Remembers answers that were sketched, in one transaction; None is one too short to be someone's.

        taken: notes that what has this name was taken in until there.
        """
        with self._engine.begin() as connection:
            driver, rows = Driver.of(connection), list[dict[str, int]]()
            for each in sketches:
                if each is None:
                    continue
                mark, said = each.mark, {"exact": each.exact}
                known = {**said, "source": mark.source, "about": mark.about, "runs": len(each.sample)}
                found = list(driver.all(_ADD, known))  # none when it is remembered already
                rows += [{"hash": run, "answer": answer} for (answer,) in found for run in each.sample]
                ((answer,),) = found or driver.all(_FIND, said)
                driver.all(_ADD_MARK, {"answer": answer, **{name: getattr(mark, name) for name in _MARK}})
            if rows:
                driver.each(_ADD_RUN, sorted(rows, key=itemgetter("hash")))  # neighbours lie on one page
            if taken:
                connection.execute(sql.delete(_taken).where(_taken.c.name == taken[0]))
                connection.execute(sql.insert(_taken).values(name=taken[0], until=taken[1]))

    def taken(self) -> dict[str, int]:
        """Until where what has which name was taken in."""
        with self._engine.connect() as connection:
            return {row.name: row.until for row in connection.execute(sql.select(_taken))}

    def recognise(self, text: str) -> Recognised | None:
        """The remembered answer of which `text` holds most, when it holds at least half of it."""
        forms = [bare(text), *([normalise(text)] if self._hashed_before else ())]
        with self._engine.connect() as connection:
            exact = _answers.c.exact.in_([sha256(words.encode()) for words in forms])
            same = connection.execute(sql.select(_answers).where(exact).order_by(_answers.c.id)).first()
            if same:
                return self._recognised(connection, same, 1.0)
            found = self._found(connection, sorted(set().union(*map(_hashes, forms))))
            if not found:
                return None
            rows = connection.execute(
                sql.select(_answers).where(_answers.c.id.in_([answer for answer, _ in found.most_common(AT_ONCE)]))
            ).all()
            best = max(rows, key=lambda row: (found[row.id] / row.runs, -row.id))
            kept = found[best.id] / best.runs
            return self._recognised(connection, best, kept) if kept >= AT_LEAST_KEPT else None

    def close(self) -> None:
        self._engine.dispose()

    def _recognised(self, connection: sql.Connection, row: sql.Row[tuple[object, ...]], kept: float) -> Recognised:
        found = connection.execute(sql.select(_marks).where(_marks.c.answer == row.id)).all()
        marks = sorted(Mark(**{name: getattr(each, name) for name in _MARK}) for each in found)
        if all(mark.source != row.source for mark in marks):
            marks.insert(0, Mark(source=row.source, about=row.about))
        marks.sort(key=lambda mark: mark.source != row.source)
        return Recognised(source=row.source, about=row.about, kept=kept, marks=tuple(marks))

    def _mark_the_old(self) -> bool:
        """Whether there may be answers here that were hashed in the way before; a new file has none."""
        with self._engine.begin() as connection:
            new = connection.execute(sql.select(_answers.c.id).limit(1)).first() is None
            if new:
                connection.exec_driver_sql(f"PRAGMA user_version = {HASHED_AS}")
            return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one()) < HASHED_AS

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


def _hashes(words: str) -> set[int]:
    """64-bit hashes of the runs of words, signed as SQL has them."""
    return {
        int.from_bytes(hashlib.blake2b(run.encode(), digest_size=8).digest(), signed=True) for run in runs(words, WORDS)
    }
