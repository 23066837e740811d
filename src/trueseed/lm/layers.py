"""A smaller model out of a larger one: some of its layers, the rest of it as it is.

    pick(weights.folder, "every_other", folder)      # layers 0, 2, 4, … ; the embeddings, norms and head of all

What a student begins with that is to be distilled from a teacher of the same family: layers copied bit for bit from the
teacher (as DistilBERT was, arXiv:1910.01108) rather than drawn at random. Such a network says little sense before it
learned; how much it keeps is measured, not supposed (docs/distillation.md). The licence of the weights goes along.
"""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from trueseed.errors import ConfigError
from trueseed.lm.source import LICENCE_FILES, MODEL_FILES, matching, refuse_unsafe

Layers = Literal["every_other"] | Sequence[int]
KNOWN = frozenset({"llama", "mistral", "qwen2", "qwen3", "gemma3_text", "smollm3"})  # a layer is a layer, and no more
_NUMBERED = re.compile(r"(?<=\blayers\.)\d+(?=\.)")  # `model.layers.12.mlp.up_proj.weight`


def chosen(layers: Layers, of: int) -> tuple[int, ...]:
    """The numbers, from 0, of those that stay of so many. Raises `ConfigError` when it has no such layers."""
    numbers = tuple(range(0, of, 2)) if layers == "every_other" else tuple(int(each) for each in layers)
    if not numbers or sorted(set(numbers)) != list(numbers) or not 0 <= numbers[0] <= numbers[-1] < of:
        raise ConfigError(
            f"`layers` names {list(numbers)}, and the weights have the layers 0 to {of - 1}; name some, in their order"
        )
    return numbers


def pick(weights: Path, layers: Layers, folder: Path) -> tuple[int, ...]:
    """Writes a model of those layers of `weights` into `folder`, in the Hugging Face layout, and returns their numbers.

    Every tensor that stays has the bytes it had. Raises `ConfigError` for an architecture whose layers depend on each
    other, or are not known to us, and when there are no such layers.
    """
    from safetensors import safe_open
    from safetensors.torch import save_file

    refuse_unsafe(weights)
    config = json.loads((weights / "config.json").read_bytes())
    if config.get("model_type") not in KNOWN:
        raise ConfigError(
            f"`layers`: the layers of {config.get('model_type')!r} are not known to stand alone; known: "
            f"{', '.join(sorted(KNOWN))}"
        )
    numbers = chosen(layers, int(config["num_hidden_layers"]))
    place = {number: at for at, number in enumerate(numbers)}
    kept: dict[str, Any] = {}
    for path in matching(weights, ("*.safetensors",)):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  it is no mapping
                at = _NUMBERED.search(name)
                if at is None:
                    kept[name] = file.get_tensor(name)
                elif int(at.group()) in place:
                    kept[_NUMBERED.sub(str(place[int(at.group())]), name, count=1)] = file.get_tensor(name)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    smaller = _config(weights, config, numbers)
    (folder / "config.json").write_text(json.dumps(smaller, indent=2, sort_keys=True) + "\n")
    for path in matching(weights, (*MODEL_FILES, *LICENCE_FILES)):
        if ".safetensors" not in path.name and not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)
    return numbers


def _config(weights: Path, config: dict[str, Any], numbers: Sequence[int]) -> dict[str, Any]:
    """With whatever is said of each layer said of those that stay. What the architecture would work out by a layer's
    number (which of Gemma's look at a window, which of SmolLM3's turn no positions) is written out: numbers change.
    """
    from transformers import AutoConfig

    meant = AutoConfig.from_pretrained(str(weights), local_files_only=True)
    by_layer = {name: getattr(meant, name, None) for name in ("layer_types", "no_rope_layers")}
    found: dict[str, Any] = {name: [value[number] for number in numbers] for name, value in by_layer.items() if value}
    if "max_window_layers" in config:  # the lowest ones see everything
        found["max_window_layers"] = sum(number < config["max_window_layers"] for number in numbers)
    return {**config, **found, "num_hidden_layers": len(numbers)}
