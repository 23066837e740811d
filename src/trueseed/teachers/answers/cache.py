"""Answers that need not be asked for again: those of this step's earlier tries, and those the workspace keeps.

    cache = Cache(step, source, identity)
    hit = cache.find(request)               # a Hit, or None: then it is asked, and
    cache.keep(request, answer, now())      # kept before it is handed out

An answer from another step passes the door anew, for the use it is wanted for *now*: the terms in force on the day it
was asked decide, and the step then carries their label. What they refuse is asked anew, under today's terms, and
counted with the reason. What was recalled is not handed out, and what was left out (`skipped`) is tried again.

What one step keeps is sealed into the ledger by its Merkle root when the step closes; what a killed process left, when
a cache is next opened. Only sealed answers are handed to other steps, so two processes that want the same answer at
the same time may both ask for it.

Without an identity the answers are kept beside the step alone: a killed step finds them again, and nobody else does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import count, islice
from pathlib import Path
from typing import Any

from trueseed.core.canonical import digest, now
from trueseed.core.chat import Answer
from trueseed.errors import Broken
from trueseed.ledger.batches import Batch, Lines, faults_of, lines, seal_left, seals
from trueseed.ledger.log import Ledger
from trueseed.ledger.statement import IMPORT, SEAL, STEP
from trueseed.teachers.answers.kept import Kept, key
from trueseed.teachers.answers.shelf import Place, Shelf, Writer
from trueseed.terms.rules import Verdict
from trueseed.workspace import Step, Told

CACHE = "cache"  # folder in a workspace, and in that of a step
REFUSED = "not from the cache: "  # what the counts of passed-over answers begin with


@dataclass(frozen=True, slots=True)
class Hit:
    """cached: it is of another step, and not taken yet (`Cache.take`); else an earlier try of this one had it."""

    answer: Answer
    cached: bool


class Cache:
    """The answers of one source, for one open step.

    identity: what stands behind the answers besides the request (`Voice.speaks`); None keeps them beside the step.
    Raises `Broken` when the folder holds what are no answers.
    """

    def __init__(self, step: Step, source: str, identity: Mapping[str, Any] | None) -> None:
        self._step, self._source, self._use = step, source, step.admits(source)
        self._teacher, self._project = digest(dict(identity or {})), step.workspace.project
        self._shared = identity is not None
        ledger = step.workspace.ledger
        folder = step.workspace.folder / CACHE if self._shared else step.checkpoint(CACHE)
        if self._shared:
            seal_the_dead(ledger, folder)
        self._shelf = Shelf(folder)
        self._seals = Seals(ledger, folder)
        self._writer: Writer | None = None
        self._verdicts: dict[tuple[str, date], Verdict] = {}
        self._notes = step.journal(f"taken-{digest(source)[:8]}")  # of other steps' answers, which earlier tries took
        self._taken = {bytes.fromhex(line["request"]) for line in self._notes}
        if not step.hears(source, self.told):
            for name, n in self._shelf.written_by(step.fingerprint)._asdict().items():
                step.count(name, n)
        step.at_end(self._end)

    def find(self, request: str) -> Hit | None:
        """An answer to the request with this digest that may be used here, if there is one.

        Raises `Refused` when the source was recalled meanwhile, `Broken` when a file is not what was sealed.
        """
        refused: list[str] = []
        found = self._chosen(request, refused)
        for because in refused:
            self._step.count(REFUSED + because)
        if found is None:
            return None
        place, kept = found
        self._step.heard(kept.source, _told(kept))
        cached = self._is_of_another(place, kept)
        if cached:
            self._step.look_if_grown()
            if bytes.fromhex(request) in self._taken:
                self._step.count("cached")
                cached = False
        return Hit(kept.answer, cached)

    def take(self, request: str) -> None:
        """The answer of another step was counted, and is this step's from now on, also when it is killed."""
        self._notes.append({"request": request})
        self._taken.add(bytes.fromhex(request))
        self._step.count("cached")

    def keep(self, request: str, answer: Answer, at: str) -> None:
        """On return a killed process does not lose it."""
        kept = Kept(
            teacher=self._teacher,
            request=request,
            source=self._source,
            use=self._use,
            project=self._project,
            terms=self._step.terms_of(self._source),
            asked_at=at,
            step=self._step.fingerprint,
            answer=answer,
        )
        self._writer = self._writer or self._begun()
        self._writer.add(kept)
        self._step.heard(self._source, _told(kept))
        self._step.count("asked")
        self._step.count("prompt_tokens", answer.prompt_tokens)
        self._step.count("completion_tokens", answer.completion_tokens)

    def told(self, request: str) -> Told | None:
        """How the answer that was handed out came about."""
        found = self._chosen(request, [])
        if found is None:
            return None
        place, kept = found
        return _told(kept, self._seals.log(place.run))

    def _chosen(self, request: str, refused: list[str]) -> tuple[Place, Kept] | None:
        """The oldest that may be used, so that what is kept later changes nothing. refused: gains why others may not
        be.
        """
        for place in self._candidates(request):
            kept = self._shelf.read(place)
            if recalled := self._step.workspace.recalls.takes_back(kept.entered):
                refused.append(f"recalled in entry {recalled.index} of the ledger")
                continue
            if self._is_own(place):
                return place, kept
            if kept.answer.finish == "skipped" and self._is_of_another(place, kept):
                continue
            verdict = self._judged(kept)
            if verdict.permitted:
                return place, kept
            where = f"{verdict.document}, clause {verdict.clause}" if verdict.document else "no terms established"
            refused.append(f"asked to {kept.use.value}, may not {self._use.value} ({where})")
        return None

    def _judged(self, kept: Kept) -> Verdict:
        known = (kept.terms, kept.asked_on)
        if known not in self._verdicts:
            self._verdicts[known] = self._step.admits_earlier(self._source, *known)
        return self._verdicts[known]

    def _candidates(self, request: str) -> Iterator[Place]:
        """Where answers lie that stand in the ledger, in its order; then what this step wrote itself."""
        places = self._shelf.find(key(self._teacher, self._source, request))
        if not self._shared:
            yield from places
            return
        yield from (place for place in sorted(places, key=self._seals.order) if self._seals.cover(place))
        yield from (place for place in places if self._is_own(place))

    def _is_own(self, place: Place) -> bool:
        """Whether it was asked since this step opened."""
        return place.run.partition("-")[0] == self._step.run

    def _is_of_another(self, place: Place, kept: Kept) -> bool:
        return kept.step != self._step.fingerprint or bool(self._seals.log(place.run))

    def _begun(self) -> Writer:
        names = (f"{self._step.run}-{n}" if n else self._step.run for n in count())
        return Writer(self._shelf, next(name for name in names if not self._shelf.path(name).exists()))

    def _end(self) -> None:
        if self._writer:
            self._writer.close(self._seal if self._shared else None)
        self._shelf.close()

    def _seal(self, written: Lines) -> None:
        batch = written.unsealed
        assert batch, "a file is begun with its first answer"
        said = {"step": self._step.name, "run": self._step.run, "counts": {}, "at": now()}
        self._step.workspace.ledger.append(SEAL, [], {**said, "answers": batch.to_json()})
        written.sealed(batch)


