"""`trueseed run FILE --rebuild`: after a recall, the run again from the inputs that remain.

    course = look(file, workspace)                  # what goes, what stays, who is asked; None when nothing is reached
    outcome = rebuild(course, file, workspace)

Records that no recall reaches go on without asking their teacher again; where only a part of a source was recalled,
`leave_out` takes those records out first. What is missing is asked of the teachers in the run file that may be asked.
Every step is the run's own, so a killed rebuild goes on where it was; the statement that links old and new comes last.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from trueseed import ahead, distilling, failover, models, pipeline, scoring, transforming
from trueseed.core.artifacts import Artifact, each_once
from trueseed.core.canonical import now
from trueseed.core.plural import many
from trueseed.errors import Refused
from trueseed.failover import Baseline, Part
from trueseed.ledger.entered import Entered
from trueseed.ledger.lineage import Lineage, Made
from trueseed.ledger.rebuilt import Link
from trueseed.ledger.statement import REBUILD, subject
from trueseed.ledger.withdrawals import Asking, Passing, Withdrawal
from trueseed.pipeline import Outcome
from trueseed.rebuild import Rebuild, plan_standing, remains
from trueseed.rebuild.leave_out import leave_out, remaining, split
from trueseed.rebuild.remains import Hit, Old
from trueseed.runfile import Asked, RunFile
from trueseed.teachers.voice import Voice
from trueseed.terms.model import Effect, Label, Relation, Use
from trueseed.terms.rules import may_flow
from trueseed.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Records of the earlier run that go on. recalls: whose records are left out of them first. seed: of their tasks,
    None for imported ones. records: how many are left.
    """

    artifact: Artifact
    source: str
    recalls: tuple[Withdrawal, ...]
    seed: int | None
    records: int


@dataclass(frozen=True, kw_only=True)
class Course:
    """What a rebuild will do. cost: as `trueseed recall --plan` says it. without: the recalls that it answers. ask:
    teachers for the `wanted` records, in order. scores: of the earlier baseline, where they stand. beside: teachers
    that the student may be measured beside; after them comes the base, before it is trained.
    """

    cost: Rebuild
    old: Old
    without: tuple[Withdrawal, ...]
    kept: tuple[Kept, ...]
    ask: tuple[Asked, ...]
    wanted: int
    scores: Baseline | None
    beside: tuple[Asked, ...]

    @property
    def generated(self) -> tuple[Kept, ...]:
        return tuple(each for each in self.kept if each.seed is not None)

    @property
    def entries(self) -> tuple[int, ...]:
        return tuple(each.index for each in self.without)

    def to_json(self) -> dict[str, Any]:
        return {
            **self.cost.to_json(),
            "without": [{"entry": each.index, **each.to_json()} for each in self.without],
            "kept": [{"artifact": str(each.artifact), "records": each.records} for each in self.kept],
            "asked": {"of": [each.named for each in self.ask], "records": self.wanted if self.ask else 0},
        }

    def lines(self) -> Iterator[str]:
        """For people."""
        for each in self.without:
            yield f"a rebuild without what entry {each.index} recalls: {each}"
        yield from (f"  {line}" for line in self.cost.lines())
        for kept in self.kept:
            yield f"  kept: {many(kept.records, 'record')} of {kept.source}, which are not asked for again"
        if self.wanted and self.ask:
            yield f"  asked: {many(self.wanted, 'record')} of {', then '.join(each.named for each in self.ask)}"
        elif self.wanted:
            yield f"  asked: none; {many(self.wanted, 'record')} fewer, since no teacher in the run file may be asked"


def look(file: RunFile, workspace: Workspace) -> Course | None:
    """Raises `Refused` when nothing remains to rebuild from, or what remains may not be learned from."""
    hits = remains.standing(workspace)
    old = remains.old(workspace, hits)
    if old is None:
        return None
    workspace.declare(file.project, file.facts)
    kept = tuple(_kept(old, hits, file, workspace))
    generated = [each for each in kept if each.seed is not None]
    ask = tuple(each for each in file.teachers if _may_be_asked(each, Use.TRAIN, workspace))
    wanted = max(0, (file.generate.accept if file.generate else 0) - sum(each.records for each in generated))
    heard = {each.source for each in generated} | {each.named for each in ask if wanted}
    course = Course(
        cost=plan_standing(workspace),
        old=old,
        without=tuple(hit.recall for hit in hits if hit.reached & {made.digest for made in old.replaced}),
        kept=kept,
        ask=ask if wanted else (),
        wanted=wanted,
        scores=_scores(old, hits, file, workspace),
        beside=tuple(
            e for e in file.teachers if e.named in heard and _may_be_asked(e, Use.BENCHMARK_TEACHER, workspace)
        ),
    )
    _must_be_possible(course, file, workspace)
    return course


