"""What was destroyed on the reviewer's word: the signed tombstone stays, with the digests of what is gone.

    gone = Destroyed.read(ledger)
    gone.artifacts.get(digest)     # the tombstone, or None

Predicate `https://trueseed.dev/destruction/v1`, signed by the reviewer: {"artifacts": [{"kind", "digest"}], "answers"
[runs, whose files in the cache], "why", "evidence" [{"name", "sha256"}], "at"}. It is written before the bytes go, so a
kill leaves a statement that the same command makes true.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from trueseed.errors import Broken
from trueseed.ledger.lineage import Made
from trueseed.ledger.log import Entry, Ledger
from trueseed.ledger.statement import DESTRUCTION


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """answers: runs, each a file of the cache."""

    entry: int
    artifacts: tuple[Made, ...]
    answers: tuple[str, ...]
    why: str
    at: str

    def __str__(self) -> str:
        return f"destroyed by entry {self.entry} on {self.at} ({self.why})"


class Destroyed:
    """The tombstones of a log, by what they stand for. artifacts: by digest. answers: by run."""

    def __init__(self) -> None:
        self.artifacts: dict[str, Tombstone] = {}
        self.answers: dict[str, Tombstone] = {}

    @classmethod
    def read(cls, ledger: Ledger | Iterable[Entry]) -> "Destroyed":
        """Raises `Broken` when the ledger changed underneath, or a tombstone is malformed."""
        made = cls()
        for entry in ledger.entries() if isinstance(ledger, Ledger) else ledger:
            made.see(entry)
        return made

    def see(self, entry: Entry) -> Tombstone | None:
        if entry.predicate_type != DESTRUCTION:
            return None
        stone = _tombstone(entry)
        self.artifacts |= {made.digest: stone for made in stone.artifacts}
        self.answers |= dict.fromkeys(stone.answers, stone)
        return stone


def _tombstone(entry: Entry) -> Tombstone:
    match entry.predicate:
        case {"artifacts": list(artifacts), "answers": list(answers), "why": str(why), "at": str(at)}:
            try:
                made = tuple(Made(str(each["kind"]), str(each["digest"])) for each in artifacts)
            except (KeyError, TypeError) as err:
                raise Broken(f"the tombstone in entry {entry.index} names artifacts that are none") from err
            return Tombstone(entry=entry.index, artifacts=made, answers=tuple(map(str, answers)), why=why, at=at)
    raise Broken(f"the tombstone in entry {entry.index} is malformed")
