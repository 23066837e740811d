"""A model to and from a folder in the Hugging Face layout: safetensors, config, tokenizer, licence texts."""

import ctypes
import mmap
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from trueseed.errors import ConfigError
from trueseed.lm.quiet import quiet
from trueseed.lm.source import LICENCE_FILES, MODEL_FILES, matching, refuse_unsafe


def load(folder: Path, dtype: torch.dtype = torch.bfloat16) -> Any:
    """The model as a `transformers` causal language model, on the CPU, in evaluation mode.

    Raises `ConfigError` when the folder has pickles only, needs code of its own, is of an unknown architecture, is not
    whole, does not fit its config.json, or holds numbers that are none.
    """
    from transformers import AutoModelForCausalLM

    refuse_unsafe(folder)
    with quiet():
        try:
            model, told = AutoModelForCausalLM.from_pretrained(
                str(folder),
                dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                ignore_mismatched_sizes=True,  # told by name below
                output_loading_info=True,
            )
        except Exception as err:  # transformers raises what its parts raise, and each model has parts of its own
            raise ConfigError(
                f"the weights in {folder} cannot be loaded: {one_line(err)}. Fetch the files again; if they are "
                f"whole, config.json is of another model or its architecture is newer than the installed transformers"
            ) from err
    _refuse_misfits(folder, told)
    _refuse_no_numbers(folder, model)
    let_go(model.parameters())
    return model.eval()


def architecture(folder: Path) -> str:
    """`model_type` of config.json. Raises as `configuration`."""
    return str(configuration(folder).model_type)


def configuration(folder: Path) -> Any:
    """What config.json says, as transformers reads it. Raises `ConfigError` where it cannot."""
    from transformers import AutoConfig

    refuse_unsafe(folder)
    with quiet():
        try:
            return AutoConfig.from_pretrained(str(folder), local_files_only=True)
        except Exception as err:  # each architecture checks its own
            raise ConfigError(
                f"{folder / 'config.json'} cannot be read: {one_line(err)}. It is damaged, or its `model_type` is one "
                f"that the installed transformers does not know"
            ) from err


def context(folder: Path) -> int | None:
    """The longest text that the model in `folder` reads, in tokens; None where its config.json does not say."""
    longest = getattr(configuration(folder), "max_position_embeddings", None)
    return longest if isinstance(longest, int) else None


def one_line(err: Exception) -> str:
    """What somebody else's error says, without its line breaks and at most as long as can be read."""
    said = " ".join(str(err).split()) or type(err).__name__
    return (said if len(said) <= 300 else f"{said[:299]}…").rstrip(".")


def _refuse_misfits(folder: Path, told: dict[str, Any]) -> None:
    """Transformers fills what is missing with random numbers and leaves out what is too much, with a warning."""
    sizes = [f"{name} has {tuple(found)}, not {tuple(wanted)}" for name, found, wanted in told["mismatched_keys"]]
    unknown = [f"{name} is not in it" for name in told["unexpected_keys"] if not name.endswith(".inv_freq")]
    missing = [f"{name} is missing" for name in told["missing_keys"]]
    if wrong := sorted(sizes + missing + unknown):
        raise ConfigError(
            f"the weights in {folder} are not those that its config.json describes: {'; '.join(wrong[:3])}"
            + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
            + ". Fetch config.json and the weights again, from one place"
        )


def _refuse_no_numbers(folder: Path, model: Any) -> None:
    for name, weight in model.named_parameters():
        if weight.numel() and not all(part.isfinite() for part in weight.detach().aminmax()):
            raise ConfigError(
                f"the weights in {folder} hold numbers that are none (NaN or infinite), first in {name}: the training "
                f"that made them broke, or the file did; take an earlier checkpoint or fetch it again"
            )


def let_go(weights: Iterable[torch.Tensor]) -> None:
    """These weights are as they were loaded and not needed soon: pages of a mapped file in which they lie leave this
    process's memory until they are looked at again. On what does not lie in a file nothing is done.

    Never for weights that somebody wrote to: what was written would be lost.
    """
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return
    fields = (line.split(maxsplit=5) for line in maps.read_text().splitlines())
    files = [[int(at, 16) for at in each[0].split("-")] for each in fields if each[-1].endswith(".safetensors")]
    libc, page = ctypes.CDLL(None), mmap.PAGESIZE
    for weight in weights:
        first, behind = weight.data_ptr(), weight.data_ptr() + weight.nbytes
        if any(start <= first and behind <= end for start, end in files):
            first, behind = -(-first // page) * page, behind // page * page
            libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(max(0, behind - first)), mmap.MADV_DONTNEED)


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
