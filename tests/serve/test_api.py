import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import openai
import pytest
import uvicorn
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st

from trueseed.access.listen import run
from trueseed.core.chat import Answer, ChatModel, Request
from trueseed.errors import ConfigError, Refused
from trueseed.serve.api import About, Limits, app
from trueseed.serve.wire import ChatBody

SOON = 20  # seconds, to fail instead of hanging


class Speaker:
    """Says `script(request)` word by word; `pace` is called before each word."""

    source = "own/speaker"

    def __init__(self, script: Callable[[Request], str], pace: Callable[[int], object] = lambda word: None) -> None:
        self._script, self._pace = script, pace
        self.asked: list[Request] = []
        self.left = threading.Event()

    def answers(self, requests: Iterable[Request | None]) -> Iterator[tuple[int, Answer]]:
        raise NotImplementedError

    def stream(self, request: Request) -> Iterator[str | Answer]:
        self.asked.append(request)
        text = self._script(request)
        words = [word + " " for word in text.split()]
        try:
            for position, word in enumerate(words):
                self._pace(position)
                yield word
        except GeneratorExit:
            self.left.set()
            raise
        yield Answer(text="".join(words), finish="stop", prompt_tokens=3, completion_tokens=len(words))


def echo(request: Request) -> str:
    return f"you said {request.messages[-1].content}"


@contextmanager
def serving(api: FastAPI) -> Iterator[str]:
    """The address of a server on a free port of loopback."""
    server = uvicorn.Server(uvicorn.Config(api, port=0, log_level="critical", ws="none", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(SOON)


@contextmanager
def client(model: ChatModel, **options: Any) -> Iterator[openai.OpenAI]:
    """The official client, talking to `model` as "seedling"."""
    options = {"allowed": lambda name: None} | options
    with (
        serving(app({"seedling": model}, **options)) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0, timeout=SOON) as connected,
    ):
        yield connected


def ask(connected: openai.OpenAI, text: str = "hello", **options: Any) -> Any:
    options = {"model": "seedling", "messages": [{"role": "user", "content": text}]} | options
    return connected.chat.completions.create(**options)


def post(connected: openai.OpenAI, body: Any, **options: Any) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} | options.pop("headers", {})
    return httpx.post(f"{connected.base_url}chat/completions", content=content, headers=headers, timeout=SOON)


@pytest.fixture(scope="module")
def echoing() -> Iterator[openai.OpenAI]:
    """A server shared by the tests that only look at what is accepted."""
    with client(Speaker(echo)) as connected:
        yield connected


HELLO = {"model": "seedling", "messages": [{"role": "user", "content": "hello"}]}


def test_the_openai_client_gets_an_answer(echoing):
    completion = ask(echoing)
    assert completion.choices[0].message.role == "assistant"
    assert completion.choices[0].message.content == "you said hello "
    assert completion.choices[0].finish_reason == "stop"
    assert completion.model == "seedling"
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (3, 3)
    assert completion.usage.total_tokens == 6


def test_the_openai_client_streams(echoing):
    chunks = list(ask(echoing, stream=True))
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "you ", "said ", "hello ", None]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, None, None, "stop"]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_tells_its_usage_last_when_asked(echoing):
    *spoken, last = ask(echoing, stream=True, stream_options={"include_usage": True})
    assert all(chunk.usage is None for chunk in spoken)
    assert last.choices == []
    assert last.usage.total_tokens == 6


def test_several_choices_differ_in_their_seed():
    model = Speaker(lambda request: f"seed {request.seed}")
    with client(model) as connected:
        whole = ask(connected, n=3, seed=7)
        streamed = [
            (chunk.choices[0].index, chunk.choices[0].delta.content)
            for chunk in ask(connected, n=2, seed=2**63 - 1, stream=True)
            if chunk.choices[0].delta.content
        ]
    assert [(choice.index, choice.message.content) for choice in whole.choices] == [
        (0, "seed 7 "),
        (1, "seed 8 "),
        (2, "seed 9 "),
    ]
    assert whole.usage.completion_tokens == 6
    assert sorted(streamed) == [(0, "9223372036854775807 "), (0, "seed "), (1, "0 "), (1, "seed ")]


def test_what_the_client_sets_reaches_the_model():
    model = Speaker(echo)
    with client(model) as connected:
        ask(connected, temperature=0.5, top_p=0.9, seed=11, stop=["\n\n", "END"], max_tokens=12)
        ask(connected, stop="END", max_completion_tokens=5)
        ask(connected)
    first, second, third = model.asked
    assert (first.temperature, first.top_p, first.seed, first.max_tokens) == (0.5, 0.9, 11, 12)
    assert first.stop == ("\n\n", "END")
    assert (second.stop, second.max_tokens) == (("END",), 5)
    assert (third.temperature, third.top_p, third.max_tokens) == (1.0, 1.0, Limits().max_tokens)
    assert second.seed != third.seed


