"""What a request may say, and the most that it can use."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueseed.access.faults import Fault
from trueseed.gateway.wanted import read
from trueseed.teachers.api.forward import Upstream
from trueseed.teachers.api.providers import Endpoint

QUESTION = {"model": "own/x@weights", "messages": [{"role": "user", "content": "How is soup kept warm?"}]}
TO = Upstream.of(Endpoint(source="own/x@weights", base_url="http://127.0.0.1:9/v1", model=""))
NUMBERS = st.sampled_from(["1e15", "1E1", "-0e9", "1.5e300", "7", "0.1e-7"])


def fault(raw: bytes) -> Fault:
    with pytest.raises(Fault) as caught:
        read(raw, max_tokens=100)
    return caught.value


@pytest.mark.parametrize(
    "more",
    [
        {"models": ["openai/gpt-4o"]},
        {"fallbacks": ["gpt-4o"]},
        {"route": "fallback"},
        {"provider": {"order": ["azure"]}},
        {"plugins": [{"id": "auto-router"}]},
        {"providerOptions": {"gateway": {"models": ["openai/gpt-4o"]}}},
        {"api_base": "https://elsewhere.example"},
        {"n_predict": 100_000},
        {"best_of": 50},
        {"tools": [{"type": "mcp"}]},
        {"tools": "web_search"},
        {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]},
    ],
)
def test_no_parameter_leads_to_another_model_or_to_a_price_that_is_not_known(more):
    """Routers that many makers stand behind take these, and servers with several names for one bound."""
    told = fault(json.dumps({**QUESTION, **more}).encode())
    assert (told.status_code, told.code, told.param) == (400, "invalid_value", next(iter(more)))


def test_the_same_parameters_may_ask_for_nothing():
    nothing = {"models": None, "plugins": [], "tools": None, "best_of": None, "enable_search": False}
    assert read(json.dumps({**QUESTION, **nothing}).encode(), max_tokens=100).choices == 1


@pytest.mark.parametrize("kind", ["function", "custom"])
def test_functions_may_be_offered(kind):
    tools = [{"type": kind, kind: {"name": "weigh"}}]
    assert json.loads(read(json.dumps({**QUESTION, "tools": tools}).encode(), max_tokens=100).to(TO))["tools"] == tools


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model": "\xed\xa0\x80"}',  # half of a surrogate pair
        b'{"model": "\\ud800"}',
        json.dumps(QUESTION).encode("utf-16"),  # half as many bytes for some letters as the provider counts
        b'{"model": "\xff"}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_json_in_utf_8_is_refused(raw):
    assert fault(raw).code == "invalid_json"


@given(st.lists(NUMBERS, max_size=40), st.text(max_size=60))
def test_what_goes_on_is_never_longer_than_what_was_reserved(numbers, text):
    """No tokenizer makes more tokens than there are bytes, but `1e15` has four here and eighteen as it is sent."""
    tools = f'[{{"type": "function", "function": {{"parameters": {{"enum": [{",".join(numbers)}]}}}}}}]'
    raw = json.dumps(QUESTION).replace("soup", json.dumps(text)[1:-1])[:-1] + f', "tools": {tools}}}'
    wanted = read(raw.encode(), max_tokens=100)
    sent: dict[str, Any] = json.loads(wanted.to(TO))
    del sent["model"], sent["max_tokens"]
    assert len(json.dumps(sent, ensure_ascii=False, separators=(",", ":")).encode()) <= wanted.most.prompt
