import csv
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trueseed.core.settings import read as read_settings
from trueseed.errors import ConfigError
from trueseed.teachers.simulator import Behaviour, Faults, Simulator, simulator
from trueseed.teachers.simulator.answers import said
from trueseed.teachers.simulator.book import key_id
from trueseed.teachers.simulator.dialects import duration
from trueseed.teachers.simulator.instance import instance
from trueseed.teachers.simulator.limits import Bucket
from trueseed.teachers.simulator.question import Unreadable, read

SOON_S = 20  # to fail instead of hanging
KEY = "sk-simulated-0123456789"

Simulate = Callable[..., Simulator]


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with simulator() as provider:
        yield provider


@pytest.fixture
def simulate(running: Simulator) -> Simulate:
    """A provider that behaves as given and has seen nothing yet."""

    def behaving(**behaviour: Any) -> Simulator:
        running.behave(Behaviour(**behaviour))
        running.reset()
        return running

    return behaving


def openai_client(provider: Simulator, key: str = KEY, timeout: float = SOON_S) -> openai.OpenAI:
    return openai.OpenAI(base_url=provider.openai, api_key=key, max_retries=0, timeout=timeout)


def anthropic_client(provider: Simulator) -> openai.OpenAI:
    return openai.OpenAI(base_url=provider.anthropic, api_key=KEY, max_retries=0, timeout=SOON_S)


def azure_client(provider: Simulator) -> openai.OpenAI:
    return openai.AzureOpenAI(
        azure_endpoint=provider.url, api_key=KEY, api_version="2024-10-21", max_retries=0, timeout=SOON_S
    )


CLIENTS = {"openai": openai_client, "azure": azure_client, "anthropic": anthropic_client}


def ask(provider: Simulator, text: str = "say something", *, dialect: str = "openai", **more: Any) -> Any:
    with CLIENTS[dialect](provider) as client:
        messages = more.pop("messages", [{"role": "user", "content": text}])
        return client.chat.completions.create(model="simulated", messages=messages, **more)


def streamed(provider: Simulator, text: str = "say something", **more: Any) -> list[Any]:
    with openai_client(provider) as client:
        messages: Any = [{"role": "user", "content": text}]
        return list(client.chat.completions.create(model="simulated", messages=messages, stream=True, **more))


def spoken(events: list[Any]) -> str:
    return "".join(event.choices[0].delta.content or "" for event in events if event.choices)


def post(provider: Simulator, path: str = "/v1/chat/completions", **more: Any) -> httpx.Response:
    body = {"model": "simulated", "messages": [{"role": "user", "content": "say something"}]} | more.pop("body", {})
    headers = more.pop("headers", {"Authorization": f"Bearer {KEY}"})
    return httpx.post(provider.url + path, json=body, headers=headers, timeout=SOON_S, trust_env=False, **more)


def get(provider: Simulator, path: str, key: str = KEY) -> httpx.Response:
    return httpx.get(provider.url + path, headers={"Authorization": f"Bearer {key}"}, timeout=SOON_S, trust_env=False)


def refused(provider: Simulator, error: type[openai.APIStatusError], dialect: str = "openai", **more: Any) -> Any:
    with pytest.raises(error) as caught:
        ask(provider, dialect=dialect, **more)
    return caught.value


# What it answers


def test_the_same_question_is_answered_the_same_on_every_dialect(simulate: Simulate) -> None:
    provider = simulate()
    answers = {ask(provider, dialect=dialect).choices[0].message.content for dialect in CLIENTS}
    assert len(answers) == 1


def test_azure_answers_on_its_v1_path_too(simulate: Simulate) -> None:
    provider = simulate()
    reply = post(provider, "/openai/v1/chat/completions", headers={"api-key": KEY})
    assert reply.json()["choices"][0]["message"]["content"] == ask(provider).choices[0].message.content


def test_different_questions_have_different_answers(simulate: Simulate) -> None:
    provider = simulate(answer_words=1, answer_words_spread=0)
    answers = {ask(provider, f"question {number}").choices[0].message.content for number in range(20)}
    assert len(answers) == 20


def test_another_seed_of_the_behaviour_says_something_else(simulate: Simulate) -> None:
    first = ask(simulate(seed=1)).choices[0].message.content
    assert ask(simulate(seed=2)).choices[0].message.content != first


def test_another_seed_of_the_request_says_something_else(simulate: Simulate) -> None:
    provider = simulate()
    assert ask(provider, seed=1).choices[0].message.content != ask(provider, seed=2).choices[0].message.content


