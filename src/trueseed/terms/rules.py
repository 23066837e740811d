"""May this source be put to this use? Pure: documents and facts in, a verdict out.

The rules, in the order they decide:

1. What is not established is refused: no document, or one that nobody here read.
2. Outside the regions a document lists, everything is refused.
3. Documents of one contract intersect: the strictest that speaks decides; where all are silent, nothing is
   established. Contracts that stand beside one another, a host's and the model's own, must each permit.
4. A condition permits only when the facts meet it.
5. A provider's written permission, on which a reviewer relied, permits the uses it names on its days, in the place of
   what that provider's own texts refuse or leave open; regions, and what another provider says, it does not lift.
6. A later version binds what was asked before it only where it says so of itself.
7. A source that is declared to have learned from others is refused where the workspace declares `strict_upstream`.
8. Obligations add up; when no student can meet them all, that is a refusal of the fewest labels that are at odds.

A classifier or embedding model that stays inside is judged under `train_internal_classifier` whether it is trained or
rewarded. Publishing, or serving a market, is distribution whatever the facts say, so an exception for internal models
ends there.
"""

from collections.abc import Iterable, Mapping, Sequence
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
from trueseed.terms.obligations import conflict, describe, smallest, union

RULES_VERSION = "3"

RELATION_OF_USE: Mapping[Use, Relation] = {
    Use.TRAIN: Relation.OUTPUT,
    Use.TRAIN_INTERNAL_CLASSIFIER: Relation.OUTPUT,
    Use.REWARD: Relation.FILTER,
    Use.JUDGE: Relation.SCORE,
    Use.BENCHMARK_TEACHER: Relation.SCORE,
    Use.PUBLISH_BENCHMARK: Relation.SCORE,
    Use.SERVE: Relation.OUTPUT,
    Use.PUBLISH: Relation.OUTPUT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An answer, with the text that decided it: its id, version and clause, '' where there is none.

    established: false when nothing was read that says yes or no; only such a refusal can be settled by a waiver.
    settle_by: what reading or writing would settle it; '' when the text is clear. upstream: what the source is declared
    to have learned from. at_odds: the fewest labels whose obligations cannot be met together, when that decided. own:
    which of the texts that bind here were not shipped, and whose they are, a phrase each.

    What it was about, so that it can be found again: relation; terms, the digest of the text; effect, where the labels
    were to go, '' when a source was to be asked; at, the day by which it was judged, '' for any.
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
    upstream: tuple[str, ...] = ()
    at_odds: tuple[Label, ...] = ()
    own: tuple[str, ...] = ()
    relation: Relation = Relation.OUTPUT
    terms: str = ""
    effect: str = ""
    at: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": "permit" if self.permitted else "refuse",
            "established": self.established,
            "use": self.use.value,
            "source": self.source,
            "relation": self.relation.value,
            "terms": self.terms,
            "effect": self.effect,
            "at": self.at,
            "document": self.document,
            "version": self.version,
            "clause": self.clause,
            "because": self.because,
            "obligations": [obligation.to_json() for obligation in self.obligations],
            "settle_by": self.settle_by,
            "upstream": list(self.upstream),
            "at_odds": [label.to_json() for label in self.at_odds],
            "own": list(self.own),
            "rules": RULES_VERSION,
        }

    def __str__(self) -> str:
        answer = "may" if self.permitted else "may not"
        text = f"{self.document} ({self.version}), clause {self.clause}" if self.document else "no terms established"
        settle = f" To settle it: {self.settle_by}." if self.settle_by else ""
        own = f" Not shipped: {'; '.join(self.own)}." if self.own else ""
        return f"{self.source} {answer} be used to {self.use.value}: {self.because} [{text}].{own}{settle}"


def judge_use(
    source: str,
    document: Document | None,
    use: Use,
    relation: Relation,
    facts: Facts,
    at: date | None,
    upstream: Sequence[str] = (),
) -> Verdict:
    """The verdict on one use of one source under one document, and those that bind together with it.

    at: the day that decides which incorporated documents bind; None means that all do, whenever they did. upstream:
    what `source` is declared to have learned from, beyond what these documents declare.
    """
    if document is None:
        return replace(not_established(source, use), relation=relation, at=_day(at))
    lookup, facts = _as_judged(use, facts)
    asked = _Asked(lookup, relation, facts)
    letters = _of_this(source, document)
    contracts = [_contract(each, asked, at, letters) for each in (document, *document.beside)]
    deciding = min((ruling for ruling, _ in contracts), key=_strictness)
    learned_from = learned(source, document, upstream)
    if deciding.outcome == "permit" and facts.strict_upstream and learned_from:
        deciding = _strictly_refused(source, deciding.text, learned_from)
    owed = union(owed for _, owed in contracts) if deciding.outcome == "permit" else ()
    if at_odds := conflict(owed, facts.student.name):
        text = next(text for text in document.texts if text.id == at_odds[0].document)
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
        upstream=learned_from,
        own=tuple(dict.fromkeys(f"{text.id}: {text.whose}" for text in document.texts if text.whose)),
        relation=relation,
        terms=document.digest,
        at=_day(at),
    )


