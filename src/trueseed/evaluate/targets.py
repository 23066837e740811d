"""Targets with deadlines: a named model, at a dated version, that the student is to match by a day.

    targets:
      - {name: gpt-3.5-turbo, task: everyday, by: 2023-12-31, outputs: gpt35.json,
         source: openai/gpt-3.5-turbo-0613@api, maker: own/ada, on: 2023-08-01}

A target is asked now, if its terms permit it (`benchmark_teacher`), or stands by what it answered once. Another version
of it is another target, with answers of its own: a provider's model that moved does not move the goal. `standing` says
how far the students of a workspace are from it, and when they will be there if they go on as they did; it is pure.

One of many students meets a target by luck. So each is held to an interval of its own error, which get smaller in the
order in which they were trained and together are one in twenty (`stats.spent`): what was met stays met, however many
students follow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from trueseed.core.settings import Settings
from trueseed.errors import ConfigError
from trueseed.ledger.looks import Looks
from trueseed.worth import of_floor, share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trueseed.evaluate.scored import Scored
    from trueseed.evaluate.stats import Measured
    from trueseed.evaluate.trend import Projection

RATES = ("win_rate", "weighted_win_rate", "win_rate_at_equal_length")  # that verdicts come to
Status = Literal["met", "level", "below"]
UNBELIEVED = "the judge is not to be believed, so its verdicts show no trend"


class Config(Settings):
    """name: as people call it. task: by name, one of the run's `tasks`. by: the deadline. outputs: file of what it
    answered once, in AlpacaEval's format; then `source` is whose model spoke (`maker/model@route`), `maker` who wrote
    the file down (`maker/name@dataset`, or `own/<name>`). on: the day it answered, or is asked: its version. judge:
    whose verdicts decide, of the run's `judges`, by name; for tasks of the scorer `open`, on which nothing else does.
    metric: of the task, or of verdicts; the scorer's own, or the win rate, when left out. margin: it is met by a
    student that surely is not further below than this.
    """

    name: str = Field(min_length=1)
    task: str
    by: date
    outputs: str | None = None
    source: str | None = None
    maker: str | None = None
    on: date | None = None
    judge: str | None = None
    metric: str | None = None
    margin: float = Field(default=0.0, ge=0.0)

    @model_validator(mode="after")
    def _outputs_have_an_origin(self) -> "Config":
        wanted = {"source": self.source, "maker": self.maker, "on": self.on}
        if self.outputs is not None and (missing := [name for name, said in wanted.items() if said is None]):
            raise ValueError(f"recorded `outputs` have an origin of their own: give {', '.join(missing)} too")
        return self

    @model_validator(mode="after")
    def _verdicts_come_to_a_rate(self) -> "Config":
        if self.judge and self.metric not in (None, *RATES):
            raise ValueError(f"of a judge's verdicts `metric` is one of {', '.join(RATES)}, not {self.metric!r}")
        return self

    @property
    def identity(self) -> dict[str, Any]:
        """What makes it this target and no other."""
        return {"name": self.name, "on": self.on.isoformat() if self.on else ""}


@dataclass(frozen=True, kw_only=True)
class Made:
    """A student and its scores on a target's task. on: the day on which it was trained."""

    on: date
    scored: "Scored"


@dataclass(frozen=True, kw_only=True)
class Step:
    """A student beside the target. gap: its score minus the target's, in the direction in which more is better. wins:
    share of samples on which it did better, a tie being half. surely: the gap's interval at `error`, this student's
    part of one in twenty for all of them; by it the status goes, which is None where a judge decides that is not to be
    believed. rates: by a judge's verdicts, every rate that they come to; then the score is one of them, and the
    target's is one half. undecided: samples without a verdict. contaminated: share of the samples that
    stand in what the student was trained on; None where nothing of that is known. contamination: the same in words,
    and what is not known. floor: that its score is no higher than what nothing scores, in words; ''.
    """

    student: str
    on: date
    score: "Measured"
    gap: "Measured"
    wins: float
    surely: "Measured"
    error: float
    status: Status | None
    rates: "Mapping[str, Measured]" = field(default_factory=dict)
    undecided: int = 0
    contaminated: float | None = None
    contamination: tuple[str, ...] = ()
    floor: str = ""

    def to_json(self) -> dict[str, Any]:
        said: dict[str, Any] = {
            "student": self.student,
            "on": self.on.isoformat(),
            "score": self.score.to_json(),
            "gap": self.gap.to_json(),
            "surely": {"low": self.surely.low, "high": self.surely.high, "error": self.error},
            "wins": self.wins,
            "status": self.status,
            "contaminated": self.contaminated,
            "contamination": list(self.contamination),
            "floor": self.floor,
        }
        if self.rates:
            said |= {"rates": {name: each.to_json() for name, each in self.rates.items()}, "undecided": self.undecided}
        return said


