"""The calendar of a run: its estimate under the limits of its run file and account, beside what is used of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from trueseed.asking import ASKING
from trueseed.plan.calendar import DIMENSIONS, Dimension, Finish, Work, finish
from trueseed.plan.estimate import Wire
from trueseed.plan.measured import Answered
from trueseed.plan.tasks import Asks
from trueseed.report.planned import Estimate, Planned, Quantity
from trueseed.runfile import RunFile
from trueseed.teachers.account.amounts import Amount
from trueseed.teachers.account.limits import AccountLimit, Limit
from trueseed.teachers.account.rooms import Room, rooms
from trueseed.terms.model import Use


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """earliest, likely, latest: for the low end, the middle and the high end of the estimate; None when unknown, for
    the reason. rooms: the limits that hold, with what is used of them. unknown_s: steps whose time is not in it.
    """

    earliest: Finish | None
    likely: Finish | None
    latest: Finish | None
    rooms: tuple[Room, ...] = ()
    unknown: str = ""
    unknown_s: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            **{name: _finish(getattr(self, name)) for name in ("earliest", "likely", "latest")},
            "limits": [
                {**room.limit.model_dump(mode="json"), "used": {name: getattr(room.used, name) for name in DIMENSIONS}}
                for room in self.rooms
            ],
            "unknown": self.unknown,
            "without": list(self.unknown_s),
            "words": sentence(self),
        }


def calendar(
    file: RunFile, made: Estimate, answered: Answered, wire: Wire, asks: Sequence[Asks], *, source: str, now: datetime
) -> Calendar:
    """asks: of tasks, judges and targets. Raises `AccountUnavailable`."""
    asking = _asking(file, answered, wire, asks, source)
    bound: list[Room] = []
    for each in asking.values():
        found = rooms(file.limits, source=each.source, uses=[each.use], project=file.project, now=now)
        bound += [room for room in found if room not in bound]
    steps = {step.step: step for step in made.steps}
    lacking = tuple(name for name, step in steps.items() if "seconds" not in step.numbers)
    needs = {name for room in bound for name in DIMENSIONS if getattr(room.limit, name) is not None}
    for name in sorted(needs):
        if why := next((steps[step].unknown[name] for step in asking if name in steps[step].unknown), None):
            return Calendar(earliest=None, likely=None, latest=None, rooms=tuple(bound), unknown=f"{name}: {why}")

    def at(end: str) -> Finish:
        works = [_work(steps[name], each, end) for name, each in asking.items()]
        found = finish([work for work in works if work.requests], bound, project=file.project, now=now)
        after = sum(_at(steps[name], "seconds", end) for name in steps if name not in asking)
        if found.at is None:
            return found
        return Finish(at=found.at + timedelta(seconds=after), held_up_by=found.held_up_by, dimension=found.dimension)

    likely = at("likely")
    if len(lacking) == len(steps) and likely.at is not None:  # what can never be done is told without any times
        why = steps[lacking[0]].unknown["seconds"]
        return Calendar(earliest=None, likely=None, latest=None, rooms=tuple(bound), unknown=f"seconds: {why}")
    return Calendar(earliest=at("low"), likely=likely, latest=at("high"), rooms=tuple(bound), unknown_s=lacking)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """Whom a step asks, for what, and the most that one call reserves."""

    source: str
    use: Use
    upper: Amount


def _asking(file: RunFile, answered: Answered, wire: Wire, asks: Sequence[Asks], source: str) -> dict[str, _Call]:
    """By step, in order: what is asked under limits, of the teacher, and of whom else for tasks, judges and targets.
    Weights on this machine are asked under none.
    """
    upper = Amount(
        requests=1,
        tokens=answered.most_prompt + answered.most_completion,
        micros=wire.price.micros(answered.most_prompt, answered.most_completion) if wire.price else 0,
    )
    uses: dict[str, Use] = {}
    if source and not wire.is_ours:
        said_anew = {name: Use.TRAIN for name, (_, asked) in file.transforms.items() if asked.named == source}
        uses = {"generate": ASKING["generate"], **said_anew, "baseline": ASKING["baseline"]}
    of_teacher = {name: _Call(source=source, use=use, upper=upper) for name, use in uses.items()}
    further = {
        each.step: _Call(source=each.source, use=each.use, upper=each.upper)
        for each in asks
        if each.asked and each.asked.remote
    }
    return {**of_teacher, **further}


def _work(step: Planned, call: _Call, end: str) -> Work:
    least = 0.0 if step.numbers["requests"].high == 0 else 1.0
    return Work(
        source=call.source,
        use=call.use,
        requests=max(least, _at(step, "requests", end)),
        tokens=_at(step, "tokens", end),
        micros=_at(step, "micros", end),
        seconds=_at(step, "seconds", end),
        upper=call.upper,
    )


def _at(step: Planned, quantity: Quantity, end: str) -> float:
    return float(getattr(step.numbers[quantity], end)) if quantity in step.numbers else 0.0


def _finish(found: Finish | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "at": f"{found.at:%Y-%m-%dT%H:%M:%SZ}" if found.at else None,
        "held_up_by": found.held_up_by.model_dump(mode="json") if found.held_up_by else None,
        "dimension": found.dimension,
        "short": found.short,
        "because": found.because,
    }


# In words


def sentence(calendar: Calendar) -> str:
    """When it will be done, as one would say it."""
    likely, earliest, latest = calendar.likely, calendar.earliest, calendar.latest
    if likely is None or earliest is None or latest is None:
        return f"not known: {calendar.unknown}"
    if likely.at is None:
        return f"never: {_never(likely)}"
    without = f"; without {', '.join(calendar.unknown_s)}, whose time is not known" if calendar.unknown_s else ""
    said = f"done {_when(likely)}{_pace(likely)}{_between(earliest, latest)}{without}"
    return said if latest.at else f"{said}; at the high end of the estimate never: {_never(latest)}"


def _never(found: Finish) -> str:
    if found.held_up_by is None or found.dimension is None:
        return found.because
    lacks = _plain(found.dimension, found.short)
    return f"{found.because} ({_limit(found.held_up_by, found.dimension)}): it lacks {lacks}"


def _when(found: Finish) -> str:
    assert found.at is not None
    return f"on {found.at:%A} {found.at.day} {found.at:%B %Y}"


def _pace(found: Finish) -> str:
    if found.held_up_by is None or found.dimension is None:
        return ""
    return f", at {_limit(found.held_up_by, found.dimension)}"


def _limit(limit: Limit, dimension: Dimension) -> str:
    span = "in total" if limit.per == "total" else f"a {limit.per}"
    whose = f" (limit {limit.id} of the account)" if isinstance(limit, AccountLimit) else ""
    return f"{_plain(dimension, getattr(limit, dimension))} {span}{whose}"


def _between(earliest: Finish, latest: Finish) -> str:
    if earliest.at is None or latest.at is None:
        return ""
    if earliest.at.date() == latest.at.date():
        return f", between {earliest.at:%H:%M} and {latest.at:%H:%M} UTC"
    return f" (between {_when(earliest).removeprefix('on ')} and {_when(latest).removeprefix('on ')})"


def _plain(dimension: Dimension, n: float) -> str:
    return f"{n / 1e6:,.2f} USD" if dimension == "micros" else f"{round(n):,} {dimension}"
