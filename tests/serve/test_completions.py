"""Plain completions and the tokenizer over HTTP, as evaluation harnesses ask for them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient
from tests.conftest import save_llama

from trueseed.core.chat import Request, user
from trueseed.errors import ConfigError
from trueseed.lm.engine import Engine
from trueseed.lm.talk import Talk
from trueseed.serve.api import Limits, app

TEXT = "The quick brown fox"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return Engine(folder, "own/tiny", slots=4, dtype="float32")


@pytest.fixture(scope="module")
def http(engine: Engine) -> Iterator[TestClient]:
    api = app({"tiny": engine}, allowed=lambda name: None, limits=Limits(prompts=8), hosts=("testserver",))
    with TestClient(api) as client:
        yield client


def post(http: TestClient, **body: Any) -> Any:
    return http.post("/v1/completions", json={"model": "tiny", **body})


def dense(folder: Path, ids: list[int]) -> torch.Tensor:
    """log p of every next token, by transformers."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].log_softmax(-1)


def test_an_echo_tells_how_probable_each_given_token_is(http, engine, folder):
    ids = engine.format.raw(TEXT)
    logp = dense(folder, ids)
    choice = post(http, prompt=TEXT, max_tokens=1, temperature=0, logprobs=1, echo=True, seed=1).json()["choices"][0]
    told = choice["logprobs"]
    assert told["token_logprobs"][0] is None
    assert told["token_logprobs"][1:-1] == pytest.approx(
        [float(logp[at, token]) for at, token in enumerate(ids[1:])], abs=1e-4
    )
    assert told["token_logprobs"][-1] == pytest.approx(float(logp[-1].max()), abs=1e-4)
    assert "".join(told["tokens"]) == choice["text"]
    assert choice["text"].startswith(TEXT)


def test_the_most_probable_token_beside_each_has_the_same_number_when_it_is_the_given_one(http, engine):
    ids = tuple(engine.format.raw(TEXT))
    request = Request(messages=(), continues=ids, max_tokens=6, temperature=0, logprobs=True)
    [(_, answer)] = engine.answers([request])
    spoken = [said.token for said in answer.logprobs]
    told = post(http, prompt=[*ids, *spoken], max_tokens=1, temperature=0, logprobs=1, echo=True).json()
    told, given = told["choices"][0]["logprobs"], len(ids)
    for said, top in zip(told["token_logprobs"][given:], told["top_logprobs"][given:], strict=True):
        assert said == max(top.values())


def test_looking_and_speaking_give_the_same_next_token(http):
    looked = post(http, prompt=TEXT, max_tokens=1, temperature=0, logprobs=2, echo=True).json()["choices"][0]
    spoken = post(http, prompt=TEXT, max_tokens=1, temperature=0, logprobs=2).json()["choices"][0]
    assert looked["text"] == TEXT + spoken["text"]
    assert looked["logprobs"]["top_logprobs"][-1] == pytest.approx(spoken["logprobs"]["top_logprobs"][-1])


def test_several_prompts_in_any_form_are_answered_in_order(http, engine):
    ids = engine.format.raw(TEXT)
    by_text = post(http, prompt=[TEXT, "Tell me"], max_tokens=3, temperature=0).json()
    by_ids = post(http, prompt=[ids, engine.format.raw("Tell me")], max_tokens=3, temperature=0).json()
    assert [each["index"] for each in by_text["choices"]] == [0, 1]
    assert [each["text"] for each in by_text["choices"]] == [each["text"] for each in by_ids["choices"]]
    assert by_text["usage"]["prompt_tokens"] == len(ids) + len(engine.format.raw("Tell me"))


def test_several_choices_of_one_prompt_differ_in_their_seed(http):
    said = post(http, prompt=TEXT, max_tokens=8, n=3, seed=5, temperature=1).json()["choices"]
    assert len({each["text"] for each in said}) == 3
    again = post(http, prompt=TEXT, max_tokens=8, n=3, seed=5, temperature=1).json()["choices"]
    assert [each["text"] for each in again] == [each["text"] for each in said]


def test_nothing_is_spoken_when_only_the_given_is_asked_about(http):
    choice = post(http, prompt=TEXT, max_tokens=0, logprobs=1, echo=True).json()["choices"][0]
    assert choice["text"] == TEXT
    assert len(choice["logprobs"]["tokens"]) == len(choice["logprobs"]["token_logprobs"])


def test_a_special_token_spelled_in_plain_text_is_one(engine):
    assert len(engine.format.raw("<|end|>")) == 1
    assert engine.format.spell(engine.format.raw("<|end|>")) == "<|end|>"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": TEXT, "stream": True}, "stream"),
        ({"prompt": TEXT, "suffix": "x"}, "suffix"),
        ({"prompt": TEXT, "logprobs": 21}, "logprobs"),
        ({"prompt": [TEXT] * 9}, "prompt"),
        ({"prompt": TEXT, "max_tokens": 5000}, "max_tokens"),
        ({"prompt": TEXT, "best_of": 3}, "best_of"),
        ({"prompt": TEXT, "frequency_penalty": 1.0}, "frequency_penalty"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(http, body, param):
    answer = post(http, **body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"].startswith(param)


@pytest.mark.parametrize("prompt", [[100_000], "", " ".join(["fox"] * 4000)])
def test_a_prompt_that_cannot_be_read_is_an_error_that_says_so(http, prompt):
    answer = post(http, prompt=prompt, max_tokens=1, temperature=0, logprobs=1, echo=True)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_the_tokenizer_is_found_under_vllms_paths(http, engine):
    said = http.get("/tokenizer_info").json()
    assert (said["eos_token"], said["bos_token"]) == ("<|end|>", "<|turn|>")
    tokens = http.post("/tokenize", json={"prompt": TEXT, "add_special_tokens": False}).json()["tokens"]
    assert tokens == engine.format.raw(TEXT)
    assert http.post("/detokenize", json={"tokens": tokens}).json() == {"prompt": TEXT}


def test_a_request_goes_on_from_a_text_or_a_chat_and_not_from_both(engine):
    with pytest.raises(ConfigError, match="not from both"):
        Talk(0, Request(messages=user("a"), continues="b"), engine.format, 100)
