"""What was made from what, and which labels it carries: read off the step statements of a log.

    lineage = Lineage.read(ledger)
    lineage.labels(student)      # {("huggingfacetb/smollm2-135m-instruct@weights", "output", "9f2c…"), ...}
    lineage.upstream(student)    # digests of everything it was made from, nearest first

A label is (source, relation, terms digest). An artifact carries the labels of every closing statement that put it out:
the same bytes made twice carry both sets.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from trueseed.errors import Broken
from trueseed.ledger.log import Entry, Ledger
from trueseed.ledger.statement import STEP

Label = tuple[str, str, str]  # source, relation, terms digest

ROLES = frozenset({"input", "against"})
CLOSINGS = frozenset({"done", "failed", "refused", "paused", "abandoned"})


class Made(NamedTuple):
    """An artifact as statements name it."""

    kind: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """`output` was made from `input` by step `step`, closed in entry `index`.

    role: `input`, or `against` for what only decided what is kept.
    """

    input: Made
    output: Made
    role: str
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

    @staticmethod
    def read(ledger: Ledger | Iterable[Entry]) -> "Lineage":
        """Reads every entry. Raises `Broken` when the ledger changed underneath, or a step statement is malformed."""
        return NOTHING_MADE.grown(ledger.entries() if isinstance(ledger, Ledger) else ledger)

    def grown(self, entries: Iterable[Entry]) -> "Lineage":
        """With the entries that follow those it was read from. Raises as `read`."""
        closings = [entry for entry in entries if _puts_out(entry)]
        if not closings:
            return self
        makers = defaultdict[str, tuple[Entry, ...]](tuple, self._makers)
        labels = defaultdict[str, frozenset[Label]](frozenset, self._labels)
        edges = list(self._edges)
        for entry in closings:
            try:
                for output in made_by(entry.predicate, "outputs"):
                    makers[output.digest] += (entry,)
                    labels[output.digest] |= labels_of(entry.predicate)
                    edges += _edges_to(output, entry)
            except (KeyError, TypeError, AttributeError) as err:
                raise Broken(f"the step statement in entry {entry.index} is malformed ({err!r})") from err
        return Lineage(MappingProxyType(dict(makers)), MappingProxyType(dict(labels)), tuple(edges))

    def labels(self, digest: str) -> frozenset[Label]:
        return self._labels.get(digest, frozenset())

    def maker(self, digest: str) -> Entry | None:
        """The newest closing statement that put this artifact out."""
        return self._makers.get(digest, (None,))[-1]

    def makers(self, digest: str) -> tuple[Entry, ...]:
        """Every closing statement that put it out, oldest first."""
        return self._makers.get(digest, ())

    def artifacts(self) -> tuple[Made, ...]:
        """Every artifact that the log says was made, each once, oldest first."""
        found = {
            made: None
            for makers in sorted(self._makers.values(), key=lambda makers: makers[0].index)
            for entry in makers
            for made in made_by(entry.predicate, "outputs")
        }
        return tuple(found)

    def newest(self, kind: str, *, step: str) -> Made | None:
        """What the last finished step of this name left of this kind."""
        of_kind = {made.digest for made in self.artifacts() if made.kind == kind}
        found = [
            (makers[-1].index, digest)
            for digest, makers in self._makers.items()
            if digest in of_kind and makers[-1].predicate["step"] == step
        ]
        return Made(kind, max(found)[1]) if found else None

    def edges(self) -> tuple[Edge, ...]:
        """From each input to each output, oldest first."""
        return self._edges

    def upstream(self, digest: str, *, roles: Collection[str] = ROLES) -> tuple[str, ...]:
        """Everything the artifact was made from, nearest first, without itself."""
        return _reach(digest, ((each.output.digest, each.input.digest) for each in self._edges if each.role in roles))

    def downstream(self, digest: str, *, roles: Collection[str] = ROLES) -> tuple[str, ...]:
        """Everything that was made from the artifact, nearest first, without itself."""
        return _reach(digest, ((each.input.digest, each.output.digest) for each in self._edges if each.role in roles))

    def artifacts_of(self, source: str) -> frozenset[str]:
        """Digests of the artifacts with a label of this source, whatever the relation."""
        return frozenset(
            digest for digest, labels in self._labels.items() if any(label[0] == source for label in labels)
        )


NOTHING_MADE = Lineage({}, {}, ())


def _puts_out(entry: Entry) -> bool:
    said = entry.predicate
    event = said.get("event")
    return entry.predicate_type == STEP and isinstance(event, str) and event in CLOSINGS and bool(said.get("outputs"))


def _edges_to(output: Made, entry: Entry) -> list[Edge]:
    said = entry.predicate
    return [
        Edge(
            input=Made(each["kind"], each["digest"]),
            output=output,
            role=each.get("role", "input"),
            step=str(said.get("step", "")),
            index=entry.index,
        )
        for each in said.get("inputs", ())
    ]


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
