"""What the door will say at every step of a run, found by the door's own rules before anything is spent.

Sources enter where the pipeline lets them in: prompts and base weights are brought, the teacher is asked for `train`
and to be measured. Whether what learned from them may then be trained, served and published follows from their labels.
The teachers of `failover` are judged like the first: any of them may give records, and the baseline.

`trueseed plan` shows it; a run that would be refused at a later step knocks at that step's door at once, so that the
refusal stands in the ledger and no answer was paid for.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date

from trueseed.asking import ASKING, USES, verdicts
from trueseed.errors import ConfigError
from trueseed.lm.source import source_of
from trueseed.runfile import RunFile
from trueseed.terms.catalog import Catalog
from trueseed.terms.model import Effect, Facts, Label, Relation, Use
from trueseed.terms.rules import RELATION_OF_USE, Verdict, may_flow
from trueseed.workspace import Workspace

OF_THE_RUN = ("generate", "curate", "baseline", "train", "evaluate")  # what `trueseed run` does; the rest may follow


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Source ids. teacher: the one that is asked first. failover: those after it. held_out: of the frozen evaluation
    sets. features: by teacher, those of its service it is asked with.
    """

    teacher: str
    failover: tuple[str, ...] = ()
    base: str
    prompts: str
    held_out: str = "own/held-out"
    features: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """The verdicts of one step; none where it asks nobody and takes nothing further."""

    step: str
    verdicts: tuple[Verdict, ...]

    @property
    def refused(self) -> bool:
        return any(not verdict.permitted for verdict in self.verdicts)


def rulings(sources: Sources, catalog: Catalog, facts: Facts, today: date) -> tuple[Ruling, ...]:
    """One for each of generate, curate, baseline, train, evaluate, serve and publish, in order."""

    def label(source: str, relation: Relation) -> Label:
        document = catalog.governing(source, today, sources.features.get(source, ()))
        return Label(source=source, relation=relation, terms=document.digest if document else "")

    teachers = (sources.teacher, *sources.failover)
    said_of = [verdicts(each, catalog, facts, today, sources.features.get(each, ())) for each in teachers]
    asked = dict(zip(USES, zip(*said_of, strict=True), strict=True))
    records = {label(sources.prompts, Relation.OUTPUT)}
    records |= {label(each, RELATION_OF_USE[Use.TRAIN]) for each in teachers}
    dataset = records | {label(sources.held_out, Relation.FILTER)}
    student = dataset | {label(sources.base, Relation.WEIGHTS)}
    said: Mapping[str, Iterable[Verdict]] = {
        "generate": asked[ASKING["generate"]],
        "curate": may_flow(records, catalog, Effect.NONE, facts),
        "baseline": asked[ASKING["baseline"]],
        "train": may_flow(student, catalog, Effect.TRAIN, facts, today),
        "evaluate": may_flow(student, catalog, Effect.NONE, facts),
        "serve": may_flow(student, catalog, Effect.SERVE, facts, today),
        "publish": may_flow(student, catalog, Effect.PUBLISH, facts, today),
    }
    return tuple(Ruling(step=step, verdicts=tuple(verdicts)) for step, verdicts in said.items())


def sources_of(file: RunFile) -> Sources:
    """Whose words and weights a run file names, without fetching any."""
    return Sources(
        teacher=file.teacher.named,
        failover=tuple(asked.named for asked in file.failover),
        base=source_of(file.base.weights, file.base.source),
        prompts=file.prompts.source,
        features={asked.named: tuple(asked.features) for asked in file.teachers if asked.features},
    )


def must_be_permitted(file: RunFile, workspace: Workspace, today: date) -> None:
    """Raises `Refused`, as the step's own door, when a step of this run is not to be: of the first teacher, and of the
    rest of what the student would carry. Further teachers are asked about by `failover`.
    """
    sources = replace(sources_of(file), failover=())
    for ruling in rulings(sources, workspace.catalog, workspace.facts, today):
        if ruling.refused and ruling.step in OF_THE_RUN:
            _knock(ruling.step, sources, workspace)


def _knock(name: str, sources: Sources, workspace: Workspace) -> None:
    """Opens the step with what it will carry, which the door refuses, and writes down that it did."""
    asks = {sources.teacher: ASKING[name]} if name in ASKING else {}
    brings: dict[str, Relation] = {}
    if name == "train":
        brings = {sources.base: Relation.WEIGHTS, sources.prompts: Relation.OUTPUT}
        brings |= {sources.held_out: Relation.FILTER}
        asks = {sources.teacher: Use.TRAIN}
    effect = Effect.TRAIN if name == "train" else Effect.NONE
    with workspace.step(
        name, ask=asks, brings=brings, effect=effect, features=sources.features, config={"before": "anything is asked"}
    ):
        raise ConfigError(f"step {name!r} was to be refused and is not, since a text came into force; run again")
