"""Weights in the Hugging Face layout as one GGUF file, which llama.cpp and what is built on it read.

    write(folder, Path("student-f16.gguf"), "f16", name="student")

The file carries the chat template that the student learned with, so that it is asked as it was trained. What cannot be
carried over exactly (an architecture or a splitting of words that we do not know) is an error: a model that is asked
with other tokens than it was trained on answers garbage. Names of keys and tensors, and the order of rows in query and
key weights, are llama.cpp's (`convert_hf_to_gguf.py`); q8_0 follows its rule too: matrices only, rows in blocks of 32.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from trueseed.errors import ConfigError
from trueseed.lm.format import PLAIN
from trueseed.lm.source import matching, refuse_unsafe

Precision = Literal["f16", "q8_0"]
CONTROL, USER_DEFINED, NORMAL = 3, 4, 1  # token types of llama.cpp

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def write(folder: Path, target: Path, precision: Precision, *, name: str) -> None:
    """Writes `target`. Raises `ConfigError` for an architecture, tokenizer or tensor that cannot be carried over."""
    from gguf import GGUFWriter

    refuse_unsafe(folder)
    config = json.loads((folder / "config.json").read_bytes())
    _must_be_known(config)
    writer = GGUFWriter(target, "llama", use_temp_file=True)
    _describe(writer, config, precision, name)
    _tokenizer(writer, folder, config)
    for key, tensor in _tensors(folder, config):
        _add(writer, key, tensor, precision)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _must_be_known(config: dict[str, Any]) -> None:
    kind = config.get("model_type")
    rope = config.get("rope_parameters") or {}
    if kind != "llama":
        raise ConfigError(f"GGUF is written for the architecture 'llama', not {kind!r}; export --format hf alone")
    if rope.get("rope_type", "default") != "default" or config.get("attention_bias") or config.get("mlp_bias"):
        raise ConfigError("GGUF is not written for scaled rope or biases, which these weights have; --format hf alone")


def _describe(writer: Any, config: dict[str, Any], precision: Precision, name: str) -> None:
    from gguf import GGML_QUANT_VERSION, LlamaFileType

    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    theta = (config.get("rope_parameters") or {}).get("rope_theta", config.get("rope_theta", 10000.0))
    writer.add_type("model")
    writer.add_name(name)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(theta)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    kind = LlamaFileType.MOSTLY_F16 if precision == "f16" else LlamaFileType.MOSTLY_Q8_0
    writer.add_file_type(kind)
    writer.add_quantization_version(GGML_QUANT_VERSION)


def _tokenizer(writer: Any, folder: Path, config: dict[str, Any]) -> None:
    from transformers import AutoTokenizer

    whole = json.loads((folder / "tokenizer.json").read_bytes())
    model, added = whole["model"], {each["id"]: each for each in whole["added_tokens"]}
    if model["type"] != "BPE" or model.get("byte_fallback") or whole.get("normalizer"):
        raise ConfigError(f"GGUF is written for byte-level BPE tokenizers; {folder} has another; --format hf alone")
    words = {index: word for word, index in model["vocab"].items()} | {i: each["content"] for i, each in added.items()}
    size = config["vocab_size"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_splitting(whole["pre_tokenizer"], folder))
    writer.add_token_list([words.get(index, f"[PAD{index}]") for index in range(size)])
    writer.add_token_types([_type(index, words, added) for index in range(size)])
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]])
    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    for role in ("bos", "eos", "unk", "pad"):
        index = getattr(tokenizer, f"{role}_token_id")
        if index is not None:
            getattr(writer, f"add_{role}_token_id")(index)
    writer.add_add_bos_token(_begins_by_itself(tokenizer))
    writer.add_add_space_prefix(False)
    writer.add_chat_template(tokenizer.chat_template or PLAIN)


def _type(index: int, words: dict[int, str], added: dict[int, Any]) -> int:
    if index in added:
        return CONTROL if added[index]["special"] else USER_DEFINED
    return NORMAL if index in words else 5  # unused: the table of tokens is longer than the vocabulary


def _begins_by_itself(tokenizer: Any) -> bool:
    """Whether plain text gets a beginning token that no template wrote."""
    return bool(tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id)


def _splitting(found: dict[str, Any], folder: Path) -> str:
    """llama.cpp's name for how text is split into words before merging."""
    match found.get("pretokenizers", [found]):
        case [{"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}]:
            return "gpt-2"
        case [{"type": "Digits", "individual_digits": True}, {"type": "ByteLevel", "add_prefix_space": False}]:
            return "smollm"
        case [{"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated"}, {"type": "ByteLevel"}]:
            for known, name in ((_LLAMA3, "llama-bpe"), (_QWEN2, "qwen2")):
                if regex == known:
                    return name
    raise ConfigError(
        f"llama.cpp's name for how the tokenizer in {folder} splits words is not known; --format hf alone"
    )


def _tensors(folder: Path, config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """llama.cpp's name of each tensor, with its values in float32."""
    from gguf import MODEL_ARCH, get_tensor_name_map
    from safetensors import safe_open

    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    heads, kv_heads = config["num_attention_heads"], config.get("num_key_value_heads") or config["num_attention_heads"]
    for path in matching(folder, ("*.safetensors",)):
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118  safe_open is no mapping
                if key == "lm_head.weight" and config.get("tie_word_embeddings"):
                    continue
                mapped = names.get_name(key, try_suffixes=(".weight",))
                if mapped is None:
                    raise ConfigError(f"tensor {key!r} of {path} has no name in GGUF; export --format hf alone")
                tensor = file.get_tensor(key).float().numpy()
                if ".q_proj." in key:
                    tensor = _halves_interleaved(tensor, heads)
                if ".k_proj." in key:
                    tensor = _halves_interleaved(tensor, kv_heads)
                yield mapped, tensor


def _halves_interleaved(tensor: Any, heads: int) -> Any:
    """Rows of each head from transformers' order (first halves, second halves) to llama.cpp's (pairs)."""
    shape = tensor.shape
    return tensor.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def _add(writer: Any, key: str, tensor: Any, precision: Precision) -> None:
    import numpy as np
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    if tensor.ndim < 2:
        writer.add_tensor(key, tensor.astype(np.float32))
    elif precision == "q8_0" and tensor.shape[-1] % 32 == 0:
        kind = GGMLQuantizationType.Q8_0
        writer.add_tensor(key, quantize(tensor, kind), raw_dtype=kind)
    else:
        half = tensor.astype(np.float16)
        if not np.isfinite(half).all():
            raise ConfigError(f"tensor {key!r} has values that float16 does not hold; export --format hf alone")
        writer.add_tensor(key, half)
