"""What was measured in a workspace, side by side: two models on their tasks, a task's ladder of models, and targets.

    compare(workspace, "weights:3f2a…", "student")     # sample by sample, on every task that both were measured on
    ladder(workspace, task)                            # everybody who was measured on it, best first
    board(file, workspace, today)                      # how far from its targets, and when it will be there

Scores are found in the ledger: of several of one model on one task, the newest.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trueseed import contests, scoring
from trueseed.core.artifacts import Artifact
from trueseed.core.plural import form, many
from trueseed.errors import ConfigError
from trueseed.evaluate.formats import reading
from trueseed.evaluate.formats.arena_hard import MUCH
from trueseed.evaluate.outputs import Outputs, Recorded
from trueseed.evaluate.sample import Sample
from trueseed.evaluate.targets import Made, Standing, standing
from trueseed.evaluate.task import thaw
from trueseed.ledger.lineage import Lineage
from trueseed.ledger.log import Entry
from trueseed.ledger.looks import Looks, looks_at
from trueseed.runfile import RunFile, Target
from trueseed.student import newest_student
from trueseed.workspace import Workspace

if TYPE_CHECKING:
    from trueseed.evaluate.bradley_terry import Battles
    from trueseed.evaluate.scored import Comparison
    from trueseed.evaluate.stats import Measured
    from trueseed.evaluate.verdicts import Verdict

STUDENT = "student"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Scores on a task that are in the store. weights: digest of the model's, where they are here. trained: when it was
    trained here, None of everybody else.
    """

    scores: Artifact
    entry: Entry
    task: str
    weights: str
    trained: datetime | None


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A model on a ladder. kind: `student`, or `other` for whom nobody trained here. contaminated: share of the samples
    that stand in what it was trained on here; None where nothing of that is known.
    """

    model: str
    kind: str
    on: date
    scores: str
    score: "Measured"
    contaminated: float | None = None

    def to_json(self) -> dict[str, Any]:
        said = {"model": self.model, "kind": self.kind, "on": self.on.isoformat(), "scores": self.scores}
        return {**said, "contaminated": self.contaminated, **self.score.to_json()}


# ------------------------------------------------------------------------------------------------------- two models


def compare(
    workspace: Workspace, a: str, b: str, *, metric: str | None = None, seed: int = 7
) -> "tuple[Comparison, ...]":
    """On every task that both were measured on, with p-values corrected for as many. a, b: `scores:<digest>`,
    `student`, `weights:<digest>`, or a model's source.

    Raises `ConfigError` when there is no such task, and what `scored.compare` raises.
    """
    from trueseed.evaluate import scored

    before, after = _of(a, workspace), _of(b, workspace)
    shared = [task for task in before if task in after]
    if not shared:
        raise ConfigError(
            f"{a!r} and {b!r} were never measured on the same task: {_tasks(before)}; {_tasks(after)}. Measure both: "
            f"`trueseed evaluate MODEL --task FILE --scorer NAME`"
        )
    found, lineage = [], workspace.lineage()
    for task in shared:
        one, two = scored.read(before[task]), scored.read(after[task])
        compared = scored.compare(one, two, metric=metric, seed=seed)
        found.append(replace(compared, looks=looks_at(task, lineage)))
    return scored.together(found)


def _of(name: str, workspace: Workspace) -> dict[str, Artifact]:
    """Scores of a model, by task. Raises `ConfigError` when nothing goes by that name."""
    kept = list(measured(workspace))
    if name.startswith("scores:"):
        artifact = workspace.store.get(name)
        found = [each for each in kept if each.scores.digest == artifact.digest]
    elif name == STUDENT or name.startswith("weights:"):
        weights = newest_student(workspace) if name == STUDENT else workspace.store.get(name)
        found = [each for each in kept if each.weights == weights.digest]
    else:
        found = [each for each in kept if each.scores.meta["of"] == name and each.trained is None]
    if not found:
        known = sorted({str(each.scores.meta["of"]) for each in kept}) or ["nobody"]
        raise ConfigError(f"nothing was measured of {name!r} in this workspace; measured were {', '.join(known)}")
    return {each.task: each.scores for each in found}


def _tasks(scores: dict[str, Artifact]) -> str:
    return ", ".join(f"{each.meta['task']} ({task[:8]})" for task, each in scores.items())


# ------------------------------------------------------------------------------------------------------- one task


def measured(workspace: Workspace) -> Iterator[Kept]:
    """All scores on tasks that are still in the store, oldest first."""
    lineage = workspace.lineage()
    for made in lineage.artifacts():
        entry = lineage.maker(made.digest)
        if made.kind != "scores" or entry is None or entry.predicate["step"] != scoring.STEP:
            continue
        if not (workspace.store.folder / "scores" / made.digest).is_dir():
            continue  # destroyed, or lost: the ledger knows of it, and nothing can be read
        inputs = {e["kind"]: e["digest"] for e in entry.predicate["inputs"] if e["role"] == "input"}
        weights = inputs.get("weights", "")
        yield Kept(
            scores=workspace.store.get(f"scores:{made.digest}"),
            entry=entry,
            task=inputs["prompts"],
            weights=weights,
            trained=_trained(weights, lineage),
        )


def ladder(workspace: Workspace, task: str, metric: str | None = None) -> tuple[Rung, ...]:
    """Everybody who was measured on the task with this digest, best first: each model's newest scores."""
    from trueseed.evaluate import scored

    newest = {}
    for each in measured(workspace):
        if each.task == task:
            found = scored.read(each.scores)
            newest[found.identity] = each, found
    rungs = []
    for each, found in newest.values():
        at = each.trained or datetime.fromisoformat(each.entry.predicate["at"])
        rungs.append(
            Rung(
                model=found.model,
                kind="student" if each.trained else "other",
                on=at.date(),
                scores=each.scores.digest,
                score=found.measured(metric or found.metric),
                contaminated=found.about.get("contamination", {}).get("share"),
            )
        )
    low_is_good = any((metric or found.metric) in scored.LOW_IS_GOOD for _, found in newest.values())
    return tuple(sorted(rungs, key=lambda rung: rung.score.value, reverse=not low_is_good))


