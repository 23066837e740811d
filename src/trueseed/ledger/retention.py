"""May something be deleted? One question before every deletion of records, answers, checkpoints or weights.

    retention = Retention()
    retention.catch_up(ledger)
    retention.forbids(sources)     # why it must stay, or ''

While a case is open, or a maker is on hold, nothing that comes from it goes. A recall is no such reason: what it
reaches is quarantined, and destroying it may be what the licence asks for.
"""

from collections.abc import Iterable

from trueseed.ledger import hold_files
from trueseed.ledger.cases import Cases
from trueseed.ledger.log import Entry, Ledger
from trueseed.ledger.statement import HOLD, RELEASE


class Retention:
    """What must stay, entry by entry."""

    def __init__(self) -> None:
        self.cases = Cases()
        self._held: dict[tuple[str, str], Entry] = {}  # (maker, our legal entity)
        self._size = 0

    def catch_up(self, ledger: Ledger) -> None:
        """Takes in what the ledger gained. Raises `Broken` for a malformed statement."""
        for entry in ledger.entries(self._size):
            self.see(entry)
            self._size = entry.index + 1

    def see(self, entry: Entry) -> None:
        self.cases.see(entry)
        who = (str(entry.predicate.get("maker")), str(entry.predicate.get("entity")))
        if entry.predicate_type == HOLD:
            self._held[who] = entry
        elif entry.predicate_type == RELEASE:
            self._held.pop(who, None)

    def forbids(self, sources: Iterable[str]) -> str:
        """Why what carries labels of these sources must stay as far as this ledger knows; '' when it may go."""
        named = sorted(set(sources))
        for case in self.cases.standing.values():
            if not named and case.touches(""):
                return f"{case} is open"
            if touched := next((source for source in named if case.touches(source)), ""):
                return f"{case} is open and touches what comes from {touched!r}"
        makers = {source.partition("/")[0] for source in named}
        for (maker, _), entry in sorted(self._held.items()):
            if maker in makers:
                return f"{maker!r} is on hold since {entry.predicate.get('at')} (entry {entry.index})"
        return ""


def must_stay(retention: Retention, sources: Iterable[str]) -> str:
    """`Retention.forbids`, also for holds that another workspace of this user met and the user's state remembers.

    Raises `Broken` when what it remembers is damaged.
    """
    named = set(sources)
    if because := retention.forbids(named):
        return because
    makers = {source.partition("/")[0] for source in named}
    for hold in hold_files.remembered():
        if hold["maker"] in makers:
            return f"{hold['maker']!r} is on hold for {hold['entity']!r} since {hold['placed_at']}"
    return ""
