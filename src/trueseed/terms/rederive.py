"""Found again: do the verdicts that a step statement records follow from the texts, the facts and the rules?

    for found in rederive_step(entry.predicate, documents, facts):
        found.outcome    # same, differs, cannot tell

Pure, for whoever verifies without a workspace. documents: the texts as they were when the labels named them by digest
(`catalog.from_json`), and any others to judge by; facts: those of the last declaration before the step
(`Facts.from_json`). *differs* under newer rules says that the rules learned something, not that anything was forged:
`Found.by_the_same_rules` tells whether the same version of the rules was asked, when another verdict is no such thing.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Literal

from trueseed.terms.binding import cannot_bind
from trueseed.terms.catalog import Catalog
from trueseed.terms.model import Document, Effect, Facts, Label, Upstream, Use
from trueseed.terms.rules import (
    RELATION_OF_USE,
    RULES_VERSION,
    Verdict,
    judge_earlier,
    judge_use,
    may_enter,
    may_flow,
    may_put,
)

Outcome = Literal["same", "differs", "cannot tell"]
_COMPARED = ("verdict", "use", "source", "document", "version", "clause")
_SINCE_2 = ("established", "relation", "terms", "effect")
_SINCE_3 = ("own",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """stored: the verdict as it was written down. now: what the rules of today say, None when that cannot be told.
    because: in words, what differs or what is missing; '' when it is the same. rules: the version it was found by.
    """

    outcome: Outcome
    stored: Mapping[str, Any]
    now: Verdict | None
    because: str = ""
    rules: str = RULES_VERSION

    @property
    def by_the_same_rules(self) -> bool:
        return self.rules == RULES_VERSION

    def to_json(self) -> dict[str, Any]:
        now = self.now.to_json() if self.now else None
        return {
            "outcome": self.outcome,
            "because": self.because,
            "rules": self.rules,
            "rules_now": RULES_VERSION,
            "stored": dict(self.stored),
            "now": now,
        }


def rederive_step(
    said: Mapping[str, Any], documents: Iterable[Document], facts: Facts, relied_on: Collection[str] | None = None
) -> tuple[Found, ...]:
    """Each verdict of a step statement's predicate, judged anew from the labels, sources and effect that it names.

    relied_on: digests of the letters that a reviewer had signed when the step opened; None takes all for signed.

    A refused step that never opened names none. Raises `KeyError`, `TypeError` or `ValueError` for a predicate that is
    none of a step's.
    """
    stored: Sequence[Mapping[str, Any]] = said["verdicts"]
    if not stored and said["event"] == "refused":
        return ()
    again = _Again(said, _catalog(documents, stored, relied_on), facts)
    now = again.verdicts()
    rules = str(said.get("rules", ""))
    if len(stored) != len(now):
        given = {verdict.source for verdict in now if isinstance(verdict, Verdict)}
        left_out = given - {each["source"] for each in stored}
        many = f"{len(stored)} verdicts are recorded, and the rules give {len(now)}"
        many += f"; none is recorded on {', '.join(sorted(left_out))}" if left_out else ""
        return (Found(outcome="differs", stored={}, now=None, because=many, rules=rules),)
    compared = (_compared(before, after, rules) for before, after in zip(stored, now, strict=True))
    wrong = (
        Found(outcome="differs", stored={}, now=None, because=each, rules=rules) for each in again.not_its_own_terms()
    )
    return (*compared, *wrong)


def rederive(
    stored: Mapping[str, Any], documents: Iterable[Document], facts: Facts, relied_on: Collection[str] | None = None
) -> Found:
    """One verdict by itself, from what it says of itself (rules 2 and later), beside those it was at odds with."""
    rules = str(stored.get("rules", ""))
    if any(key not in stored for key in _SINCE_2):
        return _cannot_tell(stored, rules, "it does not say what it was about; give the whole statement")
    catalog = _catalog(documents, [stored], relied_on)
    label = Label.from_json({key: stored[key] for key in ("source", "relation", "terms")})
    day = date.fromisoformat(stored["at"]) if stored["at"] else None
    if missing := _missing(label, catalog):
        return _cannot_tell(stored, rules, missing)
    if stored["source"].startswith("market "):
        return _compared(stored, may_enter(stored["source"].removeprefix("market "), facts), rules)
    if stored["effect"]:
        carried = sorted({label, *map(Label.from_json, stored["at_odds"])})
        flows = may_flow(carried, catalog, Effect(stored["effect"]), facts, day)
        return _compared(stored, flows[carried.index(label)], rules)
    use, document = Use(stored["use"]), catalog.by_digest(label.terms)
    document = catalog.signed(document) if document else None
    return _compared(stored, judge_use(label.source, document, use, label.relation, facts, day), rules)


class _Again:
    """A step's verdicts in the order in which the door wrote them: asked, flowing on, market, shown, learned. A str in
    place of a verdict says why it cannot be told.
    """

    def __init__(self, said: Mapping[str, Any], catalog: Catalog, facts: Facts) -> None:
        self.said, self.catalog = said, catalog
        self.facts = replace(facts, market=said.get("market"))
        self.learned = sorted(Label.from_json(each) for each in said.get("learned", ()))
        self.labels = sorted({Label.from_json(each) for each in said["labels"]} - set(self.learned))
        self.effect = Effect(said["effect"])

    def verdicts(self) -> list[Verdict | str]:
        return [*self._asked(), *self._flows(), *self._market(), *self._shown(), *self._learned()]

    def _day(self, place: int) -> date:
        """By which the verdict at this place was judged; older statements say only when they were written."""
        told = self.said["verdicts"][place].get("at", "") if place < len(self.said["verdicts"]) else ""
        return date.fromisoformat(told or self.said.get("judged_on") or self.said["at"][:10])

    def not_its_own_terms(self) -> Iterator[str]:
        """What of the texts, and of the days, by which it judged cannot be as it says."""
        judged = date.fromisoformat(self.said.get("judged_on") or self.said["at"][:10])
        own = len(self.said["verdicts"]) - len(self.learned)
        for told in sorted({each["at"] for each in self.said["verdicts"][:own] if each.get("at")}):
            if not timedelta(0) <= judged - date.fromisoformat(told) <= timedelta(1):  # it may have been midnight
                yield f"it was judged on {judged}, and a verdict in it by the terms of {told}"
        brought = {each["source"] for each in self.said.get("brings", ())}
        for asked in self.said["asks"]:
            relation = RELATION_OF_USE[Use(asked["use"])]
            label = Label(asked["source"], relation, self.said["terms"][asked["source"]])
            if label not in self.labels and label.source not in brought:
                yield f"{label.source} was asked to {asked['use']}, and no label says {relation.value} under its terms"
        for source, digest in sorted(self.said["terms"].items()):
            document = self.catalog.by_digest(digest)
            features = self.said.get("features", {}).get(source, ())
            because = document and cannot_bind(document, source, self._day(0), features)
            if document and because:
                yield f"{document.id} ({document.version}) cannot be the terms of {source}: {because}"

    def _asked(self) -> list[Verdict | str]:
        found: list[Verdict | str] = []
        for place, asked in enumerate(self.said["asks"]):
            source, use = asked["source"], Use(asked["use"])
            label = Label(source, RELATION_OF_USE[use], self.said["terms"][source])
            document = self.catalog.by_digest(label.terms)
            document = self.catalog.signed(document) if document else None
            upstream = self.catalog.upstream(source)
            judged = judge_use(source, document, use, label.relation, self.facts, self._day(place), upstream)
            found.append(_missing(label, self.catalog) or judged)
        return found

    def _flows(self) -> list[Verdict | str]:
        day = self._day(len(self.said["asks"]))
        flows = may_flow(self.labels, self.catalog, self.effect, self.facts, day)
        return [_missing(label, self.catalog) or flow for label, flow in zip(self.labels, flows, strict=False)]

    def _market(self) -> list[Verdict | str]:
        return [may_enter(self.said["market"], self.facts)] if self.said.get("market") else []

    def _shown(self) -> list[Verdict | str]:
        labels = sorted(map(Label.from_json, self.said.get("shows", ())))
        day = self._day(len(self.said["verdicts"]) - len(self.learned) - len(labels))
        found = may_put(labels, self.catalog, Use.PUBLISH_BENCHMARK, self.facts, day)
        return [_missing(label, self.catalog) or each for label, each in zip(labels, found, strict=True)]

    def _learned(self) -> list[Verdict | str]:
        uses = {asked["source"]: Use(asked["use"]) for asked in self.said["asks"]}
        first = len(self.said["verdicts"]) - len(self.learned)
        found: list[Verdict | str] = []
        for place, label in enumerate(self.learned, first):
            told = place >= 0 and bool(self.said["verdicts"][place].get("at"))
            missing = _missing(label, self.catalog) or ("" if told else "it does not say when the answer was asked")
            found.append(missing or self._earlier(label, uses[label.source], self._day(place)))
        return found

    def _earlier(self, label: Label, use: Use, asked: date) -> Verdict:
        carried = [*self.labels, *self.learned]
        return judge_earlier(
            label, carried, self.catalog,
            use=use, effect=self.effect, facts=self.facts, at=asked, today=date.fromisoformat(self.said["at"][:10]),
        )  # fmt: skip


def _missing(label: Label, catalog: Catalog) -> str:
    if label.terms and catalog.by_digest(label.terms) is None:
        return f"the text with digest {label.terms}, by which {label.source} was judged, is not at hand"
    return ""


def _compared(stored: Mapping[str, Any], now: Verdict | str, rules: str) -> Found:
    if isinstance(now, str):
        return _cannot_tell(stored, rules, now)
    after = now.to_json()
    keys = (*_COMPARED, *(key for key in (*_SINCE_2, *_SINCE_3) if key in stored))
    changed = [f"{key} was {stored[key]!r} and is {after[key]!r}" for key in keys if stored[key] != after[key]]
    owed_before, owed = ({tuple(sorted(each.items())) for each in said["obligations"]} for said in (stored, after))
    if owed_before != owed:
        changed.append(f"{len(owed - owed_before)} obligations more, {len(owed_before - owed)} fewer are owed")
    outcome: Outcome = "differs" if changed else "same"
    return Found(outcome=outcome, stored=stored, now=now, because="; ".join(changed), rules=rules)


def _cannot_tell(stored: Mapping[str, Any], rules: str, because: str) -> Found:
    return Found(outcome="cannot tell", stored=stored, now=None, because=because, rules=rules)


def _catalog(
    documents: Iterable[Document], stored: Sequence[Mapping[str, Any]], relied_on: Collection[str] | None
) -> Catalog:
    texts = _with_upstream(documents, stored)
    signed = {each.digest for text in texts for each in text.letters} if relied_on is None else relied_on
    return Catalog(texts).relying_on(signed)


def _with_upstream(documents: Iterable[Document], stored: Sequence[Mapping[str, Any]]) -> tuple[Document, ...]:
    """The texts, and one that declares what the verdicts say their sources learned from: the door read that in texts
    which need not be the governing ones.
    """
    texts = tuple(documents)
    declared = {(each["source"], teacher) for each in stored for teacher in each.get("upstream", ())}
    if not texts or not declared:
        return texts
    upstream = tuple(Upstream(source=source, teacher=teacher) for source, teacher in sorted(declared))
    return (*texts, replace(texts[0], id="upstream:as-recorded", sources=(), permissions=(), upstream=upstream))
