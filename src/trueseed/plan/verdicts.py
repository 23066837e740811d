"""What the door will say at every step of a run, found by the door's own rules, without opening a step.

Sources enter where the pipeline lets them in: prompts and base weights are brought, the teacher is asked for `train`
and to be measured. Whether what learned from them may then be trained, served and published follows from their labels.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from trueseed.terms.catalog import Catalog
from trueseed.terms.model import Effect, Facts, Label, Relation, Use
from trueseed.terms.rules import Verdict, judge_use, may_flow
from trueseed.workspace import RELATION_OF_USE


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """teacher, base, prompts: source ids. held_out: of the frozen evaluation sets."""

    teacher: str
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

    def asked(use: Use) -> tuple[Verdict, ...]:
        document = catalog.governing(sources.teacher, today)
        return (judge_use(sources.teacher, document, use, RELATION_OF_USE[use], facts, today),)

    records = {label(sources.prompts, Relation.OUTPUT), label(sources.teacher, RELATION_OF_USE[Use.TRAIN])}
    dataset = records | {label(sources.held_out, Relation.FILTER)}
    student = dataset | {label(sources.base, Relation.WEIGHTS)}
    said: Mapping[str, Iterable[Verdict]] = {
        "generate": asked(Use.TRAIN),
        "curate": may_flow(records, catalog, Effect.NONE, facts),
        "baseline": asked(Use.BENCHMARK_TEACHER),
        "train": may_flow(student, catalog, Effect.TRAIN, facts),
        "evaluate": may_flow(student, catalog, Effect.NONE, facts),
        "serve": may_flow(student, catalog, Effect.SERVE, facts),
        "publish": may_flow(student, catalog, Effect.PUBLISH, facts),
    }
    return tuple(Ruling(step=step, verdicts=tuple(verdicts)) for step, verdicts in said.items())
