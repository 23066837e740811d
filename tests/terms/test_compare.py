import json
from datetime import date

import pytest

from trueseed.errors import ConfigError
from trueseed.terms import Catalog, Use
from trueseed.terms.catalog import SHIPPED
from trueseed.terms.compare import difference, difference_told, matrix, matrix_told

CATALOG = Catalog.load()
DAY = date(2026, 11, 21)


def changes(before: str, after: str) -> dict[str, tuple[str, str]]:
    uses = difference(CATALOG, before, after)["uses"]
    return {e["use"]: (e["before"]["verdict"], e["after"]["verdict"]) for e in uses if e["relation"] == "output"}


def test_one_day_made_training_on_mistral_lawful():
    found = changes("mistral-api-2024-02-26", "mistral-terms-2024-02-27")
    assert found["train"] == ("refuse", "permit")
    assert found["judge"] == ("not established", "permit")
    assert "serve" not in found


def test_a_text_is_compared_with_what_it_incorporates():
    assert "train" not in changes("mistral-api-2024-02-08", "mistral-api-2024-02-26")


def test_a_duty_that_came_is_told():
    found = difference(CATALOG, "llama3-community", "llama3.1-community")
    assert any(duty["kind"] == "name-begins-with" for duty in found["duties_come"])
    assert any(line.startswith("newly owed, for train, reward, serve, publish") for line in difference_told(found))


def test_a_document_does_not_differ_from_itself():
    found = difference(CATALOG, "gemma-terms-2025-03-24", "gemma-terms-2025-03-24")
    assert not found["changed"]
    assert difference_told(found)[-1] == "no use and no duty differs"


def test_an_unknown_document_is_told_its_nearest():
    with pytest.raises(ConfigError, match=r"llama3\.1-community"):
        difference(CATALOG, "llama3.1-comunity", "llama3-community")


def test_the_matrix_has_every_source_and_every_use():
    found = matrix(CATALOG, DAY)
    assert set(found["sources"]) == set(CATALOG.sources())
    assert all(set(row["uses"]) == {use.value for use in Use} for row in found["sources"].values())
    assert json.loads(json.dumps(found)) == found


def test_the_matrix_is_of_a_day():
    assert matrix(CATALOG, date(2024, 2, 26))["sources"]["mistral/*@api"]["uses"]["train"] == "refuse"
    assert matrix(CATALOG, date(2024, 2, 27))["sources"]["mistral/*@api"]["uses"]["train"] == "permit"
    assert matrix(CATALOG, date(2020, 1, 1))["sources"]["mistral/*@api"]["uses"]["train"] == "not established"


def test_the_matrix_fits_a_terminal():
    lines = matrix_told(matrix(CATALOG, DAY), 80)
    assert max(map(len, lines[:-1])) <= 80


def test_the_matrix_marks_the_operators_own_reading(tmp_path):
    (tmp_path / "own.toml").write_text((SHIPPED / "own/own-work.toml").read_text("utf-8"), "utf-8")
    lines = matrix_told(matrix(Catalog.load(tmp_path), DAY), 80)
    assert any(line.startswith("own/* †") for line in lines)
    assert lines[-1] == "† own-work: the operator's own reading"
