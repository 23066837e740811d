"""Two processes learn what one learns."""

import os
import shutil
import socket
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trueseed.errors import ConfigError
from trueseed.lm.format import Format
from trueseed.train import network, ranks, sft, stage
from trueseed.train.batches import Example
from trueseed.train.ranks import ALONE, Ranks
from trueseed.train.settings import Config

ROWS = tuple(
    Example(id=str(at), tokens=(1, *range(5, 9 + at)), mask=(False, False) + (True,) * (at + 3)) for at in range(7)
)
CONFIG = Config(
    dtype="float32", learning_rate=5e-3, tokens_per_batch=20, gradient_accumulation_steps=2, num_train_epochs=2,
    eval_steps=2, save_steps=2,
)  # fmt: skip


def learned(base: Path, folder: Path, together: Ranks, poison: float = 1.0) -> tuple[Any, dict[str, torch.Tensor]]:
    model, learner = stage.prepared(CONFIG, base)
    student = stage.Student(
        weights=base, form=Format(base), records=(), rows=ROWS, held_out=ROWS[:2], model=model, learner=learner
    )
    method = stage.Method("sft", lambda batch: network.loss(model, batch) * poison, stage.schedule(ROWS, CONFIG))
    course = stage.learned(CONFIG, student, method, folder, together, let_go=shutil.rmtree, progress=lambda *_: None)
    return course, {name: weight.detach() for name, weight in model.named_parameters()}


def as_rank(rank: int, port: int, base: Path, folder: Path, poison: float, answer: Any) -> None:
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    if rank:
        ranks.serve(sft.along)
        return
    ranks.give(stage.Job(config=CONFIG, weights=base, rows=ROWS, held_out=ROWS[:2], at=folder))
    try:
        course, weights = learned(base, folder, ranks.launched(), poison)
        answer.put((course.to_json(), {name: weight.numpy() for name, weight in weights.items()}))
    except ConfigError as err:
        answer.put(str(err))
    ranks.dismiss()


def by_two(base: Path, folder: Path, poison: float = 1.0) -> Any:
    """What rank 0 says, and how both processes ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = get_context("fork")
    answer = context.Queue()
    both = [
        context.Process(target=as_rank, args=(rank, port, base, folder, poison, answer), daemon=True) for rank in (0, 1)
    ]
    for process in both:
        process.start()
    said = answer.get(timeout=120)
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    return said


def test_two_processes_learn_what_one_learns(tiny_llama, tmp_path):
    alone, weights = learned(tiny_llama, tmp_path / "alone", ALONE)
    told, found = by_two(tiny_llama, tmp_path / "both")
    assert [point["targets"] for point in told["curve"]] == [point.targets for point in alone.points]
    for name in ("loss", "grad_norm"):
        assert [point[name] for point in told["curve"]] == pytest.approx(
            [getattr(point, name) for point in alone.points], rel=1e-4
        )
    assert told["kept"] == alone.kept
    for name, weight in weights.items():
        torch.testing.assert_close(torch.from_numpy(found[name]), weight, rtol=1e-3, atol=2e-4)
    assert len(list((tmp_path / "both").glob("step-*"))) == len(list((tmp_path / "alone").glob("step-*")))


def test_what_breaks_in_one_process_is_told_once_and_ends_both(tiny_llama, tmp_path):
    assert "diverged: the loss became nan at step 1" in by_two(tiny_llama, tmp_path, poison=float("nan"))


@given(st.lists(st.integers(2, 40), min_size=1, max_size=12), st.integers(1, 5))
def test_each_row_is_one_process_s(lengths: list[int], size: int) -> None:
    rows = tuple(Example(id=str(at), tokens=(1,) * n, mask=(True,) * n) for at, n in enumerate(lengths))
    shares = [Ranks(rank=rank, size=size).share([rows]) for rank in range(size)]
    assert [row for share in shares for batch in share for row in batch] == list(rows)


def test_without_torchrun_a_process_is_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert ranks.launched() == ALONE
    ranks.give("nothing is sent")
    ranks.dismiss()