def test_a_conversation_may_contain_our_own_messages_and_parts():
    model = Speaker(echo)
    with client(model) as connected:
        said = ask(connected).choices[0].message
        parts = [{"type": "text", "text": "and "}, {"type": "text", "text": "now"}]
        messages = [{"role": "developer", "content": "be kind"}, said, {"role": "user", "content": parts}]
        ask(connected, messages=messages)
    assert [(message.role, message.content) for message in model.asked[1].messages] == [
        ("system", "be kind"),
        ("assistant", "you said hello "),
        ("user", "and now"),
    ]


def test_models_are_listed_with_where_they_came_from():
    label = {"source": "acme/large@api", "relation": "output", "terms": "Acme Terms of 2026"}
    about = About(teacher="acme/large@api", labels=(label,), obligations=("Name Acme.",))
    with client(Speaker(echo), about={"seedling": about}) as connected:
        (listed,) = connected.models.list()
        one = connected.models.retrieve("seedling")
    assert listed == one
    assert one.owned_by == "trueseed"
    assert one.to_dict()["trueseed"] == {"teacher": "acme/large@api", "labels": [label], "obligations": ["Name Acme."]}


def test_an_unknown_model_is_not_found(echoing):
    with pytest.raises(openai.NotFoundError) as caught:
        ask(echoing, model="oak")
    assert caught.value.body == {
        "message": "there is no model 'oak' here; there is 'seedling'",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"role": "tool", "content": "4"}]}, "messages.0.role", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages.0.content", "missing_parameter"),
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"temperature": "hot"}, "temperature", "invalid_value"),
        ({"top_p": 0}, "top_p", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"max_tokens": 1_000_000}, "max_tokens", "invalid_value"),
        ({"n": 99}, "n", "invalid_value"),
        ({"logprobs": True}, "logprobs", "unsupported_parameter"),
        ({"tools": [{"type": "function"}]}, "tools", "unsupported_parameter"),
        ({"response_format": {"type": "json_object"}}, "response_format", "unsupported_parameter"),
        ({"frequency_penalty": 0.5}, "frequency_penalty", "unsupported_parameter"),
        ({"temprature": 1}, "temprature", "unknown_parameter"),
    ],
)
def test_a_request_that_cannot_be_honoured_names_what_to_change(change, param, code, echoing):
    response = post(echoing, HELLO | change)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    assert param.rpartition(".")[2] in error["message"]


def test_parameters_that_ask_for_nothing_are_accepted(echoing):
    nothing = {"logprobs": False, "frequency_penalty": 0.0, "tools": [], "response_format": {"type": "text"}, "n": 1}
    response = post(echoing, HELLO | nothing | {"user": "me", "stop": None, "stream": None})
    assert response.status_code == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"model": NaN}', b"\xff\xfe"])
def test_a_body_that_is_not_a_chat_is_refused_plainly(body, echoing):
    response = post(echoing, body)
    assert response.status_code == 400
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


def test_half_a_character_is_refused(echoing):
    half = "\ud83c"
    said = {"messages": [{"role": "user", "content": half}]}
    for change in ({"model": half}, {"stop": half}, {half: 1}, said):
        assert post(echoing, HELLO | change).status_code == 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.just(HELLO["messages"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=100, deadline=None)
@given(change=st.dictionaries(st.sampled_from(sorted(ChatBody.model_fields)) | st.text(max_size=3), JSON, max_size=3))
def test_whatever_is_sent_gets_an_answer_or_an_error_of_one_shape(echoing, change):
    response = post(echoing, HELLO | change)
    assert response.status_code in (200, 400, 404)
    if response.status_code != 200:
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}


def test_an_unknown_page_has_the_same_kind_of_error(echoing):
    response = httpx.get(f"{echoing.base_url}nothing")
    assert response.status_code == 404
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_a_recall_reaches_a_running_server():
    recalled: set[str] = set()

    def allowed(name: str) -> None:
        if name in recalled:
            raise Refused("acme/large@api was recalled; rebuild without it")

    with client(Speaker(echo), allowed=allowed) as connected:
        assert ask(connected).choices[0].message.content == "you said hello "
        recalled.add("seedling")
        with pytest.raises(openai.PermissionDeniedError) as caught:
            ask(connected)
        with pytest.raises(openai.PermissionDeniedError):
            ask(connected, stream=True)
        listed = httpx.get(f"{connected.base_url}models").json()
    assert caught.value.code == "recalled"
    assert listed["data"] == []
    because = "acme/large@api was recalled; rebuild without it"
    assert listed["trueseed"]["withheld"] == [{"id": "seedling", "because": because}]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[::2]:80", ""])
def test_another_host_name_is_turned_away(host, echoing):
    page = httpx.get(str(echoing.base_url.join("/")), headers={"Host": host})
    chat = post(echoing, HELLO, headers={"Host": host})
    assert (page.status_code, chat.status_code) == (400, 400)
    assert chat.json()["error"]["code"] == "wrong_host"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1:1", "[::1]:80", "[::1]"])
def test_loopback_goes_by_its_names(host, echoing):
    assert post(echoing, HELLO, headers={"Host": host}).status_code == 200


def test_a_page_from_elsewhere_cannot_post_a_form():
    model = Speaker(echo)
    with client(model) as connected:
        response = post(connected, HELLO, headers={"Content-Type": "text/plain"})
    assert response.status_code == 415
    assert model.asked == []


