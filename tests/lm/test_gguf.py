"""What we write as GGUF, read by llama.cpp: the same tokens in, the same tokens out."""

import json
from pathlib import Path

import pytest
from bench.gguf import heard, llama_cpp

from trueseed.core.chat import Request, user
from trueseed.errors import ConfigError
from trueseed.lm import gguf
from trueseed.lm.engine import Engine
from trueseed.lm.source import Weights

QUESTIONS = ("What is the capital of France?", "List 3 things to pack, one per line.", "Why is the sky blue? 12345 é")


def ours(folder: Path, *questions: str) -> list[tuple[list[int], list[int]]]:
    engine = Engine(folder, "own/student", dtype="float32", slots=len(questions))
    asked = [Request(messages=user(each), max_tokens=16, temperature=0, logprobs=True) for each in questions]
    answers = dict(engine.answers(asked))
    prompts = [engine.format.prompt(request.messages) for request in asked]
    return [(prompt, [one.token for one in answers[at].logprobs][:16]) for at, prompt in enumerate(prompts)]


def test_a_tiny_model_says_the_same_in_llama_cpp(tiny_llama, tmp_path):
    gguf.write(tiny_llama, tmp_path / "tiny.gguf", "f16", name="tiny")
    with llama_cpp(tmp_path / "tiny.gguf") as ask:
        theirs = [heard(ask, question) for question in QUESTIONS]
    mine = ours(tiny_llama, *QUESTIONS)
    assert [given for given, _ in theirs] == [given for given, _ in mine]
    assert [said[: len(mine[at][1])] for at, (_, said) in enumerate(theirs)] == [said for _, said in mine]


@pytest.mark.weights
@pytest.mark.xdist_group("smollm2")
def test_the_embedded_model_says_the_same_in_f16(smollm2: Weights, tmp_path):
    """How near Q8_0 comes is measured by `bench/gguf.py`."""
    gguf.write(smollm2.folder, tmp_path / "f16.gguf", "f16", name="smollm2")
    [question] = QUESTIONS[:1]
    with llama_cpp(tmp_path / "f16.gguf") as ask:
        given, said = heard(ask, question)
    [(prompt, mine)] = ours(smollm2.folder, question)
    assert given == prompt
    assert said[: len(mine)] == mine


def test_an_architecture_that_is_not_known_is_an_error(tiny_llama, tmp_path):
    config = json.loads((tiny_llama / "config.json").read_text())
    for path in tiny_llama.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "mamba"}))
    with pytest.raises(ConfigError, match="'mamba'"):
        gguf.write(tmp_path, tmp_path / "x.gguf", "f16", name="x")
