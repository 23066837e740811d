"""Small random models of each architecture the engine knows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SMALL = {
    "hidden_size": 96,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 1024,
    "initializer_range": 0.15,
    "bos_token_id": 1,
    "eos_token_id": 0,
    "pad_token_id": 0,
    "tie_word_embeddings": True,
}


def _config(architecture: str, vocabulary: int) -> Any:
    import transformers

    common = {**SMALL, "vocab_size": vocabulary}
    if architecture == "mistral":
        return transformers.MistralConfig(**common, sliding_window=24)
    if architecture == "qwen2":
        return transformers.Qwen2Config(**common)
    if architecture == "qwen3":
        return transformers.Qwen3Config(**common)
    if architecture == "smollm3":
        return transformers.SmolLM3Config(**common, no_rope_layer_interval=2)
    if architecture == "gemma3":
        return transformers.Gemma3TextConfig(**common, sliding_window=24, query_pre_attn_scalar=16)
    llama3 = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0}
    llama3 |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 64}
    return transformers.LlamaConfig(**{**common, "tie_word_embeddings": False}, rope_parameters=llama3)


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory, make_llama: Callable[..., Path]) -> Callable[[str], Path]:
    """A folder with a random model of the named architecture; "llama" is the shared tiny one with scaled rotations."""
    made: dict[str, Path] = {}

    def make(architecture: str) -> Path:
        import torch
        from transformers import AutoModelForCausalLM

        if architecture not in made:
            folder = make_llama(tmp_path_factory.mktemp("models") / architecture)
            torch.manual_seed(1)
            model = AutoModelForCausalLM.from_config(_config(architecture, 300))
            for name, parameter in model.named_parameters():
                if name.endswith("bias") or "norm" in name:
                    torch.nn.init.normal_(parameter, mean=0.0 if architecture == "gemma3" else 1.0, std=0.1)
            model.save_pretrained(folder)
            made[architecture] = folder
        return made[architecture]

    return make