def _trained(weights: str, lineage: Lineage) -> datetime | None:
    maker = lineage.makers(weights)[:1] if weights else ()
    trained = [entry for entry in maker if entry.predicate["step"] == "train"]
    return datetime.fromisoformat(trained[0].predicate["at"]) if trained else None


# ------------------------------------------------------------------------------------------------------- the arena


def competing(names: Sequence[str], workspace: Workspace | None, *, task: str = "") -> "list[Path | Artifact]":
    """What an arena is held on. names: files of verdicts, or `scores:<digest>` of a judge or of models on one task;
    without any, everybody who was measured on the task that is called, or has the digest, `task`.

    Raises `ConfigError` for a task that nobody was measured on, and for names in a workspace that is not there.
    """
    return [_held(name, workspace) for name in names] if names else [*_on(task, workspace)]


def arena(
    held: "Sequence[Path | Artifact]",
    *,
    judge: str = "",
    metric: str | None = None,
    much: int = MUCH,
    baseline: str = "",
    note: Callable[[str], None] = lambda _: None,
) -> "tuple[Battles, Measured | None]":
    """And how often the answer won that was shown first. held: as `competing` finds them. judge: only its verdicts.
    much: so many verdicts is one by which the winner is much better. baseline: as `formats.reading.judgments`. note:
    told of files of another format than ours, and of what in them was no verdict.

    Raises `ConfigError` for verdicts mixed with scores, for none, and as the readers raise.
    """
    from trueseed.evaluate import arena as pairs
    from trueseed.evaluate import scored, verdicts
    from trueseed.evaluate.bradley_terry import Battles

    of_judges = [_verdicts(each) for each in held]
    judged = [_judgments(path, baseline, note) for path in of_judges if path]
    scores = [
        scored.read(each)
        for each, path in zip(held, of_judges, strict=True)
        if isinstance(each, Artifact) and path is None
    ]
    if judged and scores:
        raise ConfigError("verdicts and scores are not rated together; give one or the other")
    if scores:
        return pairs.of_scores(scores, metric), None
    said = verdicts.merged(judged)
    if judge and not (of_one := [each for each in said if each.judge == judge]):
        raise ConfigError(f"there is no verdict of {judge!r}; judges are {', '.join(sorted(_judges(said)))}")
    said = of_one if judge else said
    return Battles.of_verdicts(said, much=much), pairs.shown_first(said)


def _judgments(path: Path, baseline: str, note: Callable[[str], None]) -> "Sequence[Verdict]":
    found = reading.judgments(path, baseline)
    if found.format:
        none = f"{many(found.none, 'judgment')} {form(found.none, 'was', 'were')} none"
        note(f"{path.name}: {found.format}, {many(len(found.verdicts), 'verdict')}; {none}")
    return found.verdicts


def _held(name: str, workspace: Workspace | None) -> "Path | Artifact":
    if not name.startswith("scores:"):
        return Path(name)
    if workspace is None:
        raise ConfigError(f"{name!r} lies in a workspace; name it with --workspace")
    return workspace.store.get(name)


