"""A plot of students over time: their gap to a target with its intervals, the line through them, and the deadline."""

from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from typing import Any
from xml.etree.ElementTree import Element

from markupsafe import Markup

from trueseed.report.plots import LEFT, RIGHT, WIDE, element, scale, svg

TOP, HIGH = 40, 250  # of the plot's frame, in its own units

Place = Callable[[float], float]


def gaps(said: Mapping[str, Any]) -> Markup:
    """said: as `evaluate.targets.Standing.to_json`, with at least one student. Above the line the target is met."""
    steps, goal = said["steps"], -said["margin"]
    first, last = _days(said)
    bounds = [each["gap"][end] for each in steps for end in ("low", "high")] + [0.0, goal]
    margin = (max(bounds) - min(bounds)) / 12 or 0.1
    across = scale(first.toordinal(), last.toordinal(), LEFT, WIDE - RIGHT)
    down = scale(max(bounds) + margin, min(bounds) - margin, TOP, HIGH)
    newest = steps[-1]["gap"]["value"]
    return svg(
        f"gap to {said['name']} over time, {newest:+.3f} on {steps[-1]['on']}; deadline {said['by']}",
        *_levels(min(bounds) - margin, max(bounds) + margin, down),
        *_dates(first, last, across),
        element("line", class_="goal", x1=LEFT, x2=WIDE - RIGHT, y1=down(goal), y2=down(goal)),
        *_marked(said, across),
        *_line(said, goal, (first, last), across, down),
        element("g", *(_student(each, across, down) for each in steps), class_="student"),
        viewBox=f"0 0 {WIDE} {HIGH + 30}",
        class_="curve",
    )


def _days(said: Mapping[str, Any]) -> tuple[date, date]:
    """From the first student to the deadline or today, and to the projected day where that is not far beyond."""
    first = min(_day(each["on"]) for each in said["steps"])
    last = max(_day(said["by"]), _day(said["today"]), max(_day(each["on"]) for each in said["steps"]))
    span = max((last - first).days, 7)
    if on := said["projection"]["on"]:
        last = max(last, min(_day(on), last + timedelta(days=span // 2)))
    edge = timedelta(days=max(1, span // 30))
    return first - edge, last + edge


def _line(
    said: Mapping[str, Any], goal: float, days: tuple[date, date], across: Place, down: Place
) -> Iterator[Element]:
    """The projection as far as the picture goes, and the bounds of its day; an open bound goes to the edge."""
    found = said["projection"]
    if not found["on"] or said["met_on"]:
        return
    first, last = min(_day(each["on"]) for each in said["steps"]), days[1]
    reached, slope = _day(found["on"]), found["slope"] / 30
    until = min(reached, last)
    ends = [(day, goal + slope * (day - reached).days) for day in (first, until)]
    (x1, y1), (x2, y2) = ((across(day.toordinal()), down(level)) for day, level in ends)
    yield element("line", class_="trend", x1=x1, y1=y1, x2=x2, y2=y2)
    low, high = (_day(found[end]) if found[end] else edge for end, edge in (("low", days[0]), ("high", last)))
    x1, x2 = (across(min(max(day, days[0]), last).toordinal()) for day in (low, high))
    told = f"95 % of the projected day: {found['low'] or 'open'} to {found['high'] or 'open'}"
    yield element("line", element("title", told), class_="likely", x1=x1, x2=x2, y1=down(goal), y2=down(goal))


def _student(step: Mapping[str, Any], across: Place, down: Place) -> Element:
    gap, x = step["gap"], across(_day(step["on"]).toordinal())
    told = f"{step['student']}, {step['on']}: gap {gap['value']:+.3f} [{gap['low']:+.3f}, {gap['high']:+.3f}]"
    return element(
        "g",
        element("title", told),
        element("line", class_="whisker", x1=x, x2=x, y1=down(gap["low"]), y2=down(gap["high"])),
        element("circle", class_="dot", cx=x, cy=down(gap["value"]), r=5),
    )


def _marked(said: Mapping[str, Any], across: Place) -> Iterator[Element]:
    """Deadline and today; their words over both lines, so that no line goes through a word."""
    marks = [("deadline", f"by {said['by']}", said["by"], 12), ("today", "today", said["today"], 28)]
    places = [across(_day(day).toordinal()) for _, _, day, _ in marks]
    for (kind, _, _, y), x in zip(marks, places, strict=True):
        yield element("line", class_=kind, x1=x, x2=x, y1=y + 4, y2=HIGH)
    for (_, told, _, y), x in zip(marks, places, strict=True):
        anchor = "end" if x > WIDE * 0.8 else "start" if x < WIDE * 0.2 else "middle"
        yield element("text", told, class_="mark", x=x, y=y, text_anchor=anchor)


def _levels(low: float, high: float, down: Place) -> Iterator[Element]:
    for value in (low + (high - low) * i / 4 for i in range(5)):
        yield element("line", class_="grid", x1=LEFT, x2=WIDE - RIGHT, y1=down(value), y2=down(value))
        yield element("text", f"{value:+.2f}".replace("-", "−"), x=LEFT - 6, y=down(value) + 4, text_anchor="end")


def _dates(first: date, last: date, across: Place) -> Iterator[Element]:
    places = sorted({first.toordinal() + round((last - first).days * i / 4) for i in range(5)})
    for number, place in enumerate(places):
        anchor = "start" if number == 0 else "end" if number == len(places) - 1 else "middle"
        yield element("text", date.fromordinal(place).isoformat(), x=across(place), y=HIGH + 20, text_anchor=anchor)


def _day(text: str) -> date:
    return date.fromisoformat(text)
