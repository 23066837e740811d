"""The account's memory of reconciliations: what was settled by which figures, and in which ledger that is stated.

The record is written in the transaction that settles, its statement afterwards; whoever comes next writes those that a
kill left out.
"""

import json
from typing import Any

import sqlalchemy as sql

from trueseed.core.canonical import canonical
from trueseed.ledger.log import Ledger
from trueseed.ledger.statement import RECONCILIATION, subject
from trueseed.teachers.account.state import Account

_tables = sql.MetaData()
_reconciliations = sql.Table(
    "reconciliations",
    _tables,
    sql.Column("id", sql.String(32), primary_key=True),
    *(sql.Column(name, sql.String, nullable=False) for name in ("entity", "maker", "month", "at", "origin")),
    sql.Column("said", sql.Text, nullable=False),  # the statement's predicate
    sql.Column("entry", sql.BigInteger),  # its index in the ledger; null until it is written there
)


class History:
    """The reconciliations of one account. Safe to share between threads if that is."""

    def __init__(self, account: Account) -> None:
        """Raises `AccountUnavailable`."""
        self._account = account
        with account.writing() as connection:
            _tables.create_all(connection)

    def keep(self, connection: sql.Connection, said: dict[str, Any], origin: str) -> None:
        """In the transaction of `connection`. origin: the ledger that it will be stated in."""
        row = {key: said[key] for key in ("id", "entity", "maker", "month", "at")}
        row |= {"origin": origin, "said": canonical(said).decode(), "entry": None}
        connection.execute(sql.insert(_reconciliations).values(row))

    def finish(self, ledger: Ledger, entity: str) -> None:
        """States in `ledger` what was settled for it and is not stated yet. Raises as `Ledger.append`."""
        wanted = (
            sql.select(_reconciliations.c.id, _reconciliations.c.said)
            .where(_reconciliations.c.entity == entity, _reconciliations.c.origin == ledger.origin)
            .where(_reconciliations.c.entry.is_(None))
            .order_by(_reconciliations.c.at)
        )
        with self._account.reading() as connection:
            rows = connection.execute(wanted).all()
        for row in rows:
            entry = _stated(ledger, row.id)
            if entry is None:
                entry = _state(ledger, row.id, json.loads(row.said))
            if entry is not None:
                done = sql.update(_reconciliations).where(_reconciliations.c.id == row.id).values(entry=entry)
                with self._account.writing() as connection:
                    connection.execute(done)

    def of(self, entity: str, maker: str, month: str) -> list[dict[str, Any]]:
        """What was said, oldest first, each with `entry` and `origin` of its ledger. Raises `AccountUnavailable`."""
        wanted = (
            sql.select(_reconciliations)
            .where(_reconciliations.c.entity == entity, _reconciliations.c.maker == maker)
            .where(_reconciliations.c.month == month)
            .order_by(_reconciliations.c.at, _reconciliations.c.entry, _reconciliations.c.id)
        )
        with self._account.reading() as connection:
            return [
                {**json.loads(row.said), "entry": row.entry, "origin": row.origin} for row in connection.execute(wanted)
            ]


class _Stated(Exception):  # noqa: N818
    """Another process wrote it in the meantime."""


def _state(ledger: Ledger, identity: str, said: dict[str, Any]) -> int | None:
    def not_there(locked: Ledger) -> None:
        if _stated(locked, identity) is not None:
            raise _Stated

    try:
        about = [subject("figures", said["figures"]["sha256"])]
        return ledger.append(RECONCILIATION, about, said, unless=not_there).index
    except _Stated:
        return _stated(ledger, identity)


def _stated(ledger: Ledger, identity: str) -> int | None:
    for entry in ledger.entries():
        if entry.predicate_type == RECONCILIATION and entry.predicate.get("id") == identity:
            return entry.index
    return None
