"""What a call is asked with, and for whom: judged before it is forwarded."""

from pathlib import Path

import pytest
from tests.gateway.conftest import DEEPSEEK, OPENAI, ask, refusal

from trueseed.access.faults import Fault
from trueseed.gateway.features import named, seen
from trueseed.terms.model import Approval, Facts, Use

SEARCH = {"web_search_options": {}}
READ = """
id = "deepseek-search"
provider = "DeepSeek"
document = "Terms of search"
version = "1"
route = "api"
features = ["search"]
sources = ["deepseek/*@api"]
effective_from = 2025-01-01
observed_at = 2025-01-01
text_sha256 = "unknown"
where_read = "nowhere"
verification = "primary"
on_termination = "nothing is said"
reaches_models_trained_on_output = "nothing is said"

[[permissions]]
uses = ["judge"]
relations = ["score"]
verdict = "permit"
clause = "1"
because = "it says so"

[[permissions]]
uses = ["train"]
verdict = "refuse"
clause = "2"
because = "answers that rest on a search are not trained on"
"""


@pytest.mark.parametrize(
    ("body", "features"),
    [
        ({"web_search_options": {}}, ["search"]),
        ({"search_parameters": {"mode": "auto"}}, ["search"]),
        ({"enable_search": True}, ["search"]),
        ({"plugins": [{"id": "web"}]}, ["search"]),
        ({"tools": [{"type": "web_search_preview"}]}, ["search"]),
        ({"tools": [{"google_search": {}}]}, ["search"]),
        ({"tools": [{"type": "builtin_function", "function": {"name": "$web_search"}}]}, ["search"]),
        ({"tools": [{"type": "code_interpreter"}, {"type": "file_search"}]}, ["code", "files"]),
        ({"tools": [{"type": "function", "function": {"name": "web_search"}}]}, []),
        ({"tools": [{"type": "function", "function": {"name": "mine"}, "Google_Search": {}}]}, ["search"]),
        ({"tools": [{"google_search": {}, "code_execution": {}}]}, ["code", "search"]),
        ({"enable_search": False, "web_search_options": None, "plugins": []}, []),
    ],
)
def test_the_wire_shows_what_is_asked_for(body, features):
    assert [each.feature for each in seen(body)] == features


def test_a_header_names_features_and_nothing_else():
    assert named("search, maps,search") == ("search", "maps")
    with pytest.raises(Fault, match="names of features"):
        named("Search the web!")


@pytest.fixture
def read(tmp_path: Path) -> None:
    (tmp_path / "work" / "terms").mkdir(parents=True)
    (tmp_path / "work" / "terms" / "search.toml").write_text(READ)


@pytest.fixture
def searching(opened, read):
    with opened(surcharges={"search": 0.01}) as place:
        yield place


def test_a_feature_that_nobody_read_about_is_refused_however_it_is_declared(place):
    client = place.client()
    header = refusal(client, extra_headers={"X-TrueSeed-Feature": "search"})
    body = refusal(client, extra_body=SEARCH)
    key = refusal(place.client(features=("search",)))
    assert [(each.status_code, each.code) for each in (header, body, key)] == [(403, "refused")] * 3
    assert "feature 'search'" in str(header)
    assert place.billed() == 0


def test_names_that_a_client_makes_up_are_not_written_into_the_ledger(place):
    before = place.workspace.ledger.size
    for number in range(3):
        refusal(place.client(), extra_headers={"X-TrueSeed-Feature": f"made-up-{number}"})
    place.workspace.ledger.refresh()
    assert place.workspace.ledger.size == before


def test_a_feature_is_judged_by_its_own_terms_beside_the_general_ones(searching):
    with_search = {"extra_body": SEARCH, "extra_headers": {"X-TrueSeed-Use": "train"}}
    client = searching.client(Use.TRAIN, Use.JUDGE)
    assert "rest on a search" in str(refusal(client, **with_search))
    ask(client, extra_headers={"X-TrueSeed-Use": "train"})
    ask(client, extra_body=SEARCH, extra_headers={"X-TrueSeed-Use": "judge"})
    assert searching.billed() == 2


def test_what_a_search_costs_is_charged_beside_the_tokens(searching):
    ask(searching.client(), extra_body=SEARCH)
    tokens, micros = searching.charged()
    assert micros == tokens + 10_000


def test_a_search_whose_cost_is_not_known_is_not_forwarded_though_it_is_permitted(opened, read):
    with opened() as place:
        told = refusal(place.client(), extra_body=SEARCH)
        assert (told.status_code, told.param, place.billed()) == (400, "web_search_options", 0)


def test_the_step_in_the_ledger_names_the_feature(searching):
    ask(searching.client(), extra_body=SEARCH)
    searching.workspace.ledger.refresh()
    said = [each.predicate for each in searching.workspace.ledger.entries()]
    assert {DEEPSEEK: ["search"]} in [each.get("features") for each in said]


def test_a_key_for_a_market_needs_an_approval_for_it_where_people_are_served(opened):
    with opened(facts=Facts(approvals=(Approval(market="FR", reference="paper 7"),))) as place:
        assert "people in DE" in str(refusal(place.client(Use.SERVE, market="DE"), model=OPENAI))
        ask(place.client(Use.SERVE, market="FR"), model=OPENAI)
        ask(place.client(Use.JUDGE, market="DE"))
        assert place.billed() == 2
