"""What the terms say when a step opens: may each source be asked, and may the labels go where the step takes them?

admission = admit(Question(ask={"openai/gpt-4@api": Use.TRAIN}, ...), carried, catalog, facts, today)
admission.refusal    # the first verdict that refuses, or None
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date

from trueseed.terms.catalog import Catalog
from trueseed.terms.model import Document, Effect, Facts, Label, Relation, Use
from trueseed.terms.rules import RELATION_OF_USE, Verdict, may_ask, may_enter, may_flow, may_put


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a step wants. ask: sources and the use of each. brings: sources that enter from outside. features: of each
    asked source's service, those it is asked with. market: of the people it serves, '' when nobody outside is served.
    shows: of models whose measures it makes public.
    """

    ask: Mapping[str, Use]
    brings: Mapping[str, Relation]
    effect: Effect
    features: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    market: str = ""
    shows: tuple[Label, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Admission:
    """What the terms said, and the facts that they were judged by. terms: by source, the digest of the text in force,
    "" when none is established. documents: those texts. on: the day by whose texts it was judged; a step may take
    longer than a day.
    """

    labels: frozenset[Label]
    terms: Mapping[str, str]
    verdicts: tuple[Verdict, ...]
    facts: Facts
    on: date
    documents: tuple[Document, ...] = ()

    @property
    def refusal(self) -> Verdict | None:
        return next((verdict for verdict in self.verdicts if not verdict.permitted), None)


NOTHING = Admission(labels=frozenset(), terms={}, verdicts=(), facts=Facts(), on=date.min)


def measured(labels: Iterable[Label]) -> tuple[Label, ...]:
    """Those of models that were measured, or graded others, in what carries these labels."""
    return tuple(sorted({each for each in labels if each.relation is Relation.SCORE and "@" in each.source}))


def admit(question: Question, carried: Iterable[Label], catalog: Catalog, facts: Facts, today: date) -> Admission:
    """carried: what the inputs carry. Raises `ConfigError` for a malformed source, or texts that are equally near."""
    facts = replace(facts, market=question.market or None)
    new = {source: RELATION_OF_USE[use] for source, use in question.ask.items()} | dict(question.brings)
    documents = {source: catalog.governing(source, today, question.features.get(source, ())) for source in new}
    terms = {source: document.digest if document else "" for source, document in documents.items()}
    labels = {*carried, *(Label(source, relation, terms[source]) for source, relation in new.items())}
    asked = tuple(
        may_ask(source, use, facts, today, catalog, question.features.get(source, ()))
        for source, use in sorted(question.ask.items())
    )
    flows = may_flow(labels, catalog, question.effect, facts, today)
    market = (may_enter(question.market, facts),) if question.market else ()
    shown = may_put(question.shows, catalog, Use.PUBLISH_BENCHMARK, facts, today)
    known = tuple(document for document in documents.values() if document)
    return Admission(
        labels=frozenset(labels),
        terms=terms,
        verdicts=asked + flows + market + shown,
        facts=facts,
        on=today,
        documents=known,
    )
