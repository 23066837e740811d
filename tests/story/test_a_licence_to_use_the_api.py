"""Licensed by the vendor, as the company said: that one may call it says nothing of what its answers are used for."""

import json

import pytest
from tests.story.people import AZURE

from trueseed.errors import Refused

CONTRACT = {"contract": "azure-openai-product-terms"}


def test_a_key_that_is_let_in_and_a_contract_that_is_named_permit_no_training(place):
    code, said = place.trueseed("run", place.run_file(AZURE, teacher=CONTRACT))
    assert (code, "not read, so nothing is established" in said) == (3, True)
    assert place.provider.counts()["arrived"] == 0


def test_the_doctor_finds_the_way_open_and_the_use_refused(place):
    code, said = place.trueseed("doctor", place.run_file(AZURE, teacher=CONTRACT), "--json")
    checks = {check["name"]: check["status"] for check in json.loads(said)["checks"] if check["of"] == "teacher"}
    assert (checks["contract"], checks["address"], checks["hold"]) == ("ok", "ok", "ok")
    assert (checks["terms for train"], checks["terms for benchmark_teacher"]) == ("fails", "fails")
    assert code == 3


@pytest.mark.parametrize("use", ["train", "reward", "judge", "benchmark_teacher", "serve", "publish"])
def test_access_alone_establishes_no_use(place, use):
    place.reads("api-licence", "openai/*@azure")  # a text that grants access, and says nothing of what for
    code, said = place.trueseed("may", use, AZURE)
    assert (code, "not established" in said) == (3, True)


def test_a_licence_for_one_use_is_none_for_another(place):
    place.reads("api-licence", "openai/*@azure", "permit serve")
    assert place.trueseed("may", "serve", AZURE)[0] == 0
    with pytest.raises(Refused, match="establishes train"):
        place.ask(AZURE)
    assert place.provider.counts()["arrived"] == 0
