"""A tiny student learns how probable another finds each token, from what was stored of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.test_network import configured
from tests.train.test_sft import SAYINGS, make_dataset, stopping_at

from trueseed.core.artifacts import Artifact
from trueseed.core.records import read_parquet
from trueseed.errors import ConfigError
from trueseed.lm import checkpoint
from trueseed.lm.engine import Engine
from trueseed.lm.format import Format
from trueseed.lm.vocabulary import Vocabulary
from trueseed.terms.model import Effect
from trueseed.train import distil, loop, network
from trueseed.train.batches import Example, examples, pack
from trueseed.train.divergence import Divergence, divergence
from trueseed.train.signals import About, Signals, write
from trueseed.workspace import Workspace

K = 16


@pytest.fixture(scope="module")
def teacher(make_llama: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another random model of the same tokenizer."""
    return make_llama(tmp_path_factory.mktemp("teacher") / "llama", seed=7)


@pytest.fixture(scope="module")
def engine(teacher: Path) -> Engine:
    return Engine(teacher, "own/teacher", dtype="float32")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "work", create=True)


def store(folder: Path, engine: Engine, teacher: Path, rows: list[Example], k: int = K) -> About:
    chats = [(list(row.tokens), list(row.mask)) for row in rows]
    about = About.teacher(engine.source, Vocabulary.of(teacher), k)
    found = zip(rows, engine.topk(chats, k), strict=True)
    return write(folder, about, ((row.id, row.tokens, row.mask, topk) for row, topk in found))


def heard(workspace: Workspace, dataset: Artifact, engine: Engine, teacher: Path, parts: tuple[str, ...]) -> Artifact:
    """Signals of these parts of the dataset."""
    with workspace.step("signals", inputs=[dataset], config={"parts": [*parts]}) as step:
        rows = [
            row
            for part in parts
            for row in examples(read_parquet(dataset.path(f"{part}.parquet")), engine.format, max_length=1024).kept
        ]
        return step.earlier("signals") or step.write(
            "signals", lambda folder: store(folder, engine, teacher, rows) and None, {}
        )


def distilled(
    workspace: Workspace,
    base: Path,
    engine: Engine,
    teacher: Path,
    *,
    parts: Any = ("train", "validation"),
    **keys: Any,
) -> Artifact:
    given = {"dtype": "float32", "tokens_per_batch": 64, "num_train_epochs": 4, "loss_top_k": K, **keys}
    config = distil.Config(**given)
    dataset = make_dataset(workspace, SAYINGS, ("The ship sails.",))
    signals = heard(workspace, dataset, engine, teacher, parts)
    with workspace.step("train", inputs=[dataset, signals], effect=Effect.TRAIN, config=config.model_dump()) as step:
        return distil.train(config, dataset, base, signals, step)


def report(student: Artifact) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(student.path("curve.json").read_text())
    return found


def test_the_student_comes_nearer_to_the_teacher(workspace, tiny_llama, engine, teacher):
    student = distilled(workspace, tiny_llama, engine, teacher, num_train_epochs=15, learning_rate=1e-2)
    curve = report(student)["curve"]
    assert curve[-1]["loss"] < 0.1 * curve[0]["loss"]
    assert student.meta["validation_loss_after"] < student.meta["validation_loss_before"]
    assert student.meta["method"] == "distil"


def test_the_report_says_the_route_and_how_much_of_the_teacher_is_kept(workspace, tiny_llama, engine, teacher):
    found = report(distilled(workspace, tiny_llama, engine, teacher, max_steps=1))
    assert found["route"]["name"] == "stored top-k"
    assert any("same strings" in reason for reason in found["route"]["reasons"])
    assert found["signals"]["source"] == "own/teacher"
    assert 0 < found["signals"]["mass"] < 1
    parts = found["curve"][0]["parts"]
    assert parts["kl"] == pytest.approx(found["curve"][0]["loss"])
    assert parts["ce"] > 0
    assert found["signals"]["bytes_per_token"] <= 120


def test_a_run_that_was_stopped_ends_with_the_same_bits(tmp_path, tiny_llama, engine, teacher, monkeypatch):
    keys: dict[str, Any] = {"save_steps": 2, "learning_rate": 1e-3, "dtype": "bfloat16", "beta": 0.5, "ce_weight": 0.1}
    whole = distilled(Workspace.open(tmp_path / "whole", create=True), tiny_llama, engine, teacher, **keys)
    interrupted = Workspace.open(tmp_path / "stopped", create=True)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "_rate", stopping_at(5))
        with pytest.raises(KeyboardInterrupt):
            distilled(interrupted, tiny_llama, engine, teacher, **keys)
    resumed = distilled(interrupted, tiny_llama, engine, teacher, **keys)
    assert report(resumed)["curve"] == report(whole)["curve"]
    assert resumed.path("model.safetensors").read_bytes() == whole.path("model.safetensors").read_bytes()


def test_records_the_teacher_was_not_asked_about_stop_it_before_the_first_step(workspace, tiny_llama, engine, teacher):
    with pytest.raises(ConfigError, match="not asked about 1 records"):
        distilled(workspace, tiny_llama, engine, teacher, parts=("train",))


def test_a_student_of_another_template_does_not_learn_from_them(workspace, make_llama, tmp_path, engine, teacher):
    other = make_llama(tmp_path / "other", chat_template=None)
    with pytest.raises(ConfigError, match="read 5 records as other tokens"):
        distilled(workspace, other, engine, teacher)