def _verdicts(held: "Path | Artifact") -> Path | None:
    """The file of a judge's verdicts; None of a model's scores."""
    from trueseed.evaluate.verdicts import VERDICTS_FILE

    if isinstance(held, Path):
        return held
    return path if (path := held.path(VERDICTS_FILE)).is_file() else None


def _on(task: str, workspace: Workspace | None) -> Iterator[Artifact]:
    """The newest scores of everybody on a task, by its name or digest. Raises `ConfigError` for none, or two tasks."""
    kept = [each for each in (measured(workspace) if workspace else ()) if _is_called(each, task)]
    tasks = {each.task for each in kept}
    if not task:
        raise ConfigError("give files of verdicts, `scores:<digest>`, or --task with a task that was measured here")
    if workspace is None or len(tasks) != 1:
        raise ConfigError(f"{len(tasks)} tasks that were measured here are called {task!r}; name one, or its digest")
    for rung in ladder(workspace, tasks.pop()):
        yield workspace.store.get(f"scores:{rung.scores}")


def _is_called(kept: Kept, task: str) -> bool:
    return kept.scores.meta["task"] == task or (len(task) >= 6 and kept.task.startswith(task))


def _judges(verdicts: "Sequence[Verdict]") -> set[str]:
    return {each.judge for each in verdicts}


# ------------------------------------------------------------------------------------------------------- targets


def bring_targets(file: RunFile, workspace: Workspace, tasks: Sequence[Artifact]) -> list[Artifact]:
    """Scores of every target on its task; those there are already when it is the same version.

    Raises what `scoring.on` raises, before a student is trained: `Refused` when a target's terms do not let it be
    measured.
    """
    return [_measure(target, file, workspace, _task_of(target, file, tasks)) for target in file.targets]


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
    """standings: to every target, in the order of the run file. ladders: of each of their tasks, by its name. looks: at
    each of these tasks, so far. verdicts: of judges, on the newest student, for targets that go by them; there is no
    ladder of such a task.
    """

    standings: tuple[Standing, ...]
    ladders: Mapping[str, tuple[Rung, ...]]
    looks: Mapping[str, Looks]
    verdicts: tuple[Artifact, ...] = ()

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
        }


NOBODY = Board(standings=(), ladders={}, looks={})


def board(file: RunFile, workspace: Workspace, today: date) -> Board:
    """How the students of this workspace stand to every target. What was not measured yet is measured first: the
    targets, and the newest student, if there is one.

    Raises `ConfigError` for a run file without targets, and as `bring_targets`.
    """
    if not file.targets:
        raise ConfigError("the run file names no `targets`: a model, a task, and a day (docs/evaluation.md, Targets)")
    workspace.declare(file.project, file.facts)
    tasks = [scoring.bring_task(workspace, each) for each in file.tasks]
    return standings(file, workspace, tasks, bring_targets(file, workspace, tasks), today)


def standings(
    file: RunFile, workspace: Workspace, tasks: Sequence[Artifact], scores: Sequence[Artifact], today: date
) -> Board:
    """As `board`, where tasks and targets were brought. scores: of each target. A student that was not measured is."""
    if not file.targets:
        return NOBODY
    _measure_student(file, workspace, tasks)
    kept, found, verdicts = list(measured(workspace)), list[Standing](), list[Artifact]()
    ladders: dict[str, tuple[Rung, ...]] = {}
    looks: dict[str, Looks] = {}
    with contests.bench(file, workspace) as judges:
        for target, of_target in zip(file.targets, scores, strict=True):
            _, task = _task_of(target, file, tasks)
            students = list({each.weights: each for each in kept if each.trained and each.task == task.digest}.values())
            looks[target.task] = looks_at(task.digest, workspace.lineage())
            if target.judge is None:
                found.append(_standing(target, of_target, students, today))
                ladders[target.task] = ladder(workspace, task.digest, target.metric)
                continue
            made = [_contestant(each, workspace) for each in students]
            standing_, said = contests.held(target, of_target, made, task, judges(target.judge), workspace, today)
            found.append(standing_)
            verdicts += said[-1:]
    return Board(standings=tuple(found), ladders=ladders, looks=looks, verdicts=tuple(verdicts))


def _contestant(kept: Kept, workspace: Workspace) -> contests.Student:
    assert kept.trained is not None, "only students compete for targets"
    here = (workspace.store.folder / "weights" / kept.weights).is_dir()  # else they were destroyed since
    weights = workspace.store.get(f"weights:{kept.weights}") if here else None
    return contests.Student(on=kept.trained.date(), scores=kept.scores, weights=weights)


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
