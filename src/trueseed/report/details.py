"""What the report page shows beside the numbers of `report.json`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trueseed.terms.model import Obligation, Upstream


@dataclass(frozen=True, slots=True, kw_only=True)
class KindScore:
    """Share of right answers on one kind of constraint, in [0, 1], over n samples each."""

    teacher: float
    student: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One optimizer step. loss: mean over its answer tokens, in nats. lr: learning rate."""

    step: int
    loss: float
    lr: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Loss on the validation split, in nats per answer token."""

    before: float
    after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """kind: an artifact's kind, or `source`. label may have two lines."""

    id: str
    label: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """`end` was made from `start`; against: `start` only decided what was kept."""

    start: str
    end: str
    against: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """A verdict as the ledger holds it, and the steps it was given for. own: which of its texts were not shipped."""

    source: str
    use: str
    permitted: bool
    document: str
    version: str
    clause: str
    because: str
    obligations: tuple[Obligation, ...] = ()
    own: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: Mapping[str, Any], *, steps: tuple[str, ...] = ()) -> "Ruling":
        """From `Verdict.to_json()`, the shape that step statements hold."""
        return cls(
            source=value["source"],
            use=value["use"],
            permitted=value["verdict"] == "permit",
            document=value["document"],
            version=value["version"],
            clause=value["clause"],
            because=value["because"],
            obligations=tuple(Obligation(**obligation) for obligation in value["obligations"]),
            own=tuple(value.get("own", ())),
            steps=steps,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One model's answer. faults: what is wrong with it, a phrase each; empty when right. whole: heard to its end."""

    text: str
    faults: tuple[str, ...] = ()
    whole: bool = True

    @property
    def ok(self) -> bool:
        return not self.faults


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One task and both answers. constraints: as the prompt phrases them."""

    set: str
    prompt: str
    constraints: tuple[str, ...]
    teacher: Said
    student: Said


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """name: the student's. made_at: RFC 3339. kinds: by set, then by kind of constraint. p_values: of the paired test,
    by set. parts: what the loss was made of, by name. upstream: what the sources are declared to have learned from.
    readings: where today's terms of a source are others than those it was asked under, what each says. withheld: why
    the teacher's scores may not be made public. workspace: how the commands name it.
    worth: what of the run's own sets the student was trained on, and how often they were looked at.
    """

    name: str
    made_at: str
    project: str = ""
    machine: str = ""
    workspace: str = "work"
    kinds: Mapping[str, Mapping[str, KindScore]] = field(default_factory=dict)
    p_values: Mapping[str, float] = field(default_factory=dict)
    curve: tuple[Point, ...] = ()
    parts: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    validation: Validation | None = None
    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
    rulings: tuple[Ruling, ...] = ()
    upstream: tuple[Upstream, ...] = ()
    readings: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    samples: tuple[Sample, ...] = ()
    worth: tuple[str, ...] = ()