def test_several_choices_differ_and_are_counted_together(simulate: Simulate) -> None:
    answer = ask(simulate(answer_words=5, answer_words_spread=0), n=3)
    assert len({choice.message.content for choice in answer.choices}) == 3
    assert answer.usage.completion_tokens == 15


def test_a_word_is_a_token(simulate: Simulate) -> None:
    answer = ask(simulate(), "one two three")
    assert answer.usage.prompt_tokens == 3
    assert answer.usage.completion_tokens == len(answer.choices[0].message.content.split())


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_an_answer_is_cut_at_the_bound(simulate: Simulate, name: str) -> None:
    choice = ask(simulate(), **{name: 3}).choices[0]
    assert (len(choice.message.content.split()), choice.finish_reason) == (3, "length")


def test_an_answer_ends_before_a_stop_string(simulate: Simulate) -> None:
    choice = ask(simulate(), stop=[" "]).choices[0]
    assert (len(choice.message.content.split()), choice.finish_reason) == (1, "stop")


def test_every_token_has_its_log_probability(simulate: Simulate) -> None:
    choice = ask(simulate(), logprobs=True, top_logprobs=2).choices[0]
    assert "".join(token.token for token in choice.logprobs.content) == choice.message.content
    assert all(len(token.top_logprobs) == 2 for token in choice.logprobs.content)
    assert all(token.top_logprobs[0].token == token.token for token in choice.logprobs.content)


def test_a_stream_says_what_the_whole_answer_says(simulate: Simulate) -> None:
    provider = simulate()
    assert spoken(streamed(provider)) == ask(provider).choices[0].message.content


def test_a_stream_has_usage_only_when_asked(simulate: Simulate) -> None:
    provider = simulate()
    assert all(event.usage is None for event in streamed(provider))
    assert streamed(provider, stream_options={"include_usage": True})[-1].usage == ask(provider).usage


TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"days": {"type": "integer", "minimum": 1}}},
    },
}


def test_an_offered_tool_is_called_with_arguments_that_its_schema_allows(simulate: Simulate) -> None:
    choice = ask(simulate(), tools=[TOOL]).choices[0]
    call = choice.message.tool_calls[0].function
    assert (call.name, json.loads(call.arguments), choice.finish_reason) == ("weather", {"days": 1}, "tool_calls")


def test_a_tool_is_called_in_a_stream(simulate: Simulate) -> None:
    events = streamed(simulate(), tools=[TOOL])
    calls = [event.choices[0].delta.tool_calls for event in events if event.choices[0].delta.tool_calls]
    assert [call[0].function.name for call in calls] == ["weather"]


def test_after_a_tool_has_answered_there_is_text(simulate: Simulate) -> None:
    messages = [{"role": "user", "content": "and?"}, {"role": "tool", "tool_call_id": "call_1", "content": "rain"}]
    assert ask(simulate(), tools=[TOOL], messages=messages).choices[0].message.content


