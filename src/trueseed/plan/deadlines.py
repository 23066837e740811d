"""What the days by which targets are to be met mean for a run: is there a student by then at all?

Whether that student meets its target nobody knows before it is measured; `trueseed targets` tells how far the students
are, and when they arrive if they go on as they did.
"""

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Literal

from trueseed.core.plural import many
from trueseed.plan.schedule import Calendar
from trueseed.runfile import RunFile

Time = Literal["late", "before", "perhaps", "after", "never", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """A target, and when the run is done beside its day. version: the day that its answers are of. asked: whether it is
    asked now, instead of taken by what it answered once. left: days from today. spare: days between the likely end and
    the deadline; None where that end is not known.
    """

    name: str
    task: str
    by: date
    version: date | None
    asked: bool
    time: Time
    left: int
    spare: int | None = None

    def to_json(self) -> dict[str, Any]:
        version = self.version.isoformat() if self.version else None
        return {**asdict(self), "by": self.by.isoformat(), "version": version}

    def __str__(self) -> str:
        version = f" of {self.version}" if self.version else ""
        how = "asked now" if self.asked else "by its recorded answers"
        return f"{self.name}{version} ({how}) on {self.task} by {self.by}: {self._when()}"

    def _when(self) -> str:
        days = many(abs(self.spare or 0), "day")
        match self.time:
            case "late":
                return f"that day is {many(-self.left, 'day')} past, so whatever the run makes is late for it"
            case "before":
                return f"the run is done {days} before"
            case "perhaps":
                return "the run is likely done before, but not at the high end of the estimate"
            case "after":
                return f"the run is likely done {days} after, so it makes no student in time"
            case "never":
                return "the run is never done under its limits, so it makes no student in time"
        return f"{many(self.left, 'day')} left; when the run is done is not known"


def deadlines(file: RunFile, calendar: Calendar, today: date) -> tuple[Deadline, ...]:
    """In the order of the run file. A student counts that is there on the very day."""
    found = []
    for target in file.targets:
        time, spare = _time(target.by, calendar, today)
        found.append(
            Deadline(
                name=target.name,
                task=target.task,
                by=target.by,
                version=target.on,
                asked=target.teacher is not None,
                time=time,
                left=(target.by - today).days,
                spare=spare,
            )
        )
    return tuple(found)


def _time(by: date, calendar: Calendar, today: date) -> tuple[Time, int | None]:
    if by < today:
        return "late", None
    likely, latest = calendar.likely, calendar.latest
    if likely is None or latest is None:
        return "unknown", None
    if likely.at is None:
        return "never", None
    spare = (by - likely.at.date()).days
    if spare < 0:
        return "after", spare
    return ("before" if latest.at and latest.at.date() <= by else "perhaps"), spare
