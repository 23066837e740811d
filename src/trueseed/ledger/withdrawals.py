"""Recalled sources: a withdrawal statement stops a source from then on, and nothing takes it back.

Predicate `https://trueseed.dev/withdrawal/v1`: {"source", "reason", "at"}.
"""

from collections.abc import Iterable

from trueseed.ledger.log import Entry, Ledger
from trueseed.ledger.statement import WITHDRAWAL


def withdrawn(ledger: Ledger | Iterable[Entry]) -> dict[str, Entry]:
    """Each withdrawn source with its first withdrawal. Raises `Broken` when the ledger changed underneath."""
    found: dict[str, Entry] = {}
    for entry in ledger.entries() if isinstance(ledger, Ledger) else ledger:
        if entry.predicate_type == WITHDRAWAL:
            found.setdefault(str(entry.predicate["source"]), entry)
    return found
