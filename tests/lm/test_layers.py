"""A student made of some layers of a model: the same bytes, the right places, and it speaks."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from trueseed.core.chat import Request, user
from trueseed.errors import ConfigError
from trueseed.lm import checkpoint
from trueseed.lm.engine import Engine
from trueseed.lm.layers import chosen, pick


@pytest.fixture(scope="module")
def deep(tmp_path_factory) -> Path:
    """A random Gemma 3 of seven layers, by whose numbers every third sees everything."""
    from tests.conftest import save_tokenizer
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    folder = tmp_path_factory.mktemp("deep")
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=save_tokenizer(folder), hidden_size=32, intermediate_size=32, num_hidden_layers=7,
        num_attention_heads=2, num_key_value_heads=1, head_dim=16, sliding_window=8, max_position_embeddings=256,
        layer_types=[("full" if at % 3 == 2 else "sliding") + "_attention" for at in range(7)],
        bos_token_id=1, eos_token_id=0, pad_token_id=0, initializer_range=0.15,
    )  # fmt: skip
    Gemma3ForCausalLM(config).save_pretrained(folder)
    (folder / "LICENSE").write_text("as you like it")
    return folder


def test_every_other_layer_stays_and_its_weights_bit_for_bit(deep, tmp_path):
    assert pick(deep, "every_other", tmp_path / "half") == (0, 2, 4, 6)
    before, after = load_file(deep / "model.safetensors"), load_file(tmp_path / "half" / "model.safetensors")
    places = {f"model.layers.{at}.": f"model.layers.{2 * at}." for at in range(4)}
    for name, tensor in after.items():
        start = next((start for start in places if name.startswith(start)), "")
        assert torch.equal(tensor, before[name.replace(start, places[start]) if start else name]), name
    assert len(after) == len(before) - 3 * sum(name.startswith("model.layers.0.") for name in before)
    assert (tmp_path / "half" / "LICENSE").read_text() == "as you like it"


def test_what_was_said_of_a_layer_goes_with_it(deep, tmp_path):
    pick(deep, [1, 2, 5], tmp_path / "some")
    kinds = json.loads((tmp_path / "some" / "config.json").read_text())["layer_types"]
    assert kinds == ["sliding_attention", "full_attention", "full_attention"]
    model = checkpoint.load(tmp_path / "some", torch.float32)
    assert [layer.self_attn.is_sliding for layer in model.model.layers] == [True, False, False]


def test_kinds_that_follow_from_a_number_are_written_out_before_numbers_change(deep, tmp_path):
    whole = shutil.copytree(deep, tmp_path / "whole")
    said = json.loads((whole / "config.json").read_text())
    del said["layer_types"]  # as in a file that leaves them to `sliding_window_pattern`
    (whole / "config.json").write_text(json.dumps({**said, "sliding_window_pattern": 3}))
    pick(whole, [2, 3], tmp_path / "some")
    model = checkpoint.load(tmp_path / "some", torch.float32)
    assert [layer.self_attn.is_sliding for layer in model.model.layers] == [False, True]


def test_it_says_what_transformers_makes_of_those_layers(deep, tmp_path):
    pick(deep, [0, 2, 5], tmp_path / "some")
    engine = Engine(tmp_path / "some", "own/some", slots=1, dtype="float32")
    ((_, answer),) = engine.answers([Request(messages=user("Tell me of the sea."), max_tokens=12, temperature=0.0)])
    model = checkpoint.load(deep, torch.float32)
    model.model.layers = torch.nn.ModuleList([model.model.layers[at] for at in (0, 2, 5)])
    model.config.num_hidden_layers, model.config.layer_types = 3, [model.config.layer_types[at] for at in (0, 2, 5)]
    ids = torch.tensor([engine.format.prompt(user("Tell me of the sea."))])
    for _ in range(12):
        ids = torch.cat([ids, model(ids, use_cache=False).logits[:, -1:].argmax(-1)], 1)
    said = ids[0, -12:].tolist()
    end = next((at for at, token in enumerate(said) if token in engine.format.end_ids), 12)
    assert answer.text == engine.format.decode(said[:end])


def test_weights_in_several_files_become_one(deep, tmp_path):
    parts = shutil.copytree(deep, tmp_path / "parts")
    tensors = sorted(load_file(parts / "model.safetensors").items())
    (parts / "model.safetensors").unlink()
    for at in range(2):
        save_file(dict(tensors[at::2]), parts / f"model-0000{at + 1}-of-00002.safetensors")
    pick(parts, "every_other", tmp_path / "half")
    pick(deep, "every_other", tmp_path / "same")
    half, same = (load_file(tmp_path / name / "model.safetensors") for name in ("half", "same"))
    assert half.keys() == same.keys()
    assert all(torch.equal(tensor, same[name]) for name, tensor in half.items())


@pytest.mark.parametrize("layers", [[], [3, 1], [0, 0], [0, 7], [-1, 2]])
def test_layers_that_are_not_there_are_refused(layers):
    with pytest.raises(ConfigError, match="layers 0 to 6"):
        chosen(layers, 7)


def test_an_architecture_whose_layers_are_not_known_to_stand_alone_is_refused(deep, tmp_path):
    whole = shutil.copytree(deep, tmp_path / "whole")
    said = json.loads((whole / "config.json").read_text())
    (whole / "config.json").write_text(json.dumps({**said, "model_type": "gemma3n_text"}))
    with pytest.raises(ConfigError, match="gemma3n_text"):
        pick(whole, "every_other", tmp_path / "half")
