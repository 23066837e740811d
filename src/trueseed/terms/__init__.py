"""What may be done with what a model says: documents as data, rules as pure functions.

    catalog = Catalog.load()
    verdict = may(Use.TRAIN, "openai/gpt-4@api", at=date(2026, 11, 21), catalog=catalog)

`model` is the data, `catalog` reads it and finds what governed a source on a day, `binding` puts together what bound,
`rules` judges, `obligations` adds up what is owed and how it can be met, `admission` asks all of it when a step opens,
`readings` sets then beside now, `rederive` finds recorded verdicts again, `answers` is for people.
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
from trueseed.terms.rederive import rederive, rederive_step
from trueseed.terms.rules import RULES_VERSION, Verdict, judge_use, may_ask, may_flow, may_put, not_established

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
    "may_ask",
    "may_flow",
    "may_put",
    "not_established",
    "parse_source",
    "rederive",
    "rederive_step",
    "shown",
    "solve",
]