def rebuild(course: Course, file: RunFile, workspace: Workspace) -> Outcome:
    """Raises what the door and the stages raise. Killed, it goes on at the next call."""
    base_weights = models.resolved(file.base)
    with pipeline.lock_run(workspace, file.project):
        base = models.base(file.base, base_weights, workspace)
        brought, kept = _go_on(course, file, workspace)
        held_out = pipeline.freeze_sets(file, workspace)
        tasks = [scoring.bring_task(workspace, each) for each in file.tasks]
        voices = {e.named: pipeline.voice_of(e, file, workspace)() for e in _heard(course, file)}
        parts = _generate(course, file, workspace, voices, kept)
        records = [*brought, *(part.records for part in parts if part.accepted)]
        records = transforming.transform(file, workspace, records, lambda asked: voices[asked.named])
        dataset = pipeline.curate(file, workspace, records, held_out, course.entries)
        before = _before(course, file, workspace, held_out, voices, parts, base)
        taught = next((voice for voice in voices.values() if voice.source == before.source), None)
        teacher = scoring.teacher(taught, file.features_of(taught.source)) if taught else None
        of_tasks = pipeline.on_tasks("teacher", teacher, file, workspace, tasks)
        for voice in voices.values():
            voice.close()
        untrained = scoring.held(base, base_weights.source, file.engine)
        of_tasks += pipeline.on_tasks("base", untrained, file, workspace, tasks)
        distiller = voices[file.distiller.named] if file.distiller else None
        student = distilling.train(file, workspace, dataset, base, distiller)
        scores = pipeline.compare(file, workspace, held_out, before.scores, student)
        speaks = scoring.student(workspace, student, file.engine)
        of_tasks += pipeline.on_tasks("student", speaks, file, workspace, tasks)
        of_tasks += pipeline.judged(file, workspace, tasks, speaks, {"teacher": teacher, "base": untrained})
        made = [*brought, *(part.records for part in parts), dataset, before.scores, student, scores, *of_tasks]
        _link(course, made, workspace)
    return Outcome(
        parts=parts,
        dataset=dataset,
        baseline=before.scores,
        student=student,
        scores=scores,
        teacher_source=before.source,
        tasks=tuple(each_once(of_tasks)),
    )


# what remains


def _kept(old: Old, hits: Sequence[Hit], file: RunFile, workspace: Workspace) -> Iterator[Kept]:
    """Of imported records only those to be left out of; others are found again as any run finds them."""
    lineage, imported = workspace.lineage(), {each.source for each in file.imports}
    for made in old.records:
        artifact, came = remains.find(workspace, made), remains.came_by(made.digest, lineage)
        recalls = tuple(hit.recall for hit in hits if made.digest in hit.reached)
        if artifact is None or came is None or any(each.is_whole for each in recalls):
            continue
        seed = came.predicate["config"].get("seed", 0) if remains.is_generated(made, lineage) else None
        source = str((*came.predicate["asks"], *came.predicate["brings"], {"source": ""})[0]["source"])
        if seed is None and not (recalls and source in imported):
            continue
        left = remaining(split(workspace, artifact, recalls)) if recalls else int(artifact.meta["records"])
        if left:
            yield Kept(artifact=artifact, source=source, recalls=recalls, seed=seed, records=left)


def _scores(old: Old, hits: Sequence[Hit], file: RunFile, workspace: Workspace) -> Baseline | None:
    """The earlier baseline, when no recall reaches it and it answers what this run asks."""
    lineage = workspace.lineage()
    for made in lineage.artifacts():
        maker = lineage.maker(made.digest)
        if made.digest not in old.chain or maker is None or maker.predicate["step"] != "baseline":
            continue
        if not maker.predicate["asks"]:  # of the base, which is measured as soon as looked up
            continue
        settled = maker.predicate["config"]
        if any(settled.get(name) != value for name, value in file.evaluate.model_dump().items()):
            continue
        scores = remains.find(workspace, made)
        if scores and not any(made.digest in hit.reached for hit in hits):
            return Baseline(source=str(maker.predicate["asks"][0]["source"]), scores=scores)
    return None


def _may_be_asked(asked: Asked, use: Use, workspace: Workspace) -> bool:
    """Whether no recall forbids it. Of weights, that they may be brought in too."""
    document = workspace.catalog.governing(asked.named, datetime.now(UTC).date(), asked.features)
    terms, project, at = document.digest if document else "", workspace.project, now()
    weights = Entered(source=asked.named, terms=terms, use="", project=project, first=at, last=at)
    passing = Passing(
        asks=(Asking(asked.named, use.value, terms, project),), entered=(weights,) if asked.weights else ()
    )
    label = Label(source=asked.named, relation=Relation.OUTPUT, terms=terms)
    try:
        workspace.look_for_recalls([label], passing)
    except Refused:
        return False
    return True


