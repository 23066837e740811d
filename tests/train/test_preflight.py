"""The ways in which distillation goes wrong without a word elsewhere, each found before the first step here.

Tests named `silently_…` are each one such failure that was met in the field; those of packing, of means over small
batches and of resuming stand beside what they are about (test_distil), top-k before softmax in test_sparse, capped
logits in test_network.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.conftest import CHAT_TEMPLATE

from trueseed.errors import ConfigError
from trueseed.lm.vocabulary import Vocabulary
from trueseed.train.batches import Example
from trueseed.train.preflight import UNLIKE, check, comparable
from trueseed.train.settings import Config, Distil, OnPolicy
from trueseed.train.signals import About

ROW = Example(id="row-0", tokens=(1, 5, 6, 7), mask=(False, False, True, True))
STORED = Distil(loss_top_k=4)
MEMORY = Distil(loss_top_k=0, signals="memory")


@pytest.fixture
def other(make_llama: Callable[..., Path], tmp_path: Path) -> Path:
    """A teacher of the student's tokenizer and template, to be changed."""
    return make_llama(tmp_path / "teacher", seed=7)


def edited(folder: Path, name: str, edit: Callable[[dict], None]) -> Path:
    said = json.loads((folder / name).read_text())
    edit(said)
    (folder / name).write_text(json.dumps(said))
    return folder


def about(folder: Path, k: int = 8) -> About:
    return About.teacher("own/teacher", Vocabulary.of(folder), k)


