"""What a run measured, as its report shows it: the student beside everybody else, on tasks, before judges, to targets.

    found = of_run(workspace, student, tasks, board)      # tasks: scores; board: of `scoreboard`

Nothing is measured here. What cannot be set side by side, two models that answered other samples for instance, is told
in the report and not left out in silence.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from trueseed import aims, scoreboard
from trueseed.core.artifacts import Artifact
from trueseed.errors import ConfigError
from trueseed.report import judged
from trueseed.report.results import Results
from trueseed.report.tasks import Scores
from trueseed.workspace import Workspace

if TYPE_CHECKING:
    from trueseed.evaluate.scored import Comparison, Scored

FEWEST = 3  # models that make a leaderboard; two are a comparison


def of_run(workspace: Workspace, student: Artifact, tasks: Sequence[Artifact], board: aims.Board) -> Results:
    """tasks: scores of everybody on the run's tasks, and what judges said of them."""
    by_judges = [each for each in tasks if "against" in each.meta]
    scores = _once(each for each in tasks if "against" not in each.meta)
    named = {each.name for each in scores}
    untold = [why for name in sorted(named) for why in scoreboard.reported(name, workspace)]
    compared = _compared(scores, student, untold)
    boards = (*_of_tasks(scores, workspace, untold), *_of_judges(by_judges, untold))
    return Results(
        tasks=tuple(shown(each, student=_is(student, each)) for each in scores),
        compared=tuple(each.to_json() for each in compared),
        leaderboards=boards,
        targets=tuple(each.to_json() for each in board.standings),
        ladders={name: rungs for name, rungs in ladders(board).items() if not _known(rungs, scores)},
        judged=judged.comparisons(by_judges),
        cards=judged.cards(by_judges, workspace.store),
        untold=tuple(untold),
        left_out=board.left_out,
    )


def shown(scores: "Scored", *, student: bool) -> Scores:
    """A model's scores on a task as the report has them, with its samples."""
    return Scores(model=scores.model, student=student, about=scores.about, answered=scores.answered())


def ladders(board: aims.Board) -> dict[str, tuple[Mapping[str, Any], ...]]:
    """As the report has them."""
    return {name: tuple(rung.to_json() for rung in rungs) for name, rungs in board.ladders.items()}


def _known(rungs: Sequence[Mapping[str, Any]], scores: "Sequence[Scored]") -> bool:
    """Whether nobody stands on a ladder but who was measured in the run."""
    return {rung["scores"] for rung in rungs} <= {each.digest for each in scores}


def _once(artifacts: Iterable[Artifact]) -> "list[Scored]":
    """Scores, those of one task together; a model that plays two parts of a run is there once."""
    from trueseed.evaluate import scored

    found = {(each.task, each.identity): each for each in map(scored.read, artifacts)}
    tasks = list(dict.fromkeys(task for task, _ in found))
    return sorted(found.values(), key=lambda each: tasks.index(each.task))


def _is(student: Artifact, scores: "Scored") -> bool:
    return bool(scores.about["model"].get("weights") == student.digest)


def _compared(scores: "Sequence[Scored]", student: Artifact, untold: list[str]) -> "tuple[Comparison, ...]":
    """The student as B beside everybody else on the same task, with p-values corrected for all of these tests."""
    from trueseed.evaluate import scored

    found = []
    for ours in (each for each in scores if _is(student, each) and each.metric not in scored.NO_MERIT):
        for theirs in (each for each in scores if each.task == ours.task and each is not ours):
            try:
                found.append(scored.compare(theirs, ours, seed=ours.about["seed"]))
            except ConfigError as err:
                untold.append(str(err))
    return scored.together(found) if found else ()


def _of_tasks(scores: "Sequence[Scored]", workspace: Workspace, untold: list[str]) -> Iterator[dict[str, Any]]:
    """Of each task on which enough models were measured in this workspace, in this run or earlier."""
    from trueseed.evaluate import scored

    for task, on_task in groupby(scores, key=lambda each: each.task):
        first = next(on_task)
        if first.metric in scored.NO_MERIT:
            continue
        kept = [workspace.store.get(f"scores:{rung.scores}") for rung in scoreboard.ladder(workspace, task)]
        if len(kept) < FEWEST:
            continue
        try:
            arena = scoreboard.arena(kept)
            yield _rated(f"{first.name}, {first.metric}, by who did better on each sample", kept, arena)
        except ConfigError as err:
            untold.append(str(err))


def _of_judges(artifacts: Sequence[Artifact], untold: list[str]) -> Iterator[dict[str, Any]]:
    """Of each task whose answers of enough models were compared by judges. What was said of two models for a run and
    for a target is there once.
    """
    from trueseed.evaluate.judgement import heard

    for task in dict.fromkeys(str(each.meta["task"]) for each in artifacts):
        on_task = [each for each in artifacts if each.meta["task"] == task]
        said = [heard(each) for each in on_task]
        if len({model for part in said for each in part.verdicts for model in (each.a, each.b)}) < FEWEST:
            continue
        try:
            met = scoreboard.by_judges(said, about=scoreboard.said_of_sides(on_task))
            yield _rated(f"{task}, by its judges", on_task, met)
        except ConfigError as err:
            untold.append(str(err))


def _rated(title: str, of: Sequence[Artifact], arena: scoreboard.Arena) -> dict[str, Any]:
    return {"title": title, "scores": [each.digest for each in of], **arena.leaderboard().to_json()}