def _must_be_possible(course: Course, file: RunFile, workspace: Workspace) -> None:
    recalled = "; ".join(map(str, course.without))
    ways = (
        "name a teacher in the run file who may be asked (`trueseed terms matrix` shows the terms), or end the recall "
        "over evidence (`trueseed release SOURCE --entry N --evidence FILE`)"
    )
    if not course.kept and not course.ask and not _imports(course, file, workspace):
        raise Refused(f"nothing remains to rebuild from: {recalled}; {ways}")
    for asked in file.rewriters:
        if not _may_be_asked(asked, Use.TRAIN, workspace):
            raise Refused(
                f"{asked.named!r} is to say records anew (`transform`) and may not be asked: {recalled}; {ways}"
            )
    if file.distiller and not _may_be_asked(file.distiller, Use.TRAIN, workspace):
        raise Refused(f"{file.distiller.named!r} is to distil (`train`) and may not be asked: {recalled}; {ways}")
    for each in course.kept:
        for verdict in may_flow(workspace.labels(each.artifact), workspace.catalog, Effect.TRAIN, workspace.facts):
            if not verdict.permitted:
                raise Refused(f"{each.artifact} may go on no more: {verdict}")
    if course.ask:
        ahead.must_be_permitted(_asking(course, file), workspace, datetime.now(UTC).date())


# the steps that a run does not have


def _go_on(course: Course, file: RunFile, workspace: Workspace) -> tuple[list[Artifact], list[Part]]:
    """Imported records, and the parts of teachers that were asked before."""
    brought = pipeline.import_records(_imports_of(course, file, workspace), workspace)
    parts = []
    for each in course.kept:
        rest = leave_out(workspace, each.artifact, each.recalls) if each.recalls else each.artifact
        if each.seed is None:
            brought.append(rest)
        else:
            parts.append(Part(source=each.source, records=rest, left=str(rest.meta.get("left", ""))))
    return brought, parts


def _generate(
    course: Course, file: RunFile, workspace: Workspace, voices: dict[str, Voice], kept: Sequence[Part]
) -> tuple[Part, ...]:
    """The parts that go on, and what is missing of them."""
    if not course.ask:
        return tuple(kept)
    prompts = pipeline.import_prompts(file, workspace)
    asked = [voices[each.named] for each in course.ask]
    return failover.generate(_asking(course, file), workspace, prompts, asked, kept)


def _before(
    course: Course,
    file: RunFile,
    workspace: Workspace,
    held_out: Artifact,
    voices: dict[str, Voice],
    parts: Sequence[Part],
    base: Artifact,
) -> Baseline:
    """The scores that the student stands beside: the earlier ones, a teacher's, or what its base does untrained."""
    if course.scores and _answers(course.scores, held_out, workspace.lineage()):
        return course.scores
    given = {part.source for part in parts if part.accepted}
    beside = [voices[each.named] for each in course.beside if each.named in given and each.named in voices]
    if beside:
        return failover.baseline(file, workspace, held_out, beside, parts, course.entries)
    untrained = pipeline.of_the_base(file, workspace, held_out, base, course.entries)
    return Baseline(source=str(base.meta["source"]), scores=untrained)


def _answers(scores: Baseline, held_out: Artifact, lineage: Lineage) -> bool:
    return held_out.digest in lineage.upstream(scores.scores.digest)


def _link(course: Course, made: Sequence[Artifact], workspace: Workspace) -> None:
    """Puts the new in the place of the old, in the ledger. Raises `Refused` when it was recalled meanwhile."""
    new = tuple(Made(each.kind, each.digest) for each in made)
    link = Link(
        entry=-1,
        without=course.entries,
        replaces=course.old.replaced,
        made=new,
        at=now(),
    )
    labels = frozenset().union(*(workspace.labels(each) for each in made))
    passing = Passing(inputs=tuple(each.digest for each in made))
    workspace.ledger.append(
        REBUILD,
        [subject(each.kind, each.digest) for each in new],
        link.to_json(),
        unless=lambda _: workspace.look_for_recalls(labels, passing),
    )


def _heard(course: Course, file: RunFile) -> list[Asked]:
    """Who may speak in the rebuild, each once. Whom nothing is wanted of is not even loaded."""
    further = (*file.rewriters, *filter(None, [file.distiller]))
    everyone = (*course.ask, *further, *(() if course.scores else course.beside))
    return list({each.named: each for each in everyone}.values())


def _asking(course: Course, file: RunFile) -> RunFile:
    """The run file with the teachers that may be asked, and a seed by which no task is asked a second time."""
    assert file.generate is not None, "nobody is asked for a run on imported records alone"
    seed = file.generate.seed
    if course.generated:
        used = max(each.seed for each in course.generated if each.seed is not None)
        seed = max(seed, used) + 1 - len(course.generated)  # `failover` adds the number of parts before
    return file.taught_by(course.ask, file.generate.model_copy(update={"seed": seed}))


def _imports_of(course: Course, file: RunFile, workspace: Workspace) -> RunFile:
    return file.model_copy(update={"imports": _imports(course, file, workspace)})


def _imports(course: Course, file: RunFile, workspace: Workspace) -> list[Any]:
    """Those that are brought as in any run: of sources of which nothing was recalled."""
    recalled = {hit.recall.source for hit in remains.standing(workspace)} | {e.source for e in course.without}
    return [each for each in file.imports if each.source not in recalled]
