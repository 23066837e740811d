"""The loop by itself: what stops it, what it keeps, what a full disk leaves."""

import json
import math
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from trueseed.errors import Broken, ConfigError
from trueseed.lm import checkpoint
from trueseed.train import checkpoints, loop, network
from trueseed.train.batches import Batch, Example
from trueseed.train.course import Course, Evaluation
from trueseed.train.settings import Optimizing

ROWS = tuple(
    Example(id=name, tokens=(1, 5, 6, 7, at), mask=(False, False, True, True, True))
    for at, name in enumerate(("a" * 64, "b" * 64, "c" * 64), 8)
)
STEPS = [[(row,)] for row in ROWS * 3]


def learner(folder: Path) -> Any:
    return network.prepare(checkpoint.load(folder, torch.float32))


def fitted(model: Any, folder: Path, loss: Any = None, steps: Any = STEPS, **keys: Any) -> Course:
    validation = keys.pop("validation", None)
    return loop.fit(
        model,
        loss or (lambda batch: network.loss(model, batch)),
        steps,
        Optimizing(**{"learning_rate": 1e-3, **keys}),
        checkpoints=folder,
        let_go=shutil.rmtree,
        progress=lambda *_: None,
        validation=validation,
    )


def following(values: list[float]) -> Callable[[], float]:
    """A validation loss that is what the test says."""
    told: Iterator[float] = iter(values)
    return lambda: next(told)


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(weight, other[name]) for name, weight in one.items())


@pytest.mark.parametrize("factor", [math.nan, math.inf, 100.0])
def test_a_step_that_breaks_leaves_its_batches_in_a_file_and_the_last_checkpoint_whole(tiny_llama, tmp_path, factor):
    model = learner(tiny_llama)
    factors = iter((1.0, 1.0, 1.0, 1.0, 1.0, factor))

    def loss(batch: Batch) -> torch.Tensor:
        return network.loss(model, batch) * next(factors)

    steps = [[(ROWS[0],), (ROWS[1], ROWS[2])]] * 3
    with pytest.raises(ConfigError, match=r"diverged: the loss became .* at step 3, on records bbb.*diverged\.json"):
        fitted(model, tmp_path, loss, steps, save_steps=1)
    said = json.loads((tmp_path / "diverged.json").read_text())
    assert [row["id"][0] for batch in said["batches"] for row in batch["rows"]] == ["a", "b", "c"]
    assert said["batches"][0]["rows"][0]["tokens"] == list(ROWS[0].tokens)
    assert math.isfinite(float(said["batches"][0]["loss"]))
    assert not float(said["batches"][1]["loss"]) < 50
    again = learner(tiny_llama)
    assert len(fitted(again, tmp_path, steps=steps[:2], save_steps=1)) == 2
    assert same(weights(again), weights(model))


def test_one_batch_of_sixteen_rows_and_sixteen_of_one_make_the_same_step(tiny_llama, tmp_path):
    rows = tuple(
        Example(id=str(at), tokens=(1, 5, *range(6, 9 + at)), mask=(False, False) + (True,) * (at + 3))
        for at in range(16)
    )
    one, sixteen = learner(tiny_llama), learner(tiny_llama)
    (whole,) = fitted(one, tmp_path / "one", steps=[[rows]]).points
    (parts,) = fitted(sixteen, tmp_path / "sixteen", steps=[[(row,) for row in rows]]).points
    assert (whole.targets, whole.tokens) == (parts.targets, parts.tokens)
    assert (whole.loss, whole.grad_norm) == pytest.approx((parts.loss, parts.grad_norm), rel=1e-5)
    for name, weight in weights(one).items():  # Adam's first step is the gradient's sign where that is not tiny
        torch.testing.assert_close(weight, weights(sixteen)[name], rtol=0, atol=2e-4)


def test_a_gradient_that_is_no_number_stops_the_run_before_it_touches_the_weights(tiny_llama, tmp_path):
    model = learner(tiny_llama)
    before = weights(model)

    def loss(batch: Batch) -> torch.Tensor:
        value = network.loss(model, batch)
        value.register_hook(lambda grad: grad * math.nan)
        return value

    with pytest.raises(ConfigError, match="the gradient norm became nan at step 1"):
        fitted(model, tmp_path, loss)
    assert same(before, weights(model))
    assert json.loads((tmp_path / "diverged.json").read_text())["what"] == "gradient norm"


