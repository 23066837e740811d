"""What a log amounts to for whoever opens steps, each entry read once: a door asks many times, and the log only grows.

reading = Reading()
reading.catch_up(ledger)
reading.lineage, reading.destroyed, reading.recalls, reading.declared
reading.tries(fingerprint)      # of one step: what is open, what came of it
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from trueseed.errors import Broken
from trueseed.ledger.destroyed import Destroyed
from trueseed.ledger.lineage import NOTHING_MADE, Made, made_by
from trueseed.ledger.log import Entry, Ledger
from trueseed.ledger.statement import DECLARATION, STEP
from trueseed.ledger.withdrawals import Recalls


@dataclass(slots=True)
class Tries:
    """All tries of one step. open: the opening of each run that has no closing. outputs: of the newest that is done."""

    open: dict[str, Entry] = field(default_factory=dict)
    outputs: tuple[Made, ...] = ()

    def see(self, entry: Entry) -> None:
        said = entry.predicate
        if said["event"] == "opened":
            self.open[said["run"]] = entry
            return
        self.open.pop(said["run"], None)
        if said["event"] == "done":
            self.outputs = made_by(said, "outputs")


class Reading:
    """As of the last `catch_up`. Safe to share between threads.

    declared: what the owner declared last, {"project", "facts"}; None before that.
    """

    def __init__(self) -> None:
        self.lineage = NOTHING_MADE
        self.destroyed = Destroyed()
        self.recalls = Recalls()
        self.declared: Mapping[str, Any] | None = None
        self._tries: defaultdict[str, Tries] = defaultdict(Tries)
        self._size = 0
        self._guard = Lock()

    def catch_up(self, ledger: Ledger) -> None:
        """Takes in what the ledger gained. Raises `Broken` when it changed underneath, or a statement is malformed."""
        if self._size == ledger.size:
            return
        new = list(ledger.entries(self._size))  # before the guard: an appender holds the ledger's and may want ours
        with self._guard:
            new = [entry for entry in new if entry.index >= self._size]
            self.lineage = self.lineage.grown(new)
            self.recalls.take(new)
            for entry in new:
                self._see(entry)
                self._size = entry.index + 1

    def tries(self, fingerprint: str) -> Tries:
        """Of the step with this fingerprint, as its statements name it."""
        return self._tries.get(fingerprint) or Tries()

    def _see(self, entry: Entry) -> None:
        self.destroyed.see(entry)
        try:
            if entry.predicate_type == DECLARATION:
                self.declared = {key: entry.predicate[key] for key in ("project", "facts")}
            elif entry.predicate_type == STEP and (fingerprint := entry.predicate.get("fingerprint")):
                self._tries[fingerprint].see(entry)
        except (KeyError, TypeError) as err:
            raise Broken(f"the statement in entry {entry.index} is malformed ({err!r})") from err
