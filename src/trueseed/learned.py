"""How a student learned: by which method and which way of it, of whom, and what its loss was made of.

    found = of(student, maker)      # maker: the statement that closed the step which made it

Read off the weights' own `curve.json` and that statement, for the report, the model card and whoever asks.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from trueseed.core.artifacts import Artifact
from trueseed.ledger.log import Entry

CURVE = "curve.json"
TOO_LONG = "records left out as too long"


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """method: as a run file says it. route: the way that was found right for it, and the reasons; '' where nobody
    distils. distiller: source of who said how probable tokens are; ''. numbers: what was counted of it, by name.
    parts: of the loss, by name (`kl`, `ce`), a value a step, in nats a token.
    """

    method: str
    route: str = ""
    reasons: tuple[str, ...] = ()
    distiller: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
    parts: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Without the parts, which are for a picture."""
        return {
            "method": self.method,
            "route": self.route,
            "reasons": list(self.reasons),
            "distiller": self.distiller,
            "numbers": dict(self.numbers),
        }

    def lines(self) -> Iterator[str]:
        """For people; none where nobody distils."""
        if self.route:
            of = f" of {self.distiller}" if self.distiller else ""
            yield f"{self.method}{of}, {self.route}: {'; '.join(self.reasons)}"
        if self.numbers:
            yield ", ".join(f"{name} {value:,.4g}" for name, value in self.numbers.items())


def of(student: Artifact, maker: Entry | None) -> Learned:
    """maker: None when no step of this ledger made it."""
    path = student.path(CURVE)
    curve = json.loads(path.read_bytes()) if path.exists() else {}  # weights that came from elsewhere have none
    said = maker.predicate if maker else {"config": {}, "asks": []}
    settings = said["config"]
    route = curve.get("route") or settings.get("route") or {"name": "", "reasons": []}
    signals = curve.get("signals") or {}
    asked = [str(ask["source"]) for ask in said["asks"]]
    return Learned(
        method=str(settings.get("method", curve.get("method", "sft"))),
        route=str(route["name"]),
        reasons=tuple(map(str, route["reasons"])),
        distiller=str(signals.get("source", "")) or ", ".join(asked),
        numbers=dict(_numbers(curve, signals, said.get("counts", {}))),
        parts=_parts(curve.get("curve", [])),
    )


def _numbers(
    curve: Mapping[str, Any], signals: Mapping[str, Any], counts: Mapping[str, int]
) -> Iterator[tuple[str, float]]:
    if too_long := sum(many for name, many in counts.items() if name.endswith("_too_long")):
        yield TOO_LONG, too_long
    if signals:
        yield "tokens heard about", signals["places"]
        yield "stored for each", signals["k"]
        yield "share of probability in these", signals["mass"]
        yield "bytes a token", signals["bytes_per_token"]
    for who, told in (curve.get("said") or {}).items():
        for name in ("share_of_steps", "answers", "tokens", "mean_length", "ended_share"):
            if name in told:
                yield f"{who}'s own words: {name.replace('_', ' ')}", told[name]


def _parts(points: list[Mapping[str, Any]]) -> dict[str, tuple[float, ...]]:
    """Only what is there at every step."""
    names = list(points[0].get("parts", {})) if points else []
    return {name: tuple(float(point["parts"][name]) for point in points) for name in names}
