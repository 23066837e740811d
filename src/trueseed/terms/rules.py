"""May this source be put to this use? Pure: documents and facts in, a verdict out.

The rules, in the order they decide:

1. What is not established is refused: no document, or one that nobody here read.
2. Outside the regions a document lists, everything is refused.
3. Documents that bind together intersect: the strictest that speaks decides; where all are silent, nothing is
   established.
4. A condition permits only when the facts meet it.
5. Obligations add up; when no name can meet them all, that is a refusal.

A classifier or embedding model that stays inside is judged under `train_internal_classifier` whether it is trained or
rewarded. Publishing is distribution whatever the facts say, so an exception for internal models ends there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal

from trueseed.terms.catalog import Catalog
from trueseed.terms.model import (
    Document,
    Effect,
    Facts,
    Label,
    Obligation,
    Regions,
    Relation,
    Student,
    Use,
)
from trueseed.terms.obligations import conflict, describe, union

RULES_VERSION = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An answer, with the text that decided it: its id, version and clause, '' where there is none.

    established: false when nothing was read that says yes or no; only such a refusal can be settled by a waiver.
    settle_by: what reading or writing would settle it; '' when the text is clear.
    """

    permitted: bool
    established: bool = True
    use: Use
    source: str
    document: str = ""
    version: str = ""
    clause: str = ""
    because: str
    obligations: tuple[Obligation, ...] = ()
    settle_by: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": "permit" if self.permitted else "refuse",
            "use": self.use.value,
            "source": self.source,
            "document": self.document,
            "version": self.version,
            "clause": self.clause,
            "because": self.because,
            "obligations": [obligation.to_json() for obligation in self.obligations],
            "settle_by": self.settle_by,
        }

    def __str__(self) -> str:
        answer = "may" if self.permitted else "may not"
        text = f"{self.document} ({self.version}), clause {self.clause}" if self.document else "no terms established"
        settle = f" To settle it: {self.settle_by}." if self.settle_by else ""
        return f"{self.source} {answer} be used to {self.use.value}: {self.because} [{text}].{settle}"


def judge_use(
    source: str, document: Document | None, use: Use, relation: Relation, facts: Facts, at: date | None
) -> Verdict:
    """The verdict on one use of one source under one document and those it incorporates.

    at: the day that decides which incorporated documents bind; None means that all do, whenever they did.
    """
    if document is None:
        return not_established(source, use)
    lookup, facts = _as_judged(use, facts)
    texts = [document, *(text for text in document.companions if at is None or text.in_force(at))]
    said = [ruling for text in texts if (ruling := _ruling(text, lookup, relation, facts))]
    deciding = min(said, key=lambda ruling: _STRICTEST_FIRST.index(ruling.outcome), default=_silence(document, lookup))
    owed = union(_owed(text, lookup, relation, facts) for text in texts) if deciding.outcome == "permit" else ()
    if at_odds := conflict(owed, facts.student.name):
        text = next(text for text in texts if text.id == at_odds[0].document)
        deciding = _Ruling("refuse", text, at_odds[0].clause, describe(at_odds, facts.student.name))
    return Verdict(
        permitted=deciding.outcome == "permit",
        established=deciding.outcome != "unknown",
        use=use,
        source=source,
        document=deciding.text.id,
        version=deciding.text.version,
        clause=deciding.clause,
        because=deciding.because,
        obligations=() if at_odds else owed,
        settle_by=deciding.settle_by,
    )


def judge_earlier(
    label: Label, carried: Iterable[Label], catalog: Catalog, *, use: Use, effect: Effect, facts: Facts, at: date
) -> Verdict:
    """The verdict on an answer that was given earlier and is now wanted for `use`: by the document that its label
    names, as it bound on the day it was asked, and by where the step's effect takes it.

    carried: the labels of the step that wants it. at: the day it was asked.
    """
    document = catalog.by_digest(label.terms)
    if document is None or not document.governs(label.source):
        return not_established(label.source, use, terms=label.terms)
    verdict = judge_use(label.source, document, use, label.relation, facts, at)
    if not verdict.permitted:
        return verdict
    flows = may_flow({*carried, label}, catalog, effect, facts)
    stopped = next((flow for flow in flows if not flow.permitted), None)
    owed = union([verdict.obligations, *(flow.obligations for flow in flows)])
    return stopped or replace(verdict, obligations=owed)


_LEARNED: Mapping[Relation, Use] = {
    Relation.OUTPUT: Use.TRAIN,
    Relation.FILTER: Use.REWARD,
    Relation.SCORE: Use.REWARD,
    Relation.WEIGHTS: Use.TRAIN,
}
_THEN: Mapping[Effect, tuple[Use, ...]] = {
    Effect.TRAIN: (),
    Effect.SERVE: (Use.SERVE,),
    Effect.PUBLISH: (Use.PUBLISH,),
}


def may_flow(labels: Iterable[Label], catalog: Catalog, effect: Effect, facts: Facts) -> tuple[Verdict, ...]:
    """One verdict for each label (none for `Effect.NONE`, which takes them nowhere); it may flow when all permit.

    Serving and publishing ask again whether the model may learn from the source at all, by today's facts. Sources
    that are permitted one by one, but whose obligations no name can meet together, are refused.
    """
    if effect is Effect.NONE:
        return ()
    verdicts = [_judge_label(label, catalog, effect, facts) for label in sorted(set(labels))]
    at_odds = conflict(union(verdict.obligations for verdict in verdicts), facts.student.name)
    reason = describe(at_odds, facts.student.name) if at_odds else ""
    return tuple(
        replace(verdict, permitted=False, because=reason) if set(at_odds) & set(verdict.obligations) else verdict
        for verdict in verdicts
    )