def test_json_that_was_asked_for_fits_its_schema(simulate: Simulate) -> None:
    schema = {"type": "object", "properties": {"kind": {"enum": ["a", "b"]}, "name": {"type": "string"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema, "strict": True}}
    said = json.loads(ask(simulate(), response_format=wanted).choices[0].message.content)
    assert (said["kind"], type(said["name"])) == ("a", str)


def test_a_schema_that_never_ends_is_refused(simulate: Simulate) -> None:
    schema = {"type": "object", "properties": {"again": {"$ref": "#"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema}}
    assert "contains itself" in refused(simulate(), openai.BadRequestError, response_format=wanted).message


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [True, True]),
        ({"type": ["string", "null"]}, "word"),
        ({"type": "integer", "exclusiveMinimum": 6, "multipleOf": 3}, 9),
        ({"type": "integer", "exclusiveMaximum": 0}, -1),
        ({"type": "number", "maximum": -2}, -2),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
        ({"type": "string", "minLength": 6}, "wordaa"),
        ({"type": "string", "maxLength": 2}, "wo"),
        ({"const": 7}, 7),
        ({"anyOf": [{"$ref": "#"}, {"type": "null"}]}, None),
        ({"$ref": "#/$defs/it", "$defs": {"it": {"type": "null"}}}, None),
        ({"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]}, {"a": 1, "b": 2}),
    ],
)
def test_a_schema_has_an_instance(schema: dict[str, Any], value: Any) -> None:
    assert instance(schema, "word") == value


PATIENTLY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["model", "messages", "n", "stop", "tools", "tool_choice", "response_format", "stream_options", "logprobs"]


@PATIENTLY
@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_whatever_is_sent_is_a_question_or_unreadable(body: dict[str, Any]) -> None:
    usual = {"model": "simulated", "messages": [{"role": "user", "content": "hello"}]}
    with suppress(Unreadable):
        said(read(json.dumps(usual | body).encode()), 0, Behaviour())


KEYWORDS = ["type", "properties", "required", "items", "minItems", "anyOf", "allOf", "$ref", "enum", "multipleOf"]
VALUES = JSON | st.sampled_from(["object", "array", "integer", "#", "#/items"])


@PATIENTLY
@given(st.dictionaries(st.sampled_from(KEYWORDS), VALUES))
def test_whatever_the_schema_there_is_json_or_it_is_unreadable(schema: dict[str, Any]) -> None:
    wanted = {"type": "json_schema", "json_schema": {"schema": schema}}
    body = {"model": "simulated", "messages": [{"role": "user", "content": "hello"}], "response_format": wanted}
    with suppress(Unreadable):
        json.loads(said(read(json.dumps(body).encode()), 0, Behaviour()).text)


# What it refuses


@pytest.mark.parametrize(
    ("dialect", "status", "words"),
    [
        ("openai", 401, "account_deactivated"),
        ("azure", 403, "temporarily blocked"),
        ("anthropic", 400, "This organization has been disabled."),
    ],
)
def test_a_suspended_account_is_told_so_in_the_words_of_its_provider(
    simulate: Simulate, dialect: str, status: int, words: str
) -> None:
    error = refused(simulate(suspend_at=1), openai.APIStatusError, dialect)
    assert error.status_code == status
    assert words in error.response.text


def test_anthropic_can_disable_an_organization_with_either_status(simulate: Simulate) -> None:
    refused(simulate(suspend_at=1, disabled_status=403), openai.PermissionDeniedError, "anthropic")


def test_suspension_begins_at_the_call_that_was_named(simulate: Simulate) -> None:
    provider = simulate(suspend_at=3)
    ask(provider, "first"), ask(provider, "second")
    refused(provider, openai.AuthenticationError)
    assert provider.counts()["billed"] == 2


def test_a_suspension_holds_on_every_dialect_and_key(simulate: Simulate) -> None:
    provider = simulate()
    provider.suspend()
    for dialect in CLIENTS:
        refused(provider, openai.APIStatusError, dialect)
    assert post(provider, headers={"Authorization": "Bearer sk-another"}).status_code == 401
    assert provider.counts()["reached_suspended"] == {"openai": 2, "azure": 1, "anthropic": 1}


def test_a_suspension_lasts_until_it_is_lifted_and_does_not_come_back(simulate: Simulate) -> None:
    provider = simulate(suspend_at=1)
    refused(provider, openai.AuthenticationError), refused(provider, openai.AuthenticationError)
    provider.lift()
    assert ask(provider) and ask(provider, "once more")
    assert not provider.counts()["suspended"]


def test_a_suspended_key_lists_no_models(simulate: Simulate) -> None:
    provider = simulate()
    provider.suspend()
    assert get(provider, "/v1/models").status_code == 401


@pytest.mark.parametrize(
    ("dialect", "status", "words"),
    [
        ("openai", 429, '"code": "insufficient_quota"'),
        ("azure", 429, '"code": "insufficient_quota"'),
        ("anthropic", 400, "Your credit balance is too low"),
    ],
)
def test_credit_that_ended_is_told_in_the_words_of_the_provider(
    simulate: Simulate, dialect: str, status: int, words: str
) -> None:
    provider = simulate(quota_requests=1)
    ask(provider, dialect=dialect)
    error = refused(provider, openai.APIStatusError, dialect)
    assert error.status_code == status
    assert words in error.response.text


def test_a_quota_of_tokens_ends_with_the_call_that_uses_it_up(simulate: Simulate) -> None:
    provider = simulate(quota_tokens=15, answer_words=8, answer_words_spread=0)
    ask(provider), ask(provider)  # 2 + 8 tokens each
    refused(provider, openai.RateLimitError)
    assert provider.counts()["billed"] == 2


def test_credit_can_be_bought(simulate: Simulate) -> None:
    provider = simulate(quota_requests=1)
    ask(provider)
    provider.behave(Behaviour(quota_requests=2))
    ask(provider)
    refused(provider, openai.RateLimitError)


@pytest.mark.parametrize(
    ("dialect", "code"),
    [("openai", "unsupported_country_region_territory"), ("azure", "403"), ("anthropic", "forbidden")],
)
def test_a_region_is_refused(simulate: Simulate, dialect: str, code: str) -> None:
    error = refused(simulate(region_refused=True), openai.PermissionDeniedError, dialect)
    assert error.code == code


@pytest.mark.parametrize(
    ("dialect", "code"), [("openai", "invalid_api_key"), ("azure", "401"), ("anthropic", "authentication_error")]
)
def test_a_wrong_key_is_refused_and_never_said_in_full(simulate: Simulate, dialect: str, code: str) -> None:
    error = refused(simulate(keys=["sk-right"]), openai.AuthenticationError, dialect)
    assert error.code == code
    assert KEY not in error.response.text


def test_a_call_without_a_key_is_refused(simulate: Simulate) -> None:
    assert post(simulate(), headers={}).status_code == 401


def test_a_model_that_is_not_there_is_refused(simulate: Simulate) -> None:
    provider = simulate(models=["another"])
    assert refused(provider, openai.NotFoundError).code == "model_not_found"
    assert refused(provider, openai.NotFoundError, "azure").code == "DeploymentNotFound"
    assert refused(provider, openai.NotFoundError, "anthropic").code == "not_found_error"


def test_azure_wants_to_know_the_version_of_a_deployment(simulate: Simulate) -> None:
    path = "/openai/deployments/simulated/chat/completions"
    assert post(simulate(), path, headers={"api-key": KEY}).json()["error"]["code"] == "404"


def test_a_prompt_too_long_for_the_model_is_refused(simulate: Simulate) -> None:
    error = refused(simulate(context_tokens=10), openai.BadRequestError, max_tokens=100)
    assert error.code == "context_length_exceeded"


def test_the_content_filter_refuses_what_it_looks_for(simulate: Simulate) -> None:
    provider = simulate(filtered="something")
    assert refused(provider, openai.BadRequestError).code == "invalid_prompt"
    assert refused(provider, openai.BadRequestError, "azure").code == "content_filter"
    assert ask(provider, "anything else")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"content": "hello"}]}, "messages.[0].role"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": "two"}, "n"),
        ({"n": 129}, "n"),
        ({"stop": 7}, "stop"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"tools": ["weather"]}, "tools"),
        ({"model": None}, "model"),
    ],
)
def test_a_body_that_is_no_question_is_refused_with_its_parameter(
    simulate: Simulate, body: dict[str, Any], param: str
) -> None:
    reply = post(simulate(), body=body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


def test_a_body_that_is_not_json_is_refused(simulate: Simulate) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    url = simulate().openai + "/chat/completions"
    assert httpx.post(url, content=b"{", headers=headers, trust_env=False).status_code == 400


def test_a_refused_call_is_counted_and_not_billed(simulate: Simulate) -> None:
    provider = simulate(models=["another"])
    refused(provider, openai.NotFoundError)
    counts = provider.counts()
    assert (counts["arrived"], counts["refused"], counts["billed"]) == (1, {"no_model": 1}, 0)


# Limits


@pytest.mark.parametrize("dialect", list(CLIENTS))
def test_more_requests_than_a_minute_allows_are_told_to_wait(simulate: Simulate, dialect: str) -> None:
    provider = simulate(requests_per_minute=1)
    ask(provider, dialect=dialect)
    error = refused(provider, openai.RateLimitError, dialect)
    assert 1 <= int(error.response.headers["retry-after"]) <= 60
    assert error.code != "insufficient_quota"


def test_tokens_are_limited_by_what_an_answer_may_have(simulate: Simulate) -> None:
    provider = simulate(tokens_per_minute=100)
    ask(provider, max_tokens=60)
    error = refused(provider, openai.RateLimitError, max_tokens=60)
    assert (error.type, error.code) == ("tokens", "rate_limit_exceeded")


def test_limits_are_told_in_headers(simulate: Simulate) -> None:
    headers = post(simulate(requests_per_minute=10, tokens_per_minute=1000), body={"max_tokens": 98}).headers
    assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]) == ("10", "9")
    assert (headers["x-ratelimit-limit-tokens"], headers["x-ratelimit-remaining-tokens"]) == ("1000", "900")
    assert headers["x-ratelimit-reset-requests"].endswith("s")


