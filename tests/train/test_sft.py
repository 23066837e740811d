"""A tiny student learns, is killed, goes on, and is merged."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import save_tokenizer

from trueseed.core.artifacts import Artifact
from trueseed.core.chat import Message, user
from trueseed.core.code import code_digest
from trueseed.core.records import Record, write_parquet
from trueseed.errors import ConfigError
from trueseed.lm import checkpoint
from trueseed.terms.model import Effect, Relation
from trueseed.train import loop, network, sft
from trueseed.train.batches import Example, pack
from trueseed.train.lora import Lora, adapted, merged
from trueseed.workspace import Step, Workspace

OWN = "own/tests"
SAYINGS = ("The sea is deep.", "A fox jumps.", "Stories matter to sailors.", "Three things: rope, sail, bread.")


def answered(step: Step, at: int, answer: str) -> Record:
    return Record(
        messages=(*user(f"Tell me number {at}."), Message("assistant", answer)), origin=step.origin(source=OWN)
    )


def make_dataset(workspace: Workspace, answers: tuple[str, ...], held_out: tuple[str, ...]) -> Artifact:
    with workspace.step("dataset", brings={OWN: Relation.OUTPUT}, config={"answers": [*answers, *held_out]}) as step:

        def fill(folder: Path) -> None:
            write_parquet([answered(step, at, text) for at, text in enumerate(answers)], folder / "train.parquet")
            write_parquet([answered(step, at, text) for at, text in enumerate(held_out)], folder / "validation.parquet")

        return step.earlier("dataset") or step.write("dataset", fill, {})


def trained(workspace: Workspace, base: Path, *, answers: tuple[str, ...] = SAYINGS, **keys: Any) -> Artifact:
    config = sft.Config(**{"dtype": "float32", "tokens_per_batch": 64, "num_train_epochs": 4, **keys})
    dataset = make_dataset(workspace, answers, SAYINGS[:1])
    with workspace.step("train", inputs=[dataset], effect=Effect.TRAIN, config=config.model_dump()) as step:
        return sft.train(config, dataset, base, step)


def report(student: Artifact) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(student.path("curve.json").read_text())
    return found


@pytest.fixture(scope="module")
def neox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of an architecture that is trained by its own forward."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    folder = tmp_path_factory.mktemp("neox")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=save_tokenizer(folder), **sizes)).save_pretrained(folder)
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "work", create=True)


def test_the_student_learns_by_heart(workspace, tiny_llama):
    student = trained(workspace, tiny_llama, num_train_epochs=40, learning_rate=5e-3)
    curve = report(student)["curve"]
    assert curve[-1]["loss"] < 0.1 < curve[0]["loss"]
    assert student.meta["validation_loss_after"] < 0.1 < student.meta["validation_loss_before"]
    assert student.meta["steps"] == len(curve)


def test_an_architecture_that_is_not_packed_is_said_once_as_training_starts(workspace, tiny_llama, neox):
    said: list[tuple[str, str]] = []
    workspace.report = lambda _step, _done, _total, unit, note: said.append((unit, note))
    trained(workspace, neox, max_steps=2)
    units = [unit for unit, _ in said]
    assert units.count("student's architecture") == 1 and units.index("student's architecture") < units.index("steps")
    assert "'gpt_neox' is not packed, so training is slower" in said[0][1]
    said.clear()
    trained(workspace, tiny_llama, max_steps=1)
    assert {unit for unit, _ in said} == {"steps"}


def test_the_student_is_a_model_that_transformers_loads(workspace, tiny_llama):
    student = trained(workspace, tiny_llama, max_steps=1)
    found, was = checkpoint.load(student.folder, torch.float32), checkpoint.load(tiny_llama, torch.float32)
    assert found.state_dict().keys() == was.state_dict().keys()
    assert not torch.equal(found.model.norm.weight, was.model.norm.weight)
    assert student.path("tokenizer.json").read_bytes() == (tiny_llama / "tokenizer.json").read_bytes()


def test_bfloat16_learns_too(workspace, tiny_llama):
    student = trained(workspace, tiny_llama, num_train_epochs=30, learning_rate=5e-3, dtype="bfloat16")
    assert report(student)["curve"][-1]["loss"] < 0.3
    assert checkpoint.load(student.folder).dtype == torch.bfloat16


def test_a_record_without_a_trainable_token_stops_before_training(workspace, tiny_llama):
    with pytest.raises(ConfigError, match="no trainable token"):
        trained(workspace, tiny_llama, answers=("fine", ""))


def test_records_that_are_too_long_are_counted(workspace, tiny_llama):
    trained(workspace, tiny_llama, answers=("fine", "too long " * 50), max_length=80, max_steps=1)
    counts = [e.predicate["counts"] for e in workspace.ledger.entries() if e.predicate.get("event") == "done"][-1]
    assert counts["train_too_long"] == 1


def test_a_loss_that_is_no_number_stops_the_run_and_names_records(tmp_path, workspace, tiny_llama):
    poisoned = checkpoint.load(tiny_llama, torch.float32)
    with torch.no_grad():
        poisoned.model.norm.weight.fill_(3e38)  # whose products overflow
    checkpoint.save(poisoned, tmp_path / "poisoned", like=tiny_llama)
    with pytest.raises(ConfigError, match=r"diverged: the loss became nan at step 1, on records .*Lower learning_rate"):
        trained(workspace, tmp_path / "poisoned")


@pytest.mark.parametrize("lora", [None, Lora(rank=4, alpha=8.0)])
def test_a_run_that_was_stopped_ends_with_the_same_bits(tmp_path, tiny_llama, monkeypatch, lora):
    keys: dict[str, Any] = {"save_steps": 2, "learning_rate": 1e-3, "dtype": "bfloat16", "lora": lora}
    whole = trained(Workspace.open(tmp_path / "whole", create=True), tiny_llama, **keys)

    interrupted = Workspace.open(tmp_path / "stopped", create=True)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "_rate", stopping_at(5))
        with pytest.raises(KeyboardInterrupt):
            trained(interrupted, tiny_llama, **keys)
    steps_done: list[int] = []
    interrupted.report = lambda step, done, total, unit, note: steps_done.append(done)
    resumed = trained(interrupted, tiny_llama, **keys)

    assert steps_done[0] == 5  # four steps were kept
    assert report(resumed)["curve"] == report(whole)["curve"]
    assert resumed.path("model.safetensors").read_bytes() == whole.path("model.safetensors").read_bytes()


def stopping_at(stop: int) -> Callable[..., float]:
    def rate(at: int, steps: int, config: loop.Optimizing) -> float:
        if at == stop:
            raise KeyboardInterrupt
        return original(at, steps, config)

    original = loop._rate
    return rate


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)  # as in the tests: another number of threads adds up in another order
sys.path.insert(0, {tests!r})
import test_sft
from trueseed.workspace import Workspace

def die(step, done, total, unit, note):
    if done == 3:
        os.kill(os.getpid(), signal.SIGKILL)

workspace = Workspace.open(Path({folder!r}), create=True)
workspace.report = die
test_sft.trained(workspace, Path({base!r}), save_steps=1, learning_rate=1e-3)
"""


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path, tiny_llama):
    code = KILLED.format(tests=str(Path(__file__).parent), folder=str(tmp_path / "work"), base=str(tiny_llama))
    died = subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=dict(os.environ), capture_output=True)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    code_digest.cache_clear()  # somebody may have edited the package since this process began
    steps_done: list[int] = []
    workspace = Workspace.open(tmp_path / "work")
    workspace.report = lambda step, done, total, unit, note: steps_done.append(done)
    student = trained(workspace, tiny_llama, save_steps=1, learning_rate=1e-3)
    assert steps_done[0] == 4
    whole = trained(Workspace.open(tmp_path / "whole", create=True), tiny_llama, save_steps=1, learning_rate=1e-3)
    assert report(student)["curve"] == report(whole)["curve"]
    assert student.digest == whole.digest


