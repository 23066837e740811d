"""What we write as GGUF, read by llama.cpp: the same tokens in, the same tokens out."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from trueseed.core.chat import Request, user
from trueseed.errors import ConfigError
from trueseed.lm import gguf
from trueseed.lm.engine import Engine
from trueseed.lm.source import Weights

QUESTIONS = ("What is the capital of France?", "List 3 things to pack, one per line.", "Why is the sky blue? 12345 é")


@contextmanager
def llama_cpp(path: Path) -> Iterator[Any]:
    """Asks llama.cpp's own server, which reads `path`."""
    xllamacpp = pytest.importorskip("xllamacpp")
    how = xllamacpp.CommonParams()
    how.model.path, how.n_parallel, how.n_ctx, how.verbosity, how.port = str(path), 1, 512, -1, 0
    how.cpuparams.n_threads = how.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(how)

    def ask(place: str, **body: Any) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{server.listening_address}/{place}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return dict(json.load(answer))

    yield ask


def heard(ask: Any, question: str) -> tuple[list[int], list[int]]:
    """Tokens of the prompt, and the first 16 greedy tokens, as llama.cpp has them."""
    prompt = ask("apply-template", messages=[{"role": "user", "content": question}])["prompt"]
    given = ask("tokenize", content=prompt, add_special=True, parse_special=True)["tokens"]
    said = ask("completion", prompt=given, n_predict=16, temperature=0, return_tokens=True, cache_prompt=False)
    return given, said["tokens"]


def ours(folder: Path) -> list[tuple[list[int], list[int]]]:
    engine = Engine(folder, "own/student", dtype="float32", slots=len(QUESTIONS))
    asked = [Request(messages=user(each), max_tokens=16, temperature=0, logprobs=True) for each in QUESTIONS]
    answers = dict(engine.answers(asked))
    prompts = [engine.format.prompt(request.messages) for request in asked]
    return [(prompt, [one.token for one in answers[at].logprobs][:16]) for at, prompt in enumerate(prompts)]


def test_a_tiny_model_says_the_same_in_llama_cpp(tiny_llama, tmp_path):
    gguf.write(tiny_llama, tmp_path / "tiny.gguf", "f16", name="tiny")
    with llama_cpp(tmp_path / "tiny.gguf") as ask:
        theirs = [heard(ask, question) for question in QUESTIONS]
    mine = ours(tiny_llama)
    assert [given for given, _ in theirs] == [given for given, _ in mine]
    assert [said[: len(mine[at][1])] for at, (_, said) in enumerate(theirs)] == [said for _, said in mine]


@pytest.mark.weights
@pytest.mark.xdist_group("smollm2")
def test_the_embedded_model_says_the_same_in_f16_and_nearly_the_same_in_q8_0(smollm2: Weights, tmp_path, capsys):
    found: dict[str, list[tuple[list[int], list[int]]]] = {}
    for precision in ("f16", "q8_0"):
        gguf.write(smollm2.folder, tmp_path / f"{precision}.gguf", precision, name="smollm2")  # type: ignore[arg-type]
        with llama_cpp(tmp_path / f"{precision}.gguf") as ask:
            found[precision] = [heard(ask, question) for question in QUESTIONS]
    mine = ours(smollm2.folder)
    assert [given for given, _ in found["f16"]] == [given for given, _ in mine]
    assert [said[: len(mine[at][1])] for at, (_, said) in enumerate(found["f16"])] == [said for _, said in mine]
    pairs = [(a, b) for (_, one), (_, other) in zip(found["q8_0"], mine, strict=True) for a, b in zip(one, other)]  # noqa: B905
    with capsys.disabled():
        print(f"q8_0: {sum(a == b for a, b in pairs)} of {len(pairs)} greedy tokens as in float32")
    assert sum(a == b for a, b in pairs) >= len(pairs) / 2


def test_an_architecture_that_is_not_known_is_an_error(tiny_llama, tmp_path):
    config = json.loads((tiny_llama / "config.json").read_text())
    for path in tiny_llama.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "mamba"}))
    with pytest.raises(ConfigError, match="'mamba'"):
        gguf.write(tmp_path, tmp_path / "x.gguf", "f16", name="x")
