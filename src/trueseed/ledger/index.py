"""Finding entries by what they are about, without reading them all: SQLite, made from the entries when first asked.

It can be deleted at any time, and is made anew when it is missing, damaged, or of other entries. Nobody signs it, so
nothing is decided by it: doors and proofs read `entries.jsonl`.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sql
from sqlalchemy.exc import DatabaseError

from trueseed.core.merkle import root

if TYPE_CHECKING:
    from trueseed.ledger.log import Entry

_tables = sql.MetaData()
_covers = sql.Table(
    "covers",
    _tables,
    sql.Column("size", sql.Integer, nullable=False),
    sql.Column("root", sql.LargeBinary, nullable=False),
)
_entries = sql.Table(
    "entries",
    _tables,
    sql.Column("position", sql.Integer, primary_key=True),
    sql.Column("predicate_type", sql.String, nullable=False, index=True),
)
_subjects = sql.Table(
    "subjects",
    _tables,
    sql.Column("digest", sql.String, nullable=False, index=True),
    sql.Column("position", sql.Integer, nullable=False),
)


class Index:
    """An index over a log. Use `Index.synchronised`."""

    def __init__(self, engine: sql.Engine) -> None:
        self._engine = engine

    @classmethod
    def synchronised(cls, path: Path, hashes: Sequence[bytes], entries: Callable[[int], Iterator["Entry"]]) -> "Index":
        """The index at `path`, brought up to the log of these leaf hashes; `entries(start)` reads the log.

        Where the file cannot be used (damaged and not removable, a read-only folder) the index is made in memory.
        """
        for attempt in ("as it is", "anew"):
            try:
                if attempt == "anew":
                    path.unlink(missing_ok=True)
                index = cls(sql.create_engine(f"sqlite:///{path}", poolclass=sql.NullPool))
                index._bring_up_to(hashes, entries)
                return index
            except (DatabaseError, OSError):
                continue
        index = cls(sql.create_engine("sqlite://", poolclass=sql.StaticPool))
        index._bring_up_to(hashes, entries)
        return index

    def find(self, *, subject: str | None, predicate_type: str | None) -> list[int]:
        """Positions in order; without conditions, all of them."""
        query = sql.select(_entries.c.position).order_by(_entries.c.position)
        if predicate_type is not None:
            query = query.where(_entries.c.predicate_type == predicate_type)
        if subject is not None:
            about = sql.select(_subjects.c.position).where(_subjects.c.digest == subject)
            query = query.where(_entries.c.position.in_(about))
        with self._engine.connect() as connection:
            return list(connection.scalars(query))

    def _bring_up_to(self, hashes: Sequence[bytes], entries: Callable[[int], Iterator["Entry"]]) -> None:
        with self._engine.begin() as connection:
            _tables.create_all(connection)
            covered = connection.execute(sql.select(_covers)).first()
            size, known = (covered.size, covered.root) if covered else (0, root([]))
            if size == len(hashes) and known == root(hashes):
                return
            if size > len(hashes) or known != root(hashes[:size]):
                size = 0
            for table in (_entries, _subjects):
                connection.execute(sql.delete(table).where(table.c.position >= size))
            connection.execute(sql.delete(_covers))
            for entry in entries(size):
                connection.execute(
                    sql.insert(_entries).values(position=entry.index, predicate_type=entry.predicate_type)
                )
                digests = {each["digest"]["sha256"] for each in entry.statement["subject"]}
                if digests:
                    rows = [{"digest": each, "position": entry.index} for each in digests]
                    connection.execute(sql.insert(_subjects), rows)
            connection.execute(sql.insert(_covers).values(size=len(hashes), root=root(hashes)))
