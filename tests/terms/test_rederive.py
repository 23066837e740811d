"""Verdicts found again from what a statement says: the same, different, or not to be told."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from tests.terms.made import document, duty, permits, refuses

from trueseed.terms.admission import Question, admit
from trueseed.terms.catalog import Catalog
from trueseed.terms.model import Approval, Effect, Facts, Relation, Use
from trueseed.terms.rederive import rederive, rederive_step
from trueseed.terms.rules import RULES_VERSION

TODAY = date(2026, 11, 21)
ACME = document("acme", "acme/*@api", permits(*Use), duties=(duty("name-begins-with", "Acme"),))
OTHER = document("other", "other/*@api", permits(*Use), duties=(duty("name-without", "Acme"),))
TEXTS = (ACME, OTHER)
ASK = {"acme/large@api": Use.TRAIN}


def statement(facts: Facts | None = None, **question: Any) -> dict[str, Any]:
    """As the door writes it."""
    asked = Question(**{"ask": ASK, "brings": {}, "effect": Effect.TRAIN, **question})
    admission = admit(asked, (), Catalog(TEXTS), facts or Facts(), TODAY)
    return {
        "event": "done",
        "effect": asked.effect.value,
        "asks": [{"source": source, "use": use.value} for source, use in sorted(asked.ask.items())],
        "labels": [label.to_json() for label in sorted(admission.labels)],
        "terms": dict(admission.terms),
        "rules": RULES_VERSION,
        "verdicts": [verdict.to_json() for verdict in admission.verdicts],
        "at": "2026-11-21T10:00:00Z",
        **({"market": asked.market} if asked.market else {}),
    }


def outcomes(said: dict[str, Any], texts=TEXTS, facts: Facts | None = None) -> list[str]:
    return [found.outcome for found in rederive_step(said, texts, facts or Facts())]


def test_what_the_door_wrote_is_found_again():
    assert outcomes(statement()) == ["same", "same"]


def test_so_is_a_mixture_that_was_refused_whole_and_one_by_one():
    said = statement(ask={}, brings={"acme/large@api": Relation.OUTPUT, "other/x@api": Relation.OUTPUT})
    assert [verdict["verdict"] for verdict in said["verdicts"]] == ["refuse", "refuse"]
    assert outcomes(said) == ["same", "same"]
    assert [rederive(each, TEXTS, Facts()).outcome for each in said["verdicts"]] == ["same", "same"]


def test_and_a_market():
    facts = Facts(approvals=(Approval(market="FR", reference="a"),))
    said = statement(facts, ask={}, brings={"acme/x@api": Relation.OUTPUT}, effect=Effect.SERVE, market="FR")
    assert outcomes(said, facts=facts) == ["same", "same"]
    assert outcomes(said) == ["same", "differs"]


def test_a_verdict_that_was_turned_round_differs_by_the_same_rules():
    said = statement()
    said["verdicts"][1]["verdict"] = "refuse"
    found = rederive_step(said, TEXTS, Facts())[1]
    assert (found.outcome, found.by_the_same_rules) == ("differs", True)
    assert "verdict was 'refuse' and is 'permit'" in found.because


def test_other_rules_may_say_otherwise_and_that_is_no_forgery():
    said = statement() | {"rules": "0"}
    said["verdicts"][0]["clause"] = "9"
    assert not rederive_step(said, TEXTS, Facts())[0].by_the_same_rules


def test_a_text_that_is_not_at_hand_cannot_be_judged_by():
    assert outcomes(statement(), texts=(OTHER,)) == ["cannot tell", "cannot tell"]


def test_a_text_that_was_changed_is_another_text():
    changed = replace(ACME, permissions=(refuses(*Use),))
    assert outcomes(statement(), texts=(changed, OTHER)) == ["cannot tell", "cannot tell"]


def test_a_verdict_that_was_left_out_is_noticed():
    said = statement()
    said["verdicts"].pop()
    [found] = rederive_step(said, TEXTS, Facts())
    assert "1 verdicts are recorded, and the rules give 2" in found.because


def test_statements_from_before_verdicts_told_of_themselves_are_read():
    said = statement() | {"rules": "1"}
    known = ("verdict", "use", "source", "document", "version", "clause", "because", "obligations", "settle_by")
    said["verdicts"] = [{key: verdict[key] for key in known} for verdict in said["verdicts"]]
    assert outcomes(said) == ["same", "same"]
    assert rederive(said["verdicts"][0], TEXTS, Facts()).outcome == "cannot tell"


def test_a_step_that_was_refused_at_the_door_has_no_verdicts():
    assert rederive_step({"event": "refused", "verdicts": []}, TEXTS, Facts()) == ()


@pytest.mark.parametrize("key", ["labels", "asks", "verdicts"])
def test_what_is_no_step_raises_what_a_reader_expects(key):
    said = statement()
    del said[key]
    with pytest.raises(KeyError):
        rederive_step(said, TEXTS, Facts())