def status(gap: "Measured", margin: float) -> Status:
    return "met" if gap.low >= -margin else "below" if gap.high < -margin else "level"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How students stand to one target. steps: oldest first. met_on: the day of the first that surely is not more than
    the margin below it. detectable: the least gap that so many samples show four times of five; needed: samples that
    it takes to see one of `scored.GAIN`; both of the newest student, at its error. None where nothing was measured yet,
    and where a judge decides that is not to be believed. judge: by whose verdicts, and how far it may be believed
    (`judged_targets.Judge`); None of a task that scores itself. contamination: what of the samples
    the target was trained on, in words. looks: at the samples, so far.
    """

    name: str
    version: str
    source: str
    task: str
    metric: str
    by: date
    today: date
    margin: float
    target: "Measured"
    samples: int
    steps: tuple[Step, ...]
    met_on: date | None
    projection: "Projection"
    detectable: float | None
    needed: int | None
    judge: Mapping[str, Any] | None = None
    contamination: tuple[str, ...] = ()
    looks: Looks | None = None

    @property
    def days_left(self) -> int:
        """Until the deadline, from today, or from the day it was met; below zero when that is late."""
        return (self.by - (self.met_on or self.today)).days

    @property
    def late(self) -> int | None:
        """Days by which the projected day misses the deadline; below zero when it is early; None without such a day."""
        return (self.projection.on - self.by).days if self.projection.on and not self.met_on else None

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.version,
            "source": self.source,
            "task": self.task,
            "metric": self.metric,
            "by": self.by.isoformat(),
            "today": self.today.isoformat(),
            "margin": self.margin,
            "samples": self.samples,
            "target": self.target.to_json(),
            "steps": [step.to_json() for step in self.steps],
            "met_on": self.met_on.isoformat() if self.met_on else None,
            "days_left": self.days_left,
            "projection": self.projection.to_json(),
            "projected_days_late": self.late,
            "detectable": self.detectable,
            "needed": self.needed,
            "contamination": list(self.contamination),
            "looks": self.looks.to_json() if self.looks else None,
            **({"judge": dict(self.judge)} if self.judge else {}),
        }


def standing(config: Config, target: "Scored", students: Sequence[Made], *, today: date) -> Standing:
    """Raises `ConfigError` for students that were measured on other samples."""
    metric = config.metric or target.metric
    if metric not in target.about["metrics"]:
        raise ConfigError(
            f"target {config.name!r}: its task measures {', '.join(target.about['metrics'])}, no {metric!r}"
        )
    made = sorted(students, key=lambda each: each.on)
    steps = tuple(_step(each, target, metric, config.margin, place) for place, each in enumerate(made, start=1))
    return stands(config, target, target.measured(metric), metric, steps, _covariance(made, target, metric), today)


def stands(
    config: Config,
    target: "Scored",
    goal: "Measured",
    metric: str,
    steps: tuple[Step, ...],
    covariance_KK: "NDArray[Any]",
    today: date,
) -> Standing:
    """What steps, oldest first, and how their gaps vary together (K, K) come to. goal: the target's own score. A step
    without a status comes to nothing.
    """
    from trueseed.evaluate import scored, stats, trend

    told = [place for place, step in enumerate(steps) if step.status]
    points = [trend.Point(on=steps[at].on, gap=steps[at].gap.value + config.margin) for at in told]
    seen = steps[told[-1]] if told else None
    projection = (
        trend.Projection(points=0, because=UNBELIEVED)
        if steps and not told
        else trend.project(points, covariance_KK[told][:, told], today=today)
    )
    return Standing(
        name=config.name,
        version=config.on.isoformat() if config.on else target.digest[:8],
        source=target.source,
        task=target.name,
        metric=metric,
        by=config.by,
        today=today,
        margin=config.margin,
        target=goal,
        samples=len(target.lines),
        steps=steps,
        met_on=next((step.on for step in steps if step.status == "met"), None),
        projection=projection,
        detectable=stats.detectable(seen.gap.se, error=seen.error) if seen else None,
        needed=stats.needed(seen.gap.se, seen.gap.n, scored.GAIN, error=seen.error) if seen else None,
        contamination=target.contamination,
    )


def _step(made: Made, target: "Scored", metric: str, margin: float, place: int) -> Step:
    from trueseed.evaluate import scored, stats

    found = scored.compare(target, made.scored, metric=metric)
    gap = scored.upwards(found.difference, metric)
    ties = gap.n - found.better - found.worse
    error = stats.spent(place)
    surely = stats.widened(gap, error)
    return Step(
        student=made.scored.model,
        on=made.on,
        score=found.b,
        gap=gap,
        wins=(found.better + ties / 2) / gap.n,
        surely=surely,
        error=error,
        status=status(surely, margin),
        contaminated=share(made.scored.about),
        contamination=made.scored.contamination,
        floor="".join(of_floor(made.scored.about, metric)),
    )


def _covariance(made: Sequence[Made], target: "Scored", metric: str) -> "NDArray[Any]":
    """Of the gaps (K, K), by how they vary together from sample to sample."""
    import numpy as np

    theirs, ids = target.influences(metric), list(target.lines)
    gaps_KN = np.array([_aligned(each.scored, ids).influences(metric) for each in made]).reshape(-1, len(ids)) - theirs
    return together(gaps_KN)


def together(influences_KN: "NDArray[Any]") -> "NDArray[Any]":
    """Covariance (K, K) of K gaps, by how far each of N samples moves each. What two students share exactly is not
    thereby certain: one sample's worth of difference is added, as for a pair (Bonett & Price 2012).
    """
    import numpy as np

    spread, n = np.ptp(influences_KN) if influences_KN.size else 0.0, influences_KN.shape[1]
    shared = influences_KN @ influences_KN.T / (n * (n - 1))
    return np.asarray(shared + np.eye(len(influences_KN)) * (spread / (n + 2)) ** 2)


def _aligned(scores: "Scored", ids: Sequence[str]) -> "Scored":
    from dataclasses import replace

    return replace(scores, lines={each: scores.lines[each] for each in ids})
