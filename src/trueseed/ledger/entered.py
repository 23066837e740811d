"""What entered a step from outside: whose words or weights, under which terms, for which use and project, and when.

A done step says it in the member `entered` of its closing statement, a line for each day, so that a recall by use,
project or dates is applied without reading a record. Older statements do not say it; of them nothing is known but the
sources and the terms, and what is not known is reached by every recall of the source.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """use: '' for what was not asked (weights). first, last: when it was asked (RFC 3339, UTC), both inclusive. None:
    not known. count: how many answers, 0 where that means nothing.
    """

    source: str
    terms: str
    use: str | None
    project: str | None
    first: str | None
    last: str | None
    count: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def entered(said: Mapping[str, Any]) -> tuple[Entered, ...]:
    """What a closing statement says entered, or may have. Raises `KeyError`, `TypeError` for a malformed one."""
    if "entered" in said:
        return tuple(map(_line, said["entered"]))
    named = {each["source"] for each in (*said.get("asks", ()), *said.get("brings", ()))}
    return tuple(
        Entered(
            source=label["source"],
            terms=label["terms"],
            use="" if label["relation"] == "weights" else None,
            project=None,
            first=None,
            last=None,
        )
        for label in said.get("labels", ())
        if label["source"] in named
    )


def _line(said: Mapping[str, Any]) -> Entered:
    line = Entered(**said)
    told = (line.use, line.project, line.first, line.last)
    if not all(isinstance(each, str) for each in (line.source, line.terms)):
        raise TypeError("what entered has no source and terms")
    if not all(each is None or isinstance(each, str) for each in told) or not isinstance(line.count, int):
        raise TypeError("what entered does not say how, in words, and how many")
    return line


class Tally:
    """What entered so far, by source, terms, use, project and day."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str, str, str, str], Entered] = {}

    def add(self, *, source: str, terms: str, use: str, project: str, at: str) -> None:
        """One answer. at: when it was asked."""
        key = (source, terms, use, project, at[:10])
        known = self._lines.get(key)
        if known is None:
            self._lines[key] = Entered(source=source, terms=terms, use=use, project=project, first=at, last=at, count=1)
            return
        first, last = known.first or at, known.last or at
        self._lines[key] = replace(known, first=min(first, at), last=max(last, at), count=known.count + 1)

    def sources(self) -> frozenset[str]:
        return frozenset(key[0] for key in self._lines)

    def lines(self) -> tuple[Entered, ...]:
        return tuple(self._lines[key] for key in sorted(self._lines))