def may_ask(source: str, use: Use, facts: Facts, at: date, catalog: Catalog, features: Sequence[str] = ()) -> Verdict:
    """Whether `source` may be asked for `use` on the day `at`, with `features` of its service (a search, say)."""
    document = catalog.governing(source, at, features)
    verdict = judge_use(source, document, use, RELATION_OF_USE[use], facts, at, catalog.upstream(source))
    return with_letters_told(verdict, catalog, at, facts)


def with_letters_told(verdict: Verdict, catalog: Catalog, at: date, facts: Facts) -> Verdict:
    """A refusal says of a written permission for the source and the use why it does not help."""
    if verdict.permitted:
        return verdict
    told = [verdict.settle_by] if verdict.settle_by else []
    for letter in catalog.letters(verdict.source):
        if any(verdict.use in said.uses for said in letter.permissions):
            told += _why_not(letter, letter.digest in catalog.relied_on, at, facts.project)
    return replace(verdict, settle_by="; ".join(told))


def _why_not(letter: Document, is_relied_on: bool, at: date, project: str | None) -> list[str]:
    if not letter.in_force(at):
        return [f"{letter.id}, a {letter.whose}, holds from {letter.effective_from} until {letter.effective_until}"]
    if letter.letter is not None and letter.letter.project not in ("", project):
        here = f"the one that is declared here is {project!r}" if project else "none is declared here"
        return [f"{letter.id}, a {letter.whose}, is for the project {letter.letter.project!r} alone, and {here}"]
    sign = f"`trueseed terms rely-on {letter.id}` with the reviewer's key"
    return [] if is_relied_on else [f"{letter.id}, a {letter.whose}, is signed by no reviewer: {sign}"]


def may_enter(market: str, facts: Facts) -> Verdict:
    """Whether people in a market may be served at all: only with an approval for it that the workspace declares."""
    approval = next((each for each in facts.approvals if each.market == market), None)
    return Verdict(
        permitted=approval is not None,
        use=Use.SERVE,
        source=f"market {market}",
        because=f"approval {approval.reference!r} is declared"
        if approval
        else f"no approval to offer a model to people in {market} is declared",
        settle_by="" if approval else f"get it, and declare it: `operator: {{approvals: [{{market: {market}, …}}]}}`",
        effect=Effect.SERVE.value,
    )


def judge_earlier(
    label: Label,
    carried: Iterable[Label],
    catalog: Catalog,
    *,
    use: Use,
    effect: Effect,
    facts: Facts,
    at: date,
    today: date | None = None,
) -> Verdict:
    """The verdict on an answer that was given earlier and is now wanted for `use`: by the document that its label
    names, as it bound on the day it was asked, and by where the step's effect takes it.

    carried: the labels of the step that wants it. at: the day it was asked. today: None for any later day.
    """
    verdict = _judge_label(label, (use,), catalog, facts, today, asked=at)
    if not verdict.permitted:
        return verdict
    flows = may_flow({*carried, label}, catalog, effect, facts, today)
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
_EFFECT_OF_USE = {Use.TRAIN: Effect.TRAIN, Use.SERVE: Effect.SERVE, Use.PUBLISH: Effect.PUBLISH}


def may_flow(
    labels: Iterable[Label], catalog: Catalog, effect: Effect, facts: Facts, today: date | None = None
) -> tuple[Verdict, ...]:
    """One verdict for each label (none for `Effect.NONE`, which takes them nowhere); it may flow when all permit.

    Serving and publishing ask again whether the model may learn from the source at all, by today's facts. Sources
    that are permitted one by one, but whose obligations no student can meet together, are refused. today: which later
    versions that bind earlier answers are in force; None means all.
    """
    if effect is Effect.NONE:
        return ()
    if effect is Effect.PUBLISH or facts.market is not None:  # what a market is offered is no longer internal
        facts = replace(facts, market=None, student=replace(facts.student, distributed=True))
    uses = {relation: (learned, *_THEN[effect]) for relation, learned in _LEARNED.items()}
    verdicts = _judge_labels(labels, uses, catalog, facts, today)
    return tuple(replace(verdict, effect=effect.value) for verdict in verdicts)


