"""They regularly hit their maximum allowance: a pause, and no other key, account, route or model of that maker."""

from typing import Any

import httpx
import pytest
from tests.gateway.conftest import serving
from tests.story.asking import ask
from tests.story.people import DEEPSEEK, Place, trueseed

from trueseed.access.keys import Grant, Keys
from trueseed.errors import Paused, TrueSeedError
from trueseed.gateway.offer import gateway
from trueseed.gateway.settings import Config
from trueseed.ledger.statement import QUOTA
from trueseed.teachers.account.limits import Limit
from trueseed.teachers.account.state import Account
from trueseed.teachers.api.providers import Endpoint
from trueseed.teachers.simulator import Behaviour
from trueseed.terms.model import Use

ROUTES = ("@openrouter", "@azure", "@some-aggregator")
THREE_A_DAY = Limit(source="deepseek/*", per="day", requests=3)


def limited(place: Place, source: str = DEEPSEEK, count: int = 3, **changes: Any) -> None:
    endpoint = Endpoint.model_validate({**place.endpoint(source), "at_once": 1, **changes})
    ask(place.workspace, endpoint, [THREE_A_DAY], count)


@pytest.fixture
def spent(place) -> Place:
    """The day's three requests are spent; the provider itself would go on. Whatever the route, its terms permit."""
    place.reads("as-signed", "deepseek/*", "permit train")
    limited(place)
    return place


def paused(place: Place, **changes: Any) -> TrueSeedError:
    before = place.provider.counts()
    with pytest.raises(Paused) as caught:
        limited(place, count=4, **changes)
    assert place.provider.counts() == before
    return caught.value


def test_it_is_a_pause_that_says_when_it_goes_on(spent):
    error = paused(spent)
    assert error.exit_code == 6
    assert error.until is not None
    assert "3 requests a day" in str(error)


@pytest.mark.parametrize("route", ROUTES)
def test_by_no_other_route(spent, route):
    paused(spent, source=f"deepseek/deepseek-chat{route}", base_url=spent.provider.openai)


def test_by_no_other_key(spent):
    paused(spent, key_from="ANOTHER_KEY")


def test_by_no_other_model(spent):
    paused(spent, source="deepseek/another-model@api")


def test_from_no_other_workspace(spent, tmp_path):
    other = Place(folder=tmp_path / "other", provider=spent.provider)
    paused(other, key_from="ANOTHER_KEY")


def test_another_maker_is_asked_meanwhile(spent):
    limited(spent, "own/a-model-of-ours", count=2)
    assert spent.provider.counts()["billed"] == 5


def test_a_limit_of_the_account_binds_workspaces_whose_files_have_none(place, tmp_path):
    whose = ("--source", "deepseek/*", "--per", "day")
    assert trueseed("allowance", "set", *whose, "--requests", "2")[0] == 0
    for each in (place, Place(folder=tmp_path / "other", provider=place.provider)):
        with pytest.raises(Paused, match="of the account, which binds whoever asks through it"):
            each.ask(DEEPSEEK, count=4, at_once=1)
    assert place.provider.counts()["billed"] == 2
    assert "2 of 2 requests a day" in trueseed("allowance", "show")[1]


# the provider's own limit, of which only its refusal tells


def test_its_quota_is_a_pause_and_the_same_command_goes_on_when_it_is_raised(place):
    place.provider.behave(Behaviour(quota_requests=2))
    with pytest.raises(Paused, match="the quota of the account is used up") as caught:
        place.ask(DEEPSEEK, at_once=1)
    assert caught.value.exit_code == 6
    place.provider.behave(Behaviour())
    place.ask(DEEPSEEK, at_once=1)
    assert (place.provider.counts()["distinct"], place.provider.counts()["repeated"]) == (3, 0)


@pytest.fixture
def used_up(place) -> Place:
    """The provider's quota was used up, as a run was told; it would answer again. Its terms permit by any route."""
    place.reads("as-signed", "deepseek/*", "permit train")
    place.provider.behave(Behaviour(quota_requests=2))
    with pytest.raises(Paused, match="another key, account or route of the same maker will not be used"):
        place.ask(DEEPSEEK, at_once=1)
    place.provider.behave(Behaviour())
    return place


