"""A run file becomes steps: the whole river in one function, resumable at any point.

Each step is fingerprinted by its configuration, the digests of its inputs and the code, so the same command after a
kill, a pause or an edit does only what is not done yet.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime

from filelock import FileLock, Timeout

from trueseed import ahead, failover, scoring, weights
from trueseed.asking import must_be_in_force
from trueseed.core.artifacts import Artifact
from trueseed.core.durable import write_atomic
from trueseed.curate import pipeline as curation
from trueseed.errors import ConfigError, Refused
from trueseed.evaluate import measure, sets
from trueseed.evaluate.task import Whom
from trueseed.exchange.bring import bring
from trueseed.failover import Part
from trueseed.generate.prompts import must_have_papers, named
from trueseed.lm.engine import Engine
from trueseed.lm.source import Weights, is_here, resolve
from trueseed.report import gather
from trueseed.report.html import render
from trueseed.report.summary import Report
from trueseed.runfile import Asked, Model, RunFile
from trueseed.similarity.remembered import ANSWERS
from trueseed.teachers.voice import BehindAnApi, OurWeights, Voice
from trueseed.terms.model import Effect, Relation
from trueseed.train import sft
from trueseed.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a finished run leaves. parts: of each teacher that was asked, in order. teacher_source: the one that the
    baseline is of. tasks: scores on the run file's own tasks.
    """

    parts: tuple[Part, ...]
    dataset: Artifact
    baseline: Artifact
    student: Artifact
    scores: Artifact
    teacher_source: str
    tasks: tuple[Artifact, ...] = ()

    @property
    def records(self) -> tuple[Artifact, ...]:
        """Of the teachers that gave any."""
        return tuple(part.records for part in self.parts if part.accepted)


def run(file: RunFile, workspace: Workspace) -> Outcome:
    """Prompts → generate → curate → train → evaluate. Raises what the door and the stages raise."""
    workspace.declare(file.project, file.facts)
    ahead.must_be_permitted(file, workspace, _today())
    found = [_teacher(asked, file, workspace) for asked in file.teachers]
    base_weights = _resolve(file.base)
    with _lock_run(workspace, file.project):
        brought = _import_records(file, workspace)
        prompts = _import_prompts(file, workspace)
        held_out = _freeze_sets(file, workspace)
        tasks = [scoring.bring_task(workspace, each) for each in file.tasks]
        voices = [teacher() for teacher in found]
        further = [voice.source for voice in voices[1:]]
        features = ahead.sources_of(file).features
        failover.must_be_permitted(further, workspace.catalog, workspace.facts, _today(), features)
        base = weights.enter(base_weights, workspace)
        parts = failover.generate(file, workspace, prompts, voices)
        dataset = _curate(file, workspace, [*brought, *(part.records for part in parts if part.accepted)], held_out)
        before = failover.baseline(file, workspace, held_out, voices, parts)
        taught = next(voice for voice in voices if voice.source == before.source)
        of_tasks = _on_tasks(
            "teacher", scoring.teacher(taught, file.features_of(taught.source)), file, workspace, tasks
        )
        for voice in voices:
            voice.close()
        of_tasks += _on_tasks("base", scoring.held(base, base_weights.source, file.engine), file, workspace, tasks)
        student = _train(file, workspace, dataset, base)
        scores = _compare(file, workspace, held_out, before.scores, student)
        of_tasks += _on_tasks("student", scoring.student(workspace, student, file.engine), file, workspace, tasks)
        return Outcome(
            parts=parts,
            dataset=dataset,
            baseline=before.scores,
            student=student,
            scores=scores,
            teacher_source=before.source,
            tasks=tuple(of_tasks),
        )


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """What a run has in hand before its teacher is asked. base: None when its weights would have to be fetched."""

    prompts: Artifact
    held_out: Artifact
    base: Artifact | None
    voice: Voice


def begin(file: RunFile, workspace: Workspace) -> Beginning:
    """The first steps of a run, which ask nobody; the run finds them done. Raises what the door raises."""
    workspace.declare(file.project, file.facts)
    base = _resolve(file.base) if is_here(file.base.weights) else None
    return Beginning(
        prompts=_import_prompts(file, workspace),
        held_out=_freeze_sets(file, workspace),
        base=weights.enter(base, workspace) if base else None,
        voice=_teacher(file.teacher, file, workspace)(),
    )