def may_put(
    labels: Iterable[Label], catalog: Catalog, use: Use, facts: Facts, today: date | None = None
) -> tuple[Verdict, ...]:
    """Whether something that carries these labels may be put to `use`, one verdict for each: train, serve and publish
    as `may_flow`, other uses as they stand.
    """
    if use in _EFFECT_OF_USE:
        return may_flow(labels, catalog, _EFFECT_OF_USE[use], facts, today)
    return _judge_labels(labels, dict.fromkeys(Relation, (use,)), catalog, facts, today)


def _judge_labels(
    labels: Iterable[Label],
    uses: Mapping[Relation, tuple[Use, ...]],
    catalog: Catalog,
    facts: Facts,
    today: date | None,
) -> tuple[Verdict, ...]:
    judged = {label: _judge_label(label, uses[label.relation], catalog, facts, today) for label in sorted(set(labels))}
    fewest = smallest({label: verdict.obligations for label, verdict in judged.items()}, facts.student.name)
    if not fewest:
        return tuple(judged.values())
    at_odds = conflict(union(judged[label].obligations for label in fewest), facts.student.name)
    reason = describe(at_odds, facts.student.name)
    return tuple(
        replace(verdict, permitted=False, because=reason, at_odds=fewest)
        if set(at_odds) & set(verdict.obligations)
        else verdict
        for verdict in judged.values()
    )


def _judge_label(
    label: Label,
    uses: Sequence[Use],
    catalog: Catalog,
    facts: Facts,
    today: date | None,
    asked: date | None = None,
) -> Verdict:
    """By the text that the label names, and by later ones that bind earlier answers; asked: when, where it is known."""
    document = catalog.by_digest(label.terms)
    if document is None or document.letter is not None or not document.governs(label.source):
        verdict = not_established(label.source, uses[-1], terms=label.terms)
        return replace(verdict, relation=label.relation, terms=label.terms, at=_day(asked or today))
    upstream = catalog.upstream(label.source)
    document = _still_permitted(catalog.signed(document), today)
    texts = [(document, asked), *((text, today) for text in catalog.later_for(label.source, document, today))]
    verdicts = [
        judge_use(label.source, text, use, label.relation, facts, day, upstream) for text, day in texts for use in uses
    ]
    refused = min(
        (each for each in verdicts if not each.permitted), key=lambda each: not each.established, default=None
    )
    whole = refused or replace(verdicts[len(uses) - 1], obligations=union(each.obligations for each in verdicts))
    own = tuple(dict.fromkeys(each for verdict in verdicts for each in verdict.own))
    whole = replace(whole, terms=label.terms, at=_day(asked or today), own=own)
    return with_letters_told(whole, catalog, today or date.max, facts)


def _still_permitted(document: Document, today: date | None) -> Document:
    """Without the letters whose last day is over: what a permission is wanted for is done today, not when an answer
    was asked.
    """
    if not document.letters:
        return document
    standing = (
        each
        for each in document.letters
        if (each.letter and each.letter.lasting) or (today is not None and each.in_force(today))
    )
    return replace(document, letters=tuple(standing))


def _day(at: date | None) -> str:
    return at.isoformat() if at else ""


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
class _Asked:
    """The permission to look up, and the facts to judge by."""

    use: Use
    relation: Relation
    facts: Facts


@dataclass(frozen=True, slots=True)
class _Ruling:
    """What one text comes to for one use. whatever_is_said: not to be lifted by a written permission."""

    outcome: _Outcome
    text: Document
    clause: str
    because: str
    settle_by: str = ""
    whatever_is_said: bool = False


def _strictness(ruling: _Ruling) -> int:
    return _STRICTEST_FIRST.index(ruling.outcome)


def _contract(
    document: Document, asked: _Asked, at: date | None, letters: Sequence[Document]
) -> tuple[_Ruling, tuple[Obligation, ...]]:
    """What one contract comes to: the strictest of its texts that speaks, and what is owed under it."""
    texts = [document, *(text for text in document.companions if at is None or text.in_force(at))]
    said = [ruling for text in texts if (ruling := _ruling(text, asked))]
    lifted = [_lifted(ruling, asked, letters) for ruling in said or [_silence(document, asked.use)]]
    spoke = [*texts, *(ruling.text for ruling in lifted if ruling.text in letters)]
    owed = union(_owed(text, asked.use, asked.relation, asked.facts) for text in spoke)
    return min(lifted, key=_strictness), owed


