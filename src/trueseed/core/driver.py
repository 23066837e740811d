"""Statements of the way of a call, run by the database's driver itself.

    STANDING = Statement("SELECT … WHERE entity = :entity")
    rows = Driver.of(connection).all(STANDING, {"entity": "us"})

Everything else in a database goes through SQLAlchemy, which takes 30 to 50 µs of processor time for a statement; the
drivers take 5, and a call needs a dozen. The text is the same for SQLite and PostgreSQL; only the mark that a parameter
carries differs.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlalchemy as sql

Given = Mapping[str, Any]


class Statement:
    """One statement for both drivers. text: with `:name` where a parameter stands, and no other colon or percent."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.of_psycopg = re.sub(r":(\w+)", r"%(\1)s", text)


class Driver:
    """A cursor of the driver's, in a transaction that somebody else began and ends.

    Raises the driver's own errors, which whoever opened the transaction knows; the connection is not used again then.
    """

    def __init__(self, cursor: Any, *, is_sqlite: bool, spoil: Callable[[], None]) -> None:
        """spoil: keeps the cursor's connection from being used again."""
        self._cursor, self._is_sqlite, self._spoil = cursor, is_sqlite, spoil

    @classmethod
    def of(cls, connection: "sql.Connection") -> "Driver":
        """In the transaction that SQLAlchemy's `connection` is in."""
        is_sqlite = connection.dialect.name == "sqlite"
        return cls(connection.connection.cursor(), is_sqlite=is_sqlite, spoil=connection.invalidate)

    def all(self, statement: Statement, given: Given) -> list[tuple[Any, ...]]:
        """The rows of a question."""
        try:
            self._cursor.execute(statement.text if self._is_sqlite else statement.of_psycopg, given)
            return list(self._cursor.fetchall())
        except BaseException:
            self._spoil()
            raise

    def each(self, statement: Statement, rows: Sequence[Given]) -> int:
        """Runs a change for every row of parameters; returns how many rows of the table it met."""
        try:
            self._cursor.executemany(statement.text if self._is_sqlite else statement.of_psycopg, rows)
            return int(self._cursor.rowcount)
        except BaseException:
            self._spoil()
            raise
