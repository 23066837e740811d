"""Two models on a task, sample by sample: the difference, its paired test, and the samples that flipped."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from trueseed.report import plots
from trueseed.report.tasks import scale_of, ticks
from trueseed.report.wording import change, count, figure, p_value
from trueseed.worth import of_looks

SHOWN = 10  # flipped samples, of either way
SURE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    model: str
    plot: Markup
    value: str
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """said: by A, then by B, what it was worth, the answer, and why it counts so."""

    id: str
    asked: str
    said: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """B beside A. verdict: `better`, `worse` or `level`. told: of the difference. flips: by what became of them, and
    how many there are in all.
    """

    title: str
    sides: tuple[Side, ...]
    ticks: tuple[str, ...]
    verdict: str
    told: str
    seen: str
    shares: Markup
    flipped: str
    apart: tuple[str, ...]
    held: tuple[str, ...]
    flips: tuple[tuple[str, int, tuple[Flip, ...]], ...]


def of(said: Mapping[str, Any], tasks: int = 1) -> Comparison:
    """said: as `evaluate.scored.Comparison.to_json`. tasks: for how many tests p was corrected."""
    both = (said["a"], said["b"])
    scale = scale_of([it[end] for it in both for end in ("low", "high")])
    return Comparison(
        title=f"{said['task']}, {said['metric']}, {said['difference']['n']} samples",
        sides=tuple(_side(*each, scale) for each in zip(("teacher", "student"), said["models"], both, strict=True)),
        ticks=ticks(scale),
        verdict=_verdict(said),
        told=_told(said, tasks),
        seen=f"So many samples show a difference of {figure(said['detectable'])}; one of {said['needed']['gain']:g} "
        f"takes {count(said['needed']['samples'])}.",
        shares=plots.shares(
            {"worse": said["worse"], "as before": _same(said), "better": said["better"]},
            ("lost", "same", "kept"),
        ),
        flipped=f"{count(said['worse'])} worse, {count(said['better'])} better",
        apart=tuple(said["apart"]),
        held=tuple(_held(said)),
        flips=tuple(_flips(said["flips"])),
    )


def _held(said: Mapping[str, Any]) -> Iterator[str]:
    """What of the samples either was trained on, and how often they were looked at."""
    known = said.get("contamination", {})
    yield from (f"{side.upper()}: {line}" for side in "ab" for line in known.get(side, ()))
    yield from of_looks([said])


def _same(said: Mapping[str, Any]) -> int:
    return int(said["difference"]["n"]) - int(said["better"]) - int(said["worse"])


def _side(kind: str, model: str, it: Mapping[str, Any], scale: tuple[float, float]) -> Side:
    return Side(
        model=model,
        plot=plots.span(it["value"], it["low"], it["high"], scale, kind),
        value=figure(it["value"]),
        told=f"{figure(it['low'])} to {figure(it['high'])}",
    )


def _verdict(said: Mapping[str, Any]) -> str:
    """By the test, corrected."""
    if said["p_holm"] >= SURE or not said["difference"]["value"]:
        return "level"
    return "better" if (said["difference"]["value"] > 0) != said["lower_is_better"] else "worse"


def _told(said: Mapping[str, Any], tasks: int) -> str:
    it = said["difference"]
    corrected = f", corrected for {tasks} tests (Holm)" if tasks > 1 else ""
    lower = "; less is better" if said["lower_is_better"] else ""
    bounds = f"{change(it['low'])} to {change(it['high'])}"
    return f"B − A {change(it['value'])} ({bounds}); {p_value(said['p_holm'])}, {said['test']}{corrected}{lower}"


def _flips(flips: Sequence[Mapping[str, Any]]) -> list[tuple[str, int, tuple[Flip, ...]]]:
    """What got worse comes first."""
    ways = (("became worse", [it for it in flips if it["b"] < it["a"]]),
            ("became better", [it for it in flips if it["b"] > it["a"]]))  # fmt: skip
    return [(way, len(found), tuple(map(_flip, found[:SHOWN]))) for way, found in ways if found]


def _flip(said: Mapping[str, Any]) -> Flip:
    sides = tuple((f"{said[side]:g}", said[f"said_{side}"], said[f"why_{side}"]) for side in "ab")
    return Flip(id=said["id"], asked=said["asked"], said=sides)
