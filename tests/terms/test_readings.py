"""History: what was asked is bound by the text of its day, unless a later one says that it reaches back."""

from dataclasses import replace
from datetime import date

from tests.terms.made import catalog, document, permits, refuses

from trueseed.terms.model import Effect, Facts, Label, Relation, Use
from trueseed.terms.readings import readings
from trueseed.terms.rules import may_flow

TODAY = date(2026, 11, 21)
SOURCE = "acme/large@api"
FIRST = document("first", "acme/*@api", permits(*Use), effective_until=date(2025, 1, 1))
SECOND = document("second", "acme/*@api", refuses(*Use), effective_from=date(2025, 1, 1))
LABEL = Label(SOURCE, Relation.OUTPUT, FIRST.digest)


def flows(second, today: date | None = TODAY) -> bool:
    [verdict] = may_flow([LABEL], catalog(FIRST, second), Effect.TRAIN, Facts(), today)
    return verdict.permitted


def test_a_later_stricter_version_binds_only_what_came_later():
    assert flows(SECOND)


def test_unless_it_says_that_it_binds_earlier_answers():
    reaches_back = replace(SECOND, binds_earlier=True)
    assert not flows(reaches_back)
    assert flows(reaches_back, date(2024, 6, 1))
    assert not flows(reaches_back, None)


def test_a_later_lenient_version_frees_nothing():
    first, second = replace(FIRST, permissions=(refuses(*Use),)), replace(SECOND, permissions=(permits(*Use),))
    label = replace(LABEL, terms=first.digest)
    for reach in (False, True):
        known = catalog(first, replace(second, binds_earlier=reach))
        assert not may_flow([label], known, Effect.TRAIN, Facts(), TODAY)[0].permitted


def test_both_readings_are_told():
    [reading] = readings([LABEL], catalog(FIRST, SECOND), Use.TRAIN, Facts(), TODAY)
    assert (reading.then.permitted, reading.now.permitted, reading.agree) == (True, False, False)
    assert str(reading) == f"{SOURCE}, output: as it was asked, permitted by first; asked today, refused by second"


def test_a_text_that_is_still_in_force_has_one_reading():
    assert readings([LABEL], catalog(FIRST), Use.TRAIN, Facts(), date(2024, 6, 1)) == ()