def test_more_tokens_than_are_stored_cannot_be_compared(workspace, tiny_llama, engine, teacher):
    with pytest.raises(ConfigError, match=r"loss_top_k: 20` compares more tokens than the 16"):
        distilled(workspace, tiny_llama, engine, teacher, loss_top_k=20)


def test_terms_of_another_scale_stop_it_and_name_the_key(workspace, tiny_llama, engine, teacher):
    with pytest.raises(ConfigError, match="`ce_weight` near"):
        distilled(workspace, tiny_llama, engine, teacher, ce_weight=1000.0)


# The loss, on batches


def rows(form: Format) -> list[Example]:
    texts = (*SAYINGS, "The sea is wide.", "And the sky?")
    found = []
    for at, text in enumerate(texts):
        ids = [1, *form._encode("The sea"), *form._encode(text), 0]
        mask = [place >= 4 + at % 2 for place in range(len(ids))]
        found.append(Example(id=f"row-{at}", tokens=tuple(ids), mask=tuple(mask)))
    return found


@pytest.fixture(scope="module")
def some(tiny_llama: Path, engine: Engine, teacher: Path, tmp_path_factory: Any) -> tuple[list[Example], Signals]:
    """Rows, and what the teacher thinks of them, its whole vocabulary."""
    found, folder = rows(Format(tiny_llama)), tmp_path_factory.mktemp("signals")
    store(folder, engine, teacher, found, k=Vocabulary.of(teacher).rows)
    return found, Signals.open(folder)


@pytest.fixture(scope="module")
def model(tiny_llama: Path) -> Any:
    return network.prepare(checkpoint.load(tiny_llama, torch.float32))


def gradients(model: Any, *losses: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    for loss in losses:
        loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters()}


def same_gradients(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], rtol: float = 2e-3) -> None:
    for name, gradient in found.items():
        largest = float(expected[name].abs().max())
        torch.testing.assert_close(gradient, expected[name], rtol=rtol, atol=rtol * largest / 10 + 1e-6)


def test_from_the_whole_vocabulary_it_is_what_the_teacher_in_memory_gives(some, model, teacher):
    found, signals = some
    batch = pack(found)
    stored = distil.Loss(model, signals, distil.Config(loss_top_k=signals.about.k))(batch)
    other = network.prepare(checkpoint.load(teacher, torch.float32))
    with torch.no_grad():
        theirs = network.hidden(other, batch)
    head, their_head = (each.get_output_embeddings().weight for each in (model, other))
    dense = divergence(network.hidden(model, batch), head, theirs, their_head, batch.labels, Divergence())
    assert stored.item() == pytest.approx(dense.item(), rel=1e-3)  # rounding of what is stored
    same_gradients(gradients(model, stored), gradients(model, dense), rtol=2e-2)


def test_packed_rows_say_what_they_say_alone_each_token_beside_its_own_thought(some, model):
    found, signals = some
    loss = distil.Loss(model, signals, distil.Config(loss_top_k=8, beta=0.5, ce_weight=0.2))
    alone = [loss(pack([row])) for row in found]
    together = loss(pack(list(reversed(found))))
    assert together.item() == pytest.approx(sum(each.item() for each in alone), rel=1e-5)
    same_gradients(gradients(model, together), gradients(model, *alone))


def test_the_parts_add_up_to_the_loss_and_are_counted_once(some, model):
    found, signals = some
    loss = distil.Loss(model, signals, distil.Config(loss_top_k=8, ce_weight=0.2))
    total = loss(pack(found[:3])).item() + loss(pack(found[3:])).item()
    parts = loss.parts()
    assert parts["kl"] + 0.2 * parts["ce"] == pytest.approx(total, rel=1e-5)
    assert loss.parts() == {"kl": 0, "ce": 0}


def test_sixteen_small_passes_are_one_large_one(workspace, tiny_llama, engine, teacher):
    """A mean over each small batch, averaged, would weigh short answers more."""
    small, large = (
        report(distilled(workspace, tiny_llama, engine, teacher, max_steps=3, **keys))["curve"]
        for keys in (
            {"tokens_per_batch": 32, "gradient_accumulation_steps": 16},
            {"tokens_per_batch": 512, "gradient_accumulation_steps": 1},
        )
    )
    for one, other in zip(small, large, strict=True):
        assert (one["targets"], one["tokens"]) == (other["targets"], other["tokens"])
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-3)


def test_an_architecture_of_its_own_forward_learns_from_the_same(some, engine, teacher, tmp_path):
    """GPT-NeoX: its logits are not a matrix times what we call hidden states."""
    found = [Example(id=row.id, tokens=tuple(t % 64 for t in row.tokens), mask=row.mask) for row in some[0]]
    folder = tmp_path / "signals"
    folder.mkdir()
    about = About(source="own/teacher", k=4, vocabulary=64, tokenizer="", template="")
    logits = torch.randn(200, 64, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    write(folder, about, ((row.id, row.tokens, row.mask, first(logits[: row.targets], 4)) for row in found))
    config = distil.Config(loss_top_k=4)
    foreign = network.prepare(configured("gpt_neox"))
    loss = distil.Loss(foreign, Signals.open(folder), config)(pack(found))
    loss.backward()
    assert loss.item() > 0
    assert all(weight.grad is not None for weight in foreign.parameters())


def first(logp_AV: torch.Tensor, k: int) -> Any:
    from trueseed.lm.topk import TopK

    kept, ids = logp_AV.sort(-1, descending=True)
    return TopK(ids=ids[:, :k].int().numpy(), logprobs=kept[:, :k].numpy(), tail=kept[:, k:].logsumexp(-1).numpy())
