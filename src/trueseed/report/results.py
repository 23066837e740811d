"""Who stands where: what a run measured, or what one command of `compare`, `arena` and `targets` found, as sections.

    sections(Results(compared=found))                 # what the templates of these sections are filled with
    page("A beside B", Results(compared=found))       # a page of its own, as `--html` writes it

Numbers come as the commands' `--json` has them; here they are only put into words and pictures.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trueseed.core.canonical import now
from trueseed.report import compared, leaderboard, plots, targets, tasks
from trueseed.report.judged import Card, Comparison
from trueseed.report.tasks import Scores
from trueseed.report.template import template


@dataclass(frozen=True, kw_only=True)
class Results:
    """compared, leaderboards, targets, ladders: as `scored.Comparison`, `arena.Leaderboard`, `targets.Standing` and
    `scoreboard.Rung` are written in JSON; leaderboards with their `title`, ladders by task. judged: comparisons by
    judges. cards: theirs. untold: what could not be set beside each other, and why. left_out: who stands on no ladder,
    and why.
    """

    tasks: tuple[Scores, ...] = ()
    compared: tuple[Mapping[str, Any], ...] = ()
    leaderboards: tuple[Mapping[str, Any], ...] = ()
    targets: tuple[Mapping[str, Any], ...] = ()
    ladders: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
    judged: tuple[Comparison, ...] = ()
    cards: tuple[Card, ...] = ()
    untold: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def to_json(self) -> dict[str, tuple[Mapping[str, Any], ...]]:
        """For `report.json`; without the words of samples, which the scores hold."""
        brief = tuple({name: it for name, it in each.items() if name != "flips"} for each in self.compared)
        return {"compared": brief, "leaderboards": self.leaderboards, "targets": self.targets}


NOTHING = Results()


def sections(results: Results) -> dict[str, Any]:
    """By the name under which a template has it."""
    return {
        "measured": tasks.of_scores(results.tasks),
        "ladders": [tasks.of_ladder(name, rungs) for name, rungs in results.ladders.items()],
        "compared": [compared.of(each, len(results.compared)) for each in results.compared],
        "leaderboards": [leaderboard.of(each["title"], each) for each in results.leaderboards],
        "targets": [targets.of(each) for each in results.targets],
        "judged": results.judged,
        "cards": results.cards,
        "untold": results.untold,
        "left_out": results.left_out,
        "plots": plots,
    }


def page(title: str, results: Results) -> str:
    """Self-contained, like the report."""
    return template("standing.html").render(title=title, made_at=now(), **sections(results))
