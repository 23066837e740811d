"""How far the students are from their targets: the gap, its trend, the projected day, and the days that are left."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from trueseed.report import timeline
from trueseed.report.wording import change, count, days, figure, percent
from trueseed.worth import brief, of_looks

NOT_TOLD = "not told"  # where the judge is not to be believed
SHOWN = 8  # students above the fold, the newest


@dataclass(frozen=True, slots=True, kw_only=True)
class Student:
    on: str
    name: str
    score: str
    gap: str
    surely: str
    wins: str
    status: str
    learned: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """status: of the newest student; '' where none was measured. facts: what and how much, in words."""

    title: str
    left: str
    late: bool
    status: str
    facts: tuple[tuple[str, str], ...]
    plot: Markup | None
    students: tuple[Student, ...]
    earlier: tuple[Student, ...]


def of(said: Mapping[str, Any]) -> Target:
    """said: as `evaluate.targets.Standing.to_json`."""
    steps = said["steps"]
    students = tuple(map(_student, reversed(steps)))
    return Target(
        title=f"{said['name']} ({said['version']}) on {said['task']}, by {said['by']}",
        left=left(said),
        late=said["days_left"] < 0,
        status=(steps[-1]["status"] or NOT_TOLD) if steps else "",
        facts=tuple(_facts(said)),
        plot=timeline.gaps(said) if steps else None,
        students=students[:SHOWN],
        earlier=students[SHOWN:],
    )


def left(said: Mapping[str, Any]) -> str:
    """Days to the deadline, or from the day it was met to it."""
    number = said["days_left"]
    if said["met_on"]:
        return f"met on {said['met_on']}, {days(number)} {'before' if number >= 0 else 'after'} it"
    return f"{days(number)} left" if number >= 0 else f"{days(number)} late"


def trend(said: Mapping[str, Any]) -> str:
    """Gain in 30 days, with its interval; '' without a line."""
    line = said["projection"]
    if line["slope"] is None:
        return ""
    return f"{line['slope']:+.3f} in 30 days [{line['slope_low']:+.3f}, {line['slope_high']:+.3f}]"


def projected(said: Mapping[str, Any]) -> str:
    """The day on which the line reaches the target, with its bounds, or why there is none."""
    line, late = said["projection"], said["projected_days_late"]
    if line["slope"] is None:
        return f"no projection: {line['because']}"
    when = f"there on {line['on']}" if line["on"] else "no day"
    bounds = f"95 % [{line['low'] or 'open'}, {line['high'] or 'open'}]"
    beyond = "" if late is None else f", {days(late)} {'late' if late > 0 else 'early'}"
    return f"{when}{beyond}, {bounds}" + (f" ({line['because']})" if line["because"] else "")


def _facts(said: Mapping[str, Any]) -> list[tuple[str, str]]:
    target, steps = said["target"], said["steps"]
    goal = f"{figure(target['value'])} [{figure(target['low'])}, {figure(target['high'])}]"
    facts = [("Target", f"{said['metric']} {goal}, {said['samples']} samples of {said['source']}")]
    facts += [("Of the target", line) for line in said.get("contamination", ())]
    facts += [("Samples", line) for line in of_looks([said])]
    facts += _judge(said["judge"]) if "judge" in said else []
    if not steps:
        return [*facts, ("Students", "none has a score yet")]
    facts += [("Of the newest student", line) for line in steps[-1].get("contamination", ())]
    facts += [
        (_RATES[name], _rate(rate)) for name, rate in steps[-1].get("rates", {}).items() if name != said["metric"]
    ]
    gap = steps[-1]["gap"]
    facts.append(("Gap", f"{change(gap['value'])} [{change(gap['low'])}, {change(gap['high'])}], newest student"))
    if said["margin"]:
        facts.append(("Margin", f"met by who surely is not more than {said['margin']:g} below"))
    if said["met_on"] is None:
        facts += [("Trend", told)] if (told := trend(said)) else []
        facts.append(("Projected", projected(said)))
    if said["detectable"] is not None:
        seen = f"so many samples show a gap of {figure(said['detectable'])}"
        facts.append(("Can be seen", f"{seen}; one of 0.03 takes {count(said['needed'])}"))
    return facts


_RATES = {
    "win_rate": "Win rate",
    "weighted_win_rate": "By chances",
    "win_rate_at_equal_length": "At equal length",
}


def _rate(it: Mapping[str, float]) -> str:
    return f"{percent(it['value'])} [{percent(it['low'])} to {percent(it['high'])}], newest student"


def _judge(judge: Mapping[str, Any]) -> list[tuple[str, str]]:
    worth = {True: "passed its card", False: "is NOT to be believed", None: "has judged nobody yet"}
    by = f"{judge['source']} by {judge['method']}, which {worth[judge['believed']]}"
    return [("Judge", by), *(("Note", warning) for warning in judge["warnings"])]


def _student(step: Mapping[str, Any]) -> Student:
    score, gap = step["score"], step["gap"]
    return Student(
        on=step["on"],
        name=step["student"],
        score=figure(score["value"]),
        gap=f"{change(gap['value'])} [{change(gap['low'])}, {change(gap['high'])}]",
        surely=f"[{change(step['surely']['low'])}, {change(step['surely']['high'])}]",
        wins=percent(step["wins"]),
        status=step["status"] or NOT_TOLD,
        learned="; ".join(filter(None, (brief(step.get("contaminated")), step.get("floor", "")))),
    )
