"""How far is a ledger complete? Only as far as somebody else counted the calls: of which months a maker's own figures
were compared with ours, and in which it was asked and they were not.

    reach = read(entries)
    reach.evidence    # what the maker's figures agree with
    reach.notes       # where they do not, and where nobody looked

A call that went around TrueSeed leaves no statement, and no checkpoint, witness or time stamp would miss it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from trueseed.errors import Broken
from trueseed.ledger.entered import entered
from trueseed.ledger.lineage import CLOSINGS
from trueseed.ledger.log import Entry
from trueseed.ledger.statement import RECONCILIATION, STEP

WEIGHTS = "weights"  # route of a model that runs here: nobody else counts its calls
FOUND = {
    "agrees": "they agree",
    "differs": "they have fewer calls, or other tokens",
    "outside": "they have calls that TrueSeed did not make",
    "past_stop": "they have calls past a hold or a recall",
}


_Whose = tuple[str, str, str]  # maker, sources (a pattern), month (2026-11)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    evidence: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Compared:
    """A reconciliation. anything: whether a day of the maker's figures was whole. told: in words."""

    agrees: bool
    anything: bool
    told: str

    @classmethod
    def parse(cls, entry: Entry) -> "_Compared":
        said = entry.predicate
        through = f"through {said['through']}" if said["through"] else "of which no day was whole"
        told = (
            f"{said['maker']}'s own figures of {said['month']}, {through}, for sources {said['sources']!r} (entry "
            f"{entry.index}): {FOUND.get(said['verdict'], said['verdict'])}"
        )
        agrees = said["verdict"] == "agrees" and bool(said["through"])
        return cls(agrees, bool(said["through"]), told)


def read(entries: Iterable[Entry]) -> Reach:
    """Of several reconciliations of a month the last counts. Raises `Broken` for a malformed statement."""
    asked: set[tuple[str, str]] = set()
    compared: dict[_Whose, _Compared] = {}
    for entry in entries:
        said = entry.predicate
        try:
            if entry.predicate_type == RECONCILIATION:
                compared[str(said["maker"]), str(said["sources"]), str(said["month"])] = _Compared.parse(entry)
            elif entry.predicate_type == STEP and said["event"] in CLOSINGS:
                asked |= set(_asked(said))
        except (KeyError, TypeError, AttributeError) as err:
            raise Broken(f"the statement in entry {entry.index} is malformed ({err!r})") from err
    found = [compared[whose] for whose in sorted(compared)]
    return Reach(
        evidence=tuple(each.told for each in found if each.agrees),
        notes=(*(each.told for each in found if not each.agrees), *_unseen(asked, compared)),
    )


def _asked(said: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Source and month (2026-11) of what a closing step asked of others; '' for a month that is not known."""
    sources = {each["source"] for each in said.get("asks", ()) if each["source"].rpartition("@")[2] != WEIGHTS}
    lines = entered(said) if said["event"] == "done" else ()
    seen = [
        (line.source, (day or "")[:7]) for line in lines for day in (line.first, line.last) if line.source in sources
    ]
    yield from seen
    yield from ((source, said["at"][:7]) for source in sources - {source for source, _ in seen})


def _unseen(asked: set[tuple[str, str]], compared: Mapping[_Whose, _Compared]) -> Iterator[str]:
    left: dict[str, set[str]] = {}
    for source, month in asked:
        maker = source.partition("/")[0]
        if not any(
            (of, when) == (maker, month) and fnmatchcase(source, pattern) and each.anything
            for (of, pattern, when), each in compared.items()
        ):
            left.setdefault(source, set()).add(month)
    for source, months in sorted(left.items()):
        named = ", ".join(sorted(month or "an unknown month" for month in months))
        yield (
            f"the calls to {source} in {named} were not compared with what {source.partition('/')[0]} counted: calls "
            f"past TrueSeed are not excluded (`trueseed reconcile`)"
        )
