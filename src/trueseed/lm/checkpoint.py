"""A model to and from a folder in the Hugging Face layout: safetensors, config, tokenizer, licence texts."""

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from trueseed.errors import ConfigError
from trueseed.lm.quiet import quiet
from trueseed.lm.source import LICENCE_FILES, MODEL_FILES, matching, refuse_unsafe


def load(folder: Path, dtype: torch.dtype = torch.bfloat16) -> Any:
    """The model as a `transformers` causal language model, on the CPU, in evaluation mode.

    Raises `ConfigError` when the folder has pickles only, needs code of its own, or is of an unknown architecture.
    """
    from transformers import AutoModelForCausalLM

    refuse_unsafe(folder)
    with quiet():
        try:
            model = AutoModelForCausalLM.from_pretrained(
                str(folder), dtype=dtype, use_safetensors=True, local_files_only=True, attn_implementation="sdpa"
            )
        except (OSError, ValueError, KeyError, RuntimeError) as err:
            raise ConfigError(f"the weights in {folder} cannot be loaded: {err}") from err
    return model.eval()


def save(model: Any, folder: Path, *, like: Path) -> None:
    """Writes `model` to `folder`, with the tokenizer and the licence texts of `like`, the weights it came from.

    Raises `ConfigError` when they cannot be written (no room left, mostly).
    """
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        try:
            model.save_pretrained(folder)
        except SafetensorError as err:
            raise ConfigError(
                f"the weights cannot be written to {folder} ({err}); make room on that disk and give the command again"
            ) from err
    for path in matching(like, (*MODEL_FILES, *LICENCE_FILES)):
        if ".safetensors" not in path.name and not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)
