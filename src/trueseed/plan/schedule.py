"""The calendar of a run: its estimate under the limits of its run file, beside what the account has used already."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from trueseed.plan.calendar import Dimension, Finish, Room, Work, finish
from trueseed.plan.estimate import Wire
from trueseed.plan.measured import Answered
from trueseed.report.planned import Estimate, Planned, Quantity
from trueseed.runfile import RunFile
from trueseed.teachers.account import Account, our_entity
from trueseed.teachers.allowance import Allowance
from trueseed.teachers.amounts import NOTHING, Amount
from trueseed.teachers.limits import Limit
from trueseed.terms.model import Use

ASKING = {"generate": Use.TRAIN, "baseline": Use.BENCHMARK_TEACHER}
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


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
                {**room.limit.model_dump(mode="json"), "used": {name: getattr(room.used, name) for name in _DIMENSIONS}}
                for room in self.rooms
            ],
            "unknown": self.unknown,
            "without": list(self.unknown_s),
            "words": sentence(self),
        }


_DIMENSIONS: tuple[Dimension, ...] = ("requests", "tokens", "micros")


def calendar(
    file: RunFile, made: Estimate, answered: Answered, wire: Wire, *, source: str, now: datetime
) -> Calendar:
    """Raises `AccountUnavailable`."""
    rooms: tuple[Room, ...] = () if wire.is_ours else rooms_of(file, source, now)
    steps = {step.step: step for step in made.steps}
    lacking = tuple(name for name, step in steps.items() if "seconds" not in step.numbers)
    needs = {name for room in rooms for name in _DIMENSIONS if getattr(room.limit, name) is not None}
    for name, quantity in (("tokens", "tokens"), ("micros", "micros")):
        why = next((steps[step].unknown.get(quantity) for step in ASKING if quantity in steps[step].unknown), None)  # type: ignore[call-overload]
        if name in needs and why:
            return Calendar(earliest=None, likely=None, latest=None, rooms=rooms, unknown=f"{name}: {why}")
    upper = Amount(
        requests=1,
        tokens=answered.most_prompt + answered.most_completion,
        micros=wire.price.micros(answered.most_prompt, answered.most_completion) if wire.price else 0,
    )

    def at(end: str) -> Finish:
        works = [_work(steps[name], use, end, upper) for name, use in ASKING.items()]
        found = finish(works, rooms, source=source, project=file.project, now=now)
        after = sum(_at(steps[name], "seconds", end) for name in steps if name not in ASKING)
        if found.at is None:
            return found
        return Finish(at=found.at + timedelta(seconds=after), held_up_by=found.held_up_by, dimension=found.dimension)

    return Calendar(earliest=at("low"), likely=at("likely"), latest=at("high"), rooms=rooms, unknown_s=lacking)


def rooms_of(file: RunFile, source: str, now: datetime) -> tuple[Room, ...]:
    """The limits that hold for asking `source` here, each with what is charged against it in its present window."""
    bound = [limit for limit in file.limits if any(limit.matches(source, use, file.project) for use in ASKING.values())]
    if not bound:
        return ()
    with closing(Account.open()) as account:
        allowance = Allowance(account, file.limits, our_entity())
        day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        since = {"minute": now, "day": day, "month": day.replace(day=1), "total": LONG_AGO}
        until = now + timedelta(days=1)
        return tuple(
            Room(
                limit=limit,
                used=sum(
                    (used.charged for used in allowance.used(since=since[limit.per], until=until) if limit.counts(used)),
                    NOTHING,
                ),
            )
            for limit in bound
        )


def _work(step: Planned, use: Use, end: str, upper: Amount) -> Work:
    return Work(
        use=use,
        requests=max(1.0, _at(step, "requests", end)),
        tokens=_at(step, "tokens", end),
        micros=_at(step, "micros", end),
        seconds=_at(step, "seconds", end),
        upper=upper,
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
    return f"{_plain(dimension, getattr(limit, dimension))} {span}"


def _between(earliest: Finish, latest: Finish) -> str:
    if earliest.at is None or latest.at is None:
        return ""
    if earliest.at.date() == latest.at.date():
        return f", between {earliest.at:%H:%M} and {latest.at:%H:%M} UTC"
    return f" (between {_when(earliest).removeprefix('on ')} and {_when(latest).removeprefix('on ')})"


def _plain(dimension: Dimension, n: float) -> str:
    return f"{n / 1e6:,.2f} USD" if dimension == "micros" else f"{round(n):,} {dimension}"