def test_anthropic_tells_its_limits_in_headers_of_its_own_too(simulate: Simulate) -> None:
    headers = post(simulate(requests_per_minute=10), "/anthropic/v1/chat/completions").headers
    assert headers["anthropic-ratelimit-requests-remaining"] == headers["x-ratelimit-remaining-requests"] == "9"
    assert headers["anthropic-ratelimit-requests-reset"].endswith("Z")


def test_azure_tells_resets_in_whole_seconds(simulate: Simulate) -> None:
    headers = post(simulate(requests_per_minute=10), "/openai/v1/chat/completions", headers={"api-key": KEY}).headers
    assert headers["x-ratelimit-reset-requests"].isdigit()


def test_headers_can_be_absurd_as_azure_had_them(simulate: Simulate) -> None:
    headers = post(simulate(requests_per_minute=1, rate_headers="absurd")).headers
    told = [headers[f"x-ratelimit-{what}-requests"] for what in ("limit", "remaining", "reset")]
    assert told == ["-1", "-1", "0"]


@pytest.mark.parametrize("absurd", ["-1", "86400", "soon"])
def test_the_time_to_wait_can_be_absurd(simulate: Simulate, absurd: str) -> None:
    provider = simulate(faults=Faults(rate_limited=1), retry_after=absurd)
    assert refused(provider, openai.RateLimitError).response.headers["retry-after"] == absurd


