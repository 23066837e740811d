"""Packed batches say what the rows say alone, and what transformers says."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from trueseed.lm import checkpoint
from trueseed.train import network
from trueseed.train.batches import Example, pack

tokens = st.lists(st.integers(2, 60), min_size=1, max_size=40)
beginnings = st.sampled_from([(), (5, 6, 7), (5, 6, 7, 8, 9), (5, 9)])


@st.composite
def rows(draw: st.DrawFn) -> list[Example]:
    found = []
    for at in range(draw(st.integers(1, 7))):
        ids = (1, *draw(beginnings), *draw(tokens))
        mask = (False, *draw(st.lists(st.booleans(), min_size=len(ids) - 2, max_size=len(ids) - 2)), True)
        found.append(Example(id=str(at), tokens=ids, mask=mask))
    return found


@pytest.fixture(scope="module")
def model(tiny_llama: Path) -> Any:
    return network.prepare(checkpoint.load(tiny_llama, torch.float32))


@pytest.fixture(scope="module")
def reference(tiny_llama: Path) -> Any:
    return checkpoint.load(tiny_llama, torch.float32)


def by_transformers(model: Any, row: Example) -> torch.Tensor:
    labels = torch.tensor([token if counts else -100 for token, counts in zip(row.tokens, row.mask, strict=True)])
    logits = model(input_ids=torch.tensor(row.tokens)[None]).logits[0]
    return functional.cross_entropy(logits[:-1].float(), labels[1:], reduction="sum")


def gradients(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters()}


@given(rows())
@settings(max_examples=40, deadline=None)
def test_a_packed_batch_says_what_its_rows_say_alone(model: Any, rows: list[Example]) -> None:
    alone = sum(network.loss(model, pack([row])).item() for row in rows)
    assert network.loss(model, pack(rows)).item() == pytest.approx(alone, rel=1e-5)


@given(rows())
@settings(max_examples=25, deadline=None)
def test_loss_and_gradients_are_those_of_transformers(model: Any, reference: Any, rows: list[Example]) -> None:
    ours, theirs = network.loss(model, pack(rows)), torch.stack([by_transformers(reference, row) for row in rows]).sum()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    expected = gradients(reference, theirs)
    for name, found in gradients(model, ours).items():
        torch.testing.assert_close(
            found, expected[name], rtol=2e-3, atol=2e-5 * float(expected[name].abs().max()) + 1e-6
        )


def test_another_row_in_the_batch_changes_no_row(model: Any) -> None:
    row = Example(id="a", tokens=(1, 5, 6, 7, 8), mask=(False, False, False, True, True))
    gradient = gradients(model, network.loss(model, pack([row])))
    silent = Example(id="b", tokens=(1, 5, 6, 9, 10, 11, 12), mask=(False,) * 7)
    for name, found in gradients(model, network.loss(model, pack([row, silent]))).items():
        torch.testing.assert_close(found, gradient[name], rtol=1e-4, atol=1e-5)


def test_a_common_beginning_is_computed_once() -> None:
    first = Example(id="a", tokens=(1, 5, 6, 7), mask=(False, False, False, True))
    second = Example(id="b", tokens=(1, 5, 8, 9), mask=(False, False, False, True))
    batch = pack([first, second])
    assert batch.tokens.tolist() == [1, 5, 6, 8]
    assert batch.positions.tolist() == [0, 1, 2, 2]
    assert batch.row_tokens == 8


@given(rows())
@settings(max_examples=50, deadline=None)
def test_each_answer_entry_knows_its_row_and_its_place_there(rows: list[Example]) -> None:
    batch = pack(rows)
    answers = {row.id: [t for t, counts in zip(row.tokens[1:], row.mask[1:], strict=True) if counts] for row in rows}
    entries = list(zip(batch.row.tolist(), batch.place.tolist(), batch.labels.tolist(), strict=True))
    assert [answers[batch.ids[row]][place] for row, place, _ in entries] == [label for *_, label in entries]
    assert sorted((batch.ids[row], place) for row, place, _ in entries) == sorted(
        (identity, place) for identity, told in answers.items() for place in range(len(told))
    )


def test_the_same_question_answered_twice_counts_twice(model: Any) -> None:
    row = Example(id="a", tokens=(1, 5, 6, 7), mask=(False, False, True, True))
    twice = network.loss(model, pack([row, Example(id="b", tokens=row.tokens, mask=row.mask)]))
    assert twice.item() == pytest.approx(2 * network.loss(model, pack([row])).item(), rel=1e-6)


def configured(name: str) -> Any:
    """A tiny random model of another architecture."""
    from transformers import AutoConfig, AutoModelForCausalLM

    extra: dict[str, dict[str, Any]] = {
        "gpt_neox": {},
        "gemma3_text": {
            "num_key_value_heads": 1,
            "head_dim": 16,
            "sliding_window": 5,
            "layer_types": ["sliding_attention", "full_attention"],
        },
        "qwen3": {"num_key_value_heads": 2, "head_dim": 16},
        "smollm3": {  # the second layer knows no positions and sees a window alone
            "num_key_value_heads": 2,
            "no_rope_layers": [1, 0],
            "use_sliding_window": True,
            "sliding_window": 5,
            "pad_token_id": 0,
            "initializer_range": 0.3,  # attention that looks somewhere, so that it shows
        },
    }
    config = AutoConfig.for_model(
        name,
        vocab_size=64,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        **extra.get(name, {"num_key_value_heads": 2}),
    )
    torch.manual_seed(1)
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("name", sorted(network.PACKED | {"gpt_neox"}))
def test_every_architecture_agrees_with_its_own_forward(name: str) -> None:
    model = configured(name)
    row = Example(id="a", tokens=(1, *range(5, 24)), mask=(False,) * 8 + (True,) * 12)
    other = Example(id="b", tokens=(1, *range(5, 10), *range(30, 50)), mask=(False,) * 8 + (True,) * 18)
    expected = gradients(model, by_transformers(model, row) + by_transformers(model, other))
    ready = network.prepare(model)
    assert network.packs(ready) == (name in network.PACKED)
    for name, found in gradients(ready, network.loss(ready, pack([row, other]))).items():
        torch.testing.assert_close(
            found, expected[name], rtol=2e-3, atol=1e-5 * float(expected[name].abs().max()) + 1e-7
        )


def test_what_smollm3_does_otherwise_shows_in_this_test() -> None:
    """Its layer without rotation and its window each change the loss, so a pass that forgot one would be seen."""
    row = Example(id="a", tokens=(1, *range(5, 24)), mask=(False,) * 8 + (True,) * 12)
    model = network.prepare(configured("smollm3"))
    layer = model.model.layers[1].self_attn
    as_it_is = network.loss(model, pack([row])).item()
    layer.sliding_window, window = None, layer.sliding_window
    without_window = network.loss(model, pack([row])).item()
    layer.sliding_window, layer.use_rope = window, True
    with_rotation = network.loss(model, pack([row])).item()
    assert window == 5
    assert abs(without_window - as_it_is) > 0.1 and abs(with_rotation - as_it_is) > 0.1


@pytest.mark.parametrize("name", sorted(network.PACKED - {"gemma3_text"}))
def test_norms_save_less_while_a_packed_network_trains(name: str) -> None:
    norms = [each for each in network.prepare(configured(name)).modules() if type(each).__name__.endswith("RMSNorm")]
    assert norms
    assert all("forward" in vars(each) for each in norms)


def test_an_architecture_that_is_not_packed_is_named_with_what_it_costs() -> None:
    said = network.unpacked(configured("gpt_neox").config)
    assert said.startswith("the architecture 'gpt_neox' is not packed, so training is slower and takes more memory")
    assert "smollm3" in said
    capped = configured("gemma3_text").config
    capped.final_logit_softcapping = 0.05
    assert network.unpacked(capped).startswith("'gemma3_text' with `final_logit_softcapping` is not packed")
    assert not network.unpacked(configured("llama").config)


def test_restored_it_is_the_model_it_was(tiny_llama: Path, reference: Any) -> None:
    model = network.restore(network.prepare(checkpoint.load(tiny_llama, torch.float32)))
    ids = torch.tensor([[1, 5, 6, 7]])
    assert torch.equal(model(input_ids=ids).logits, reference(input_ids=ids).logits)


def test_capped_logits_go_through_the_models_own_forward() -> None:
    """A configuration of Gemma 3 may ask for Gemma 2's caps: a packed pass that left them out would be wrong."""
    model = configured("gemma3_text")
    row = Example(id="a", tokens=(1, *range(5, 24)), mask=(False,) * 8 + (True,) * 12)
    plain = by_transformers(model, row).item()
    model.config.final_logit_softcapping = 0.05
    capped = by_transformers(model, row).item()
    assert network.loss(network.prepare(model), pack([row])).item() == pytest.approx(capped, rel=1e-5)
    assert abs(capped - plain) > 1e-3
