"""An audit by the provider: the case, the proof and the usage report that it is given verify, without us."""

import json
from datetime import UTC, datetime

import pytest
from tests.story.people import DEEPSEEK, Place, trueseed

from trueseed.core.durable import state_folder
from trueseed.ledger.packed import unpack
from trueseed.ledger.signing import load
from trueseed.teachers.supplier.usage_report import SIGNER

MONTH = f"{datetime.now(UTC):%Y-%m}"


@pytest.fixture
def audited(place) -> Place:
    """A student of five answers, and a provider that asks about the month."""
    place.grow(place.ask(DEEPSEEK, 5))
    inquiry = place.document("inquiry.pdf", "Which of our answers trained which model?")
    place.told("case", "open", "deepseek", "--said", "they audit our use", "--document", inquiry)
    return place


def handed_over(place: Place) -> dict[str, str]:
    """The two papers, and the keys that are given on another way."""
    made = place.told("proof", "-o", place.folder / "proof.zip")
    said = trueseed("usage", "--maker", "deepseek", "--month", MONTH, "-o", place.folder / "usage.json")
    assert said[0] == 0
    return {"proof.zip": made["key"], "usage.json": str(load("operator", state_folder() / "keys").key(SIGNER))}


def test_case_proof_and_usage_report_verify_for_a_stranger(audited, tmp_path, monkeypatch):
    keys = handed_over(audited)
    monkeypatch.setenv("TRUESEED_STATE", str(tmp_path / "a-stranger"))
    for name, key in keys.items():
        code, said = trueseed("verify", audited.folder / name, "--key", key, "--json")
        assert (code, json.loads(said)["findings"]) == (0, []), said


def test_the_case_stands_among_the_statements_of_the_proof(audited):
    handed_over(audited)
    case = audited.told("case", "list")["cases"][0]["case"]
    assert f"statements/{case:08d}.tlog-proof" in unpack(audited.folder / "proof.zip")


def test_the_usage_report_tells_every_call_that_the_provider_billed(audited):
    handed_over(audited)
    code, said = trueseed("usage", "--maker", "deepseek", "--month", MONTH, "--json")
    report = json.loads(said)["report"]
    assert (code, report["totals"]["calls"]["answered"]) == (0, audited.provider.counts()["billed"])


def test_the_makers_own_figures_agree_and_that_stands_in_the_report(audited):
    bill = audited.document("bill.csv", audited.provider.usage_csv())
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    figures = ("--csv", bill, "--model", f"simulated={DEEPSEEK}", "--month", MONTH, "--through", today)
    assert audited.told("reconcile", "--maker", "deepseek", *figures)["verdict"] == "agrees"
    _, said = trueseed("usage", "--maker", "deepseek", "--month", MONTH, "--json")
    assert [each["verdict"] for each in json.loads(said)["report"]["reconciliations"]] == ["agrees"]


@pytest.mark.parametrize("name", ["proof.zip", "usage.json"])
def test_a_paper_that_was_changed_on_the_way_is_not_accepted(audited, name):
    key, path = handed_over(audited)[name], audited.folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    assert trueseed("verify", path, "--key", key)[0] in (2, 4)


def test_nothing_that_it_is_about_goes_until_it_ends(audited):
    demand = audited.document("demand.txt", "Erase it.")
    destroy = ("destroy", DEEPSEEK, "--why", "to be rid of it", "--evidence", demand)
    code, said = audited.trueseed(*destroy)
    assert (code, "about deepseek" in said) == (3, True)
    answer = audited.document("answer.txt", "We have no further questions.")
    case = audited.told("case", "list")["cases"][0]["case"]
    audited.told("case", "close", case, "--as", "reinstated", "--said", "no further questions", "--document", answer)
    assert audited.trueseed(*destroy)[0] == 0
    assert audited.trueseed("verify")[0] == 0
