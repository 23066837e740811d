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

from trueseed import judging
from trueseed.core.artifacts import Artifact
from trueseed.evaluate.targets import Standing
from trueseed.judging import Seat
from trueseed.runfile import RunFile, Target
from trueseed.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Student:
    """on: the day on which it was trained. scores: its answers to the task. weights: its own, where they are here."""

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
    students: Sequence[Student],
    task: Artifact,
    seat: Seat,
    workspace: Workspace,
    today: date,
) -> tuple[Standing, tuple[Artifact, ...]]:
    """How they stand by the judge's verdicts, and these, the newest student's last. goal: the target's answers.

    Raises `Refused` when its terms do not let it judge.
    """
    from trueseed.evaluate import judged_targets, scored

    theirs = judging.by_scores(goal, None, workspace)
    found, contests = [], []
    for student in sorted(students, key=lambda each: each.on):
        ours = judging.by_scores(student.scores, student.weights, workspace)
        verdicts = judging.pairwise(ours, theirs, task, [seat], workspace)
        found.append(verdicts)
        lines = [json.loads(line) for line in verdicts.path("samples.jsonl").read_bytes().splitlines()]
        contests.append(
            judged_targets.Contest(
                on=student.on,
                student=scored.read(student.scores).model,
                about=json.loads(verdicts.path("scores.json").read_bytes()),
                lines={line["id"]: line for line in lines},
            )
        )
    judge = judged_targets.Judge(
        name=target.judge or seat.source,
        source=seat.source,
        method=seat.method,
        believed=contests[-1].about["believed"] if contests else None,
        warnings=tuple(contests[-1].about["warnings"]) if contests else (),
    )
    return judged_targets.by_verdicts(target, scored.read(goal), contests, judge, today=today), tuple(found)
