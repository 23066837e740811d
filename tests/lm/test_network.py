"""The network against transformers, architecture by architecture."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from trueseed.errors import ConfigError
from trueseed.lm import checkpoint
from trueseed.lm.network import Network

PROMPTS = [[5, 9, 17, 42, 7], list(range(20, 61)), [3], [8, 8, 250, 9]]


def stepwise(network: Network, prompts: list[list[int]], steps: int) -> tuple[list[list[int]], list[torch.Tensor]]:
    """Greedy continuations, decoding all prompts together, and the logits of every step."""
    cache = network.cache(len(prompts))
    logits = network.read(cache, range(len(prompts)), prompts)
    said: list[list[int]] = [[] for _ in prompts]
    seen = []
    for _ in range(steps):
        seen.append(logits)
        for row, token in enumerate(logits.argmax(-1).tolist()):
            said[row].append(token)
        logits = network.step(cache, [row[-1] for row in said])
    return said, seen


@pytest.mark.parametrize("architecture", ["llama", "mistral", "qwen2", "qwen3", "smollm3", "gemma3"])
def test_ragged_greedy_decoding_equals_transformers_in_float32(
    architecture: str, make_model: Callable[[str], Path]
) -> None:
    folder = make_model(architecture)
    said, seen = stepwise(Network(folder, torch.float32, "cpu"), PROMPTS, 40)
    reference = checkpoint.load(folder, torch.float32)
    for row, prompt in enumerate(PROMPTS):
        with torch.inference_mode():
            expected = reference(torch.tensor([prompt + said[row]])).logits[0, len(prompt) - 1 : -1]
        assert said[row] == expected.argmax(-1).tolist()
        torch.testing.assert_close(torch.stack([logits[row] for logits in seen]), expected, atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gemma3"])
def test_forward_over_sequences_laid_end_to_end_equals_one_at_a_time(
    architecture: str, make_model: Callable[[str], Path]
) -> None:
    network = Network(make_model(architecture), torch.float32, "cpu")
    together = network.forward(PROMPTS).split([len(prompt) for prompt in PROMPTS])
    for prompt, hidden in zip(PROMPTS, together, strict=True):
        torch.testing.assert_close(network.forward([prompt]), hidden, atol=1e-4, rtol=1e-4)


def test_fixed_shapes_give_the_same_logits_as_free_ones(tiny_llama: Path) -> None:
    network = Network(tiny_llama, torch.float32, "cpu")
    free, fixed = network.cache(2), network.cache(5)
    first = network.read(free, [0, 1], PROMPTS[:2]).argmax(-1).tolist()
    network.read(fixed, [0, 1], PROMPTS[:2])
    expected = network.step(free, first)
    torch.testing.assert_close(network.step(fixed, first, fixed=True)[:2], expected, atol=1e-5, rtol=1e-5)


def test_reading_on_from_a_kept_beginning_equals_reading_all(make_model: Callable[[str], Path]) -> None:
    beginning = list(range(10, 34))
    rests = [[5] * length for length in (3, 39, 41, 64, 65, 100, 104, 105, 150)]  # either side of whole buckets
    for architecture in ("llama", "mistral"):
        network = Network(make_model(architecture), torch.float32, "cpu")
        cache = network.cache(len(rests))
        rows = range(len(rests))
        network.read(cache, rows, [beginning] * len(rests))
        later = network.read(cache, rows, rests)
        whole = network.read(network.cache(len(rests)), rows, [beginning + rest for rest in rests])
        torch.testing.assert_close(later, whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("architecture", ["llama", "mistral", "gemma3"])
def test_pieces_of_prompts_read_beside_others_speaking_equal_both_apart(
    architecture: str, fixed: bool, make_model: Callable[[str], Path]
) -> None:
    network, long = Network(make_model(architecture), torch.float32, "cpu"), list(range(20, 119))
    apart, beside = network.cache(4), network.cache(4)
    for cache in (apart, beside):
        network.read(cache, [0, 1], PROMPTS[:2])
    wanted = [network.step(apart, tokens) for tokens in ([4, 5], [6, 7], [8, 9])]
    wanted_read = network.read(apart, [2, 3], [long, PROMPTS[3]])
    found = [  # the long prompt in three pieces, with the last of them another prompt
        network.step(beside, [4, 5], {2: long[:40]}, fixed=fixed),
        network.step(beside, [6, 7], {2: long[40:41]}, fixed=fixed),
        network.step(beside, [8, 9], {2: long[41:], 3: PROMPTS[3]}, fixed=fixed),
    ]
    torch.testing.assert_close(torch.stack([each[:2] for each in found]), torch.stack(wanted), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found[2][2:], wanted_read, atol=1e-4, rtol=1e-4)
    assert beside.lengths == apart.lengths


def test_a_copied_row_continues_like_the_original(tiny_llama: Path) -> None:
    network = Network(tiny_llama, torch.float32, "cpu")
    cache = network.cache(3)
    network.read(cache, [0, 2], PROMPTS[:2])
    cache.copy(2, 1)
    logits = network.step(cache, [4, 4, 4])
    torch.testing.assert_close(logits[1], logits[2])


def test_an_unknown_architecture_is_refused_by_name(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=50)).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="'gpt2'"):
        Network(tmp_path)
