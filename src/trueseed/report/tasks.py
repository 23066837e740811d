"""Scores of models on tasks, with their intervals on one scale: of a run, or of everybody on a task's ladder."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from markupsafe import Markup

from trueseed import worth
from trueseed.report import plots
from trueseed.report.wording import count, figure

SHOWN = 6  # samples of each verdict


class Answered(Protocol):
    """As `evaluate.scored.Answered`."""

    @property
    def id(self) -> str: ...

    @property
    def asked(self) -> str: ...

    @property
    def said(self) -> str: ...

    @property
    def why(self) -> str: ...

    @property
    def worth(self) -> float: ...


@dataclass(frozen=True, kw_only=True)
class Scores:
    """A model's scores on a task. model: its name in a table. about: as `evaluate.score` writes them. answered: its
    samples with their verdicts.
    """

    model: str
    student: bool
    about: Mapping[str, Any]
    answered: Sequence[Answered] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """The first samples that came to the same. told: how many there are, of which verdict."""

    model: str
    told: str
    samples: tuple[Answered, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """told: interval and n, in words. by: the day on which it was made or measured; ''."""

    model: str
    plot: Markup
    value: str
    told: str
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    name: str
    rows: tuple[Row, ...]
    ticks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """metrics: the one that the scorer is known by first. told: how it was measured. worth: of each model, what of the
    samples it was trained on, and how often they were looked at. verdicts: of each model, what was wrong first.
    """

    name: str
    told: str
    metrics: tuple[Metric, ...]
    worth: tuple[str, ...] = ()
    verdicts: tuple[Verdicts, ...] = ()


def of_scores(found: Sequence[Scores]) -> list[Task]:
    """A task after the other, as they come; of each, all models beside each other."""
    tasks: dict[str, list[Scores]] = {}
    for each in found:
        tasks.setdefault(each.about["task"]["artifact"], []).append(each)
    return [_task(models) for models in tasks.values()]


def of_ladder(name: str, rungs: Sequence[Mapping[str, Any]]) -> Task:
    """Everybody who was measured on the task of this name, as `scoreboard.Rung.to_json` has them."""
    told = [(rung["model"], rung["kind"] == "student", rung, f"{rung['on']}; {_learned(rung)}") for rung in rungs]
    return Task(
        name=f"Ladder of {name}", told="Everybody who was measured on it, best first.", metrics=(_metric("", told),)
    )


def _learned(rung: Mapping[str, Any]) -> str:
    target = "target" if rung["kind"] == "target" else ""
    return "; ".join(filter(None, (target, worth.brief(rung.get("contaminated")), rung.get("floor", ""))))


def _task(models: Sequence[Scores]) -> Task:
    about = models[0].about
    task, names = about["task"], list(dict.fromkeys(name for each in models for name in each.about["metrics"]))
    how = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in about.get("settings", {}).items())
    told = f"{task['samples']} samples of {task['source']}, scorer {task['scorer']}, seed {about['seed']}"
    metrics = []
    for name in names:
        measured = [(each.model, each.student, each.about["metrics"].get(name)) for each in models]
        metrics.append(_metric(name, [(model, student, it, "") for model, student, it in measured if it]))
    said = tuple(f"{each.model}: {line}" for each in models for line in _doubts(each.about))
    verdicts = tuple(part for each in models for part in _verdicts(each))
    told = f"{told}{', ' if how else ''}{how}."
    return Task(name=task["name"], told=told, metrics=tuple(metrics), worth=said, verdicts=verdicts)


def _verdicts(scores: Scores) -> Iterator[Verdicts]:
    """What was wrong, right in part, and right."""
    for name, of in (
        ("wrong", [each for each in scores.answered if each.worth <= 0]),
        ("right in part", [each for each in scores.answered if 0 < each.worth < 1]),
        ("right", [each for each in scores.answered if each.worth >= 1]),
    ):
        if of:
            more = f", the first {SHOWN} here" if len(of) > SHOWN else ""
            yield Verdicts(model=scores.model, told=f"{count(len(of))} {name}{more}", samples=tuple(of[:SHOWN]))


def _doubts(about: Mapping[str, Any]) -> list[str]:
    return [*about.get("warnings", ()), *worth.lines(about)]


def _metric(name: str, measured: Sequence[tuple[str, bool, Mapping[str, Any], str]]) -> Metric:
    scale = scale_of([bound for _, _, it, _ in measured for bound in (it["low"], it["high"])])
    rows = tuple(
        Row(
            model=model,
            plot=plots.span(it["value"], it["low"], it["high"], scale, "student" if student else "teacher"),
            value=figure(it["value"]),
            told=f"{figure(it['low'])} to {figure(it['high'])}, n = {it['n']}",
            by=on,
        )
        for model, student, it, on in measured
    )
    return Metric(name=name, rows=rows, ticks=ticks(scale))


def scale_of(values: Sequence[float]) -> tuple[float, float]:
    """From 0 to 1 where all lie in that; else with a margin around them."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    margin = (high - low) / 10 or 1.0
    return low - margin, high + margin


def ticks(scale: tuple[float, float], digits: int = 2) -> tuple[str, ...]:
    """Five of them, evenly."""
    return tuple(f"{scale[0] + (scale[1] - scale[0]) * i / 4:.{digits}f}".replace("-", "−") for i in range(5))
