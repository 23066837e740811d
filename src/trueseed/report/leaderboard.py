"""Ratings of models that met in pairs, with intervals and the ranks that each may have."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from trueseed.report import plots
from trueseed.report.tasks import ticks
from trueseed.report.wording import count, many, percent
from trueseed.worth import brief

SHOWN = 15  # rows above the fold


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """ranks: in words, those it may truly have. bounds, met: in words."""

    rank: int
    model: str
    plot: Markup
    points: str
    ranks: str
    bounds: str
    met: str
    learned: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaderboard:
    """told: on how much it stands. first: rows above the fold, and rest below. next: whom to judge next, pair by
    pair.
    """

    title: str
    told: str
    first: tuple[Row, ...]
    rest: tuple[Row, ...]
    ticks: tuple[str, ...]
    notes: tuple[str, ...]
    held: tuple[str, ...]
    next: tuple[tuple[str, str], ...]


def of(title: str, said: Mapping[str, Any]) -> Leaderboard:
    """said: as `evaluate.arena.Leaderboard.to_json`, and perhaps `next`."""
    bounds = [row[end] for row in said["rows"] for end in ("low", "high", "rating") if row[end] is not None]
    margin = (max(bounds) - min(bounds)) / 10 or 100.0
    scale = min(bounds) - margin, max(bounds) + margin
    rows = tuple(_row(row, scale, len(said["rows"])) for row in said["rows"])
    average = f"{said['anchor']} has 1000 points" if said["anchor"] else "their average is 1000 points"
    told = f"{many(said['verdicts'], 'meeting')} on {many(said['samples'], 'prompt')}; {average}; {said['method']}."
    return Leaderboard(
        title=title,
        told=told,
        first=rows[:SHOWN],
        rest=rows[SHOWN:],
        ticks=ticks(scale, 0),
        notes=tuple(said["notes"]),
        held=tuple(said.get("held", ())),
        next=tuple((one, other) for one, other in said.get("next", ())),
    )


def _row(row: Mapping[str, Any], scale: tuple[float, float], n: int) -> Row:
    best, worst = row["rank_best"], row["rank_worst"]
    low, high = ("open" if row[end] is None else f"{row[end]:.0f}" for end in ("low", "high"))
    kind = (
        "teacher" if row.get("contaminated") is None else "student"
    )  # what was trained here is known of students alone
    return Row(
        rank=row["rank"],
        model=row["model"],
        plot=plots.span(row["rating"], row["low"], row["high"], scale, kind),
        points=f"{row['rating']:.0f}",
        ranks=f"surely {best} of {n}" if best == worst else f"may be {best} to {worst} of {n}",
        bounds=f"{low} to {high}",
        met=f"won {percent(row['wins'])} of {count(row['met'])}",
        learned=brief(row.get("contaminated")),
    )