def test_accumulated_batches_make_the_same_step_as_one_batch(workspace, tiny_llama):
    keys: dict[str, Any] = {"max_steps": 1, "learning_rate": 1e-3}
    one = trained(workspace, tiny_llama, tokens_per_batch=400, gradient_accumulation_steps=1, **keys)
    many = trained(workspace, tiny_llama, tokens_per_batch=50, gradient_accumulation_steps=8, **keys)
    first, second = report(one)["curve"][0], report(many)["curve"][0]
    assert first["targets"] == second["targets"]
    assert first["loss"] == pytest.approx(second["loss"], rel=1e-6)
    assert first["grad_norm"] == pytest.approx(second["grad_norm"], rel=1e-5)


def test_adapters_merged_say_what_they_said_apart(tiny_llama):
    model = network.prepare(checkpoint.load(tiny_llama, torch.float32))
    learner = adapted(model, Lora(rank=4), seed=1)
    with torch.no_grad():
        for name, weight in learner.named_parameters():
            if weight.requires_grad:
                weight.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
    batch = pack([Example(id="a", tokens=(1, 5, 6, 7, 8), mask=(False, True, True, True, True))])
    apart = network.loss(model, batch).item()
    plain = network.restore(merged(learner))
    assert network.loss(network.prepare(plain), batch).item() == pytest.approx(apart, rel=1e-5)
    assert plain.state_dict().keys() == checkpoint.load(tiny_llama).state_dict().keys()


