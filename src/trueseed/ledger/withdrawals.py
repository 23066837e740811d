"""Recalls: a withdrawal statement stops a source, or what was asked of it under some terms, for a use, by a project or
in a span of time, until the reviewer releases it. What it reaches is quarantined, which is not deletion.

    recalls = Recalls.read(ledger)
    recalls.stop(Passing(labels=..., inputs=..., asks=...))    # why a step may not go on, or None

A recall of a whole source goes by labels, which nothing takes off. A narrower one goes by what entered (`entered`): it
reaches what a step put out into which such words entered, and all that was made from it, but for a step that took them
out again (`leave_out`). It also forbids asking the source anew, unless it says that asking goes on. What is not known
of a step counts as reached.

Predicates: `https://trueseed.dev/withdrawal/v1` {"source", "reason", "at"} and for a narrower one any of "terms"
[digest], "use", "project", "since", "until", "asking" ("goes on"); `https://trueseed.dev/recall-release/v1`
{"withdrawal" (index of its entry), "source", "evidence", "at"}, signed by the reviewer.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, NamedTuple

from trueseed.errors import Broken
from trueseed.ledger.entered import Entered, entered
from trueseed.ledger.lineage import Label, labels_of, made_by
from trueseed.ledger.log import Entry, Ledger
from trueseed.ledger.statement import RECALL_RELEASE, STEP, WITHDRAWAL

LEAVE_OUT = "leave_out"  # name of the step that takes reached records out; its config says of which recalls
HOLD_RECORDS = frozenset({"records", "dataset"})  # kinds of artifacts
GOES_ON = "goes on"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_MEMBERS = frozenset({"source", "reason", "at", "terms", "use", "project", "since", "until", "asking", "log"})


class Asking(NamedTuple):
    """terms: digest of the document in force, '' when none is established."""

    source: str
    use: str
    terms: str
    project: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """index: of its entry. terms: digests. since, until: RFC 3339, UTC; `until` is exclusive. Empty: not narrowed so.
    asking_goes_on: what was asked before is withdrawn, and the source may be asked again.
    """

    index: int
    source: str
    reason: str
    at: str
    terms: tuple[str, ...] = ()
    use: str = ""
    project: str = ""
    since: str = ""
    until: str = ""
    asking_goes_on: bool = False

    @classmethod
    def parse(cls, index: int, said: Mapping[str, Any]) -> "Withdrawal":
        """Raises `Broken` when it is malformed. What this version does not understand makes it no narrower: then the
        whole source is withdrawn.
        """
        if said.keys() - _MEMBERS or said.get("asking", GOES_ON) != GOES_ON:
            said = {name: said.get(name) for name in ("source", "reason", "at")}
        narrow = {name: said.get(name, "") for name in ("use", "project", "since", "until")}
        terms = said.get("terms", [])
        if not isinstance(said.get("source"), str):
            raise Broken(f"the withdrawal in entry {index} names no source")
        if not all(isinstance(value, str) for value in narrow.values()) or not _are_words(terms):
            raise Broken(f"the withdrawal in entry {index} does not say what of {said['source']!r} it is about")
        if any(narrow[name] and not _TIME.fullmatch(narrow[name]) for name in ("since", "until")):
            raise Broken(f"the withdrawal in entry {index} gives a time that is none")
        return cls(
            index=index,
            source=said["source"],
            reason=str(said.get("reason", "")),
            at=str(said.get("at", "")),
            terms=tuple(terms),
            **narrow,
            asking_goes_on="asking" in said,
        )

    def to_json(self) -> dict[str, Any]:
        """As it stands in the predicate."""
        narrow = {name: getattr(self, name) for name in ("use", "project", "since", "until") if getattr(self, name)}
        terms = {"terms": list(self.terms)} if self.terms else {}
        asking = {"asking": GOES_ON} if self.asking_goes_on else {}
        return {"source": self.source, **terms, **narrow, **asking, "reason": self.reason, "at": self.at}

    @property
    def is_whole(self) -> bool:
        """Whether it takes the source back altogether."""
        return not (self.terms or self.use or self.project or self.since or self.until or self.asking_goes_on)

    @property
    def narrowed(self) -> str:
        """By what, in words; '' for a whole source."""
        terms = f"under terms {', '.join(each[:12] for each in self.terms)}" if self.terms else ""
        use, project = self.use and f"asked to {self.use}", self.project and f"by project {self.project!r}"
        since, until = self.since and f"from {self.since}", self.until and f"until {self.until}"
        return ", ".join(filter(None, (terms, use, project, " ".join(filter(None, (since, until))))))

    def reaches(self, what: Entered) -> bool:
        """Whether it takes back any of that, or may."""
        return (
            what.source == self.source
            and (not self.terms or what.terms in self.terms)
            and (not self.use or what.use in (None, self.use))
            and (not self.project or what.project in (None, self.project))
            and (not self.since or what.last is None or what.last >= self.since)
            and (not self.until or what.first is None or what.first < self.until)
        )

    def forbids(self, asking: Asking) -> bool:
        """Whether the source may not be asked so from now on, whatever span of time was withdrawn."""
        return (
            not self.asking_goes_on
            and asking.source == self.source
            and (not self.terms or asking.terms in self.terms)
            and (not self.use or asking.use == self.use)
            and (not self.project or asking.project == self.project)
        )

    def __str__(self) -> str:
        what = f" ({self.narrowed})" if self.narrowed else ""
        return f"{self.source!r}{what} was recalled on {self.at} ({self.reason})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Passing:
    """A step that wants to go on. inputs: digests. entered: of its own, so far. taken_out: recalls (by entry) whose
    records it takes out of its inputs.
    """

    labels: frozenset[Label] = frozenset()
    inputs: tuple[str, ...] = ()
    asks: tuple[Asking, ...] = ()
    entered: tuple[Entered, ...] = ()
    taken_out: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """because: of what it is stopped, in words: an ask, or what of it is reached."""

    withdrawal: Withdrawal
    because: str


class _Made(NamedTuple):
    """A done step."""

    outputs: tuple[str, ...]
    inputs: frozenset[str]
    entered: tuple[Entered, ...]
    sources: frozenset[str]  # of all its labels
    taken_out: frozenset[int]


class Recalls:
    """The recalls of a log and how far each reaches, entry by entry. Safe to share between threads."""

    def __init__(self) -> None:
        self.standing: dict[int, Withdrawal] = {}
        self.released: dict[int, tuple[Withdrawal, Entry]] = {}
        self._made: list[_Made] = []
        self._used: set[str] = set()  # digests that some step read
        self._reached: defaultdict[int, set[str]] = defaultdict(set)
        self._guard = Lock()

    @classmethod
    def read(cls, ledger: Ledger | Iterable[Entry]) -> "Recalls":
        """Raises `Broken` when the ledger changed underneath, or a statement is malformed."""
        made = cls()
        for entry in ledger.entries() if isinstance(ledger, Ledger) else ledger:
            made.see(entry)
        return made

    def take(self, entries: Iterable[Entry]) -> None:
        """Takes in the entries that follow those seen so far. Raises `Broken` for a malformed one."""
        with self._guard:
            for entry in entries:
                self.see(entry)

    def see(self, entry: Entry) -> None:
        if entry.predicate_type == WITHDRAWAL:
            found = Withdrawal.parse(entry.index, entry.predicate)
            self.standing[entry.index] = found
            self._spread(found)
        elif entry.predicate_type == RECALL_RELEASE:
            self._release(entry)
        elif entry.predicate_type == STEP and entry.predicate.get("event") == "done":
            try:
                self._take(_made(entry.predicate))
            except (KeyError, TypeError, AttributeError, ValueError) as err:
                raise Broken(f"the step statement in entry {entry.index} is malformed ({err!r})") from err

    def reached(self, withdrawal: Withdrawal) -> frozenset[str]:
        """Digests of the artifacts that a standing recall reaches."""
        return frozenset(self._reached.get(withdrawal.index, ()))

    def reaches(self, withdrawal: Withdrawal) -> frozenset[str]:
        """As `reached`, of a recall that is not made yet."""
        trial = Recalls()
        trial._made, trial._used = self._made, self._used
        trial._spread(withdrawal)
        return trial.reached(withdrawal)

    def stop(self, passing: Passing) -> Stop | None:
        """The first recall that forbids a step to go on."""
        with self._guard:
            return next(self.stops(passing), None)

    def stops(self, passing: Passing) -> Iterator[Stop]:
        """Every recall that does."""
        for each in self.standing.values():
            if because := self._because(each, passing):
                yield Stop(withdrawal=each, because=because)

    def takes_back(self, answer: Entered) -> Withdrawal | None:
        """The first standing recall that reaches that answer."""
        return next((each for each in list(self.standing.values()) if each.reaches(answer)), None)

    def _because(self, each: Withdrawal, passing: Passing) -> str:
        if each.is_whole:
            return "what learned from it stops" if any(label[0] == each.source for label in passing.labels) else ""
        if asking := next((asking for asking in passing.asks if each.forbids(asking)), None):
            return f"it may not be asked to {asking.use} any more"
        if each.index not in passing.taken_out and (found := set(passing.inputs) & self._reached[each.index]):
            return f"{min(found)[:12]} comes from that, and is quarantined"
        if any(each.reaches(what) for what in passing.entered):
            return "what this step asked is among it"
        return ""

    def _release(self, entry: Entry) -> None:
        index = entry.predicate.get("withdrawal")
        if not isinstance(index, int) or index not in self.standing:
            raise Broken(f"the release in entry {entry.index} names no recall that stands")
        self.released[index] = (self.standing.pop(index), entry)
        self._reached.pop(index, None)

    def _take(self, made: _Made) -> None:
        self._made.append(made)
        again = bool(self._used & set(made.outputs))  # the same bytes were made before, and used
        self._used |= made.inputs
        for each in self.standing.values():
            if self._is_reached(made, each):
                self._reached[each.index].update(made.outputs)
                if again:
                    self._spread(each)

    def _spread(self, each: Withdrawal) -> None:
        size = -1
        reached = self._reached[each.index]
        while size != len(reached):  # once, unless the same bytes were made twice
            size = len(reached)
            for made in self._made:
                if self._is_reached(made, each):
                    reached.update(made.outputs)

    def _is_reached(self, made: _Made, each: Withdrawal) -> bool:
        if each.is_whole:
            return each.source in made.sources
        if any(each.reaches(what) for what in made.entered):
            return True
        return each.index not in made.taken_out and not self._reached[each.index].isdisjoint(made.inputs)


def taken_out(said: Mapping[str, Any]) -> frozenset[int]:
    """The recalls whose records a step takes out of what it reads, by its name and configuration. Nothing is taken out
    of weights, whose records cannot be told apart any more.
    """
    went_through = (*made_by(said, "inputs"), *made_by(said, "outputs"))
    if said.get("step") != LEAVE_OUT or any(made.kind not in HOLD_RECORDS for made in went_through):
        return frozenset()
    return frozenset(int(index) for index in said.get("config", {}).get("without", ()))


def _made(said: Mapping[str, Any]) -> _Made:
    return _Made(
        outputs=tuple(made.digest for made in made_by(said, "outputs")),
        inputs=frozenset(made.digest for made in made_by(said, "inputs")),
        entered=entered(said),
        sources=frozenset(label[0] for label in labels_of(said)),
        taken_out=taken_out(said),
    )


def _are_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