def not_past_it(place: Place, source: str = DEEPSEEK, *, at: Place | None = None, **changes: Any) -> None:
    before = place.provider.counts()
    with pytest.raises(Paused, match="may not be asked this way") as caught:
        (at or place).ask(source, count=4, **changes)
    assert caught.value.exit_code == 6
    assert place.provider.counts() == before


def statements(place: Place) -> list[str]:
    return [each.predicate["event"] for each in place.workspace.ledger.entries() if each.predicate_type == QUOTA]


@pytest.mark.parametrize("route", ROUTES)
def test_a_new_command_goes_past_its_quota_by_no_other_route(used_up, route):
    not_past_it(used_up, f"deepseek/deepseek-chat{route}", base_url=used_up.provider.openai)


def test_nor_by_another_key_model_name_or_workspace(used_up, tmp_path):
    not_past_it(used_up, key_from="ANOTHER_KEY")
    not_past_it(used_up, "deepseek/another-model@api", key_from="ANOTHER_KEY")
    not_past_it(used_up, "own/a-model-of-ours", key_from="ANOTHER_KEY")
    not_past_it(used_up, at=Place(folder=tmp_path / "other", provider=used_up.provider), key_from="ANOTHER_KEY")


def test_another_maker_goes_on_beside_its_quota(used_up, elsewhere):
    used_up.ask("own/a-model-of-ours", **elsewhere)


def test_an_answer_by_the_way_that_met_it_opens_the_others_again(used_up):
    assert statements(used_up) == ["met"]
    used_up.ask(DEEPSEEK, at_once=1)
    assert statements(used_up) == ["met", "renewed"]
    used_up.ask(DEEPSEEK, count=4, key_from="ANOTHER_KEY")


def test_the_reviewer_opens_them_with_a_contract_for_a_second_account(used_up):
    contract = used_up.document("contract.txt", "A second account is agreed upon.")
    code, said = used_up.trueseed("release", "deepseek", "--evidence", contract)
    assert (code, "the quota of the account is used up" in said) == (0, True)
    used_up.ask(DEEPSEEK, count=4, key_from="ANOTHER_KEY")


def test_a_gateway_that_met_it_lets_nothing_past_either(place):
    place.reads("as-signed", "deepseek/*", "permit train")
    place.provider.behave(Behaviour(quota_requests=1))
    ways = [place.endpoint(DEEPSEEK), place.endpoint("deepseek/deepseek-chat@openrouter", key_from="ANOTHER_KEY")]
    ways[1]["base_url"] = place.provider.openai
    token = Keys(Account.open()).issue(Grant(owner="ana", project="seed", uses=frozenset({Use.TRAIN}))).token
    with gateway(place.workspace, Config.model_validate({"upstreams": ways})) as service, serving(service) as url:

        def through(source: str) -> tuple[int, str]:
            body = {"model": source, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}
            head = {"Authorization": f"Bearer {token}"}
            told = httpx.post(f"{url}/v1/chat/completions", json=body, headers=head, timeout=20)
            return told.status_code, "" if told.is_success else told.json()["error"]["code"]

        assert [through(DEEPSEEK) for _ in range(2)] == [(200, ""), (429, "insufficient_quota")]
        place.provider.behave(Behaviour())
        before = place.provider.counts()
        assert through("deepseek/deepseek-chat@openrouter") == (429, "insufficient_quota")
        assert place.provider.counts() == before
    assert statements(place) == ["met"]
    not_past_it(place, key_from="ANOTHER_KEY")


@pytest.mark.parametrize("route", ROUTES)
def test_a_run_goes_on_at_no_other_route_of_the_maker(place, route):
    other = place.endpoint(f"deepseek/deepseek-chat{route}", base_url=place.provider.openai)
    code, said = place.trueseed("run", place.run_file(DEEPSEEK, failover=[{"remote": other}]))
    assert (code, "go on with another maker's" in said) == (2, True)
    assert place.provider.counts()["arrived"] == 0
