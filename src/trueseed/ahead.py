"""What the door will say at every step of a run, found by the door's own rules before anything is spent.

Sources enter where the pipeline lets them in: prompts, records of others and base weights are brought, the teacher is
asked for `train` and to be measured, who rewrites records or distils for `train`, who judges for `judge`. Whether what
learned from them may then be trained, served and published follows from their labels. The teachers of `failover` are
judged like the first: any of them may give records, and the baseline.

`trueseed plan` shows it; a run that would be refused at a later step knocks at that step's door at once, so that the
refusal stands in the ledger and no answer was paid for.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date

from trueseed.asking import ASKING, USES, judges, must_be_in_force, targets, verdicts
from trueseed.errors import ConfigError
from trueseed.lm.source import source_of
from trueseed.runfile import EMBEDDED, RunFile
from trueseed.terms.catalog import Catalog
from trueseed.terms.model import Effect, Facts, Label, Relation, Use
from trueseed.terms.rules import RELATION_OF_USE, Verdict, may_ask, may_flow
from trueseed.workspace import Workspace

OF_THE_RUN = (
    "score",
    "generate",
    "rewrite",
    "translate",
    "curate",
    "baseline",
    "signals",
    "train",
    "evaluate",
    "judge",
)  # the rest may follow


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Source ids. teacher: the one that is asked first; '' for a run on imported records alone. failover: those after
    it. imports: where records of others are said to come from. rewriters: by name of the step, in order, who says the
    records anew. distiller: the step that asks how probable each token is, and whom; none where nobody distils. judges:
    who compares answers. examined: who is measured under terms of its own, as a target or on a task. held_out: of the
    frozen evaluation sets. features: by teacher, those of its service it is asked with.
    """

    teacher: str
    failover: tuple[str, ...] = ()
    base: str
    prompts: str
    imports: tuple[str, ...] = ()
    rewriters: tuple[tuple[str, str], ...] = ()
    distiller: tuple[str, str] | None = None
    judges: tuple[str, ...] = ()
    examined: tuple[str, ...] = ()
    held_out: str = "own/held-out"
    features: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def teachers(self) -> tuple[str, ...]:
        return (self.teacher, *self.failover) if self.teacher else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """The verdicts of one step; none where it asks nobody and takes nothing further."""

    step: str
    verdicts: tuple[Verdict, ...]

    @property
    def refused(self) -> bool:
        return any(not verdict.permitted for verdict in self.verdicts)


def rulings(
    sources: Sources, catalog: Catalog, facts: Facts, today: date, inherited: Iterable[Label] = ()
) -> tuple[Ruling, ...]:
    """One for each of score, generate, rewrite and translate, judge, curate, baseline, signals, train, evaluate, serve
    and publish, in order, of those that the run has. inherited: labels of imported records beside the declared ones.
    """

    def label(source: str, relation: Relation) -> Label:
        document = catalog.governing(source, today, sources.features.get(source, ()))
        return Label(source=source, relation=relation, terms=document.digest if document else "")

    def may(source: str, use: Use) -> Verdict:
        return may_ask(source, use, facts, today, catalog, sources.features.get(source, ()))

    said: list[tuple[str, Iterable[Verdict]]] = []
    said += (("score", (may(source, Use.BENCHMARK_TEACHER),)) for source in sources.examined)
    said_of = [verdicts(each, catalog, facts, today, sources.features.get(each, ())) for each in sources.teachers]
    asked = dict(zip(USES, zip(*said_of, strict=True), strict=True)) if said_of else {}
    records = {*inherited, *(label(each, Relation.OUTPUT) for each in sources.imports)}
    if sources.teachers:
        records |= {label(sources.prompts, Relation.OUTPUT)}
        records |= {label(each, RELATION_OF_USE[Use.TRAIN]) for each in sources.teachers}
        said.append(("generate", asked[ASKING["generate"]]))
    for step, source in sources.rewriters:
        records |= {label(source, RELATION_OF_USE[Use.TRAIN])}
        said.append((step, (may(source, Use.TRAIN), *may_flow(records, catalog, Effect.TRAIN, facts, today))))
    dataset = records | {label(sources.held_out, Relation.FILTER)}
    hears: dict[str, tuple[Verdict, ...]] = {}
    if sources.distiller:
        step, source = sources.distiller
        hears[step] = (may(source, Use.TRAIN),)
        dataset |= {label(source, RELATION_OF_USE[Use.TRAIN])}
    student = dataset | {label(sources.base, Relation.WEIGHTS)}
    said += (("judge", (may(source, Use.JUDGE),)) for source in sources.judges)
    said += [
        ("curate", may_flow(records, catalog, Effect.NONE, facts)),
        ("baseline", asked.get(ASKING["baseline"], ())),
    ]
    if "signals" in hears:
        said.append(("signals", (*hears["signals"], *may_flow(dataset, catalog, Effect.TRAIN, facts, today))))
    said += [
        ("train", (*hears.get("train", ()), *may_flow(student, catalog, Effect.TRAIN, facts, today))),
        ("evaluate", may_flow(student, catalog, Effect.NONE, facts)),
        ("serve", may_flow(student, catalog, Effect.SERVE, facts, today)),
        ("publish", may_flow(student, catalog, Effect.PUBLISH, facts, today)),
    ]
    return tuple(Ruling(step=step, verdicts=tuple(verdicts)) for step, verdicts in said)


