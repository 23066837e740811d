"""Then and now: what the text in force when a source was asked says, beside what today's would.

A later version binds only what is asked after it, unless it says otherwise, so the first reading decides. The second is
shown beside it, because it is what asking again would come to.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from trueseed.terms.catalog import Catalog
from trueseed.terms.model import Document, Facts, Label, Use
from trueseed.terms.rules import Verdict, may_put


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """then: by the text that the label names (and later ones that bind it too); it decides. now: as if asked today."""

    label: Label
    then: Verdict
    now: Verdict

    @property
    def agree(self) -> bool:
        return self.then.permitted == self.now.permitted

    def to_json(self) -> dict[str, Any]:
        return {"label": self.label.to_json(), "then": self.then.to_json(), "now": self.now.to_json()}

    def __str__(self) -> str:
        then, now = (_told(verdict) for verdict in (self.then, self.now))
        return f"{self.label.source}, {self.label.relation.value}: as it was asked, {then}; asked today, {now}"


def readings(labels: Iterable[Label], catalog: Catalog, use: Use, facts: Facts, today: date) -> tuple[Reading, ...]:
    """One for each label whose source is governed by another text today."""
    found = []
    for label in sorted(set(labels)):
        asked = catalog.by_digest(label.terms)
        governing = catalog.governing(label.source, today, _features(asked) if asked else ())
        if governing is None or governing.digest == label.terms:
            continue
        [then] = may_put([label], catalog, use, facts, today)
        [now] = may_put([replace(label, terms=governing.digest)], catalog, use, facts, today)
        found.append(Reading(label=label, then=then, now=now))
    return tuple(found)


def _features(document: Document) -> tuple[str, ...]:
    """With which the source was asked, as the texts say that were put together then."""
    special = (text for text in document.companions if not text.is_general)
    return tuple(dict.fromkeys(feature for text in special for feature in text.features))


def _told(verdict: Verdict) -> str:
    answer = "permitted" if verdict.permitted else "refused" if verdict.established else "not established"
    own = f" ({'; '.join(verdict.own)})" if verdict.own else ""
    return f"{answer} by {verdict.document}{own}" if verdict.document else answer