def test_only_adapters_move_with_lora(tiny_llama):
    learner = adapted(network.prepare(checkpoint.load(tiny_llama)), Lora(rank=2), seed=0)
    trainable = [name for name, weight in learner.named_parameters() if weight.requires_grad]
    assert trainable and all("lora_" in name for name in trainable)


@pytest.mark.parametrize("max_length", [80, 5000])
def test_records_that_are_too_long_stop_the_run_where_that_is_asked(workspace, tiny_llama, max_length):
    answers = ("fine", "too long " * (50 if max_length == 80 else 1500))  # of max_length, or of the context: 1024
    with pytest.raises(ConfigError, match=f"1 record of more than {min(max_length, 1024)} tokens"):
        trained(workspace, tiny_llama, answers=answers, max_length=max_length, too_long="refuse")


def test_one_record_is_enough(workspace, tiny_llama):
    student = trained(workspace, tiny_llama, answers=SAYINGS[:1], num_train_epochs=2)
    assert len(report(student)["curve"]) == 2


def test_the_step_that_was_kept_is_told_and_its_loss_is_the_one_after(workspace, tiny_llama):
    how: dict[str, Any] = {"eval_steps": 2, "early_stopping_patience": 1, "learning_rate": 0.05, "warmup_ratio": 0.0}
    found = report(trained(workspace, tiny_llama, num_train_epochs=12, **how))
    assert found["validation_loss_after"] == min(each["loss"] for each in found["evaluations"])
    assert found["kept"] < found["steps"] == len(found["curve"]) < 24


def test_an_empty_validation_set_is_allowed(workspace, tiny_llama):
    dataset = make_dataset(workspace, SAYINGS, ())
    with workspace.step("train", inputs=[dataset], effect=Effect.TRAIN) as step:
        student = sft.train(sft.Config(max_steps=1, dtype="float32"), dataset, tiny_llama, step)
    assert student.meta["validation_loss_after"] is None


@pytest.mark.parametrize("lora", [None, Lora(rank=2)])
def test_wise_ft_puts_the_student_between_the_base_and_the_trained_network(workspace, tiny_llama, lora):
    how = {"max_steps": 3, "learning_rate": 1e-2, "lora": lora}
    students = [trained(workspace, tiny_llama, wise_ft_alpha=alpha, **how) for alpha in (1.0, 0.25)]
    end, between = (checkpoint.load(student.folder, torch.float32).state_dict() for student in students)
    begin = checkpoint.load(tiny_llama, torch.float32).state_dict()
    for name, weight in begin.items():
        torch.testing.assert_close(between[name], weight + 0.25 * (end[name] - weight), rtol=1e-5, atol=1e-6)
    far, near = (student.meta["validation_loss_after"] for student in students)
    before = students[0].meta["validation_loss_before"]
    assert 0 < abs(near - before) < abs(far - before)


def test_frozen_embeddings_stay_as_they_are_while_the_rest_learns(workspace, tiny_llama):
    student = checkpoint.load(trained(workspace, tiny_llama, freeze_embeddings=True, learning_rate=1e-2).folder)
    base = checkpoint.load(tiny_llama)
    assert torch.equal(student.get_input_embeddings().weight, base.get_input_embeddings().weight)
    assert not torch.equal(student.model.layers[0].mlp.up_proj.weight, base.model.layers[0].mlp.up_proj.weight)


@pytest.mark.parametrize("lora", [None, Lora(rank=2)])
def test_frozen_layers_stay_as_they_are_while_those_above_learn(workspace, tiny_llama, lora):
    student = checkpoint.load(trained(workspace, tiny_llama, freeze_layers=1, lora=lora, learning_rate=1e-2).folder)
    changed = [
        not torch.equal(ours.mlp.up_proj.weight, theirs.mlp.up_proj.weight)
        for ours, theirs in zip(student.model.layers, checkpoint.load(tiny_llama).model.layers, strict=True)
    ]
    assert changed == [False, *[True] * (len(changed) - 1)]
    assert len(changed) > 1


def test_frozen_layers_leave_something_to_train(workspace, tiny_llama):
    with pytest.raises(ConfigError, match="freeze_layers: 2 leaves nothing to train: the network has 2 layers"):
        trained(workspace, tiny_llama, freeze_layers=2)
