"""`report.json`: what a run came to, in numbers that others rely on. The field names here are the contract."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any

from trueseed.report.origins import Imported, SaidAnew
from trueseed.report.planned import Outcome
from trueseed.terms.model import Obligation


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A measured value with its 95 % interval; n: samples it was measured on.

    Raises `ValueError` for a value that JSON cannot hold.
    """

    value: float
    low: float
    high: float
    n: int

    def __post_init__(self) -> None:
        if not all(map(isfinite, (self.value, self.low, self.high))):
            raise ValueError(f"a score must be a finite number, not {self.value!r} ({self.low!r} to {self.high!r})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """held_out_prompts, held_out_kinds: share of answers that pass every check, in [0, 1] (of a difference: in
    [-1, 1]). chat_perplexity: on the teacher's own answers to unconstrained prompts, at least 1 (of a difference: any);
    None where the teacher's weights are not here to measure it by.
    """

    held_out_prompts: Interval
    held_out_kinds: Interval
    chat_perplexity: Interval | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Mapping[str, Any]]) -> "Scores":
        return cls(**{name: Interval(**interval) for name, interval in value.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """difference: student minus teacher."""

    teacher: Scores
    student: Scores
    difference: Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """asked: answers that were wanted, of which `cached` came from the cache and cost nothing. rejected, dropped: how
    many, by reason. accepted: what the checks let through. imported: rows of others. Of both together, said anew where
    that was done, curation kept `kept`.
    """

    asked: int
    accepted: int
    rejected: Mapping[str, int] = field(default_factory=dict)
    kept: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    cached: int = 0
    imported: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Taught:
    """How many answers a teacher was asked for, and how many records they gave. left: why another went on; '' for the
    one that was asked to the end.
    """

    source: str
    asked: int
    accepted: int
    left: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Seconds of work, over all the tries that a step took."""

    generate: float
    curate: float
    train: float
    evaluate: float
    total: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerHead:
    """entries: how many. root: Merkle root in hexadecimal. checkpoint: the signed note over both."""

    entries: int
    root: str
    checkpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """teacher: source id of the one whose scores these are: of the base, where `teachers` is empty. teachers: all that
    were asked for records, in order. imports: records of others. said_anew: rewriting and translation. flags: what was
    taken out of the data, as declared, so that all that comes of it says so. student: `weights:<digest>`. sources: ids
    of all sources that the student carries. plan: what was expected beforehand, beside what became of it; None when
    nobody planned. readings: where today's terms of a source are others than those it was asked under, both verdicts.
    may_be_published: verdicts on making the teacher's scores public. tasks: scores on tasks of the
    user's own, as `evaluate.score` writes them. training: by which method the student learned, and why so, as
    `learned.Learned` has it. compared: the student beside everybody else on each of these tasks. leaderboards: of each
    task. targets: how far it is to each. contamination, looks: of the run's own sets, as
    `evaluate.contamination` has them.
    """

    teacher: str
    student: str
    scores: Comparison
    records: Counts
    timings_s: Timings
    ledger: LedgerHead
    sources: tuple[str, ...]
    obligations: tuple[Obligation, ...]
    teachers: tuple[Taught, ...] = ()
    plan: Outcome | None = None
    readings: tuple[Mapping[str, Any], ...] = ()
    may_be_published: tuple[Mapping[str, Any], ...] = ()
    imports: tuple[Imported, ...] = ()
    said_anew: tuple[SaidAnew, ...] = ()
    flags: tuple[str, ...] = ()
    tasks: tuple[Mapping[str, Any], ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    compared: tuple[Mapping[str, Any], ...] = ()
    leaderboards: tuple[Mapping[str, Any], ...] = ()
    targets: tuple[Mapping[str, Any], ...] = ()
    contamination: Mapping[str, Any] = field(default_factory=dict)
    looks: Mapping[str, Any] = field(default_factory=dict)

    @property
    def before(self) -> str:
        """What the student is compared with, in a word."""
        return "base" if self.imports and not self.teachers else "teacher"

    def to_json(self) -> dict[str, Any]:
        return {name: _plain(value) for name, value in asdict(self).items()}


def _plain(value: Any) -> Any:
    """Tuples as lists, at any depth."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple | list) else value
