"""They regularly hit their maximum allowance: a pause, and no other key, account, route or model of that maker."""

from typing import Any

import pytest
from tests.story.asking import ask
from tests.story.people import DEEPSEEK, Place

from trueseed.errors import Paused, TrueSeedError
from trueseed.teachers.account.limits import Limit
from trueseed.teachers.api.providers import Endpoint
from trueseed.teachers.simulator import Behaviour

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


# the provider's own limit, of which only its refusal tells


def test_its_quota_is_a_pause_and_the_same_command_goes_on_when_it_is_raised(place):
    place.provider.behave(Behaviour(quota_requests=2))
    with pytest.raises(Paused, match="the quota of the account is used up") as caught:
        place.ask(DEEPSEEK, at_once=1)
    assert caught.value.exit_code == 6
    place.provider.behave(Behaviour())
    place.ask(DEEPSEEK, at_once=1)
    assert (place.provider.counts()["distinct"], place.provider.counts()["repeated"]) == (3, 0)


@pytest.mark.parametrize("route", ROUTES)
def test_a_run_goes_on_at_no_other_route_of_the_maker(place, route):
    other = place.endpoint(f"deepseek/deepseek-chat{route}", base_url=place.provider.openai)
    code, said = place.trueseed("run", place.run_file(DEEPSEEK, failover=[{"remote": other}]))
    assert (code, "go on with another maker's" in said) == (2, True)
    assert place.provider.counts()["arrived"] == 0
