"""Makers on hold, as the ledger has it: a hold statement stops a maker, a release signed by the reviewer ends it.

Predicates: `https://trueseed.dev/hold/v1` {"maker", "entity", "reason", "evidence", "at"}, and "way" {"route",
"address", "key"} when it was met on one; a further way on which a standing hold was met is one with the same "at";
`https://trueseed.dev/release/v1` {"maker", "entity", "evidence", "placed_at", "at"}.
"""

from collections.abc import Iterable

from trueseed.errors import Broken
from trueseed.ledger.log import Entry, Ledger
from trueseed.ledger.statement import HOLD, RELEASE

WAY = {"route", "address", "key"}


def held(ledger: Ledger | Iterable[Entry]) -> dict[tuple[str, str], Entry]:
    """The newest hold that stands on each (maker, our legal entity), as far as this ledger knows: of several statements
    of one hold the first, which says why it was placed.

    Raises `Broken` when the ledger changed underneath, or a statement does not name a maker and an entity.
    """
    found: dict[tuple[str, str], Entry] = {}
    for entry in ledger.entries() if isinstance(ledger, Ledger) else ledger:
        if entry.predicate_type not in (HOLD, RELEASE):
            continue
        maker, entity = entry.predicate.get("maker"), entry.predicate.get("entity")
        if not isinstance(maker, str) or not isinstance(entity, str):
            raise Broken(f"the hold or release in entry {entry.index} names no maker and entity")
        if entry.predicate_type == HOLD:
            first = found.get((maker, entity))
            if first is None or first.predicate.get("at") != entry.predicate.get("at"):
                found[maker, entity] = entry
        else:
            found.pop((maker, entity), None)
    return found


def ways(ledger: Ledger, maker: str, entity: str, at: str) -> list[dict[str, str]]:
    """The ways on which the hold that was placed at `at` was met, as far as this ledger knows: route, address and key's
    digest of each. Raises as `held`, and for a way that is none.
    """
    found = []
    for entry in ledger.entries():
        said = entry.predicate
        if entry.predicate_type != HOLD or (said.get("maker"), said.get("entity"), said.get("at")) != (
            maker,
            entity,
            at,
        ):
            continue
        way = said.get("way")
        if way is None:
            continue
        if not isinstance(way, dict) or way.keys() != WAY or not all(isinstance(each, str) for each in way.values()):
            raise Broken(f"the hold in entry {entry.index} was met on a way that is none")
        found.append(dict(way))
    return found