def test_headers_can_be_absent(simulate: Simulate) -> None:
    provider = simulate(requests_per_minute=1, rate_headers="absent")
    ask(provider)
    headers = refused(provider, openai.RateLimitError).response.headers
    assert not [name for name in headers if "ratelimit" in name or "retry" in name]


def test_a_bucket_fills_up_evenly() -> None:
    now = 0.0
    bucket = Bucket(60, minute_s=60, clock=lambda: now)
    bucket.take(60)
    assert bucket.missing_s(1) == 1
    now = 30.0
    assert (bucket.missing_s(1), bucket.room.left, bucket.room.full_in_s) == (0, 30, 30)


def test_a_bucket_lets_the_largest_call_through_when_it_is_full() -> None:
    bucket = Bucket(10, minute_s=60, clock=lambda: 0.0)
    assert bucket.missing_s(1000) == 0


@pytest.mark.parametrize(("seconds", "told"), [(0.12, "120ms"), (8.64, "8.64s"), (360, "6m0s"), (61.5, "1m1.5s")])
def test_durations_are_written_as_openai_writes_them(seconds: float, told: str) -> None:
    assert duration(seconds) == told


# Faults


@pytest.mark.parametrize(
    ("fault", "dialect", "status"),
    [
        ("server_error", "openai", 500),
        ("overloaded", "openai", 503),
        ("overloaded", "anthropic", 529),
        ("rate_limited", "azure", 429),
        ("bad_gateway", "openai", 502),
    ],
)
def test_a_fault_before_the_answer_is_not_billed(simulate: Simulate, fault: str, dialect: str, status: int) -> None:
    provider = simulate(faults=Faults(**{fault: 1}))
    assert refused(provider, openai.APIStatusError, dialect).status_code == status
    counts = provider.counts()
    assert (counts["faults"], counts["refused"], counts["billed"]) == ({fault: 1}, {}, 0)


def test_a_page_in_html_may_come_with_status_200(simulate: Simulate) -> None:
    reply = post(simulate(faults=Faults(html=1)))
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")


@pytest.mark.parametrize(("fault", "billed"), [("dropped", 0), ("lost", 1), ("cut", 1)])
@pytest.mark.parametrize("stream", [False, True])
def test_a_connection_that_ends_early_is_billed_if_there_was_an_answer(
    simulate: Simulate, fault: str, billed: int, stream: bool
) -> None:
    provider = simulate(faults=Faults(**{fault: 1}))
    with pytest.raises((openai.APIConnectionError, httpx.TransportError)):
        streamed(provider) if stream else ask(provider)
    assert provider.settled()["billed"] == billed


