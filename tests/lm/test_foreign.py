"""Architectures that the engine does not know itself, through transformers behind the same calls."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trueseed.core.chat import Answer, Message, Request, user
from trueseed.errors import ConfigError
from trueseed.lm import checkpoint
from trueseed.lm.engine import Engine
from trueseed.lm.foreign import Foreign

PROMPTS = [[5, 9, 17, 42, 7], list(range(20, 61)), [3], [8, 8, 250, 9]]
STARTS = [[5] * length for length in (12, 3, 30, 12)]
COMMON = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
COMMON |= {"initializer_range": 0.3, "eos_token_id": 0, "bos_token_id": 1, "pad_token_id": 0}


def _config(architecture: str) -> Any:
    import transformers

    more = {**COMMON, "intermediate_size": 48, "max_position_embeddings": 512}
    match architecture:
        case "gpt_neox":
            return transformers.GPTNeoXConfig(**more)
        case "gemma2":  # windows, and logits that are capped after the head
            more |= {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 16, "query_pre_attn_scalar": 8}
            return transformers.Gemma2Config(**more, final_logit_softcapping=5.0)
        case "gpt2":  # learnt positions
            return transformers.GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=4, n_positions=512, **_SPECIAL)
    return transformers.MambaConfig(**COMMON)


_SPECIAL = {"initializer_range": 0.3, "eos_token_id": 0, "bos_token_id": 1}


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory, make_llama: Callable[..., Path]) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def of(architecture: str) -> Path:
        from transformers import AutoModelForCausalLM

        if architecture not in made:
            folder = make_llama(tmp_path_factory.mktemp("foreign") / architecture)
            torch.manual_seed(2)
            AutoModelForCausalLM.from_config(_config(architecture)).save_pretrained(folder)
            made[architecture] = folder
        return made[architecture]

    return of


@pytest.mark.parametrize("architecture", ["gpt_neox", "gemma2", "gpt2"])
def test_ragged_decoding_equals_transformers_in_float32(architecture: str, make: Callable[[str], Path]) -> None:
    network, reference = (
        Foreign(make(architecture), torch.float32, "cpu"),
        checkpoint.load(make(architecture), torch.float32),
    )
    cache = network.cache(len(PROMPTS))
    network.extend(cache, range(4), STARTS, [0] * 4)
    logits = network.logits(network.extend(cache, range(4), PROMPTS, [len(start) for start in STARTS]))
    seen = [logits[torch.tensor([len(prompt) for prompt in PROMPTS]).cumsum(0) - 1]]
    said: list[list[int]] = [[] for _ in PROMPTS]
    for turn in range(24):
        for row, token in enumerate(seen[-1].argmax(-1).tolist()):
            said[row].append(token)
        seen.append(network.step(cache, [row[-1] for row in said], fixed=turn % 2 == 1))
    for row, (start, prompt) in enumerate(zip(STARTS, PROMPTS, strict=True)):
        with torch.inference_mode():
            expected = reference(torch.tensor([start + prompt + said[row]])).logits[0, len(start + prompt) - 1 :]
        torch.testing.assert_close(torch.stack([each[row] for each in seen]), expected, atol=3e-4, rtol=3e-4)


@pytest.mark.parametrize("fixed", [False, True])
def test_pieces_of_prompts_read_beside_others_speaking_equal_both_apart(
    make: Callable[[str], Path], fixed: bool
) -> None:
    network, long = Foreign(make("gpt_neox"), torch.float32, "cpu"), list(range(20, 60))
    apart, beside = network.cache(4), network.cache(4)
    for cache in (apart, beside):
        network.read(cache, [0, 1], PROMPTS[:2])
    wanted = [network.step(apart, [4, 5]), network.step(apart, [6, 7]), network.read(apart, [2, 3], [long, [3, 9]])]
    first = network.step(beside, [4, 5], {2: long[:30]}, fixed=fixed)
    then = network.step(beside, [6, 7], {2: long[30:], 3: [3, 9]}, fixed=fixed)
    torch.testing.assert_close(torch.cat([first[:2], then]), torch.cat(wanted), atol=3e-4, rtol=3e-4)


@pytest.fixture(scope="module")
def engine(make: Callable[[str], Path]) -> Engine:
    return Engine(make("gpt_neox"), "own/neox", slots=3, dtype="float32")


def test_the_same_chat_model_answers_and_streams(engine: Engine) -> None:
    asked = [Request(messages=user("Tell me " * n), max_tokens=9, seed=n) for n in range(1, 6)]
    found = dict(engine.answers(asked))
    for position, request in enumerate(asked):
        *pieces, answer = engine.stream(request)
        assert isinstance(answer, Answer)
        assert "".join(map(str, pieces)) == answer.text == found[position].text


def test_it_scores_follows_and_tells_the_top(engine: Engine, make: Callable[[str], Path]) -> None:
    chat = (*user("Why?"), Message("assistant", "The sea."))
    ids, mask = engine.format.training(chat)
    with torch.inference_mode():
        logp = checkpoint.load(make("gpt_neox"), torch.float32)(torch.tensor([ids[:-1]])).logits[0].log_softmax(-1)
    places = [at for at in range(len(ids) - 1) if mask[at + 1]]
    [scored], [top] = engine.score([chat]), engine.topk([(ids, mask)], 5)
    assert scored.nll == pytest.approx(-sum(float(logp[at, ids[at + 1]]) for at in places), rel=1e-4)
    np.testing.assert_allclose(top.logprobs, logp[places].topk(5).values.numpy(), atol=1e-4)
    both = [("Tell me a story", each) for each in (" of the sea", " of dogs")]
    alone = [engine.follow([pair])[0] for pair in both]
    assert [each.nll for each in engine.follow(both)] == pytest.approx([each.nll for each in alone], rel=1e-5)


def test_a_memory_that_is_not_keys_and_values_is_refused(make: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError, match="mamba"):
        Foreign(make("mamba"), torch.float32, "cpu")
