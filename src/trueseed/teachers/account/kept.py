"""A connection that is kept for an account's turns, used by the driver alone.

What SQLAlchemy does about a transaction (a connection from its pool and back, BEGIN, COMMIT, a cursor for each) was a
quarter of the time that a lot of eight calls took.
"""

from contextlib import suppress
from typing import Any

import sqlalchemy as sql

from trueseed.core.driver import Driver


class Kept:
    """Used by one thread at a time. take_turn: the statement that begins a writer's turn. patience_s: how long that
    waits, as the engine's connections are told when they are made.
    """

    def __init__(self, engine: sql.Engine, take_turn: str, patience_s: float) -> None:
        self._engine, self._take_turn, self._patience_s = engine, take_turn, patience_s
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._connection: Any = None
        self._waits = True

    def begin(self, *, wait: bool) -> Driver:
        """One transaction, until `commit` or `close`. wait: for another's turn to end; with SQLite it may be left.
        Raises the driver's own errors, and then nothing was begun.
        """
        connection = self._connection or self._open()
        return Driver(self._begun(connection, wait=wait), is_sqlite=self._is_sqlite, spoil=self.close)

    def commit(self) -> None:
        """Keeps all of it. Raises the driver's own errors; then nothing is kept, or a server was lost meanwhile."""
        if self._connection is None:
            raise RuntimeError("the transaction was given up after an error, and that error was passed over")
        try:
            self._connection.commit()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Keeps nothing of what was begun. The next turn takes a new connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            # SQLite keeps a closed connection, and its transaction, until nothing refers to a statement any more.
            with suppress(Exception):  # a server may be gone, and has taken it back
                connection.rollback()
            connection.close()

    def _open(self) -> Any:
        pooled = self._engine.raw_connection()
        pooled.detach()
        self._connection, self._waits = pooled.dbapi_connection, True
        return self._connection

    def _begun(self, connection: Any, *, wait: bool) -> Any:
        try:
            cursor = connection.cursor()
            if self._is_sqlite and wait is not self._waits:
                cursor.execute(f"PRAGMA busy_timeout = {self._patience_s * 1000 if wait else 0:.0f}")
                self._waits = wait
            cursor.execute(self._take_turn)
        except BaseException as err:
            if getattr(err, "sqlite_errorname", "") != "SQLITE_BUSY":  # nothing was begun, and it is soon tried again
                self.close()
            raise
        return cursor