def _judge_label(label: Label, catalog: Catalog, effect: Effect, facts: Facts) -> Verdict:
    document = catalog.by_digest(label.terms)
    uses = (_LEARNED[label.relation], *_THEN[effect])
    if document is None or not document.governs(label.source):
        return not_established(label.source, uses[-1], terms=label.terms)
    if effect is Effect.PUBLISH:
        facts = replace(facts, student=replace(facts.student, distributed=True))
    verdicts = [judge_use(label.source, document, use, label.relation, facts, None) for use in uses]
    refused = next((verdict for verdict in verdicts if not verdict.permitted), None)
    return refused or replace(verdicts[-1], obligations=union(verdict.obligations for verdict in verdicts))


def not_established(source: str, use: Use, *, terms: str = "", known: str = "") -> Verdict:
    """The refusal for want of a document. terms: a digest that the catalogue lacks; known: what it does have."""
    because = f"no terms are established for {source}"
    settle = (
        f"read the terms your account accepted for {source} and add them to the workspace's terms folder as a TOML "
        "file like the shipped ones in trueseed/catalog"
    )
    if terms:
        because = f"the terms under which {source} was asked (digest {terms}) are not in the catalogue, or not its own"
        settle = "add the document with that digest to the workspace's terms folder"
    return Verdict(
        permitted=False,
        established=False,
        use=use,
        source=source,
        because=because + (f"; {known}" if known else ""),
        settle_by=settle,
    )


def _as_judged(use: Use, facts: Facts) -> tuple[Use, Facts]:
    """The permission to look up, and the facts with the student that the use implies."""
    student = facts.student
    if use is Use.PUBLISH:
        student = replace(student, distributed=True)
    if use is Use.TRAIN_INTERNAL_CLASSIFIER:
        kind = student.kind if student.kind != "chat" else "classifier"
        student = Student(kind=kind, distributed=False, name=student.name)
    if use in (Use.TRAIN, Use.REWARD) and student.is_internal_classifier:
        use = Use.TRAIN_INTERNAL_CLASSIFIER
    return use, replace(facts, student=student)


_Outcome = Literal["refuse", "unknown", "permit"]
_STRICTEST_FIRST: tuple[_Outcome, ...] = ("refuse", "unknown", "permit")


@dataclass(frozen=True, slots=True)
class _Ruling:
    """What one text comes to for one use."""

    outcome: _Outcome
    text: Document
    clause: str
    because: str
    settle_by: str = ""


def _ruling(text: Document, use: Use, relation: Relation, facts: Facts) -> _Ruling | None:
    """None when the text is silent."""
    if not text.was_read:
        return _Ruling("unknown", text, "unknown", *_unread(text))
    if text.regions is not None and not _may_ask_from(facts.region, text.regions):
        because = f"{text.regions.text}; {facts.region!r} is outside of it"
        return _Ruling("refuse", text, text.regions.clause, because)
    said = text.permission(use, relation)
    if said is None:
        return None
    if said.verdict == "unknown":
        return _Ruling("unknown", text, said.clause, said.because, said.settle_by or _word_from(text))
    if said.verdict == "conditional" and (unmet := said.unmet(facts)):
        return _Ruling("refuse", text, said.clause, f"{said.because}; here {unmet}", said.settle_by)
    outcome: _Outcome = "refuse" if said.verdict == "refuse" else "permit"
    return _Ruling(outcome, text, said.clause, said.because, said.settle_by)


def _unread(text: Document) -> tuple[str, str]:
    """Because, and what would settle it."""
    known = {"transcription": "read only as others quote it", "secondary": "known only from reports"}
    because = f"{text.document}: {known.get(text.verification, 'not read')}, so nothing is established"
    reported = f"; reported: {text.reported}" if text.reported else ""
    settle = f"read the text itself ({text.url or 'at its provider'}) and add it to the workspace's terms folder"
    return because + reported, text.settle_by or settle


def _silence(text: Document, use: Use) -> _Ruling:
    because = f"{text.document}: nothing in it, as far as it was read, establishes {use.value}"
    return _Ruling("unknown", text, "unknown", because, text.settle_by or _word_from(text))


def _word_from(text: Document) -> str:
    return f"written word from {text.provider}, added to the workspace's terms folder as a document of its own"


def _may_ask_from(region: str | None, regions: Regions) -> bool:
    """False only where a list was read and says so. An undeclared region, or an unread list, leaves an obligation."""
    if region is None:
        return True
    return region not in regions.unsupported and (not regions.supported or region in regions.supported)


def _owed(text: Document, use: Use, relation: Relation, facts: Facts) -> tuple[Obligation, ...]:
    owed = text.obligations(use, relation, facts.student)
    if text.regions is None or facts.region in text.regions.supported:
        return owed
    which = f"{facts.region!r} is one of them" if facts.region else "the region you ask from is one of them"
    where = Obligation(
        kind="regions",
        value=facts.region or "",
        text=f"{text.regions.text}; the list was not read here: make sure that {which}",
        document=text.id,
        clause=text.regions.clause,
    )
    return (*owed, where)
