"""What may be done with what a model says: documents as data, rules as pure functions.

    catalog = Catalog.load()
    verdict = may(Use.TRAIN, "openai/gpt-4@api", at=date(2026, 11, 21), catalog=catalog)

`model` is the data, `catalog` reads it and finds what governed a source on a day, `rules` judges, `obligations` adds up
what is owed, `answers` puts it in the form that people ask for.
"""

from trueseed.terms.answers import listing, may, shown
from trueseed.terms.catalog import Catalog
from trueseed.terms.model import (
    Document,
    Effect,
    Facts,
    Label,
    Obligation,
    Relation,
    Source,
    Student,
    Use,
    parse_source,
)
from trueseed.terms.obligations import conflict, solve
from trueseed.terms.rules import RULES_VERSION, Verdict, judge_use, may_flow, not_established

__all__ = [
    "RULES_VERSION",
    "Catalog",
    "Document",
    "Effect",
    "Facts",
    "Label",
    "Obligation",
    "Relation",
    "Source",
    "Student",
    "Use",
    "Verdict",
    "conflict",
    "judge_use",
    "listing",
    "may",
    "may_flow",
    "not_established",
    "parse_source",
    "shown",
    "solve",
]
