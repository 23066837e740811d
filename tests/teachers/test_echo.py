"""How probable a model behind an API finds a given text: against a server of ours, which computes it, and others."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from tests.conftest import save_llama

from trueseed.core.chat import Answer, Request, TokenLogprob
from trueseed.errors import ConfigError, TeacherError
from trueseed.lm.engine import Engine
from trueseed.serve.api import Limits, app
from trueseed.teachers.api.providers import Endpoint, provider
from trueseed.teachers.api.wire import Unusable, body, most, read
from trueseed.teachers.echo import Echo
from trueseed.teachers.scripted import ScriptedTeacher
from trueseed.teachers.teacher import Teacher
from trueseed.teachers.voice import BehindAnApi
from trueseed.terms.model import Use
from trueseed.workspace import Workspace

PAIRS = [
    ("The quick brown", " fox"),
    ("The quick brown", " sailor needs three things"),
    ("Blanks at the end ", "belong to what follows"),
    ("A line\n", "and the next"),
]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder: Path = save_llama(tmp_path_factory.mktemp("echo") / "tiny")
    return Engine(folder, "own/tiny", slots=4, dtype="float32")


@pytest.fixture(scope="module")
def address(engine: Engine) -> Iterator[str]:
    """Of `trueseed serve` with that model."""
    api = app({"tiny": engine}, allowed=lambda name: None, limits=Limits())
    server = uvicorn.Server(uvicorn.Config(api, port=0, log_level="critical", ws="none", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    server.should_exit = True
    thread.join(20)


def test_a_server_of_ours_tells_what_its_weights_would(engine, address, tmp_path):
    workspace = Workspace.open(tmp_path / "work", create=True)
    voice = BehindAnApi(Endpoint(source="own/tiny", model="tiny", base_url=address), None, [])
    with (
        workspace.step("score", ask={voice.source: Use.BENCHMARK_TEACHER}) as step,
        voice.speaking(step) as remote,
    ):
        told = Echo(Teacher(remote, step)).follow(PAIRS)
        assert step.counts["asked"] == len(PAIRS)
        assert step.counts["prompt_tokens"] > 0
    ours = engine.follow(PAIRS)
    assert [each.tokens for each in told] == [each.tokens for each in ours]
    assert [each.nll for each in told] == pytest.approx([each.nll for each in ours], abs=1e-3)


def asked(before: str = "one two", after: str = " three") -> Request:
    return Request(messages=(), continues=before + after, echo=len(before), max_tokens=1, temperature=0.0)


def came(words: list[str], logprobs: list[float | None], said: int = 1) -> bytes:
    import json

    told: Any = {"tokens": words, "token_logprobs": logprobs}
    usage = {"prompt_tokens": len(words) - said, "completion_tokens": said}
    return json.dumps({"choices": [{"text": "", "logprobs": told}], "usage": usage}).encode()


def test_the_words_of_the_text_alone_count():
    raw = came(["<s>", "one", " two", " thr", "ee", "!"], [None, -9.0, -8.0, -1.0, -2.0, -0.5])
    assert [each.logprob for each in read(raw, asked()).answer.logprobs] == [-1.0, -2.0]


@pytest.mark.parametrize(
    ("raw", "because"),
    [
        (came(["one", " two th", "ree", "!"], [None, -1.0, -2.0, -0.5]), "do not divide after 'one two'"),
        (came(["one two", " three", "!"], [None, None, -0.5]), "does not tell how probable"),
        (came(["one two", " three", "!"], [None, float("inf"), -0.5]), "does not tell how probable"),
        (b'{"choices": [{"text": "one two three!", "logprobs": null}]}', "does not tell how probable a given text is"),
        (b'{"choices": [{"text": "one two three!"}]}', "does not tell how probable a given text is"),
    ],
)
def test_what_does_not_tell_it_is_no_number(raw, because):
    with pytest.raises(Unusable, match=because):
        read(raw, asked())


def test_a_text_after_nothing_has_a_first_token_that_some_servers_cannot_tell():
    with pytest.raises(Unusable, match="the first token of a text"):
        read(came(["one", " two", "!"], [None, -1.0, -0.5]), asked("", "one two"))
    told = read(came(["<s>", "one", " two", "!"], [None, -2.0, -1.0, -0.5]), asked("", "one two")).answer.logprobs
    assert [each.logprob for each in told] == [-2.0, -1.0]


def test_providers_of_chat_models_are_not_asked():
    endpoint = Endpoint(source="openai/gpt-4o-mini@api")
    with pytest.raises(ConfigError, match="OpenAI does not tell how probable a given text is"):
        body(asked(), model=endpoint.wire_model, provider=provider(endpoint))


def test_room_is_made_for_all_that_is_sent():
    assert most(asked("é" * 1000, " a")).prompt >= 2000


def test_a_model_that_answers_instead_tells_nothing():
    with pytest.raises(ConfigError, match="told nothing"):
        Echo(ScriptedTeacher("own/script", ["three"])).follow([("one two", " three")])


def test_a_text_that_was_left_out_is_no_number_either():
    gone = Answer(text="", finish="skipped", prompt_tokens=0, completion_tokens=0, because="it is too long")
    fine = Answer(text="", finish="stop", prompt_tokens=1, completion_tokens=1, logprobs=(TokenLogprob("x", -1.0),))
    with pytest.raises(TeacherError, match="it is too long"):
        Echo(ScriptedTeacher("own/script", [fine, gone])).follow(PAIRS[:2])