def test_a_cut_stream_has_begun_and_does_not_say_that_it_is_done(simulate: Simulate) -> None:
    url = simulate(faults=Faults(cut=1)).openai + "/chat/completions"
    body = {"model": "simulated", "messages": [{"role": "user", "content": "hello"}], "stream": True}
    lines = []
    with (
        httpx.stream("POST", url, json=body, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False) as reply,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        lines += reply.iter_lines()
        lines.extend(reply.iter_lines())
    assert "data: [DONE]" not in lines


def test_malformed_json_is_billed(simulate: Simulate) -> None:
    provider = simulate(faults=Faults(malformed=1))
    with pytest.raises(json.JSONDecodeError):
        post(provider).json()
    with pytest.raises(json.JSONDecodeError):
        streamed(provider)
    assert provider.counts()["billed"] == 2


def test_choices_may_be_empty(simulate: Simulate) -> None:
    provider = simulate(faults=Faults(empty_choices=1))
    assert ask(provider).choices == []
    assert not any(event.choices for event in streamed(provider))


def test_usage_may_be_missing(simulate: Simulate) -> None:
    provider = simulate(faults=Faults(missing_usage=1))
    assert ask(provider).usage is None
    assert not any(event.usage for event in streamed(provider, stream_options={"include_usage": True}))


def test_usage_may_be_wrong_and_the_bill_is_right(simulate: Simulate) -> None:
    provider = simulate(faults=Faults(wrong_usage=1), answer_words=5, answer_words_spread=0)
    usage = ask(provider).usage
    assert (usage.completion_tokens, usage.total_tokens) == (10, 7)
    assert provider.counts()["completion_tokens"] == 5


def test_an_answer_may_be_huge(simulate: Simulate) -> None:
    provider = simulate(faults=Faults(huge=1), huge_bytes=3_000_000)
    reply = post(provider)
    assert len(reply.content) > 3_000_000
    assert reply.json()["choices"]


def test_events_may_come_twice(simulate: Simulate) -> None:
    provider = simulate(faults=Faults(duplicated=1), answer_words=4, answer_words_spread=0)
    assert len(spoken(streamed(provider)).split()) == 8 - 1  # the first word has no blank before it
    assert provider.counts()["completion_tokens"] == 4


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_may_fall_silent(simulate: Simulate, stream: bool) -> None:
    provider = simulate(faults=Faults(stalled=1), stall_s=2)
    with openai_client(provider, timeout=0.2) as client, pytest.raises((openai.APITimeoutError, httpx.ReadTimeout)):
        messages: Any = [{"role": "user", "content": "hello"}]
        list(client.chat.completions.create(model="simulated", messages=messages, stream=stream))
    assert provider.counts()["billed"] == 1


def test_a_stream_with_pauses_is_the_same_stream(simulate: Simulate) -> None:
    quick = spoken(streamed(simulate()))
    assert spoken(streamed(simulate(stream_gap_s=0.001))) == quick


def test_a_slow_stream_may_be_cut(simulate: Simulate) -> None:
    provider = simulate(stream_gap_s=0.001, faults=Faults(cut=1))
    with pytest.raises((openai.APIConnectionError, httpx.TransportError)):
        streamed(provider)


def test_what_fails_once_may_succeed_when_tried_again_and_so_in_every_run(simulate: Simulate) -> None:
    def statuses() -> list[int]:
        provider = simulate(seed=7, faults=Faults(server_error=0.5))
        return [post(provider).status_code for _ in range(12)]

    first = statuses()
    assert set(first) == {200, 500}
    assert statuses() == first


def test_which_call_fails_does_not_depend_on_the_order_of_asking(simulate: Simulate) -> None:
    def failing(order: list[int]) -> set[int]:
        provider = simulate(seed=7, faults=Faults(server_error=0.3))
        bodies = {number: {"messages": [{"role": "user", "content": f"question {number}"}]} for number in order}
        return {number for number in order if post(provider, body=bodies[number]).status_code == 500}

    assert failing(list(range(12))) == failing(list(reversed(range(12)))) != set()


# What is billed


def test_a_call_is_billed_although_the_client_has_hung_up(simulate: Simulate) -> None:
    provider = simulate(latency_s=0.3)
    with openai_client(provider, timeout=0.05) as client, pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model="simulated", messages=[{"role": "user", "content": "hello"}])
    assert provider.settled()["billed"] == 1


def test_a_call_that_was_open_at_a_reset_is_not_counted_after_it(simulate: Simulate) -> None:
    provider = simulate(latency_s=0.3)
    with ThreadPoolExecutor(1) as pool:
        open_call = pool.submit(ask, provider)
        while not provider.counts()["open"]:
            pass
        provider.reset()
        assert open_call.result().choices
    counts = provider.counts()
    assert (counts["admitted"], counts["open"], counts["billed"]) == (0, 0, 0)


