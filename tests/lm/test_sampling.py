"""Drawing the next token, against the plain definition."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trueseed.lm.sampling import Sampling, choose, draw, logprob, uniforms


def nucleus(logits_V: Tensor, temperature: float, top_p: float) -> tuple[list[int], list[float]]:
    """Tokens of the nucleus, most probable first (equal ones by id), and their cumulative probability: by full sort."""
    probability = torch.softmax(logits_V.double() / temperature, -1)
    order = sorted(range(len(logits_V)), key=lambda token: (-float(logits_V[token]), token))
    tokens, masses, mass = [], [], 0.0
    for token in order:
        mass += float(probability[token])
        tokens.append(token)
        masses.append(mass)
        if mass >= top_p and top_p < 1:
            break
    return tokens, masses


def drawn(logits_SV: Tensor, temperature: float, top_p: float, uniform: list[float]) -> list[int]:
    S = len(logits_SV)
    return draw(
        logits_SV,
        torch.full((S,), temperature),
        torch.full((S,), top_p, dtype=torch.float64),
        torch.tensor(uniform, dtype=torch.float64),
    ).tolist()


def logits_like(kind: str, seed: int, vocabulary: int, dtype: torch.dtype) -> Tensor:
    """Peaked, flat, or full of equal values."""
    noise = torch.randn(3, vocabulary, generator=torch.Generator().manual_seed(seed))
    scaled = {"peaked": noise * 4, "flat": noise * 0.1, "equal": noise.round()}[kind]
    return scaled.to(dtype)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["peaked", "flat", "equal"]),
    seed=st.integers(0, 10_000),
    vocabulary=st.sampled_from([2, 63, 64, 65, 300, 2048, 3001]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    temperature=st.floats(0.05, 5),
    top_p=st.floats(0.001, 1),
    uniform=st.lists(st.floats(0, 1, exclude_max=True), min_size=3, max_size=3),
)
def test_a_draw_is_that_of_the_fully_sorted_nucleus(
    kind: str,
    seed: int,
    vocabulary: int,
    dtype: torch.dtype,
    temperature: float,
    top_p: float,
    uniform: list[float],
) -> None:
    logits = logits_like(kind, seed, vocabulary, dtype)
    for row, token in enumerate(drawn(logits, temperature, top_p, uniform)):
        tokens, masses = nucleus(logits[row], temperature, top_p)
        rank = tokens.index(token) if token in tokens else len(tokens)
        below = masses[rank - 1] / masses[-1] if rank else 0.0
        above = masses[rank] / masses[-1] if rank < len(masses) else below
        slack = 1e-4  # float32 against float64, only at the edges of an interval
        assert below - slack <= uniform[row] <= above + slack
        assert rank < len(tokens) or abs(masses[-1] - top_p) < slack


def test_draws_follow_the_distribution() -> None:
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05])).repeat(20_000, 1)
    uniform = uniforms(range(20_000), [0] * 20_000).tolist()
    counts = np.bincount(drawn(logits, 1.0, 0.9, uniform), minlength=4) / 20_000
    assert counts[3] == 0
    assert np.allclose(counts[:3], np.array([0.5, 0.3, 0.15]) / 0.95, atol=0.015)


def test_uniforms_are_even_and_depend_on_seed_and_position_only() -> None:
    seeds, positions = np.meshgrid(np.arange(300), np.arange(300))
    numbers = uniforms(seeds.ravel().tolist(), positions.ravel().tolist())
    assert np.all((numbers >= 0) & (numbers < 1))
    assert len(np.unique(numbers)) == len(numbers)
    assert np.allclose(np.histogram(numbers, 20, (0, 1))[0] / len(numbers), 0.05, atol=0.004)
    assert uniforms([-1], [3])[0] == uniforms([2**64 - 1], [3])[0]
    assert uniforms([7, 8], [3, 4])[1] == uniforms([8], [4])[0]
    lag = numbers.reshape(300, 300)
    assert abs(np.corrcoef(lag[:-1].ravel(), lag[1:].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(lag[:, :-1].ravel(), lag[:, 1:].ravel())[0, 1]) < 0.02


def test_greedy_and_drawn_rows_share_a_batch() -> None:
    logits = logits_like("peaked", 3, 300, torch.float32)
    mixed = choose(
        logits,
        Sampling(
            temperature=(0.0, 0.9, 0.0),
            top_p=(1.0, 0.8, 0.5),
            seed=(1, 2, 3),
            position=(0, 5, 0),
            logprobs=(False, True, True),
        ),
    )
    assert [mixed.tokens[0], mixed.tokens[2]] == [int(logits[0].argmax()), int(logits[2].argmax())]
    assert mixed.tokens[1] == drawn(logits[1:2], 0.9, 0.8, uniforms([2], [5]).tolist())[0]
    assert math.isnan(mixed.logprobs[0])
    assert mixed.logprobs[1] == pytest.approx(float(torch.log_softmax(logits[1], -1)[mixed.tokens[1]]), abs=1e-5)


def test_the_log_probability_is_of_the_model_itself() -> None:
    logits = logits_like("flat", 1, 500, torch.float32)
    expected = torch.log_softmax(logits.double(), -1)[torch.arange(3), torch.tensor([4, 5, 6])]
    assert torch.allclose(logprob(logits, torch.tensor([4, 5, 6])).double(), expected, atol=1e-6)


def test_of_equal_tokens_greedy_takes_the_first() -> None:
    logits = torch.zeros(2, 5000, dtype=torch.bfloat16)
    logits[1, 4000:4100] = 1
    greedy = Sampling(temperature=(0, 0), top_p=(1, 1), seed=(0, 0), position=(0, 0), logprobs=(False, False))
    assert choose(logits, greedy).tokens == [0, 4000]
