"""Rebuilds after a recall: which artifacts take the place of which, and without what.

    done = Rebuilt.read(ledger)
    done.replaced     # digests of what was made again

Predicate `https://trueseed.dev/rebuild/v1`: {"without" [indices of withdrawals], "replaces" and "made" [{"kind",
"digest"}], "at"}. It is written when the new ones are whole; nothing of them is reached by a recall that it names.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from trueseed.errors import Broken
from trueseed.ledger.lineage import Made
from trueseed.ledger.log import Entry, Ledger
from trueseed.ledger.statement import REBUILD


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """entry: of this statement. without: entries of the recalls."""

    entry: int
    without: tuple[int, ...]
    replaces: tuple[Made, ...]
    made: tuple[Made, ...]
    at: str

    def to_json(self) -> dict[str, Any]:
        def named(all_of: tuple[Made, ...]) -> list[dict[str, str]]:
            return [{"kind": each.kind, "digest": each.digest} for each in all_of]

        told = {"replaces": named(self.replaces), "made": named(self.made)}
        return {"without": list(self.without), **told, "at": self.at}


class Rebuilt:
    """The rebuilds of a log, oldest first. replaced: digests of what was made again."""

    def __init__(self) -> None:
        self.all: list[Link] = []
        self.replaced: set[str] = set()

    @classmethod
    def read(cls, ledger: Ledger | Iterable[Entry]) -> "Rebuilt":
        """Raises `Broken` when the ledger changed underneath, or a statement is malformed."""
        made = cls()
        for entry in ledger.entries() if isinstance(ledger, Ledger) else ledger:
            made.see(entry)
        return made

    def see(self, entry: Entry) -> Link | None:
        if entry.predicate_type != REBUILD:
            return None
        link = _link(entry)
        self.all.append(link)
        self.replaced |= {made.digest for made in link.replaces}
        return link


def _link(entry: Entry) -> Link:
    match entry.predicate:
        case {"without": [*without], "replaces": [*old], "made": [*new], "at": str(at)} if all(
            isinstance(index, int) for index in without
        ):
            try:
                replaces, made = (tuple(Made(str(e["kind"]), str(e["digest"])) for e in side) for side in (old, new))
            except (KeyError, TypeError) as err:
                raise Broken(f"the rebuild in entry {entry.index} names artifacts that are none") from err
            return Link(entry=entry.index, without=tuple(without), replaces=replaces, made=made, at=at)
    raise Broken(f"the statement of a rebuild in entry {entry.index} is malformed")