def test_a_question_asked_twice_is_billed_twice_and_counted_as_repeated(simulate: Simulate) -> None:
    provider = simulate()
    ask(provider), ask(provider), ask(provider, "another")
    counts = provider.counts()
    assert (counts["billed"], counts["distinct"], counts["repeated"]) == (3, 2, 1)


def test_who_tries_again_only_what_was_not_billed_has_every_question_billed_once(simulate: Simulate) -> None:
    provider = simulate(faults=Faults(server_error=0.3, rate_limited=0.1, html=0.1))

    def answered(number: int) -> str:
        body = {"messages": [{"role": "user", "content": f"question {number}"}]}
        while not (reply := post(provider, body=body)).headers["content-type"].startswith("application/json") or (
            reply.status_code != 200
        ):
            pass
        return str(reply.json()["choices"][0]["message"]["content"])

    with ThreadPoolExecutor(4) as pool:
        answers = set(pool.map(answered, range(40)))
    counts = provider.counts()
    assert (len(answers), counts["billed"], counts["distinct"], counts["repeated"]) == (40, 40, 40, 0)
    assert counts["arrived"] == 40 + sum(counts["faults"].values())


def test_bills_are_told_by_model_key_and_dialect(simulate: Simulate) -> None:
    provider = simulate()
    ask(provider), ask(provider, dialect="azure")
    counts = provider.counts()
    assert counts["by_model"] == {"simulated": 2}
    assert counts["by_key"] == {key_id(KEY): 2}
    assert counts["by_dialect"] == {"openai": 1, "azure": 1}


def test_no_key_is_told_anywhere(simulate: Simulate) -> None:
    provider = simulate()
    ask(provider)
    assert KEY not in json.dumps(provider.counts()) + provider.usage_csv()


def test_usage_is_read_with_the_client_of_openai(simulate: Simulate) -> None:
    provider = simulate(admin_key="sk-admin-1")
    answer = ask(provider)
    with openai.OpenAI(base_url=provider.openai, api_key="", admin_api_key="sk-admin-1", max_retries=0) as client:
        page = client.admin.organization.usage.completions(
            start_time=int(time.time()) - 86400, bucket_width="1h", limit=48, group_by=["model", "api_key_id"]
        )
    results = [result for bucket in page.data for result in bucket.results]
    assert [(r.model, r.api_key_id, r.num_model_requests, r.input_tokens, r.output_tokens) for r in results] == [
        ("simulated", key_id(KEY), 1, answer.usage.prompt_tokens, answer.usage.completion_tokens)
    ]


def test_usage_comes_in_pages(simulate: Simulate) -> None:
    provider, found, start = simulate(), 0, int(time.time()) - 10 * 86400
    ask(provider)
    path = f"/v1/organization/usage/completions?start_time={start}&limit=4"
    page = get(provider, path).json()
    for _ in range(2):
        assert (len(page["data"]), page["has_more"]) == (4, True)
        page = get(provider, f"{path}&page={page['next_page']}").json()
    found = sum(result["num_model_requests"] for bucket in page["data"] for result in bucket["results"])
    assert (found, page["has_more"], page["next_page"]) == (1, False, None)


def test_usage_is_not_told_to_another_key(simulate: Simulate) -> None:
    reply = get(simulate(admin_key="sk-admin-1"), "/v1/organization/usage/completions?start_time=0")
    assert reply.status_code == 401


@pytest.mark.parametrize("query", ["", "start_time=0&bucket_width=2d", "start_time=soon", "start_time=0&limit=x"])
def test_a_usage_query_that_cannot_be_read_is_refused(simulate: Simulate, query: str) -> None:
    assert get(simulate(), f"/v1/organization/usage/completions?{query}").status_code == 400


def test_usage_can_be_read_while_the_account_is_suspended(simulate: Simulate) -> None:
    provider = simulate()
    provider.suspend()
    assert get(provider, f"/v1/organization/usage/completions?start_time={int(time.time())}").status_code == 200


def test_usage_is_exported_as_csv(simulate: Simulate) -> None:
    provider = simulate()
    ask(provider), ask(provider, "another")
    (line,) = csv.DictReader(provider.usage_csv().splitlines())
    assert (line["model"], line["num_model_requests"], line["input_tokens"]) == ("simulated", "2", "3")


