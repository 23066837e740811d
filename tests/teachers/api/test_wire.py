"""Between a request and the wire: what is sent, and what is made of what comes back."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueseed.core.chat import Request, TokenLogprob, user
from trueseed.errors import ConfigError
from trueseed.teachers.api.actions import decide
from trueseed.teachers.api.providers import Endpoint, provider
from trueseed.teachers.api.wire import Unusable, Usage, body, failure, most, read, usage_of


def sent(source: str, **changes: Any) -> dict[str, Any]:
    endpoint = Endpoint(source=source)
    return body(Request(messages=user("hello"), **changes), model=endpoint.wire_model, provider=provider(endpoint))


def came(**changes: Any) -> bytes:
    choice = {"finish_reason": "stop", "message": {"content": "soup"}, **changes.pop("choice", {})}
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    return json.dumps({"choices": [choice], "usage": usage, **changes}).encode()


def ask(**changes: Any) -> Request:
    return Request(messages=user("hello"), **changes)


def test_each_provider_is_spoken_to_in_its_own_words():
    assert sent("openai/gpt-4o@api", max_tokens=9)["max_completion_tokens"] == 9
    assert sent("deepseek/deepseek-chat@api", max_tokens=9)["max_tokens"] == 9
    assert sent("openai/gpt-4o@api", seed=7)["extra_body"] == {"seed": 7}
    assert sent("mistral/mistral-small@api", seed=7)["extra_body"] == {"random_seed": 7}
    assert "extra_body" not in sent("anthropic/claude@api", seed=7)
    assert "temperature" not in sent("openai/o3@api")


@pytest.mark.parametrize(
    ("source", "changes", "what"),
    [
        ("openai/o3@api", {"temperature": 0.7}, "temperature"),
        ("openai/o3@api", {"logprobs": True}, "logprobs"),
        ("anthropic/claude@api", {"logprobs": True}, "logprobs"),
        ("anthropic/claude@api", {"temperature": 1.5}, "temperatures"),
        ("anthropic/claude@api", {"schema": {"type": "object"}}, "json_schema"),
    ],
)
def test_what_a_model_cannot_do_is_refused_rather_than_left_out(source, changes, what):
    with pytest.raises(ConfigError, match=what):
        sent(source, **changes)


def test_a_stop_string_that_the_server_does_not_know_is_applied_here():
    assert "stop" not in sent("openai/o3@api", stop=("END",))
    raw = came(choice={"message": {"content": "soup END bread"}})
    assert read(raw, ask(stop=("END",))).answer.text == "soup "


def test_an_answer_is_read():
    reply = read(came(), ask())
    assert (reply.answer.text, reply.answer.finish, reply.usage) == ("soup", "stop", Usage(3, 1))


@pytest.mark.parametrize(
    ("choice", "because"),
    [
        ({"finish_reason": "content_filter"}, "content filter"),
        ({"finish_reason": None}, "None"),
        ({"finish_reason": "recitation"}, "recitation"),
        ({"message": {"content": None, "refusal": "I cannot"}}, "declined"),
        ({"message": {"content": "\ud800"}}, "Unicode"),
    ],
)
def test_what_is_no_whole_answer_is_skipped_with_the_reason(choice, because):
    answer = read(came(choice=choice), ask()).answer
    assert (answer.finish, answer.text) == ("skipped", "")
    assert because in answer.because


def test_text_that_is_no_json_is_skipped_when_a_schema_was_given():
    assert read(came(), ask(schema={"type": "object"})).answer.finish == "skipped"


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"<html>", b"null", b"[]", b"3", b'{"choices": []}', b'{"choices": [null]}', b'{"choices": [{}]}',
        b'{"choices": [{"message": null}]}', b'{"choices": [{"message": {"content": 3}}]}', b"\xff\xfe",
        b"[" * 100_000,
        came(choice={"message": {"content": None, "tool_calls": [{"function": {"name": "unasked"}}]}}),
    ],
)  # fmt: skip
def test_a_body_that_is_no_completion_is_unusable(raw):
    with pytest.raises(Unusable):
        read(raw, ask())


NAMES = st.sampled_from(["choices", "message", "content", "finish_reason", "usage", "prompt_tokens", "tool_calls"])
PLAIN = st.none() | st.booleans() | st.integers() | st.text()


@given(st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner)))
def test_whatever_a_server_says_is_an_answer_or_unusable(value):
    for request in (ask(), ask(logprobs=True), ask(top_logprobs=1)):
        with contextlib.suppress(Unusable):
            read(json.dumps(value).encode(), request)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 1}, Usage(3, 1)),
        ({"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}, Usage(3, 1)),
        ({"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 9}, Usage(3, 6)),  # reasoning is billed
        ({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 4}, None),
        ({"prompt_tokens": -3, "completion_tokens": 1}, None),
        ({"prompt_tokens": 3.5, "completion_tokens": 1}, None),
        ({"prompt_tokens": True, "completion_tokens": 1}, None),
        ({"prompt_tokens": 10**30, "completion_tokens": 1}, None),
        ({"prompt_tokens": 0, "completion_tokens": 0}, None),
        ({}, None),
        (None, None),
    ],
)
def test_a_usage_that_cannot_be_true_is_none(value, expected):
    assert usage_of(value) == expected


@given(st.text())
def test_no_prompt_has_more_tokens_than_it_has_bytes_on_the_wire(text):
    assert most(Request(messages=user(text), max_tokens=5)).prompt > len(text.encode("utf-8", "replace"))


@pytest.mark.parametrize("logprobs", [None, {}, {"content": []}, {"content": [{"token": "a"}]},
                                      {"content": [{"token": "a", "logprob": 0.5}]}])  # fmt: skip
def test_log_probabilities_that_were_asked_for_must_be_there(logprobs):
    with pytest.raises(Unusable) as caught:
        read(came(choice={"logprobs": logprobs}), ask(logprobs=True))
    assert caught.value.cause == "NoLogprobs"


TOLD = {"id": 5, "token": "\ufffd", "bytes": [240, 159], "logprob": -0.5}


def test_the_most_probable_tokens_come_with_id_and_bytes():
    """As llama.cpp tells them: half a character has no text, and what ends an answer no bytes."""
    end = {"id": 2, "token": "", "bytes": [], "logprob": -1.0}
    steps = [{**TOLD, "top_logprobs": [TOLD, end]}, {"token": "a", "logprob": -1.0, "top_logprobs": [TOLD]}]
    answer = read(came(choice={"logprobs": {"content": steps}}), ask(top_logprobs=2)).answer
    half = TokenLogprob(5, -0.5, b"\xf0\x9f")
    assert answer.logprobs == (
        TokenLogprob(5, -0.5, b"\xf0\x9f", (half, TokenLogprob(2, -1.0))),
        TokenLogprob("a", -1.0, b"", (half,)),
    )


@pytest.mark.parametrize(
    "top", [None, [], [{"token": "a"}], [{**TOLD, "logprob": 0.5}], [{**TOLD, "bytes": [300]}], [7]]
)
def test_the_most_probable_tokens_that_were_asked_for_must_be_there(top):
    step = {"token": "a", "logprob": -1.0, "top_logprobs": top}
    with pytest.raises(Unusable) as caught:
        read(came(choice={"logprobs": {"content": [step]}}), ask(top_logprobs=2))
    assert caught.value.cause == "NoLogprobs"


def test_asking_for_the_most_probable_tokens_asks_for_log_probabilities():
    asked = sent("openai/gpt-4o@api", top_logprobs=20)
    assert (asked["logprobs"], asked["top_logprobs"]) == (True, 20)
    assert "top_logprobs" not in sent("openai/gpt-4o@api", logprobs=True)


class Response:
    status_code, headers = 403, {"Retry-After": "3"}


@pytest.mark.parametrize(
    "said",
    [
        {"code": "c", "type": "t", "message": "m"},
        {"error": {"code": "c", "type": "t", "message": "m"}},
        [{"error": {"code": "c", "type": "t", "message": "m"}}],
    ],
)
def test_an_error_is_found_however_it_is_wrapped(said):
    error = RuntimeError("outer")
    error.response, error.body = Response(), said  # type: ignore[attr-defined]
    found = failure(error)
    assert (found.status, found.code, found.type, found.message) == (403, "c", "t", "m")
    assert found.headers == {"retry-after": "3"}


def test_an_error_that_comes_with_status_200_is_what_it_says():
    """As routers send one."""
    raw = b'{"error": {"message": "Your account was deactivated.", "code": "account_deactivated"}}'
    with pytest.raises(Unusable) as caught:
        read(raw, ask())
    assert decide(failure(caught.value), 0).kind == "hold"