@pytest.mark.parametrize("steps", [2, 9])
def test_a_loss_that_teaches_nothing_is_told_after_a_few_steps(tiny_llama, tmp_path, steps):
    model = learner(tiny_llama)
    asked = []

    def loss(batch: Batch) -> torch.Tensor:
        asked.append(batch)
        return network.loss(model, batch) * 0.0

    with pytest.raises(ConfigError, match="gradient is exactly 0 in all of the first"):
        fitted(model, tmp_path, loss, STEPS[:steps])
    assert len(asked) == min(steps, 3)


def test_the_weights_with_the_lowest_validation_loss_are_kept(tiny_llama, tmp_path):
    best, last = learner(tiny_llama), learner(tiny_llama)
    fitted(best, tmp_path / "short", steps=STEPS[:4], warmup_ratio=1.0, validation=None)
    course = fitted(
        last, tmp_path / "long", warmup_ratio=4 / 9, eval_steps=2, validation=following([3.0, 2.0, 2.5, 2.0, 2.1])
    )
    assert [(found.step, found.loss) for found in course.evaluations] == [(2, 3), (4, 2), (6, 2.5), (8, 2), (9, 2.1)]
    assert (course.kept, len(course)) == (4, 9)
    assert same(weights(last), weights(best))


def test_patience_ends_a_run_early(tiny_llama, tmp_path):
    model = learner(tiny_llama)
    course = fitted(
        model, tmp_path, eval_steps=1, early_stopping_patience=2, validation=following([3.0, 2.0, 2.5, 2.2])
    )
    assert (course.kept, len(course)) == (2, 4)


def test_patience_starts_anew_with_each_lower_loss():
    course = Course(evaluations=[Evaluation(step=at, loss=loss) for at, loss in enumerate((3, 4, 2, 5, 6))])
    assert course.in_vain(2) and not course.in_vain(3) and not course.in_vain(0)


def test_a_run_stopped_amid_early_stopping_goes_on_to_the_same_bits(tiny_llama, tmp_path):
    losses = [3.0, 2.0, 2.5, 1.9, 2.2, 2.3, 2.4]
    keys: dict[str, Any] = {"eval_steps": 1, "early_stopping_patience": 3, "save_steps": 5}  # from step 5, best is 4
    whole, model = learner(tiny_llama), learner(tiny_llama)
    course = fitted(whole, tmp_path / "whole", validation=following(losses), **keys)

    with pytest.raises(StopIteration):  # its validation loss cannot be had after step 6, as little as after a kill
        fitted(model, tmp_path / "killed", validation=following(losses[:5]), **keys)
    resumed = learner(tiny_llama)
    found = fitted(resumed, tmp_path / "killed", validation=following(losses[5:]), **keys)
    assert found == course
    assert (course.kept, len(course)) == (4, 7)
    assert same(weights(resumed), weights(whole))


def test_only_the_newest_and_the_best_checkpoint_stay(tiny_llama, tmp_path):
    losses = [3.0, 2.0, 2.5, 2.4, 2.3, 2.2, 2.6, 2.7, 2.8]
    fitted(learner(tiny_llama), tmp_path, eval_steps=1, save_steps=4, validation=following(losses))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000008"]


def test_a_validation_loss_that_cannot_be_measured_is_told_before_training(tiny_llama, tmp_path):
    with pytest.raises(ConfigError, match="no records are held out"):
        fitted(learner(tiny_llama), tmp_path, eval_steps=1)
    with pytest.raises(ConfigError, match="validation loss became nan after step 1"):
        fitted(learner(tiny_llama), tmp_path, eval_steps=1, validation=lambda: math.nan)


class Halves:
    """A loss that says it is made of two halves."""

    def __init__(self, model: Any) -> None:
        self._model, self._sum = model, 0.0

    def __call__(self, batch: Batch) -> torch.Tensor:
        value = network.loss(self._model, batch)
        self._sum += value.item()
        return value

    def parts(self) -> dict[str, float]:
        told, self._sum = self._sum / 2, 0.0
        return {"left": told, "right": told}