def write_report(workspace: Workspace, outcome: Outcome) -> Report:
    """Writes report.json and report.html into the workspace."""
    report = gather.report(
        workspace,
        teacher=outcome.teacher_source,
        student=outcome.student,
        records=[part.records for part in outcome.parts],
        dataset=outcome.dataset,
        scores=outcome.scores,
        tasks=outcome.tasks,
    )
    page = gather.page(
        workspace,
        baseline=outcome.baseline,
        student=outcome.student,
        scores=outcome.scores,
        sources=report.sources,
    )
    write_atomic(workspace.folder / "report.json", json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n")
    write_atomic(workspace.folder / "report.html", render(report, page))
    return report


def _teacher(asked: Asked, file: RunFile, workspace: Workspace) -> Callable[[], Voice]:
    """Finds a teacher; it takes its place in the ledger when it is called. Raises `ConfigError`, `Refused`."""
    if asked.remote is not None:
        voice = BehindAnApi(asked.remote, asked.contract, file.limits)
        must_be_in_force(asked.contract, voice.source, workspace.catalog, _today())
        return lambda: voice
    assert asked.weights is not None
    held = resolve(asked.weights, sha256=asked.sha256, source=asked.source)
    must_be_in_force(asked.contract, held.source, workspace.catalog, _today())
    return lambda: OurWeights(weights.enter(held, workspace), held.source, file.engine)


def _today() -> date:
    return datetime.now(UTC).date()


def _resolve(model: Model) -> Weights:
    return resolve(model.weights, sha256=model.sha256, source=model.source)


def _import_prompts(file: RunFile, workspace: Workspace) -> Artifact:
    found = named(file.prompts.file)
    with workspace.step(
        "prompts", brings={file.prompts.source: Relation.OUTPUT}, config={"digest": found.digest}
    ) as step:
        must_have_papers(found, file.prompts.source, workspace.folder / ANSWERS)
        return step.earlier("prompts") or found.write(step)


def _import_records(file: RunFile, workspace: Workspace) -> list[Artifact]:
    """Raises `Refused` when they may not be trained on: before a teacher is asked."""
    found = [bring(workspace, each) for each in file.imports]
    for verdict in (verdict for each in found for verdict in each.verdicts):
        if not verdict.permitted:
            raise Refused(f"`import` names records that may not be trained on: {verdict}")
    return [each.records for each in found]


def _freeze_sets(file: RunFile, workspace: Workspace) -> Artifact:
    evaluate, kinds = file.evaluate, file.generate.kinds
    config = {"held_out": True, "samples": evaluate.samples, "seed": evaluate.seed, "kinds": kinds}
    with workspace.step("freeze", brings={"own/held-out": Relation.OUTPUT}, config=config) as step:
        return step.earlier("prompts") or sets.freeze(evaluate.samples, evaluate.seed, kinds, step)


def _curate(file: RunFile, workspace: Workspace, records: list[Artifact], held_out: Artifact) -> Artifact:
    with workspace.step("curate", inputs=records, against=[held_out], config=file.curate.model_dump()) as step:
        return step.earlier("dataset") or curation.curate(file.curate, records, [held_out], step)


def _train(file: RunFile, workspace: Workspace, dataset: Artifact, base: Artifact) -> Artifact:
    config = file.train.model_dump()
    with workspace.step("train", inputs=[dataset, base], effect=Effect.TRAIN, config=config) as step:
        return step.earlier("weights") or sft.train(file.train, dataset, base, step)


def _compare(file: RunFile, workspace: Workspace, held_out: Artifact, before: Artifact, student: Artifact) -> Artifact:
    inputs, config = [held_out, before, student], {**file.evaluate.model_dump(), "engine": file.engine.identity}
    with workspace.step("evaluate", inputs=inputs, config=config) as step:
        if earlier := step.earlier("scores"):
            return earlier
        engine = Engine(student.folder, f"own/{file.student.name}", **file.engine.model_dump())
        return measure.compare(file.evaluate, held_out, before, engine, engine, step)


def _on_tasks(
    whom: Whom, model: scoring.Model, file: RunFile, workspace: Workspace, tasks: list[Artifact]
) -> list[Artifact]:
    """The scores of one model on every task that measures it."""
    wanted = [(config, task) for config, task in zip(file.tasks, tasks, strict=True) if whom in config.of]
    return [scoring.on(model, config, task, workspace) for config, task in wanted]


@contextmanager
def _lock_run(workspace: Workspace, project: str) -> Iterator[None]:
    """Two runs of one file at once would do the same work twice; the second is told so."""
    lock = FileLock(workspace.folder / "steps" / f"run-{project}.lock")
    (workspace.folder / "steps").mkdir(exist_ok=True)
    try:
        lock.acquire(timeout=0)
    except Timeout as err:
        raise ConfigError(f"another run of {project!r} is working in {str(workspace.folder)!r}; wait for it") from err
    try:
        yield
    finally:
        lock.release()
