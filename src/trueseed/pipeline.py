"""A run file becomes steps: the whole river in one function, resumable at any point.

Each step is fingerprinted by its configuration, the digests of its inputs and the code, so the same command after a
kill, a pause or an edit does only what is not done yet.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from trueseed import ahead, failover
from trueseed.asking import must_be_in_force
from trueseed.core.artifacts import Artifact
from trueseed.core.durable import write_atomic
from trueseed.curate import pipeline as curation
from trueseed.errors import ConfigError, Refused
from trueseed.evaluate import measure, sets
from trueseed.exchange.bring import bring
from trueseed.failover import Part
from trueseed.generate.prompts import must_have_papers, named
from trueseed.lm.engine import Engine
from trueseed.lm.source import LICENCE_FILES, MODEL_FILES, Weights, is_here, matching, resolve
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
    baseline is of.
    """

    parts: tuple[Part, ...]
    dataset: Artifact
    baseline: Artifact
    student: Artifact
    scores: Artifact
    teacher_source: str

    @property
    def records(self) -> tuple[Artifact, ...]:
        """Of the teachers that gave any."""
        return tuple(part.records for part in self.parts if part.accepted)


def run(file: RunFile, workspace: Workspace) -> Outcome:
    """Prompts → generate → curate → train → evaluate. Raises what the door and the stages raise."""
    workspace.declare(file.project, file.facts)
    ahead.must_be_permitted(file, workspace, _today())
    found = [find_teacher(asked, file, workspace) for asked in file.teachers]
    base_weights = resolved(file.base)
    with lock_run(workspace, file.project):
        brought = import_records(file, workspace)
        prompts = import_prompts(file, workspace)
        held_out = freeze_sets(file, workspace)
        voices = [teacher() for teacher in found]
        further = [voice.source for voice in voices[1:]]
        features = ahead.sources_of(file).features
        failover.must_be_permitted(further, workspace.catalog, workspace.facts, _today(), features)
        base = import_weights(base_weights, workspace)
        parts = failover.generate(file, workspace, prompts, voices)
        dataset = curate(file, workspace, [*brought, *(part.records for part in parts if part.accepted)], held_out)
        before = failover.baseline(file, workspace, held_out, voices, parts)
        for voice in voices:
            voice.close()
        student = train(file, workspace, dataset, base)
        scores = compare(file, workspace, held_out, before.scores, student)
        return Outcome(
            parts=parts,
            dataset=dataset,
            baseline=before.scores,
            student=student,
            scores=scores,
            teacher_source=before.source,
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
    base = resolved(file.base) if is_here(file.base.weights) else None
    return Beginning(
        prompts=import_prompts(file, workspace),
        held_out=freeze_sets(file, workspace),
        base=import_weights(base, workspace) if base else None,
        voice=find_teacher(file.teacher, file, workspace)(),
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


def find_teacher(asked: Asked, file: RunFile, workspace: Workspace) -> Callable[[], Voice]:
    """Finds a teacher; it takes its place in the ledger when it is called. Raises `ConfigError`, `Refused`."""
    if asked.remote is not None:
        voice = BehindAnApi(asked.remote, asked.contract, file.limits)
        must_be_in_force(asked.contract, voice.source, workspace.catalog, _today())
        return lambda: voice
    assert asked.weights is not None
    weights = resolve(asked.weights, sha256=asked.sha256, source=asked.source)
    must_be_in_force(asked.contract, weights.source, workspace.catalog, _today())
    return lambda: OurWeights(import_weights(weights, workspace), weights.source, file.engine)


def _today() -> date:
    return datetime.now(UTC).date()


def resolved(model: Model) -> Weights:
    return resolve(model.weights, sha256=model.sha256, source=model.source)


def import_prompts(file: RunFile, workspace: Workspace) -> Artifact:
    found = named(file.prompts.file)
    with workspace.step(
        "prompts", brings={file.prompts.source: Relation.OUTPUT}, config={"digest": found.digest}
    ) as step:
        must_have_papers(found, file.prompts.source, workspace.folder / ANSWERS)
        return step.earlier("prompts") or found.write(step)


def import_records(file: RunFile, workspace: Workspace) -> list[Artifact]:
    """Raises `Refused` when they may not be trained on: before a teacher is asked."""
    found = [bring(workspace, each) for each in file.imports]
    for verdict in (verdict for each in found for verdict in each.verdicts):
        if not verdict.permitted:
            raise Refused(f"`import` names records that may not be trained on: {verdict}")
    return [each.records for each in found]


def freeze_sets(file: RunFile, workspace: Workspace) -> Artifact:
    evaluate, kinds = file.evaluate, file.generate.kinds
    config = {"held_out": True, "samples": evaluate.samples, "seed": evaluate.seed, "kinds": kinds}
    with workspace.step("freeze", brings={"own/held-out": Relation.OUTPUT}, config=config) as step:
        return step.earlier("prompts") or sets.freeze(evaluate.samples, evaluate.seed, kinds, step)


def import_weights(weights: Weights, workspace: Workspace) -> Artifact:
    config = {"digest": weights.digest, "files_read": dict(weights.files_read)}

    def link(folder: Path) -> None:
        for path in matching(weights.folder, (*MODEL_FILES, *LICENCE_FILES)):
            _link(path, folder / path.name)

    with workspace.step("weights", brings={weights.source: Relation.WEIGHTS}, config=config) as step:
        return step.earlier("weights") or step.write("weights", link, {"source": weights.source})


def _link(path: Path, target: Path) -> None:
    """The same bytes without a second copy where the disk allows it."""
    try:
        target.hardlink_to(path)
    except OSError:
        shutil.copyfile(path, target)


def curate(
    file: RunFile, workspace: Workspace, records: list[Artifact], held_out: Artifact, without: Sequence[int] = ()
) -> Artifact:
    """without: recalls, by entry, after which this is made again."""
    config = file.curate.model_dump() | ({"without": list(without)} if without else {})
    with workspace.step("curate", inputs=records, against=[held_out], config=config) as step:
        return step.earlier("dataset") or curation.curate(file.curate, records, [held_out], step)


def train(file: RunFile, workspace: Workspace, dataset: Artifact, base: Artifact) -> Artifact:
    config = file.train.model_dump()
    with workspace.step("train", inputs=[dataset, base], effect=Effect.TRAIN, config=config) as step:
        return step.earlier("weights") or sft.train(file.train, dataset, base, step)


def compare(file: RunFile, workspace: Workspace, held_out: Artifact, before: Artifact, student: Artifact) -> Artifact:
    inputs, config = [held_out, before, student], {**file.evaluate.model_dump(), "engine": file.engine.identity}
    with workspace.step("evaluate", inputs=inputs, config=config) as step:
        if earlier := step.earlier("scores"):
            return earlier
        engine = Engine(student.folder, f"own/{file.student.name}", **file.engine.model_dump())
        return measure.compare(file.evaluate, held_out, before, engine, engine, step)


@contextmanager
def lock_run(workspace: Workspace, project: str) -> Iterator[None]:
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
