"""Makers on hold, as the ledger has it: a hold statement stops a maker, a release signed by the reviewer ends it.

Predicates: `https://trueseed.dev/hold/v1` {"maker", "entity", "reason", "evidence", "at"};
`https://trueseed.dev/release/v1` {"maker", "entity", "evidence", "placed_at", "at"}.
"""

from collections.abc import Iterable

from trueseed.errors import Broken
from trueseed.ledger.log import Entry, Ledger
from trueseed.ledger.statement import HOLD, RELEASE


def held(ledger: Ledger | Iterable[Entry]) -> dict[tuple[str, str], Entry]:
    """The newest hold that stands on each (maker, our legal entity), as far as this ledger knows.

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
            found[maker, entity] = entry
        else:
            found.pop((maker, entity), None)
    return found