def _lifted(ruling: _Ruling, asked: _Asked, letters: Sequence[Document]) -> _Ruling:
    """What the same provider permitted in writing in the place of its own text, or the ruling as it was."""
    if ruling.outcome == "permit" or ruling.whatever_is_said:
        return ruling
    for letter in letters:
        if letter.letter is None or not _speaks_of(letter, ruling.text, asked.facts):
            continue
        permitted = _ruling(letter, asked)
        if permitted is not None and permitted.outcome == "permit":
            general = f"in the place of {ruling.text.id}, clause {ruling.clause}"
            return replace(permitted, because=f"{permitted.because} (written permission, {general})")
    return ruling


def _speaks_of(letter: Document, text: Document, facts: Facts) -> bool:
    """Whether it is the same provider's, of the same feature if of any, and for this project."""
    special = () if text.is_general else text.features
    return (
        letter.letter is not None
        and letter.provider.casefold() == text.provider.casefold()
        and (not special or bool(set(special) & set(letter.features)))
        and letter.letter.project in ("", facts.project)
    )


def _of_this(source: str, document: Document) -> tuple[Document, ...]:
    """Its letters, but for any that speaks of another source, or of features that were not asked for: whoever holds
    the operator's key could put it there.
    """
    asked_with = {"text", *(name for text in document.companions for name in text.features)}
    return tuple(each for each in document.letters if each.governs(source) and set(each.features) <= asked_with)


def learned(source: str, document: Document | None, more: Sequence[str]) -> tuple[str, ...]:
    """What a source is declared to have learned from, in its own texts and in `more`, each once."""
    texts = document.texts if document else ()
    declared = [up.teacher for text in texts for up in text.upstream if up.is_of(source)]
    return tuple(dict.fromkeys([*declared, *more]))


def _strictly_refused(source: str, text: Document, learned_from: Sequence[str]) -> _Ruling:
    because = (
        f"{source} is declared to have learned from {'; '.join(learned_from)}, and the workspace is strict on that"
    )
    settle = "choose a source without declared upstream teachers; that nobody enforces their terms is no permission"
    return _Ruling("refuse", text, "upstream", because, settle)


def _ruling(text: Document, asked: _Asked) -> _Ruling | None:
    """None when the text is silent."""
    use, facts = asked.use, asked.facts
    if not text.was_read:
        return _Ruling("unknown", text, "unknown", *_unread(text))
    if text.regions is not None and (outside := _outside(text.regions, use, facts)):
        because = f"{text.regions.text}; {outside}"
        return _Ruling("refuse", text, text.regions.clause, because, whatever_is_said=True)
    said = text.permission(use, asked.relation)
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
    return f"written word from {text.provider}: `trueseed terms permit LETTER --from {text.provider!r} …`"


def _outside(regions: Regions, use: Use, facts: Facts) -> str:
    """Who or what is outside of the regions, in words, by a list that was read; '' when nothing is known to be. What is
    undeclared leaves an obligation.
    """
    places = [("", facts.region)]
    if use is Use.SERVE:
        places.append(("the market ", facts.market))
    if regions.operators:
        places.append(("the operator's country ", facts.country))
    if regions.owners:
        places += [("the owners' country ", owner) for owner in facts.owners]
    return next(
        (f"{how}{place!r} is outside of it" for how, place in places if place and not regions.serves(place)), ""
    )


def _owed(text: Document, use: Use, relation: Relation, facts: Facts) -> tuple[Obligation, ...]:
    owed = text.obligations(use, relation, facts.student)
    regions = text.regions
    if regions is None or (regions.names(facts.region) and not (regions.owners and not facts.owners)):
        return owed
    which = f"{facts.region!r} is one of them" if facts.region else "the region you ask from is one of them"
    if regions.owners and not facts.owners:
        which += ", and so are those from which you are owned by more than half"
    how = "" if regions.supported or regions.unsupported else "the list was not read here: "
    where = Obligation(
        kind="regions",
        value=facts.region or "",
        text=f"{regions.text}; {how}make sure that {which}",
        document=text.id,
        clause=regions.clause,
    )
    return (*owed, where)
