"""What a call through the gateway may cost, and is charged."""

import openai
import pytest
from tests.gateway.conftest import ask, refusal

from trueseed.teachers.simulator import Behaviour, Faults


def test_the_budget_of_a_key_is_not_exceeded(place):
    client = place.client(budget_micros=400)
    answered = 0
    with pytest.raises(openai.RateLimitError) as caught:
        for _ in range(20):
            ask(client)
            answered += 1
    assert answered >= 1
    assert caught.value.code == "budget_exceeded"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert place.keys.list()[0].charged_micros == place.charged()[1] <= 400


def test_a_limit_says_when_it_opens_again(opened):
    with opened(limits=[{"source": "deepseek/*", "per": "minute", "requests": 2}]) as place:
        client = place.client()
        ask(client)
        ask(client)
        told = refusal(client)
    assert (told.status_code, told.code) == (429, "rate_limit_exceeded")
    headers = told.response.headers
    assert 1 <= int(headers["retry-after"]) <= 62
    assert headers["x-ratelimit-limit-requests"] == "2"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-ratelimit-reset-requests"].endswith("s")


def test_a_limit_that_never_opens_again_asks_for_no_retry(opened):
    with opened(limits=[{"source": "deepseek/*", "per": "total", "tokens": 1}]) as place:
        told = refusal(place.client())
    assert (told.status_code, told.code) == (429, "allowance_exceeded")
    assert told.response.headers["x-should-retry"] == "false"
    assert "retry-after" not in told.response.headers


def test_missing_usage_is_charged_as_reserved(opened):
    with opened(Behaviour(faults=Faults(missing_usage=1))) as place:
        ask(place.client(), max_tokens=50)
        list(ask(place.client(), max_tokens=50, stream=True))
        tokens, _ = place.charged()
        assert [call["usage"] for call in place.calls()] == ["not told", "not told"]
    assert tokens > 2 * 50


def test_what_is_not_billed_by_tokens_is_refused(place):
    told = refusal(place.client(), extra_body={"prediction": {"type": "content", "content": "soup"}})
    assert (told.status_code, told.param) == (400, "prediction")
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]}]
    assert refusal(place.client(), messages=image).param == "messages"
    assert place.billed() == 0


def test_a_client_without_a_bound_is_given_one(opened):
    with opened(max_tokens=5) as place:
        assert ask(place.client(), max_tokens=None).usage.completion_tokens <= 5
        told = refusal(place.client(), max_tokens=6)
    assert (told.status_code, told.param) == (400, "max_tokens")
