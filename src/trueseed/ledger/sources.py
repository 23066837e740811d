"""Of which sources are the answers in a file of the cache? Read off the log, without the file."""

from collections import defaultdict
from collections.abc import Iterable

from trueseed.errors import Broken
from trueseed.ledger.batches import batch_of
from trueseed.ledger.log import Entry, Ledger
from trueseed.ledger.statement import IMPORT, STEP


class Runs:
    """The runs whose answers were sealed, entry by entry."""

    def __init__(self) -> None:
        self._asked: defaultdict[str, set[str]] = defaultdict(set)  # by the step's run
        self._imported: defaultdict[str, set[str]] = defaultdict(set)  # by the file's
        self._sealed: set[str] = set()

    @classmethod
    def read(cls, ledger: Ledger | Iterable[Entry]) -> "Runs":
        """Raises `Broken` when the ledger changed underneath, or a seal is malformed."""
        made = cls()
        for entry in ledger.entries() if isinstance(ledger, Ledger) else ledger:
            made.see(entry)
        return made

    def see(self, entry: Entry) -> None:
        """Raises `Broken` when it is malformed."""
        said = entry.predicate
        try:
            if entry.predicate_type == STEP:
                self._asked[str(said.get("run"))] |= {str(each["source"]) for each in said.get("asks", ())}
            elif batch := batch_of(entry, "answers"):
                self._sealed.add(batch.run)
                if entry.predicate_type == IMPORT:
                    self._imported[batch.run] |= set(map(str, said.get("sources", ())))
        except (KeyError, TypeError) as err:
            raise Broken(f"the statement in entry {entry.index} is malformed ({err!r})") from err

    def sources(self) -> dict[str, frozenset[str]]:
        """By run, which is the file's name: every source that its step asked, or whose answers were imported."""
        return {
            run: frozenset(self._imported.get(run, set()) | self._asked.get(run.partition("-")[0], set()))
            for run in sorted(self._sealed)
        }
