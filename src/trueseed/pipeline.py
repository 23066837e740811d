"""A run file becomes steps: the whole river in one function, resumable at any point.

Each step is fingerprinted by its configuration, the digests of its inputs and the code, so the same command after a
kill, a pause or an edit does only what is not done yet. What computes (torch, scipy) is imported by the step that
needs it, so that a mistake in a run file is told before any of it is loaded.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime

from filelock import FileLock, Timeout

from trueseed import (
    ahead,
    aims,
    distilling,
    failover,
    judging,
    keeping,
    measured,
    models,
    scoring,
    transforming,
)
from trueseed.asking import ladder, permits
from trueseed.checks import TRAIN_KINDS
from trueseed.core.artifacts import Artifact, each_once
from trueseed.core.durable import write_atomic
from trueseed.curate import pipeline as curation
from trueseed.errors import ConfigError, Refused, TeacherError
from trueseed.evaluate import contamination, measure, sets
from trueseed.evaluate.task import Whom
from trueseed.exchange.bring import bring
from trueseed.failover import Baseline, Part
from trueseed.generate.prompts import must_have_papers, named
from trueseed.lm.source import is_here
from trueseed.report import gather
from trueseed.report.html import render
from trueseed.report.summary import Report
from trueseed.runfile import EMBEDDED, Asked, RunFile
from trueseed.similarity.held_out import LEFT_OUT
from trueseed.similarity.remembered import ANSWERS
from trueseed.teachers.voice import OurWeights, Voice
from trueseed.terms.model import Relation
from trueseed.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a finished run leaves. parts: of each teacher that was asked, in order; none of a run on imported records.
    teacher_source: the one that the baseline is of: then it is the base's. tasks: scores on the run file's own tasks,
    each once where one model plays two parts. board: how far the students are from its targets.
    """

    parts: tuple[Part, ...]
    dataset: Artifact
    baseline: Artifact
    student: Artifact
    scores: Artifact
    teacher_source: str
    tasks: tuple[Artifact, ...] = ()
    board: aims.Board = aims.NOBODY

    @property
    def records(self) -> tuple[Artifact, ...]:
        """Of the teachers that gave any."""
        return tuple(part.records for part in self.parts if part.accepted)


def run(file: RunFile, workspace: Workspace) -> Outcome:
    """Prompts → generate → curate → train → evaluate; imported records join before curation, or are all there are.
    Raises what the door and the stages raise.
    """
    workspace.declare(file.project, file.facts)
    ahead.must_be_permitted(file, workspace, _today())
    cast = _Cast(file, workspace)
    base_weights = models.resolved(file.base)
    with lock_run(workspace, file.project):
        brought = import_records(file, workspace)
        prompts = import_prompts(file, workspace) if file.generate else None
        held_out = freeze_sets(file, workspace)
        tasks = [scoring.bring_task(workspace, each) for each in file.tasks]
        if file.judges:
            judging.gold(workspace)  # held out too, so before anything is curated
        of_targets = aims.bring_targets(file, workspace, tasks)
        teachers = cast.take_their_places()
        further = [voice.source for voice in teachers[1:]]
        features = ahead.sources_of(file).features
        failover.must_be_permitted(further, workspace.catalog, workspace.facts, _today(), features)
        base = models.base(file.base, base_weights, workspace)
        distilling.must_be_possible(file, workspace, base, cast.distiller)
        parts = failover.generate(file, workspace, prompts, teachers) if prompts else ()
        records = [*brought, *(part.records for part in parts if part.accepted)]
        records = transforming.transform(file, workspace, records, cast.voice_of)
        dataset = curate(file, workspace, records, held_out)
        if parts:
            before = failover.baseline(file, workspace, held_out, teachers, parts)
        else:
            before = Baseline(source=base_weights.source, scores=of_the_base(file, workspace, held_out, base))
        taught = next((voice for voice in teachers if parts and voice.source == before.source), None)
        teacher = scoring.teacher(taught, file.features_of(taught.source)) if taught else None
        of_tasks = on_tasks("teacher", teacher, file, workspace, tasks)
        cast.close()
        untrained = scoring.held(base, base_weights.source, file.engine)
        of_tasks += on_tasks("base", untrained, file, workspace, tasks)
        of_tasks += on_the_embedded(file, workspace, tasks)
        student = distilling.train(file, workspace, dataset, base, cast.distiller)
        scores = compare(file, workspace, held_out, before.scores, student)
        speaks = scoring.student(workspace, student, file.engine)
        of_tasks += on_tasks("student", speaks, file, workspace, tasks)
        others = {"teacher": teacher, "base": untrained, "embedded": _compared_embedded(file, workspace)}
        of_tasks += judged(file, workspace, tasks, speaks, others)
        board = aims.standings(file, workspace, tasks, of_targets, _today())
        return Outcome(
            parts=parts,
            dataset=dataset,
            baseline=before.scores,
            student=student,
            scores=scores,
            teacher_source=before.source,
            tasks=tuple(each_once([*of_tasks, *of_targets, *board.verdicts])),
            board=board,
        )