def test_a_loss_made_of_parts_tells_each_of_them_a_token(tiny_llama, tmp_path):
    model = learner(tiny_llama)
    loss = Halves(model)
    loop.mean_loss(loss, [ROWS])
    course = fitted(model, tmp_path, loss, steps=[[ROWS[:1], ROWS[1:]]] * 2)
    assert [point.parts["left"] + point.parts["right"] for point in course.points] == pytest.approx(
        [point.loss for point in course.points]
    )


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": lambda at: os.truncate(at / "state.safetensors", 5000),
    "empty": lambda at: (at / "state.safetensors").write_bytes(b""),
    "no state": lambda at: (at / "state.safetensors").unlink(),
    "of another network": lambda at: save_file({"weights.x": torch.zeros(1)}, at / "state.safetensors"),
    "no course": lambda at: (at / "course.json").unlink(),
    "half a course": lambda at: (at / "course.json").write_text('{"curve": [{"step"'),
    "another course": lambda at: (at / "course.json").write_text('{"curve": [], "evaluations": []}'),
    "a course of strangers": lambda at: (at / "course.json").write_text('{"curve": [{"a": 1}], "evaluations": []}'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_with_what_to_delete(tiny_llama, tmp_path, damage):
    fitted(learner(tiny_llama), tmp_path, steps=STEPS[:3], save_steps=2)
    (newest,) = tmp_path.glob("step-*")
    DAMAGES[damage](newest)
    with pytest.raises(Broken, match=rf"checkpoint {newest} is damaged \(.*\)\. Delete {newest} .*begins anew"):
        fitted(learner(tiny_llama), tmp_path, steps=STEPS[:3], save_steps=2)
    shutil.rmtree(newest)
    assert len(fitted(learner(tiny_llama), tmp_path, steps=STEPS[:3], save_steps=2)) == 3


def test_an_older_checkpoint_is_gone_on_from_once_the_damaged_one_is_deleted(tiny_llama, tmp_path):
    losses = [3.0, 2.0, 2.5, 2.4, 2.3, 2.2, 2.6, 2.7, 2.8]
    keys: dict[str, Any] = {"eval_steps": 1, "save_steps": 4}
    whole, again = learner(tiny_llama), learner(tiny_llama)
    course = fitted(whole, tmp_path, validation=following(losses), **keys)
    best, newest = sorted(tmp_path.glob("step-*"))
    DAMAGES["cut"](newest)
    with pytest.raises(Broken, match=rf"Delete {newest} .* goes on from the one of step 2"):
        fitted(learner(tiny_llama), tmp_path, validation=following([]), **keys)
    shutil.rmtree(newest)
    assert fitted(again, tmp_path, validation=following(losses[2:]), **keys) == course
    assert same(weights(again), weights(whole))
    DAMAGES["cut"](best)
    with pytest.raises(Broken, match=rf"checkpoint {best} is damaged .* Delete {tmp_path} .* best weights are in no"):
        fitted(learner(tiny_llama), tmp_path, validation=following(losses[8:]), **keys)


def _on_a_full_disk(base: Path, folder: Path, answer: Any) -> None:
    """In a process of its own: no file may grow beyond half a checkpoint."""
    torch.set_num_threads(1)
    first = max(folder.glob("step-*"))
    half = (first / "state.safetensors").stat().st_size // 2
    resource.setrlimit(resource.RLIMIT_FSIZE, (half, half))
    try:
        fitted(learner(base), folder, save_steps=2)
    except ConfigError as err:
        answer.put((err.exit_code, str(err)))


def test_a_disk_that_fills_amid_a_checkpoint_leaves_the_one_before_it_whole(tiny_llama, tmp_path):
    fitted(learner(tiny_llama), tmp_path, steps=STEPS[:3], save_steps=2)
    context = get_context("fork")
    answer = context.Queue()
    process = context.Process(target=_on_a_full_disk, args=(tiny_llama, tmp_path, answer))
    process.start()
    code, sentence = answer.get(timeout=60)
    process.join()
    assert code == 2
    assert "checkpoint of step 4 cannot be written" in sentence
    assert "the checkpoint of step 2 stands. Make room" in sentence
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]
    model = learner(tiny_llama)
    masters = loop.Masters(model)
    course = checkpoints.restore(tmp_path, masters, loop._optimizer(masters, Optimizing()))
    assert len(course) == 2
