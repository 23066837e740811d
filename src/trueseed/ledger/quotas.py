"""Quotas of the makers' own that were met, as the ledger has it.

Predicates: `https://trueseed.dev/quota/v1` {"event": "met", "maker", "entity", "model", "reason", "evidence", "way"
{"route", "address", "key"}, "at"}, and {"event": "renewed", "maker", "entity", "model", "way", "met_at", "at"} when an
answer came on that way afterwards; `https://trueseed.dev/quota-release/v1` {"maker", "entity", "evidence", "at"}, by
which the reviewer ends all of a maker's that stand.
"""

from collections.abc import Iterable

from trueseed.errors import Broken
from trueseed.ledger.log import Entry, Ledger
from trueseed.ledger.statement import QUOTA

Said = tuple[str, str, str]  # the event, maker and model, and when and on which way it was met


def said(event: str, maker: str, entity: str, model: str, met_at: str, address: str, key: str) -> Said:
    """By what a statement is known again."""
    return event, f"{maker}/{model} for {entity}", f"{met_at} {address} {key}"


def written(ledger: Ledger | Iterable[Entry]) -> set[Said]:
    """What this ledger says already. Raises `Broken` when it changed underneath, or a statement is malformed."""
    found = set()
    for entry in ledger.entries() if isinstance(ledger, Ledger) else ledger:
        if entry.predicate_type != QUOTA:
            continue
        told = entry.predicate
        try:
            met_at = told["at"] if told["event"] == "met" else told["met_at"]
            way = told["way"]
            about = (told["event"], told["maker"], told["entity"], told["model"], met_at, way["address"], way["key"])
        except (KeyError, TypeError) as err:
            raise Broken(f"the statement of a quota in entry {entry.index} is malformed ({err!r})") from err
        if not all(isinstance(each, str) for each in about):
            raise Broken(f"the statement of a quota in entry {entry.index} is malformed")
        found.add(said(*about))
    return found
