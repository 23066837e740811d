"""What a training did so far: a point a step, a measurement of the validation loss now and then."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One step on the loss curve. loss: mean over its answer tokens, in nats. grad_norm: before clipping.
    parts: what the loss is made of, each a mean over those tokens; empty where it is one thing.
    """

    step: int
    loss: float
    grad_norm: float
    learning_rate: float
    targets: int
    tokens: int
    parts: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """loss: mean over the answer tokens of the validation records after `step` steps, in nats."""

    step: int
    loss: float


@dataclass(slots=True)
class Course:
    points: list[Point] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)

    def __len__(self) -> int:
        """Steps taken."""
        return len(self.points)

    @property
    def best(self) -> Evaluation | None:
        """The lowest, the earliest of equal ones; None when nothing was measured."""
        return min(self.evaluations, key=lambda found: found.loss, default=None)

    @property
    def kept(self) -> int:
        """The step whose weights are the result."""
        return self.best.step if self.best else len(self)

    def in_vain(self, patience: int) -> bool:
        """Whether the last `patience` measurements brought nothing lower. Never, when patience is 0."""
        if not patience or self.best is None:
            return False
        return len(self.evaluations) - self.evaluations.index(self.best) > patience

    def to_json(self) -> dict[str, Any]:
        return {"curve": _dicts(self.points), "evaluations": _dicts(self.evaluations), "kept": self.kept}

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Self:
        return cls([Point(**each) for each in said["curve"]], [Evaluation(**each) for each in said["evaluations"]])


def _dicts(found: Sequence[Any]) -> list[dict[str, Any]]:
    return [asdict(each) for each in found]