def swap_two_tokens(said: dict) -> None:
    vocabulary = said["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]


def test_models_of_one_vocabulary_take_the_route_that_is_asked_for(tiny_llama: Path, other: Path) -> None:
    assert check(STORED, tiny_llama, other, [ROW]).name == "stored top-k"
    assert check(STORED, tiny_llama, about(other), [ROW]).name == "stored top-k"
    assert check(MEMORY, tiny_llama, other, [ROW]).name == "in memory"
    assert check(OnPolicy(), tiny_llama, other, [ROW]).name == "on-policy"
    assert check(Config(), tiny_llama, other, [ROW]).name == "sequence-level"


def test_the_route_is_told_with_its_reasons(tiny_llama: Path, other: Path) -> None:
    told = str(check(Distil(loss_top_k=4, temperature=2.0), tiny_llama, other, [ROW]))
    assert told.startswith("stored top-k: 300 ids stand for the same strings in both models; ")
    assert "both read chats as the same ids" in told
    assert "temperature 2 softens these, the others keep their share" in told


def test_a_padded_head_is_compared_as_far_as_both_go(tiny_llama: Path, other: Path) -> None:
    padded = edited(other, "config.json", lambda said: said.update(vocab_size=320))
    route = check(MEMORY, tiny_llama, padded, [ROW])
    assert route.name == "in memory"
    assert any("teacher's 320: one is padded, and the first 300 are compared" in reason for reason in route.reasons)


def test_tokens_that_only_one_of_them_knows_are_told(tiny_llama: Path, other: Path) -> None:
    def add(said: dict) -> None:
        said["added_tokens"].append({**said["added_tokens"][0], "id": 300, "content": "<|extra|>"})

    more = edited(edited(other, "tokenizer.json", add), "config.json", lambda said: said.update(vocab_size=320))
    edited(more, "tokenizer_config.json", lambda said: said.update(extra_special_tokens=["<|extra|>"]))
    reasons = check(MEMORY, tiny_llama, more, [ROW]).reasons
    assert any("the teacher knows 1 more, which are not compared" in reason for reason in reasons)
    assert any("special for one of them only: <|extra|>" in reason for reason in reasons)
    assert check(STORED, more, about(tiny_llama), [ROW]).name == "stored top-k"


def test_silently_the_ids_of_another_tokenizer(tiny_llama: Path, other: Path) -> None:
    """Student ids fed to a teacher for which they are other strings."""
    edited(other, "tokenizer.json", swap_two_tokens)
    route = check(MEMORY, tiny_llama, other, [ROW])
    assert route.name == "sequence-level"
    assert "'b' for the teacher and 'a' for the student" in route.reasons[0]
    with pytest.raises(ConfigError, match=r"do not stand for the student's strings.*method: sft"):
        check(STORED, tiny_llama, about(other), [ROW])


def test_silently_the_same_vocabulary_cut_otherwise(tiny_llama: Path, other: Path) -> None:
    """Merges differ, so that the same words are other ids, every one of them known to both."""
    edited(other, "tokenizer.json", lambda said: said["model"].update(merges=[]))
    route = check(MEMORY, tiny_llama, other, [ROW])
    assert route.name == "sequence-level"
    assert "as other ids" in route.reasons[0]


def test_silently_another_chat_template(tiny_llama: Path, make_llama: Callable[..., Path], tmp_path: Path) -> None:
    reworded = make_llama(tmp_path / "teacher", seed=7, chat_template=CHAT_TEMPLATE.replace("\n{{", " {{"))
    route = check(MEMORY, tiny_llama, reworded, [ROW])
    assert route.name == "sequence-level"
    assert "chat templates differ" in route.reasons[0]


def test_a_template_that_only_looks_different_is_none(
    tiny_llama: Path, make_llama: Callable[..., Path], tmp_path: Path
) -> None:
    alike = make_llama(tmp_path / "teacher", seed=7, chat_template="{# the same #}" + CHAT_TEMPLATE)
    assert check(MEMORY, tiny_llama, alike, [ROW]).name == "in memory"
    reasons = check(STORED, tiny_llama, about(alike), [ROW]).reasons
    assert any("templates differ, and each record was read as the same ids" in reason for reason in reasons)


def test_silently_rows_without_a_trainable_token(tiny_llama: Path, other: Path) -> None:
    masked = Example(id="masked", tokens=ROW.tokens, mask=(True, False, False, False))  # the first is never predicted
    for config in (Config(), STORED, MEMORY):
        with pytest.raises(ConfigError, match="record masked has no trainable token"):
            check(config, tiny_llama, other, [ROW, masked])


def test_silently_a_mask_from_before_the_row_was_cut(tiny_llama: Path, other: Path) -> None:
    cut = Example(id="cut", tokens=ROW.tokens[:3], mask=ROW.mask)
    with pytest.raises(ConfigError, match="record cut has 3 tokens and says of 4"):
        check(STORED, tiny_llama, other, [cut])


def test_silently_ids_beyond_the_head_are_not_clamped(tiny_llama: Path, other: Path) -> None:
    """A tokenizer longer than the head it came with."""
    beyond = Example(id="beyond", tokens=(1, 5, 300), mask=(False, True, True))
    with pytest.raises(ConfigError, match="token 300 and the student knows 300"):
        check(STORED, tiny_llama, other, [beyond])


def test_silently_a_tokenizer_of_another_length_than_the_head(tiny_llama: Path, other: Path) -> None:
    """`len(tokenizer)` is not how many logits there are; the map of ids is compared, not the lengths."""
    wide = shutil.copytree(tiny_llama, other.parent / "student")
    edited(wide, "config.json", lambda said: said.update(vocab_size=384))
    assert Vocabulary.of(wide).rows == 384
    assert len(Vocabulary.of(wide).tokens) == 300
    assert check(STORED, wide, about(other), [ROW]).name == "stored top-k"


def test_silently_one_term_hundreds_of_times_the_other() -> None:
    with pytest.raises(ConfigError, match=r"teacher's term is 0\.002 .*cross-entropy .* 3: .*`ce_weight` near 0\.0007"):
        comparable(0.002, 3.0, Distil(ce_weight=1.0))
    with pytest.raises(ConfigError, match="would teach nothing"):
        comparable(3.0, 3.0, Distil(ce_weight=0.001))
    with pytest.raises(ConfigError, match="would teach nothing"):
        comparable(0.0, 3.0, Distil(ce_weight=0.5))
    (told,) = comparable(1.0, 3.0, Distil(ce_weight=0.5))
    assert "1 nats a token, weighed cross-entropy 1.5" in told
    assert comparable(1.0, 0.99 * UNLIKE, Distil(ce_weight=1.0))
    assert comparable(1e-9, 3.0, Distil()) == ()


def test_silently_fewer_log_probabilities_than_are_compared(tiny_llama: Path, other: Path) -> None:
    with pytest.raises(ConfigError, match="compares more tokens than the 8 that are stored of own/teacher"):
        check(Distil(loss_top_k=9), tiny_llama, about(other, k=8), [ROW])


def test_a_vocabulary_is_what_ids_mean_not_how_the_file_is_written(tiny_llama: Path, other: Path) -> None:
    as_it_was = Vocabulary.of(other).digest()
    edited(other, "tokenizer.json", lambda said: said.update(truncation=None))
    (other / "tokenizer.json").write_text(json.dumps(json.loads((other / "tokenizer.json").read_text()), indent=4))
    assert Vocabulary.of(other).digest() == as_it_was == Vocabulary.of(tiny_llama).digest()
    edited(other, "tokenizer.json", swap_two_tokens)
    assert Vocabulary.of(other).digest() != as_it_was


def test_weights_that_do_not_say_how_many_tokens_they_know_are_refused(tiny_llama: Path, other: Path) -> None:
    edited(other, "config.json", lambda said: said.pop("vocab_size"))
    with pytest.raises(ConfigError, match="vocab_size"):
        check(MEMORY, tiny_llama, other, [ROW])


def test_it_needs_no_tensors(tiny_llama: Path, other: Path) -> None:
    """A pre-flight comes before weights are read."""
    for path in other.glob("*.safetensors"):
        path.unlink()
    assert check(MEMORY, tiny_llama, other, [ROW]).name == "in memory"
    assert torch.is_grad_enabled()