def _told(kept: Kept, log: str = "") -> Told:
    return Told(at=kept.asked_at, terms=kept.terms, use=kept.use, project=kept.project, log=log)


def seal_the_dead(ledger: Ledger, folder: Path) -> None:
    """Seals what killed steps kept: those that the ledger saw open and never saw end by themselves.

    A file of any other name was put there by somebody; it is not sealed, so nothing of it is ever handed out.
    """
    open_: set[str] = set()
    ledger.refresh()
    for entry in ledger.entries():
        if entry.predicate_type == STEP and entry.predicate["event"] == "opened":
            open_.add(entry.predicate["run"])
        elif entry.predicate_type == STEP and entry.predicate["event"] != "abandoned":
            open_.discard(entry.predicate["run"])
    seal_left(ledger, folder, "answers", step="cache", died=lambda run: run.partition("-")[0] in open_)


class Seals:
    """What the ledger says of a folder of answers, as of now: what is sealed later does not count."""

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self._folder = folder
        self._sealed = seals(ledger, "answers")
        self._logs = {
            str(entry.predicate["answers"]["run"]): str(entry.predicate["of"])
            for entry in ledger.entries()
            if entry.predicate_type == IMPORT
        }
        self._covered: dict[str, int] = {}  # bytes of each file that was compared with its seals

    def __getitem__(self, run: str) -> list[tuple[int, Batch]]:
        return self._sealed.get(run, [])

    def order(self, place: Place) -> tuple[int, int]:
        sealed = self._sealed.get(place.run)
        return (sealed[0][0] if sealed else -1), place.start

    def cover(self, place: Place) -> bool:
        """Whether a line was sealed. Its file is read once. Raises `Broken` when that is not what was sealed."""
        if place.run not in self._sealed:
            return False
        if place.run not in self._covered:
            path, sealed = self._folder / f"{place.run}.jsonl", self._sealed[place.run]
            for fault in faults_of(path, sealed, "answers"):
                raise Broken(f"{fault}; restore the file, or delete it to ask anew")
            whole = islice(lines(path), sum(batch.count for _, batch in sealed))
            self._covered[place.run] = sum(len(line) + 1 for line in whole)
        return place.start < self._covered[place.run]

    def log(self, run: str) -> str:
        """Name of the ledger that a file was imported from; '' for what was asked here."""
        return self._logs.get(run, "")
