"""Most use went through a second vendor, whose terms are reported to say the same: reports establish nothing."""

import json

import pytest
from tests.story.people import AZURE, GPT

from trueseed.errors import Refused

REPORTED = "not read, so nothing is established; reported: developing competing models is forbidden"


def test_it_is_refused_as_reported_to_be_forbidden_and_not_read(place):
    code, said = place.trueseed("may", "train", AZURE, "--at", "2023-12-15", "--json")
    verdict = json.loads(said)
    assert (code, verdict["established"], verdict["document"]) == (3, False, "azure-openai-product-terms")
    assert REPORTED in verdict["because"]
    assert "The Verge, 2023-12-15" in verdict["because"]
    assert "disagrees" in verdict["because"]  # reports do not agree, and both are told
    assert "add them to the workspace's terms folder" in verdict["settle_by"]


def test_a_run_over_it_is_refused_before_anybody_is_called(place):
    code, said = place.trueseed("run", place.run_file(AZURE))
    assert (code, REPORTED in said) == (3, True)
    assert place.provider.counts()["arrived"] == 0


def test_it_is_no_way_past_the_makers_own_terms(place):
    """What is forbidden on the one route is not permitted by asking on the other."""
    for source in (GPT, AZURE):
        with pytest.raises(Refused):
            place.ask(source)
    assert place.provider.counts()["arrived"] == 0


@pytest.mark.parametrize(("read", "code"), [("refuse train", 3), ("permit train judge benchmark_teacher", 2)])
def test_once_it_is_read_the_text_decides_either_way(place, read, code):
    """A run that is let in gets as far as its base, which is not there."""
    place.reads("azure-as-signed", "openai/*@azure", read)
    found, said = place.trueseed("run", place.run_file(AZURE))
    assert found == code, said
    assert ("azure-as-signed" in said) is (code == 3)
    assert place.provider.counts()["arrived"] == 0


def test_a_contract_that_was_signed_is_shown_as_the_operators_own_document(place):
    place.reads("azure-as-signed", "openai/*@azure", "permit train")
    shown = place.told("terms", "show", "azure-as-signed")
    assert shown["reading"] == "contract"
    assert "the operator's own document" in place.trueseed("terms", "show", "azure-as-signed")[1]
