"""What was made from what, and which labels it carries: read off the step statements of a log.

    lineage = Lineage.read(ledger)
    lineage.labels(student)      # {("huggingfacetb/smollm2-135m-instruct@weights", "output", "9f2c…"), ...}
    lineage.upstream(student)    # digests of everything it was made from, nearest first

A label is (source, relation, terms digest). An artifact carries the labels of every closing statement that put it out:
the same bytes made twice carry both sets.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from trueseed.ledger.log import Entry, Ledger
from trueseed.ledger.statement import STEP

Label = tuple[str, str, str]  # source, relation, terms digest

OPENED = "opened"
CLOSINGS = frozenset({"done", "failed", "refused", "paused", "abandoned"})


@dataclass(frozen=True, slots=True)
class Made:
    """An artifact as statements name it."""

    kind: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """`output` was made from `input` by step `step`, closed in entry `index`."""

    input: Made
    output: Made
    step: str
    index: int


def labels_of(predicate: Mapping[str, Any]) -> frozenset[Label]:
    """The labels that a step statement names."""
    return frozenset((label["source"], label["relation"], label["terms"]) for label in predicate.get("labels", ()))


def made_by(predicate: Mapping[str, Any], side: str) -> tuple[Made, ...]:
    """`inputs` or `outputs` of a step statement."""
    return tuple(Made(each["kind"], each["digest"]) for each in predicate.get(side, ()))


@dataclass(frozen=True)
class Lineage:
    """The graph at the moment it was read. Unknown digests have no labels, no maker and no relatives."""

    _makers: Mapping[str, tuple[Entry, ...]]
    _labels: Mapping[str, frozenset[Label]]
    _edges: tuple[Edge, ...]

    @classmethod
    def read(cls, ledger: Ledger | Iterable[Entry]) -> "Lineage":
        """Reads every entry. Raises `Broken` when the ledger changed underneath."""
        makers: defaultdict[str, tuple[Entry, ...]] = defaultdict(tuple)
        labels: defaultdict[str, frozenset[Label]] = defaultdict(frozenset)
        edges: list[Edge] = []
        for entry in ledger.entries() if isinstance(ledger, Ledger) else ledger:
            predicate = entry.predicate
            if entry.predicate_type != STEP or predicate.get("event") not in CLOSINGS:
                continue
            inputs = made_by(predicate, "inputs")
            for output in made_by(predicate, "outputs"):
                makers[output.digest] += (entry,)
                labels[output.digest] |= labels_of(predicate)
                step = str(predicate.get("step", ""))
                edges += [Edge(input=each, output=output, step=step, index=entry.index) for each in inputs]
        return cls(MappingProxyType(dict(makers)), MappingProxyType(dict(labels)), tuple(edges))

    def labels(self, digest: str) -> frozenset[Label]:
        return self._labels.get(digest, frozenset())

    def maker(self, digest: str) -> Entry | None:
        """The newest closing statement that put this artifact out."""
        return self._makers.get(digest, (None,))[-1]

    def outputs(self) -> tuple[Made, ...]:
        """Every artifact that the log says was made, each once, oldest first."""
        found = {
            made: None
            for makers in sorted(self._makers.values(), key=lambda makers: makers[0].index)
            for entry in makers
            for made in made_by(entry.predicate, "outputs")
        }
        return tuple(found)

    def edges(self) -> tuple[Edge, ...]:
        """From each input to each output, oldest first."""
        return self._edges

    def upstream(self, digest: str) -> tuple[str, ...]:
        """Everything the artifact was made from, nearest first, without itself."""
        return _reach(digest, ((edge.output.digest, edge.input.digest) for edge in self._edges))

    def downstream(self, digest: str) -> tuple[str, ...]:
        """Everything that was made from the artifact, nearest first, without itself."""
        return _reach(digest, ((edge.input.digest, edge.output.digest) for edge in self._edges))

    def artifacts_of(self, source: str) -> frozenset[str]:
        """Digests of the artifacts with a label of this source, whatever the relation."""
        return frozenset(
            digest for digest, labels in self._labels.items() if any(label[0] == source for label in labels)
        )


def _reach(start: str, arrows: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Breadth first along the arrows."""
    following: defaultdict[str, list[str]] = defaultdict(list)
    for tail, head in arrows:
        following[tail].append(head)
    reached = {start: None}
    queue = [start]
    for current in queue:
        for head in following[current]:
            if head not in reached:
                reached[head] = None
                queue.append(head)
    return tuple(queue[1:])