class _Cast:
    """Everybody that a run asks: teachers, and those who rewrite or distil. Raises as `models.voice` when one is not
    there.
    """

    def __init__(self, file: RunFile, workspace: Workspace) -> None:
        self._everyone = list(file.teachers)
        further = (*file.rewriters, *filter(None, [file.distiller]))
        self._everyone += [asked for asked in further if asked not in self._everyone]
        self._distiller = file.distiller
        self._teachers = len(file.teachers)
        self._found = [voice_of(asked, file, workspace) for asked in self._everyone]
        self._voices: list[Voice] = []

    def take_their_places(self) -> list[Voice]:
        """In the ledger. Returns the teachers, in the order of asking."""
        self._voices = [voice() for voice in self._found]
        return self._voices[: self._teachers]

    def voice_of(self, asked: Asked) -> Voice:
        return self._voices[self._everyone.index(asked)]

    @property
    def distiller(self) -> Voice | None:
        """None where nobody distils."""
        return self.voice_of(self._distiller) if self._distiller else None

    def close(self) -> None:
        for voice in self._voices:
            voice.close()


def voice_of(asked: Asked, file: RunFile, workspace: Workspace) -> Callable[[], Voice]:
    """As `models.voice`, as the run file has it asked."""
    return models.voice(asked, file.limits, file.engine, workspace, top_logprobs=file.top_logprobs_of(asked))


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """What a run has in hand before its teacher is asked. prompts, voice: None for a run on imported records alone.
    base, distiller: None when its weights would have to be fetched.
    """

    prompts: Artifact | None
    held_out: Artifact
    base: Artifact | None
    voice: Voice | None
    distiller: OurWeights | None


def begin(file: RunFile, workspace: Workspace) -> Beginning:
    """The first steps of a run, which ask nobody; the run finds them done. Raises what the door raises."""
    workspace.declare(file.project, file.facts)
    base = models.resolved(file.base) if is_here(file.base.weights) else None
    asked = file.teacher
    return Beginning(
        prompts=import_prompts(file, workspace) if file.generate else None,
        held_out=freeze_sets(file, workspace),
        base=models.base(file.base, base, workspace) if base else None,
        voice=voice_of(asked, file, workspace)() if asked else None,
        distiller=models.held(file.distiller, file.engine, workspace) if file.distiller else None,
    )


