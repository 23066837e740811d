"""How a maker is reached, by which it is known again under another name or another entity's.

    way = Way.to("deepseek/deepseek-chat@api", base_url="https://api.deepseek.com/v1", key=key)

What binds a maker and our legal entity (a hold, a quota that is used up) binds the address and the key too with which
the maker was reached when it was met: the address whatever maker the source names there, and the key whatever entity is
declared, since it belongs to the maker's account. Another entity with a key of its own is another account.

An aggregator or a cloud carries many makers over one address and key; there, only the maker that said so is bound.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple
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


class Met(NamedTuple):
    """What stands on a maker, since when and why, and a way on which it was met."""

    entity: str
    maker: str
    at: Any
    reason: str
    route: str
    address: str
    key: str

    @property
    def way(self) -> Way:
        return Way(route=self.route, address=self.address, key=self.key)


def keep(connection: sql.Connection, entity: str, maker: str, placed_at: str, way: Way) -> bool:
    """Notes by which way the maker was reached that was put on hold; False when that is noted already."""
    said = {"entity": entity, "maker": maker, "placed_at": placed_at, **asdict(way)}
    if connection.scalar(_KEPT, said):
        return False
    connection.execute(_KEEP, said)
    return True


def known_again(driver: Driver, met: Statement, entity: str, source: str, way: Way) -> Iterator[tuple[Met, str]]:
    """What stands on the maker that is reached this way, whatever name `source` gives it, and by what it is known.

    met: selects what `Met` has, of an `:address` with our `:entity` and of a `:key`.
    """
    maker = parse_source(source).maker
    for row in driver.all(met, {"entity": entity, "address": way.address, "key": way.key}):
        found = Met(*row)
        if because := _because(found, entity, maker, way):
            yield found, because


def _because(met: Met, entity: str, maker: str, way: Way) -> str | None:
    carries_many = met.route == way.route and way.route not in ONE_MAKER
    if way.key and met.key == way.key and (met.maker == maker or not carries_many):
        return "its key is that of the account"
    if met.address == way.address and met.entity == entity and met.maker != maker and not carries_many:
        return f"{way.address} is the address of the account"
    return None
