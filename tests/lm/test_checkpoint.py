"""Weights that cannot be right are refused in plain words, before anything is computed with them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from trueseed.core.chat import user
from trueseed.errors import ConfigError
from trueseed.lm import checkpoint
from trueseed.lm.engine import Engine
from trueseed.lm.format import Format

Spoil = Callable[[Path], Any]


def config(**changes: Any) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return spoil


def tensors(change: Callable[[dict[str, torch.Tensor]], Any]) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / "model.safetensors"
        held = load_file(path)
        change(held)
        save_file(held, path, {"format": "pt"})

    return spoil


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def cut_in_its_header(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:40])


def lose_a_shard(folder: Path) -> None:
    held = load_file(folder / "model.safetensors")
    places = {name: f"model-0000{1 + at % 2}-of-00002.safetensors" for at, name in enumerate(held)}
    (folder / "model.safetensors").unlink()
    save_file({n: t for n, t in held.items() if "1-of" in places[n]}, folder / "model-00001-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


SPOILT: dict[str, tuple[Spoil, str]] = {
    "an architecture that nobody knows": (config(model_type="acme9000"), "acme9000"),
    "no architecture": (config(model_type=None), "config.json"),
    "a truncated file": (cut, "cannot be loaded"),
    "a file cut in its header": (cut_in_its_header, "cannot be loaded"),
    "a missing shard": (lose_a_shard, "00002-of-00002"),
    "more layers than there are": (config(num_hidden_layers=3), "layers.2.*is missing"),
    "fewer layers than there are": (config(num_hidden_layers=1), "layers.1.*is not in it"),
    "another width": (config(intermediate_size=64), "mlp"),
    "a width that is no number": (config(hidden_size="wide"), "config.json"),
    "another vocabulary": (config(vocab_size=77), "embed_tokens"),
    "an activation that is none": (config(hidden_act="swoosh"), "swoosh"),
    "NaN": (tensors(lambda held: held["model.norm.weight"][3:4].fill_(torch.nan)), "model.norm.weight"),
    "infinity": (tensors(lambda held: held["model.layers.1.mlp.up_proj.weight"][0].fill_(torch.inf)), "layers.1.mlp"),
    "a tensor that is missing": (tensors(lambda held: held.pop("model.layers.0.mlp.up_proj.weight")), "is missing"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_spoilt_weights_are_refused_by_name(tmp_path: Path, tiny_llama: Path, name: str) -> None:
    folder = tmp_path / "spoilt"
    shutil.copytree(tiny_llama, folder)
    spoil, said = SPOILT[name]
    spoil(folder)
    with pytest.raises(ConfigError, match=said) as refused:
        Engine(folder, "own/spoilt")
    assert str(folder) in str(refused.value) or "config.json" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_whole_weights_are_taken(tiny_llama: Path) -> None:
    assert checkpoint.load(tiny_llama).config.model_type == checkpoint.architecture(tiny_llama) == "llama"


def test_a_tokenizer_that_cannot_be_read_is_refused(tmp_path: Path, tiny_llama: Path) -> None:
    folder = tmp_path / "spoilt"
    shutil.copytree(tiny_llama, folder)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"tokenizer\.json"):
        Format(folder)


def test_a_token_beyond_the_embedding_is_refused_when_it_comes(tmp_path: Path, tiny_llama: Path) -> None:
    folder = tmp_path / "spoilt"
    shutil.copytree(tiny_llama, folder)
    form = Format(folder)
    config(vocab_size=max(form.prompt(user("sea"))))(folder)
    with pytest.raises(ConfigError, match="another model"):
        Format(folder).prompt(user("sea"))
    with pytest.raises(ConfigError, match="another model"):
        Format(folder).plain("", form.decode(form.prompt(user("sea"))) + " sea sailor lazy dog")


def test_weights_without_a_chat_template_are_asked_in_plain_words(
    tmp_path: Path, make_llama: Callable[..., Path]
) -> None:
    form = Format(make_llama(tmp_path / "base", chat_template=None))
    assert form.decode(form.prompt(user("Why?"))) == "Question: Why?\nAnswer: "


def test_a_chat_template_that_is_broken_is_refused(tmp_path: Path, make_llama: Callable[..., Path]) -> None:
    form = Format(make_llama(tmp_path / "odd", chat_template="{% for message in messages %}"))
    with pytest.raises(ConfigError, match="chat template"):
        form.prompt(user("Why?"))


def test_weights_that_were_let_go_are_there_when_they_are_looked_at(tiny_llama: Path) -> None:
    model, other = checkpoint.load(tiny_llama), torch.arange(100_000.0)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    checkpoint.let_go([*model.parameters(), other])
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())
    assert torch.equal(other, torch.arange(100_000.0))  # lies in no file