def write_report(workspace: Workspace, outcome: Outcome) -> Report:
    """Writes report.json and report.html into the workspace."""
    found = measured.of_run(workspace, outcome.student, outcome.tasks, outcome.board)
    keeping.of_run(workspace, found)
    report = gather.report(
        workspace,
        teacher=outcome.teacher_source,
        student=outcome.student,
        records=[part.records for part in outcome.parts],
        dataset=outcome.dataset,
        scores=outcome.scores,
        tasks=outcome.tasks,
        results=found,
    )
    page = gather.page(
        workspace,
        baseline=outcome.baseline,
        student=outcome.student,
        scores=outcome.scores,
        sources=report.sources,
        tasks=outcome.tasks,
    )
    write_atomic(workspace.folder / "report.json", json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n")
    write_atomic(workspace.folder / "report.html", render(report, page, found))
    return report


def _today() -> date:
    return datetime.now(UTC).date()


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
    evaluate, kinds = file.evaluate, file.generate.kinds if file.generate else list(TRAIN_KINDS)
    config = {"held_out": True, "samples": evaluate.samples, "seed": evaluate.seed, "kinds": kinds}
    with workspace.step("freeze", brings={"own/held-out": Relation.OUTPUT}, config=config) as step:
        return step.earlier("prompts") or sets.freeze(evaluate.samples, evaluate.seed, kinds, step)


def curate(
    file: RunFile, workspace: Workspace, records: list[Artifact], held_out: Artifact, without: Sequence[int] = ()
) -> Artifact:
    """without: recalls, by entry, after which this is made again."""
    everything = workspace.held_out()
    config = file.curate.model_dump() | ({"without": list(without)} if without else {})
    config |= {LEFT_OUT: everything.digests}
    with workspace.step("curate", inputs=records, against=[held_out], config=config) as step:
        return step.earlier("dataset") or curation.curate(file.curate, records, [held_out], step, everything)


def of_the_base(
    file: RunFile, workspace: Workspace, held_out: Artifact, base: Artifact, without: Sequence[int] = ()
) -> Artifact:
    """What the student is compared with where nobody taught it: its own base, before it learned. without: recalls, by
    entry, after which it is measured anew.
    """
    inputs, config = [held_out, base], {**file.evaluate.model_dump(), "engine": file.engine.identity, "of": "base"}
    config |= {"without": list(without)} if without else {}
    with workspace.step("baseline", inputs=inputs, config=config) as step:
        if earlier := step.earlier("scores"):
            return earlier
        from trueseed.lm.engine import Engine

        engine = Engine(base.folder, base.meta["source"], **file.engine.model_dump())
        return measure.baseline(file.evaluate, held_out, engine, engine, step, of="base")


def compare(file: RunFile, workspace: Workspace, held_out: Artifact, before: Artifact, student: Artifact) -> Artifact:
    from trueseed.lm.engine import Engine

    inputs, config = [held_out, before, student], {**file.evaluate.model_dump(), "engine": file.engine.identity}
    learned = contamination.learned_by(student, f"own/{file.student.name}", held_out, workspace)
    with workspace.step("evaluate", inputs=inputs, against=learned.datasets, config=config) as step:
        if earlier := step.earlier("scores"):
            return earlier
        engine = Engine(student.folder, f"own/{file.student.name}", **file.engine.model_dump())
        return measure.compare(file.evaluate, held_out, before, engine, engine, learned, step)


def on_tasks(
    whom: Whom, model: scoring.Model | None, file: RunFile, workspace: Workspace, tasks: list[Artifact]
) -> list[Artifact]:
    """The scores of one model on every task that measures it. model: None when there is none, as no teacher of a run
    on imported records. Who stands on a ladder unnamed, and cannot be asked now, does not end the run.
    """
    may, found = permits(workspace), list[Artifact]()
    for config, task in zip(file.tasks, tasks, strict=True):
        if model is None or whom not in ladder(file, config, may).whom:
            continue
        try:
            found.append(scoring.on(model, config, task, workspace))
        except (Refused, TeacherError):
            if config.of is not None or whom == "student":
                raise
    return found


def on_the_embedded(file: RunFile, workspace: Workspace, tasks: list[Artifact]) -> list[Artifact]:
    """As `on_tasks`, of the model that is at hand everywhere, if a task measures it."""
    may = permits(workspace)
    if not any("embedded" in ladder(file, config, may).whom for config in file.tasks):
        return []
    model = scoring.ours(workspace, EMBEDDED, file.engine)
    found = on_tasks("embedded", model, file, workspace, tasks)
    model.voice.close()
    return found


def _compared_embedded(file: RunFile, workspace: Workspace) -> scoring.Model | None:
    wanted = any(config.is_compared and "embedded" in (config.of or ()) for config in file.tasks)
    return scoring.ours(workspace, EMBEDDED, file.engine) if wanted and file.judges else None


def judged(
    file: RunFile,
    workspace: Workspace,
    tasks: list[Artifact],
    student: scoring.Model,
    others: Mapping[str, scoring.Model | None],
) -> list[Artifact]:
    """What the judges say of the student's answers beside each other model's that a task measures, once all of them
    were given. others: by whom; None where there is none.
    """
    if not file.judges:
        return []
    seats, found = judging.seats(file, workspace), []
    for config, task in zip(file.tasks, tasks, strict=True):
        for whom in dict.fromkeys(config.of or ()) if config.is_compared else ():
            if other := others.get(whom):
                ours, theirs = (judging.speaking(each, config, task, workspace) for each in (student, other))
                found.append(judging.pairwise(ours, theirs, task, seats, workspace, seed=config.seed))
    for seat in seats:
        seat.model.voice.close()
    return found


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