# How it runs


def test_models_are_listed(simulate: Simulate) -> None:
    with openai_client(simulate(models=["large", "small"])) as client:
        assert [model.id for model in client.models.list()] == ["large", "small"]


def test_an_unknown_path_is_refused(simulate: Simulate) -> None:
    provider = simulate()
    assert get(provider, "/v1/embeddings").status_code == 404
    assert get(provider, "/simulator/nothing").status_code == 404


def test_a_behaviour_that_makes_no_sense_changes_nothing(simulate: Simulate) -> None:
    provider = simulate(models=["large"])
    reply = httpx.put(provider.url + "/simulator/behaviour", json={"modles": ["small"]}, trust_env=False)
    assert reply.status_code == 400
    assert get(provider, "/simulator/behaviour").json()["models"] == ["large"]


def test_more_faults_than_calls_are_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"the shares are 1\.1 together"):
        Faults(cut=0.6, lost=0.5)


@given(st.integers(min_value=0, max_value=2**64), st.floats(min_value=0, max_value=1))
def test_a_behaviour_survives_the_wire(seed: int, share: float) -> None:
    behaviour = Behaviour(seed=seed, models=("a", "b"), faults=Faults(cut=share))
    assert Behaviour.model_validate_json(behaviour.model_dump_json()) == behaviour


def test_a_port_in_use_is_a_mistake_of_configuration(running: Simulator) -> None:
    port = int(running.url.rpartition(":")[2])
    with pytest.raises(ConfigError, match=f"port {port}"), simulator(port=port):
        pass


def test_it_ends_while_a_call_is_open(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.ERROR),
        simulator(Behaviour(latency_s=600)) as provider,
        openai_client(provider, timeout=0.2) as client,
        pytest.raises(openai.APITimeoutError),
    ):
        client.chat.completions.create(model="simulated", messages=[{"role": "user", "content": "hello"}])
    assert caplog.records == []


def test_it_runs_in_a_process_of_its_own() -> None:
    with simulator(Behaviour(suspend_at=2), process=True) as provider:
        ask(provider)
        refused(provider, openai.AuthenticationError)
        assert provider.counts()["billed"] == 1


def test_a_process_that_cannot_start_is_a_mistake_of_configuration(running: Simulator) -> None:
    port = int(running.url.rpartition(":")[2])
    with pytest.raises(ConfigError, match=f"did not start on port {port}"), simulator(port=port, process=True):
        pass


def test_its_process_ends_when_who_started_it_is_killed() -> None:
    program = (
        "import time\n"
        "from trueseed.teachers.simulator import simulator\n"
        "with simulator(process=True) as provider:\n"
        "    print(provider.url, flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        provider = Simulator(parent.stdout.readline().strip())
        assert provider.counts()["arrived"] == 0
        parent.kill()
    deadline = time.monotonic() + SOON_S
    with pytest.raises(ConnectionError):
        while time.monotonic() < deadline:
            provider.counts()


def test_it_is_run_by_hand_with_a_behaviour_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "behaviour.yaml"
    file.write_text("models: [large]\nfaults: {server_error: 0.5}\n")
    command = [sys.executable, "-m", "trueseed.teachers.simulator", "--behaviour", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        provider = Simulator(child.stdout.readline().strip())
        models = [card["id"] for card in get(provider, "/v1/models").json()["data"]]
        os.kill(child.pid, signal.SIGTERM)
    assert models == ["large"]


def test_a_mistake_in_the_file_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "behaviour.yaml"
    file.write_text("latency: 1\n")
    command = [sys.executable, "-m", "trueseed.teachers.simulator", "--behaviour", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SOON_S)
    assert done.returncode == 2
    assert "line 1: unknown key 'latency'; did you mean 'latency_s'?" in done.stderr


def test_without_an_http_server_it_says_what_to_install() -> None:
    program = "import sys; sys.modules['uvicorn'] = None; import trueseed.teachers.simulator"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=SOON_S)
    assert "ConfigError: the simulator needs an HTTP server; pip install 'trueseed[serve]'" in done.stderr


def documented(language: str) -> str:
    text = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8")
    return text.partition(f"```{language}\n")[2].partition("```")[0]


def test_the_documented_program_runs() -> None:
    exec(documented("python"), {})


def test_the_documented_behaviour_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "behaviour.yaml"
    file.write_text(documented("yaml"))
    assert read_settings(file, Behaviour).models == ("large", "small")
