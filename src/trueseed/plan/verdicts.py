"""What the door will say at every step of a run, found by the door's own rules, without opening a step.

Sources enter where the pipeline lets them in: prompts and base weights are brought, the teacher is asked for `train`
and to be measured. Whether what learned from them may then be trained, served and published follows from their labels.
The teachers of `failover` are judged like the first: any of them may give records, and the baseline.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from trueseed.asking import ASKING, USES, verdicts
from trueseed.terms.catalog import Catalog
from trueseed.terms.model import Effect, Facts, Label, Relation, Use
from trueseed.terms.rules import Verdict, may_flow
from trueseed.workspace import RELATION_OF_USE


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Source ids. teacher: the one that is asked first. failover: those after it. held_out: of the frozen evaluation
    sets.
    """

    teacher: str
    failover: tuple[str, ...] = ()
    base: str
    prompts: str
    held_out: str = "own/held-out"


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
        document = catalog.governing(source, today)
        return Label(source=source, relation=relation, terms=document.digest if document else "")

    teachers = (sources.teacher, *sources.failover)
    asked = dict(
        zip(USES, zip(*(verdicts(each, catalog, facts, today) for each in teachers), strict=True), strict=True)
    )
    records = {label(sources.prompts, Relation.OUTPUT)}
    records |= {label(each, RELATION_OF_USE[Use.TRAIN]) for each in teachers}
    dataset = records | {label(sources.held_out, Relation.FILTER)}
    student = dataset | {label(sources.base, Relation.WEIGHTS)}
    said: Mapping[str, Iterable[Verdict]] = {
        "generate": asked[ASKING["generate"]],
        "curate": may_flow(records, catalog, Effect.NONE, facts),
        "baseline": asked[ASKING["baseline"]],
        "train": may_flow(student, catalog, Effect.TRAIN, facts),
        "evaluate": may_flow(student, catalog, Effect.NONE, facts),
        "serve": may_flow(student, catalog, Effect.SERVE, facts),
        "publish": may_flow(student, catalog, Effect.PUBLISH, facts),
    }
    return tuple(Ruling(step=step, verdicts=tuple(verdicts)) for step, verdicts in said.items())
