"""Students against targets before a judge, through the door: `targets` of a run file that name a `judge`.

    with bench(file, workspace) as seats:
        standing, verdicts = held(target, goal, students, task, seats(target.judge), workspace, today)

Every student of the workspace that was measured on the target's task is compared with the target, by what both answered
then. That is asked once: with the next student only its own comparison is new.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from trueseed import judging
from trueseed.core.artifacts import Artifact
from trueseed.evaluate.targets import Standing
from trueseed.judging import Seat
from trueseed.runfile import RunFile, Target
from trueseed.workspace import Workspace

if TYPE_CHECKING:
    from trueseed.evaluate.judged_targets import Contest


@dataclass(frozen=True, kw_only=True)
class Side:
    """A student, or who stands on the ladder. on: the day on which it was trained, or measured. scores: its answers to
    the task. weights: its own, where they are here.
    """

    on: date
    scores: Artifact
    weights: Artifact | None


@contextmanager
def bench(file: RunFile, workspace: Workspace) -> Iterator[Callable[[str], Seat]]:
    """The judges of a run file, by name; each takes its seat when it is first called, and is let go at the end. Raises
    as `models.voice`.
    """
    seats: dict[str, Seat] = {}

    def called(name: str) -> Seat:
        if name not in seats:
            named = next(each for each in file.judges if each.called == name)
            seats[name] = judging.seat_of(named, file, workspace)
        return seats[name]

    try:
        yield called
    finally:
        for seat in seats.values():
            seat.model.voice.close()


def held(
    target: Target,
    goal: Artifact,
    students: Sequence[Side],
    task: Artifact,
    seat: Seat,
    workspace: Workspace,
    today: date,
) -> "tuple[Standing, tuple[Heard, ...]]":
    """How they stand by the judge's verdicts, and these, the newest student's last. goal: the target's answers.

    Raises `Refused` when its terms do not let it judge.
    """
    from trueseed.evaluate import judged_targets, scored

    found = against(goal, sorted(students, key=lambda each: each.on), task, seat, workspace)
    contests = [each.contest for each in found]
    judge = judged_targets.Judge(
        name=target.judge or seat.source,
        source=seat.source,
        method=seat.method,
        believed=contests[-1].about["believed"] if contests else None,
        warnings=tuple(contests[-1].about["warnings"]) if contests else (),
    )
    return judged_targets.by_verdicts(target, scored.read(goal), contests, judge, today=today), found


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What a judge said of a side against a target. verdicts: scores that hold it."""

    contest: "Contest"
    verdicts: Artifact


def against(
    goal: Artifact, sides: Sequence[Side], task: Artifact, seat: Seat, workspace: Workspace
) -> tuple[Heard, ...]:
    """Each side beside the target, in their order. Raises `Refused` when the judge's terms do not let it judge."""
    theirs = judging.by_scores(goal, None, workspace)
    return tuple(_heard(each, theirs, task, seat, workspace) for each in sides)


def _heard(side: Side, theirs: judging.Entrant, task: Artifact, seat: Seat, workspace: Workspace) -> Heard:
    from trueseed.evaluate import judged_targets, scored

    ours = judging.by_scores(side.scores, side.weights, workspace)
    verdicts = judging.pairwise(ours, theirs, task, [seat], workspace)
    lines = [json.loads(line) for line in verdicts.path("samples.jsonl").read_bytes().splitlines()]
    contest = judged_targets.Contest(
        on=side.on,
        student=scored.read(side.scores).model,
        about=json.loads(verdicts.path("scores.json").read_bytes()),
        lines={line["id"]: line for line in lines},
    )
    return Heard(contest=contest, verdicts=verdicts)
