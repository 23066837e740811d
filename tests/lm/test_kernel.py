"""The compiled parts of decoding, against torch."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lm.test_sampling import logits_like, nucleus
from torch.nn import functional

from trueseed.core.chat import Request, user
from trueseed.errors import ConfigError
from trueseed.lm import kernel
from trueseed.lm.engine import Engine
from trueseed.lm.network import Network
from trueseed.lm.sampling import uniforms

needs_steps = pytest.mark.skipif(not kernel.steps(), reason="whole layers are not compiled on this processor")
by_each_unit = pytest.mark.usefixtures("unit")
PROMPTS = [[5, 9, 17, 42, 7], list(range(20, 61)), [3], [8, 8, 250, 9]]


@pytest.fixture
def without_kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TRUESEED_KERNEL", "off")
    kernel.library.cache_clear()
    yield
    monkeypatch.undo()
    kernel.library.cache_clear()


@pytest.fixture(params=["", "vectors"])
def unit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The matrix unit, where there is one, and vectors."""
    if request.param and not torch.cpu.get_capabilities().get("amx_bf16"):
        pytest.skip("nothing but vectors on this processor")
    monkeypatch.setenv("TRUESEED_KERNEL", request.param)
    kernel.library.cache_clear()
    yield
    monkeypatch.undo()
    kernel.library.cache_clear()


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).bfloat16()


@needs_steps
@by_each_unit
@pytest.mark.parametrize(("outputs", "inputs"), [(32, 64), (300, 96), (70, 130)])
@pytest.mark.parametrize("rows", [1, 5, 13, 40, 250])
def test_a_product_is_that_of_torch(outputs: int, inputs: int, rows: int) -> None:
    weight, bias, x = random(outputs, inputs), random(outputs, seed=1), random(rows, inputs, seed=2)
    expected = x.double() @ weight.double().T + bias.double()
    found = kernel.Packed(weight, bias)(x).double()
    assert ((found - expected).abs() <= expected.abs() * 2**-8 + 1e-4).all()


@needs_steps
@by_each_unit
def test_halves_come_out_in_the_order_of_the_weight() -> None:
    weight, x = random(96, 64), random(7, 64, seed=1)
    assert torch.equal(kernel.Packed(weight, None, halves=True)(x), kernel.Packed(weight, None)(x))


@needs_steps
@by_each_unit
def test_a_product_in_eight_bits_is_that_of_rounded_weights_and_inputs() -> None:
    weight, x = random(48, 130), random(9, 130, seed=1)

    def rounded(y: torch.Tensor) -> torch.Tensor:
        groups = functional.pad(y.double(), (0, 62)).unflatten(-1, (-1, 64))
        scale = groups.abs().amax(-1, keepdim=True) / 127
        return ((groups / scale).round() * scale).flatten(-2)

    expected = rounded(x) @ rounded(weight).T
    found = kernel.Packed(weight, None, coarse=True)(x).double()
    assert (found - expected).norm() / expected.norm() < 4e-3
    exact = x.double() @ weight.double().T
    assert 1e-3 < (found - exact).norm() / exact.norm() < 2e-2


@needs_steps
@by_each_unit
def test_a_row_in_eight_bits_has_the_same_bits_however_many_are_beside_it() -> None:
    weight, x = random(70, 130), random(40, 130, seed=1)
    product = kernel.Packed(weight, None, coarse=True)
    assert torch.equal(torch.cat([product(row[None]) for row in x]), product(x))


