"""Low-rank adapters (arXiv:2106.09685) by peft: put on every linear layer, trained alone, merged at the end."""

import copy
import warnings
from typing import Any

import torch

from trueseed.train.settings import Lora


def adapted(model: Any, lora: Lora, *, seed: int) -> Any:
    """`model` with adapters that change nothing yet, in its own type; only they are trainable. Works in place."""
    from peft import LoraConfig, get_peft_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # what peft asks of transformers is on its way out there
            return get_peft_model(model, config, autocast_adapter_dtype=False)


def merged(model: Any) -> Any:
    """The plain model that computes what the adapted one does: products added in float32, rounded once."""
    dtype = model.dtype
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.float().merge_and_unload().to(dtype)


def merged_copy(model: Any) -> Any:
    """As `merged`, and `model` goes on learning."""
    return merged(copy.deepcopy(model))