def sources_of(file: RunFile) -> Sources:
    """Whose words and weights a run file names, without fetching any."""
    beside = (file.distiller, *(each.teacher for each in file.targets))
    everyone = (*file.judges, *file.teachers, *file.rewriters, *filter(None, beside))
    return Sources(
        teacher=file.teacher.named if file.teacher else "",
        failover=tuple(asked.named for asked in file.failover),
        base=source_of(file.base.weights, file.base.source),
        prompts=file.prompts.source if file.generate else "",
        imports=tuple(dict.fromkeys(each.source for each in file.imports)),
        rewriters=tuple((each.verb, asked.named) for each, asked in file.transforms.values()),
        distiller=(file.hears_distiller_in, file.distiller.named) if file.distiller else None,
        judges=tuple(each.named for each in file.judges if each.method != "checks"),
        examined=tuple(dict.fromkeys(_examined(file))),
        features={asked.named: tuple(asked.features) for asked in everyone if asked.features},
    )


def _examined(file: RunFile) -> Iterator[str]:
    """Who is measured on tasks and is no student, each as often as it is named. Who stands on a ladder unnamed does so
    only as far as its terms permit (`asking.ladder`).
    """
    yield from (each.teacher.named if each.teacher else str(each.source) for each in file.targets)
    measured = {whom for each in file.tasks for whom in each.of or ()}
    if "teacher" in measured and file.teacher:
        yield file.teacher.named
    if "base" in measured:
        yield source_of(file.base.weights, file.base.source)
    if "embedded" in measured:
        yield source_of(EMBEDDED)


def must_be_permitted(file: RunFile, workspace: Workspace, today: date) -> None:
    """Raises `Refused`, as the step's own door, when a step of this run is not to be: of the first teacher, and of the
    rest of what the student would carry; and when a judge or a target is asked under another contract than the one in
    force, or at a price that nobody knows. Further teachers are asked about by `failover`, and what imported records
    carry beside their declared origin when they are taken in.
    """
    sources = replace(sources_of(file), failover=())
    for ruling in rulings(sources, workspace.catalog, workspace.facts, today):
        if ruling.refused and ruling.step in OF_THE_RUN:
            _knock(ruling.step, sources, workspace)
    for asked in (*judges(file).values(), *targets(file).values()):
        must_be_in_force(asked.contract, asked.named, workspace.catalog, today)
        if asked.remote is not None:
            asked.remote.known_price()


def _knock(name: str, sources: Sources, workspace: Workspace) -> None:
    """Opens the step with what it will carry, which the door refuses, and writes down that it did."""
    rewriters = [source for step, source in sources.rewriters if step == name]
    of_a_dataset = name in ("signals", "train")
    takes_further = of_a_dataset or bool(rewriters)
    asks = {source: ASKING.get(name, Use.TRAIN) for source in (rewriters or [sources.teacher]) if source}
    if name == "judge":
        asks = dict.fromkeys(sources.judges, Use.JUDGE)
    if name == "score":
        asks = dict.fromkeys(sources.examined, Use.BENCHMARK_TEACHER)
    brings: dict[str, Relation] = {}
    if takes_further:
        brings = {source: Relation.OUTPUT for source in (sources.prompts, *sources.imports) if source}
    if of_a_dataset:
        asks |= {source: Use.TRAIN for _, source in (*sources.rewriters, *filter(None, [sources.distiller]))}
        brings |= {sources.held_out: Relation.FILTER}
    if name == "train":
        brings |= {sources.base: Relation.WEIGHTS}
    effect = Effect.TRAIN if takes_further else Effect.NONE
    with workspace.step(
        name, ask=asks, brings=brings, effect=effect, features=sources.features, config={"before": "anything is asked"}
    ):
        raise ConfigError(f"step {name!r} was to be refused and is not, since a text came into force; run again")
