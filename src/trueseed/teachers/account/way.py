"""How a maker is reached, by which it is known again under another name or another entity's.

    way = Way.to("deepseek/deepseek-chat@api", base_url="https://api.deepseek.com/v1", key=key)

A hold binds a maker and our legal entity. The address and the key with which the maker was reached when it suspended us
bind too: the address whatever maker the source names there, and the key whatever entity is declared, since it belongs
to the account that was suspended. Another entity with a key of its own is another account.

An aggregator or a cloud carries many makers over one address and key; there, only the maker that suspended us is held.
"""

from dataclasses import asdict, dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

import sqlalchemy as sql

from trueseed.core.canonical import sha256
from trueseed.core.driver import Driver, Statement
from trueseed.terms.model import parse_source

ONE_MAKER = ("api", "weights", "")  # routes that carry one; the name of an aggregator is its own
SHORTEST_KEY = 16  # shorter ones are placeholders such as `EMPTY`, which many servers are given
_PORTS = {"http": 80, "https": 443}

_KEEP = sql.text(
    "INSERT INTO hold_ways (entity, maker, placed_at, route, address, key)"
    " VALUES (:entity, :maker, :placed_at, :route, :address, :key)"
)
_KEPT = sql.text(
    "SELECT count(*) FROM hold_ways WHERE entity = :entity AND maker = :maker AND placed_at = :placed_at"
    " AND route = :route AND address = :address AND key = :key"
)
_MET = Statement(
    "SELECT h.entity, h.maker, h.placed_at, h.reason, w.route, w.address, w.key FROM hold_ways w JOIN holds h"
    " ON h.entity = w.entity AND h.maker = w.maker AND h.placed_at = w.placed_at"
    " WHERE h.release IS NULL AND ((w.address = :address AND h.entity = :entity) OR (w.key = :key AND w.key <> ''))"
    " ORDER BY h.id"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """route: of the source. address: host and port. key: SHA-256 of it, '' for none."""

    route: str
    address: str
    key: str = field(repr=False)

    @classmethod
    def to(cls, source: str, *, base_url: str, key: str) -> "Way":
        parts = urlsplit(base_url)
        host = (parts.hostname or "").rstrip(".")
        return cls(
            route=parse_source(source).route,
            address=f"{host}:{parts.port or _PORTS.get(parts.scheme, 0)}",
            key=sha256(key.encode()) if len(key) >= SHORTEST_KEY else "",
        )


class _Met(NamedTuple):
    """A standing hold, and a way on which it was met."""

    entity: str
    maker: str
    placed_at: str
    reason: str
    route: str
    address: str
    key: str


def keep(connection: sql.Connection, entity: str, maker: str, placed_at: str, way: Way) -> bool:
    """Notes by which way the maker was reached that was put on hold; False when that is noted already."""
    said = {"entity": entity, "maker": maker, "placed_at": placed_at, **asdict(way)}
    if connection.scalar(_KEPT, said):
        return False
    connection.execute(_KEEP, said)
    return True


def barred(driver: Driver, entity: str, source: str, way: Way) -> str | None:
    """Why `source` may not be asked this way although its maker is not on hold for `entity`; None when it may."""
    maker = parse_source(source).maker
    for row in driver.all(_MET, {"entity": entity, "address": way.address, "key": way.key}):
        met = _Met(*row)
        if because := _because(met, entity, maker, way):
            return (
                f"{source!r} may not be asked: {because} that {met.maker!r} suspended; it is on hold for "
                f"{met.entity!r} since {met.placed_at} ({met.reason}), whatever name the run file gives it; when "
                f"{met.maker!r} has reinstated the account, the reviewer runs "
                f"`trueseed release {met.maker} --evidence FILE` with what shows it"
            )
    return None


def _because(met: _Met, entity: str, maker: str, way: Way) -> str | None:
    carries_many = met.route == way.route and way.route not in ONE_MAKER
    if way.key and met.key == way.key and (met.maker == maker or not carries_many):
        return "its key is that of the account"
    if met.address == way.address and met.entity == entity and met.maker != maker and not carries_many:
        return f"{way.address} is the address of the account"
    return None
