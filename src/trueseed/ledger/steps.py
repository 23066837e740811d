"""Do the step statements obey the rules of the door? Asked of statements whose bytes and signatures are in order.

Every closing has its opening (a step may also be refused before it opens); it reads what its opening named; only a
done step puts artifacts out; labels never shrink: a done step carries the labels of its inputs, of what it asked and of
what it brought in, all that its opening named, and beyond those only what it says it learned, of sources that it asked;
whatever makes weights out of words says that it trains;
nothing recalled is trained on, served or published afterwards, nor asked, where only a part of a source was recalled;
nothing is destroyed while a case is open or a hold stands that touches it, nor read or put out after it was destroyed;
a rebuild puts what was made in the place of what was made, and nothing of it is reached by what it was to be without.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from trueseed.errors import Broken
from trueseed.ledger.destroyed import Destroyed, Tombstone
from trueseed.ledger.entered import entered
from trueseed.ledger.lineage import CLOSINGS, Label, Made, labels_of, made_by
from trueseed.ledger.log import Entry
from trueseed.ledger.rebuilt import Link, Rebuilt
from trueseed.ledger.retention import Retention
from trueseed.ledger.sources import Runs
from trueseed.ledger.statement import STEP
from trueseed.ledger.withdrawals import Asking, Passing, Recalls, taken_out

TAKES_FURTHER = frozenset({"train", "serve", "publish"})
WORDS = frozenset({"prompts", "records", "dataset", "signals"})  # kinds of artifacts that a model can learn from


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opening:
    inputs: frozenset[Made]
    labels: frozenset[Label]  # what its inputs carried when it opened
    said: frozenset[Label] | None  # what it said it carries; None when it said nothing of that


def faults(entries: Iterable[Entry]) -> Iterator[str]:
    """One sentence for each broken rule, naming the entry."""
    watch = _Watch()
    for entry in entries:
        try:
            yield from (f"entry {entry.index} (line {entry.index + 1}): {fault}" for fault in watch.see(entry))
        except (KeyError, TypeError, AttributeError, ValueError, Broken) as err:
            yield f"entry {entry.index} (line {entry.index + 1}): its predicate is malformed ({err!r})"


class _Watch:
    """What the statements so far amount to."""

    def __init__(self) -> None:
        self._labels: defaultdict[str, frozenset[Label]] = defaultdict(frozenset)
        self._made: set[str] = set()
        self._open: defaultdict[tuple[str, str], list[_Opening]] = defaultdict(list)
        self._recalls, self._retention, self._destroyed = Recalls(), Retention(), Destroyed()
        self._runs, self._rebuilt = Runs(), Rebuilt()

    def see(self, entry: Entry) -> Iterator[str]:
        said = entry.predicate
        if entry.predicate_type == STEP and said["event"] == "opened":
            yield from self._opened(said)
        elif entry.predicate_type == STEP and said["event"] in CLOSINGS:
            yield from self._closed(said)
        elif entry.predicate_type == STEP:
            yield f"its event {said['event']!r} is none of opened, {', '.join(sorted(CLOSINGS))}"
        self._recalls.see(entry)
        self._runs.see(entry)
        self._retention.see(entry)
        if stone := self._destroyed.see(entry):
            yield from self._buried(stone)
        if link := self._rebuilt.see(entry):
            yield from self._linked(link)

    def _linked(self, link: Link) -> Iterator[str]:
        """What a rebuild may not say."""
        for each in (*link.replaces, *link.made):
            if each.digest not in self._made:
                yield f"it names {each.kind}:{each.digest[:12]}, which was made by no step before it"
        for index in link.without:
            recall = self._recalls.standing.get(index)
            if recall is None and index not in self._recalls.released:
                yield f"it is without entry {index}, which recalls nothing"
            for each in link.made if recall else ():
                if recall and each.digest in self._recalls.reached(recall):
                    yield f"it is without what entry {index} recalls, and that reaches {each.kind}:{each.digest[:12]}"

    def _buried(self, stone: Tombstone) -> Iterator[str]:
        """What a tombstone may not say."""
        sources = {source for each in stone.artifacts for source, _, _ in self._labels[each.digest]}
        runs = self._runs.sources()
        for each in stone.artifacts:
            if each.digest not in self._made:
                yield f"it destroys {each.kind}:{each.digest[:12]}, which was made by no step before it"
        for run in stone.answers:
            if run not in runs:
                yield f"it destroys answers of run {run!r}, which no entry before it sealed"
            sources |= runs.get(run, frozenset())
        if because := self._retention.forbids(sources):
            yield f"it destroys what must stay: {because}"

    def _opened(self, said: Mapping[str, Any]) -> Iterator[str]:
        carried: set[Label] = set()
        for each in said["inputs"]:
            if each["digest"] not in self._made:
                yield f"its input {each['kind']}:{each['digest'][:12]} was made by no step before it"
            if stone := self._destroyed.artifacts.get(each["digest"]):
                yield f"its input {each['kind']}:{each['digest'][:12]} was {stone}"
            labels = self._labels[each["digest"]]
            if each.get("role") == "against":  # it decided what is kept, so whatever it carried acted as a filter
                labels = frozenset((source, "filter", terms) for source, _, terms in labels)
            carried |= labels
        own = labels_of(said) if "labels" in said else None
        opening = _Opening(inputs=frozenset(made_by(said, "inputs")), labels=frozenset(carried), said=own)
        self._open[said["run"], said["step"]].append(opening)

    def _closed(self, said: Mapping[str, Any]) -> Iterator[str]:
        name = f"step {said['step']!r} of run {said['run']!r}"
        openings = self._open[said["run"], said["step"]]
        opening = openings.pop() if openings else None
        if opening is None and said["event"] != "refused":
            yield f"{name} is closed ({said['event']}) without having been opened"
        if opening is not None:
            for each in sorted(set(made_by(said, "inputs")) - opening.inputs):
                yield f"{name} closes with input {each.kind}:{each.digest[:12]}, which its opening does not name"
        outputs = made_by(said, "outputs")
        if said["event"] != "done":
            if outputs:
                yield f"{name} is {said['event']} and yet names outputs"
            return
        labels = labels_of(said)
        for label in sorted((opening.labels if opening else frozenset()) - labels):
            yield f"{name} drops label {label} of its inputs: labels never shrink"
        yield from (f"{name} {fault}" for fault in _learned(said, labels, opening))
        yield from (f"{name} {fault}" for fault in _unlabelled(said, labels))
        if said.get("effect") != "train" and _learns(said):
            yield f"{name} puts out weights made from words, and does not say that it trains"
        yield from (f"{name} {fault}" for fault in self._recalled(said, labels))
        for output in outputs:
            if stone := self._destroyed.artifacts.get(output.digest):
                yield f"{name} puts out {output.kind}:{output.digest[:12]} again, which was {stone}"
            self._made.add(output.digest)
            self._labels[output.digest] |= labels

    def _recalled(self, said: Mapping[str, Any], labels: frozenset[Label]) -> Iterator[str]:
        """What a done step did in spite of a recall that stands."""
        own = entered(said)
        inputs = tuple(made.digest for made in made_by(said, "inputs")) if said.get("effect") in TAKES_FURTHER else ()
        passing = Passing(inputs=inputs, entered=own, taken_out=taken_out(said))
        if said.get("effect") in TAKES_FURTHER:
            passing = replace(passing, labels=labels)
        for stop in self._recalls.stops(passing):
            each = stop.withdrawal
            yield f"takes {each.source!r} further, which was recalled in entry {each.index}: {stop.because}"
        for each in self._recalls.standing.values():
            for what in () if each.is_whole else own:
                asking = Asking(what.source, what.use or "", what.terms, what.project or "")
                if what.count and (what.last or "") > each.at and each.forbids(asking):
                    yield f"asked {what.source!r} to {what.use}, which was recalled in entry {each.index}"


def _unlabelled(said: Mapping[str, Any], labels: frozenset[Label]) -> Iterator[str]:
    """What it asked or brought in, and does not carry as it says: under the terms that it names, and related so."""
    terms = said.get("terms", {})
    for each in (*said.get("asks", ()), *said.get("brings", ())):
        source = each["source"]
        own = [label for label in labels if label[0] == source]
        if not own:
            yield f"names {source!r} but does not carry its label"
        elif source in terms and not any(label[2] == terms[source] for label in own):
            yield f"names {source!r} under terms {terms[source][:12]!r}, and its label says others"
        elif "relation" in each and not any(label[1] == each["relation"] for label in own):
            yield f"brings in {source!r} as {each['relation']}, and no label of it says so"


def _learns(said: Mapping[str, Any]) -> bool:
    """Whether weights come out of it, and words went in."""
    went_in = {each["kind"] for each in said["inputs"] if each.get("role") != "against"}
    return bool(went_in & WORDS) and any(made.kind == "weights" for made in made_by(said, "outputs"))


def _learned(said: Mapping[str, Any], labels: frozenset[Label], opening: _Opening | None) -> Iterator[str]:
    """How a done step's labels differ from those that its opening named."""
    learned = labels_of({"labels": said.get("learned", ())})
    asked = {each["source"] for each in said.get("asks", ())}
    for label in sorted(learned):
        if label not in labels:
            yield f"learned label {label} and does not carry it"
        if label[0] not in asked:
            yield f"learned label {label} of a source that it did not ask"
    if opening is None or opening.said is None:
        return
    for label in sorted(opening.said - labels - opening.labels):
        yield f"drops label {label} that it opened with: labels never shrink"
    for label in sorted(labels - opening.said - opening.labels - learned):
        yield f"carries label {label}, which it neither opened with nor says it learned"