@needs_steps
@by_each_unit
@pytest.mark.parametrize("architecture", ["llama", "mistral", "qwen2", "qwen3", "smollm3", "gemma3"])
def test_compiled_layers_are_as_near_to_float32_as_those_of_torch(
    architecture: str, make_model: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_model(architecture)
    compiled, exact = Network(folder, torch.bfloat16, "cpu"), Network(folder, torch.float32, "cpu")
    assert compiled._compiled
    tokens = [[7, 7, 7, 7], [1, 2, 3, 4], [250, 8, 8, 8]]
    wanted, found = (run(network, tokens).double() for network in (exact, compiled))
    monkeypatch.setenv("TRUESEED_KERNEL", "off")
    kernel.library.cache_clear()
    plain = Network(folder, torch.bfloat16, "cpu")
    assert plain._compiled is None
    torchs = run(plain, tokens).double()
    assert (found - wanted).norm() <= 1.25 * (torchs - wanted).norm()
    assert (found - wanted).norm() / wanted.norm() < 0.05


def run(network: Network, steps: list[list[int]]) -> torch.Tensor:
    """Logits after prompts, some longer than a window, and after each of some steps."""
    cache = network.cache(len(PROMPTS))
    logits = [network.read(cache, range(len(PROMPTS)), PROMPTS)]
    return torch.stack([*logits, *(network.step(cache, tokens) for tokens in steps)])


@needs_steps
@by_each_unit
@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
def test_a_token_gets_the_same_bits_alone_and_beside_others_read_and_stepped(
    architecture: str, make_model: Callable[[str], Path]
) -> None:
    network = Network(make_model(architecture), torch.bfloat16, "cpu")
    text = list(range(40, 100))
    whole, stepped, beside = network.cache(1), network.cache(1), network.cache(9)
    expected = network.read(whole, [0], [text])
    network.read(stepped, [0], [text[:30]])
    for token in text[30:]:
        found = network.step(stepped, [token])
    assert torch.equal(found, expected)
    among = network.read(beside, range(9), [*[[6] * n for n in range(1, 9)], text])
    assert torch.equal(among[8:], expected)
    mixed = network.cache(3)
    network.read(mixed, [0, 1], PROMPTS[:2])
    for start in range(0, 60, 20):  # in pieces beside two that speak
        found = network.step(mixed, [6, 7], {2: text[start : start + 20]})
    assert torch.equal(found[2:], expected)


@needs_steps
@by_each_unit
def test_eight_bits_speak_nearly_the_same_and_are_refused_with_float32(tiny_llama: Path) -> None:
    exact, coarse = (Network(tiny_llama, torch.bfloat16, "cpu", coarse=coarse) for coarse in (False, True))
    wanted, found = (run(network, [[7, 7, 7, 7]]).double() for network in (exact, coarse))
    assert 0 < (found - wanted).norm() / wanted.norm() < 0.05
    with pytest.raises(ConfigError, match="int8"):
        Engine(tiny_llama, "own/tiny", dtype="float32", weights="int8")


def test_eight_bits_are_refused_where_they_cannot_be_multiplied(tiny_llama: Path, without_kernel: None) -> None:
    with pytest.raises(ConfigError, match="compiler"):
        Engine(tiny_llama, "own/tiny", dtype="bfloat16", weights="int8")


@settings(max_examples=80, deadline=None)
@given(
    kind=st.sampled_from(["peaked", "flat", "equal"]),
    seed=st.integers(0, 10_000),
    vocabulary=st.sampled_from([2, 63, 65, 300, 3001]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    temperature=st.floats(0.05, 5),
    top_p=st.floats(0.001, 1),
    uniform=st.lists(st.floats(0, 1, exclude_max=True), min_size=3, max_size=3),
)
def test_a_compiled_draw_is_that_of_the_fully_sorted_nucleus(
    kind: str, seed: int, vocabulary: int, dtype: torch.dtype, temperature: float, top_p: float, uniform: list[float]
) -> None:
    logits = logits_like(kind, seed, vocabulary, dtype)
    found, told = kernel.choose(logits, [temperature] * 3, [top_p] * 3, uniform, [True] * 3)
    expected = torch.log_softmax(logits.double(), -1)
    for row, token in enumerate(found):
        tokens, masses = nucleus(logits[row], temperature, top_p)
        rank = tokens.index(token) if token in tokens else len(tokens)
        below = masses[rank - 1] / masses[-1] if rank else 0.0
        above = masses[rank] / masses[-1] if rank < len(masses) else below
        assert below - 1e-4 <= uniform[row] <= above + 1e-4
        assert rank < len(tokens) or abs(masses[-1] - top_p) < 1e-4
        assert told[row] == pytest.approx(float(expected[row, token]), abs=1e-4)


def test_compiled_draws_are_those_of_torch(without_kernel: None) -> None:
    from trueseed.lm.sampling import Sampling, choose

    logits = logits_like("peaked", 5, 2048, torch.bfloat16).repeat(100, 1)
    S = len(logits)
    how = Sampling(
        temperature=(0.8, 0.0, 1.3) * 100, top_p=(0.95, 1.0, 1.0) * 100, seed=tuple(range(S)), position=(2,) * S,
        logprobs=(False, True, True) * 100,
    )  # fmt: skip
    plain = choose(logits, how)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TRUESEED_KERNEL")
        kernel.library.cache_clear()
        tokens, _ = kernel.choose(logits, how.temperature, how.top_p, uniforms(how.seed, how.position), how.logprobs)
    assert sum(a != b for a, b in zip(tokens, plain.tokens, strict=True)) <= 1  # at an edge within 1e-6


def test_what_is_not_a_number_ends_no_process() -> None:
    logits = torch.full((2, 300), torch.nan)
    logits[1, 7] = 1.0
    tokens, _ = kernel.choose(logits, [0.8, 0.0], [0.9, 1.0], [0.5, 0.5], [False, False])
    assert all(0 <= token < 300 for token in tokens)


def test_without_a_compiler_torch_does_it_and_that_is_said_once(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = [Request(messages=user("Tell me a story."), max_tokens=8, temperature=0)]
    (_, built), = Engine(tiny_llama, "own/tiny", dtype="float32").answers(asked)  # fmt: skip
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TRUESEED_CACHE", str(tmp_path))
    kernel.library.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            (_, plain), = Engine(tiny_llama, "own/tiny", dtype="float32").answers(asked)  # fmt: skip
        assert plain == built
        assert [record.getMessage() for record in caplog.records if "compiler" in record.getMessage()] == [
            "decoding without compiled parts, so slower: no C++ compiler here (g++, or what CXX names)"
        ]
    finally:
        monkeypatch.undo()
        kernel.library.cache_clear()