def test_a_body_may_not_be_longer_than_the_limit():
    long = json.dumps(HELLO | {"user": "x" * 2000}).encode()
    with client(Speaker(echo), limits=Limits(body_bytes=1000)) as connected:
        told = post(connected, long)
        chunked = httpx.post(
            f"{connected.base_url}chat/completions",
            content=iter([long[:500], long[500:]]),
            headers={"Content-Type": "application/json"},
        )
        lied = post(connected, HELLO)
    assert [response.status_code for response in (told, chunked, lied)] == [413, 413, 200]
    assert told.json() == chunked.json()


def test_many_clients_each_hear_their_own_answer():
    with client(Speaker(echo), limits=Limits(speaking=3, waiting=20)) as connected, ThreadPoolExecutor(20) as pool:
        texts = [f"number {number}" for number in range(20)]
        answers = list(pool.map(lambda text: ask(connected, text).choices[0].message.content, texts))
    assert answers == [f"you said {text} " for text in texts]


def test_when_too_many_talk_one_is_asked_to_come_back():
    hold = threading.Event()
    model = Speaker(echo, pace=lambda position: position and hold.wait(SOON))
    with client(model, limits=Limits(speaking=1, waiting=0)) as connected:
        first = ask(connected, stream=True)
        with pytest.raises(openai.RateLimitError) as caught:
            ask(connected)
        hold.set()
        list(first)
        again = ask(connected)
    assert caught.value.code == "busy"
    assert int(caught.value.response.headers["Retry-After"]) > 0
    assert again.choices[0].message.content == "you said hello "


@pytest.mark.parametrize("stream", [True, False])
def test_the_model_stops_when_its_listener_leaves(stream):
    tick = threading.Event()
    model = Speaker(lambda request: "on and " * 10_000, pace=lambda position: tick.wait(0.01))
    with client(model) as connected:
        if stream:
            spoken = ask(connected, stream=True)
            next(spoken)
            spoken.close()
        else:
            with pytest.raises(openai.APITimeoutError):
                ask(connected, timeout=0.3)
        assert model.left.wait(SOON)


def test_a_prompt_that_the_model_cannot_take_is_the_clients_fault():
    def too_long(request: Request) -> str:
        raise ConfigError("the prompt has 9000 tokens, the model takes 8192; shorten it")

    with client(Speaker(too_long)) as connected:
        for stream in (False, True):
            with pytest.raises(openai.BadRequestError, match="shorten it"):
                ask(connected, stream=stream)


def test_a_failing_model_is_an_error_without_details():
    def fail(request: Request) -> str:
        raise ValueError("a secret")

    with client(Speaker(fail)) as connected, pytest.raises(openai.InternalServerError) as caught:
        ask(connected)
    assert caught.value.code == "internal_error"
    assert "secret" not in str(caught.value)


def test_a_stream_that_breaks_off_says_so():
    def break_off(position: int) -> None:
        if position == 2:
            raise ValueError("a secret")

    with client(Speaker(echo, pace=break_off)) as connected:
        heard = []
        with pytest.raises(openai.APIError) as caught:
            for chunk in ask(connected, stream=True):
                heard.append(chunk.choices[0].delta.content)
    assert heard == ["", "you ", "said "]
    assert "secret" not in str(caught.value)


def test_the_page_may_run_its_own_script_and_nothing_else(echoing):
    response = httpx.get(str(echoing.base_url.join("/")))
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "://" not in response.text.replace("http://www.w3.org/2000/svg", "")
    assert "innerHTML" not in response.text
    assert response.headers["X-Content-Type-Options"] == "nosniff"


SERVE = """
from trueseed.access import listen
from trueseed.serve import api
from trueseed.teachers.scripted import ScriptedTeacher

listen.run(api.app({"seedling": ScriptedTeacher("own/script", ["hello"])}, allowed=lambda name: None), port=0)
print("the step is closed")
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_server_gives_way_to_what_comes_after(stop):
    command = [sys.executable, "-c", SERVE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        address = process.stderr.readline().split()[2]
        assert httpx.get(f"{address}/v1/models", timeout=SOON).json()["data"][0]["id"] == "seedling"
        process.send_signal(stop)
        out, err = process.communicate(timeout=SOON)
    assert (process.returncode, out, err) == (0, "the step is closed\n", "")


def test_a_port_that_is_taken_is_said():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1 cannot be opened"):
            run(app({}, allowed=lambda name: None), port=port)


def test_a_recall_ends_an_answer_in_the_middle(monkeypatch):
    monkeypatch.setattr("trueseed.serve.api.LOOK_EVERY_S", 0.05)
    recalled = threading.Event()

    def still(name: str) -> None:
        if recalled.is_set():
            raise Refused("acme/large@api was recalled")

    speaker = Speaker(lambda request: "word " * 400, lambda position: time.sleep(0.02))
    with client(speaker, still=still) as connected, pytest.raises(openai.APIError, match="was recalled"):
        for _ in ask(connected, stream=True):
            recalled.set()
    assert speaker.left.wait(SOON)
