"""Recalled sources: a withdrawal statement stops a source from then on, and nothing takes it back.

Predicate `https://trueseed.dev/withdrawal/v1`: {"source", "reason", "at"}.
"""

from collections.abc import Iterable

from trueseed.errors import Broken
from trueseed.ledger.log import Entry, Ledger
from trueseed.ledger.statement import WITHDRAWAL


def withdrawn(ledger: Ledger | Iterable[Entry]) -> dict[str, Entry]:
    """Each withdrawn source with its first withdrawal.

    Raises `Broken` when the ledger changed underneath, or a withdrawal names no source.
    """
    found: dict[str, Entry] = {}
    for entry in ledger.entries() if isinstance(ledger, Ledger) else ledger:
        if entry.predicate_type == WITHDRAWAL:
            source = entry.predicate.get("source")
            if not isinstance(source, str):
                raise Broken(f"the withdrawal in entry {entry.index} names no source")
            found.setdefault(source, entry)
    return found
