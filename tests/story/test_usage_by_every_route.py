"""The use was "minimal" by one count, beyond that by another, mostly by another vendor's route by a third: all of them
are one maker's, and are counted together.
"""

import json
from datetime import UTC, datetime

import pytest
from tests.story.people import AZURE, GPT, Place, trueseed

from trueseed.core.durable import state_folder
from trueseed.ledger.signing import load
from trueseed.teachers.supplier.usage_report import SIGNER

MONTH = f"{datetime.now(UTC):%Y-%m}"
DIRECT, VENDOR = 2, 7


@pytest.fixture
def used(place):
    """Two calls by the maker's own route, seven by the vendor's, in two workspaces."""
    place.reads("as-signed", "openai/*", "permit train")
    place.ask(GPT, DIRECT)
    place.ask(AZURE, VENDOR)
    return place


def usage(*options: object) -> tuple[dict, str]:
    about = ("usage", "--maker", "openai", "--month", MONTH, *options)
    code, said = trueseed(*about, "--json")
    assert code == 0, said
    return json.loads(said)["report"], trueseed(*about)[1]


def test_the_report_totals_every_route(used):
    report, told = usage()
    assert report["totals"]["calls"]["answered"] == DIRECT + VENDOR == used.provider.counts()["billed"]
    assert {source: sums["calls"]["answered"] for source, sums in report["sources"].items()} == {
        GPT: DIRECT,
        AZURE: VENDOR,
    }
    assert "PARTIAL" not in told


@pytest.mark.parametrize(("route", "count", "left"), [("api", DIRECT, VENDOR), ("azure", VENDOR, DIRECT)])
def test_a_report_of_one_route_says_that_it_is_partial_and_what_it_leaves_out(used, route, count, left):
    report, told = usage("--source", f"*@{route}")
    assert report["totals"]["calls"]["answered"] == count
    assert report["left_out"]["sums"]["calls"]["answered"] == left
    assert "PARTIAL" in told


def test_that_it_is_partial_is_signed_with_it(used, tmp_path):
    usage("--source", "*@api", "-o", tmp_path / "usage.json")
    key = str(load("operator", state_folder() / "keys").key(SIGNER))
    code, said = trueseed("verify", tmp_path / "usage.json", "--key", key)
    assert (code, "PARTIAL" in said) == (0, True)
    signed = json.loads((tmp_path / "usage.json").read_text())
    signed["payload"] = signed["payload"][:-8] + "AAAAAAA="
    (tmp_path / "usage.json").write_text(json.dumps(signed))
    assert trueseed("verify", tmp_path / "usage.json", "--key", key)[0] in (2, 4)


def test_another_workspace_makes_no_count_of_its_own(used, tmp_path):
    other = Place(folder=tmp_path / "other", provider=used.provider)
    other.reads("as-signed", "openai/*", "permit train")
    other.ask(GPT, 4)
    assert usage()[0]["totals"]["calls"]["answered"] == DIRECT + VENDOR + 4
