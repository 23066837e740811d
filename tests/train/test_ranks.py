"""Two processes learn what one learns: whole in each or shared out, by every method."""

import json
import os
import shutil
import socket
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.train.test_distil import store

from trueseed.core.chat import Message, user
from trueseed.core.records import Origin, Record
from trueseed.errors import ConfigError
from trueseed.lm import checkpoint
from trueseed.lm.engine import Engine
from trueseed.lm.format import Format
from trueseed.train import distil, on_policy, ranks, sft, shards, stage
from trueseed.train.batches import Example, examples
from trueseed.train.ranks import ALONE, Ranks
from trueseed.train.settings import Config, Distil, Lora, OnPolicy

OWN = Origin(kind="human", source="own/tests", project="tests", use="train", terms="", asked_at="2026-01-01T00:00:00Z")
SAID = {"sea": "deep", "dog": "lazy", "fox": "quick and brown", "sailor": "old", "list": "short"}
RECORDS = tuple(
    Record(messages=(*user(f"Tell me of the {word}."), Message("assistant", f"The {word} is {how}.")), origin=OWN)
    for word, how in SAID.items()
)
HOW: dict[str, Any] = {
    "dtype": "float32", "learning_rate": 3e-3, "tokens_per_batch": 48, "gradient_accumulation_steps": 2,
    "num_train_epochs": 2, "max_steps": 4, "eval_steps": 2, "save_steps": 2,
}  # fmt: skip
LORA: dict[str, Any] = {**HOW, "lora": Lora(rank=3), "wise_ft_alpha": 0.5}  # three rows of two processes: unevenly
WORDS: dict[str, Any] = {**HOW, "max_steps": 3, "lmbda": 0.6, "seq_kd": True, "max_new_tokens": 8}

METHODS = ("sft", "adapters", "stored", "memory", "words", "adapters' words")


@pytest.fixture(scope="module")
def teacher(make_llama: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("teacher") / "llama", seed=5, brief=True)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def jobs(tiny_llama: Path, teacher: Path, work: Path) -> dict[str, stage.Job]:
    """What is learned, by name. Each is learned alone, and by two with whole and with shared weights."""
    form = Format(tiny_llama)
    rows = examples(RECORDS, form, max_length=1024).kept
    signals = work / "signals"
    signals.mkdir()
    store(signals, Engine(teacher, "own/teacher", dtype="float32"), teacher, list(rows), 16)
    poisoned = checkpoint.load(tiny_llama, torch.float32)
    with torch.no_grad():
        poisoned.model.norm.weight.fill_(3e38)  # whose products overflow
    checkpoint.save(poisoned, work / "poisoned", like=tiny_llama)

    def job(name: str, config: Any, method: Callable[[stage.Student], stage.Method], base: Path) -> stage.Job:
        return stage.Job(
            config=config, weights=base, records=RECORDS, rows=rows, held_out=rows[:1], at=work / name, method=method
        )

    def heard(config: Any) -> Callable[[stage.Student], stage.Method]:
        notes = work / f"notes of {id(config)}"
        notes.mkdir()
        return partial(on_policy.method, config, teacher, notes)

    stored = Distil(**HOW, loss_top_k=8, ce_weight=0.5)
    memory = Distil(**HOW, loss_top_k=8, signals="memory", ce_weight=0.5)
    words, words_by_adapters = OnPolicy(**WORDS), OnPolicy(**WORDS, lora=Lora(rank=3))
    return {
        "sft": job("sft", Config(**HOW), sft.method, tiny_llama),
        "adapters": job("adapters", Config(**LORA), sft.method, tiny_llama),
        "bfloat16": job("bfloat16", Config(**{**HOW, "dtype": "bfloat16"}), sft.method, tiny_llama),
        "stored": job("stored", stored, partial(distil.method, stored, signals), tiny_llama),
        "memory": job("memory", memory, heard(memory), tiny_llama),
        "words": job("words", words, heard(words), tiny_llama),
        "adapters' words": job("adapters' words", words_by_adapters, heard(words_by_adapters), tiny_llama),
        "poisoned": job("poisoned", Config(**HOW), sft.method, work / "poisoned"),
        "one fails": job("one fails", Config(**HOW), failing_in_the_second, tiny_llama),
    }


def failing_in_the_second(student: stage.Student) -> stage.Method:
    if ranks.launched().rank:
        raise ConfigError("no such folder here")
    return sft.method(student)


def with_shares(job: stage.Job) -> stage.Job:
    """The same, weights shared out among the processes."""
    return changed(job, job.at.with_name(f"{job.at.name} shared"), "fsdp")


def changed(job: stage.Job, at: Path, parallel: str) -> stage.Job:
    """The same with another folder and another way of working together."""
    config = job.config.model_copy(update={"parallel": parallel})
    method = job.method
    if isinstance(method, partial):  # of a method that hears a teacher, which is told how
        method = partial(method.func, config, *method.args[1:])
    return stage.Job(
        config=config, weights=job.weights, records=job.records, rows=job.rows, held_out=job.held_out, at=at,
        method=method,
    )  # fmt: skip


Told = dict[str, Any]


def learned(job: stage.Job) -> Told:
    """What the first process tells of it, its weights as arrays."""
    try:
        found = stage.learned(job, None, let_go=shutil.rmtree, progress=lambda *_: None)
    except ConfigError as err:
        return {"error": str(err)}
    weights = {name: weight.detach().float().numpy() for name, weight in found.model.named_parameters()}
    return {**found.course.to_json(), "before": found.before, "after": found.after, "weights": weights,
            "says": found.method.says()}  # fmt: skip


def as_rank(rank: int, port: int, jobs: Mapping[str, stage.Job], answers: Any) -> None:
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    if rank:
        ranks.serve(stage.along)
        return
    try:
        for name, job in jobs.items():
            ranks.give(job)
            answers.put((name, learned(job)))
        ranks.dismiss()
    except Exception:
        answers.put(("crashed", traceback.format_exc()))
        raise


@pytest.fixture(scope="module")
def by_two(jobs: dict[str, stage.Job]) -> Iterator[dict[str, Told]]:
    """What two processes learned of each job; they are started once for all of them."""
    asked = dict(jobs)
    asked |= {f"{name} shared": with_shares(job) for name, job in jobs.items() if name != "one fails"}
    asked["sft again"] = asked["sft"]
    asked["sft shared again"] = asked["sft shared"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = get_context("fork")
    answers = context.Queue()
    both = [context.Process(target=as_rank, args=(rank, port, asked, answers), daemon=True) for rank in (0, 1)]
    for process in both:
        process.start()
    found: dict[str, Told] = {}
    while found.keys() != asked.keys():
        name, said = answers.get(timeout=300)
        assert name != "crashed", said
        found[name] = said
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    yield found


@pytest.fixture(scope="module")
def by_one(jobs: dict[str, stage.Job], work: Path) -> dict[str, Told]:
    return {name: learned(changed(jobs[name], work / f"{name} alone", "ddp")) for name in METHODS}


@pytest.mark.parametrize("shared", ["", " shared"])
@pytest.mark.parametrize("name", METHODS)
def test_two_processes_learn_what_one_learns(
    name: str, shared: str, by_one: dict[str, Told], by_two: dict[str, Told]
) -> None:
    alone, both = by_one[name], by_two[name + shared]
    for exact in ("targets", "tokens", "learning_rate"):
        assert [point[exact] for point in both["curve"]] == [point[exact] for point in alone["curve"]]
    for near in ("loss", "grad_norm"):
        assert [p[near] for p in both["curve"]] == pytest.approx([p[near] for p in alone["curve"]], rel=1e-3)
    for mine, theirs in zip(alone["curve"], both["curve"], strict=True):
        assert theirs["parts"] == pytest.approx(mine["parts"], rel=1e-3)
    assert both["kept"] == alone["kept"]
    assert [both["before"], both["after"]] == pytest.approx([alone["before"], alone["after"]], rel=1e-3)
    for weight, value in alone["weights"].items():
        found = torch.from_numpy(both["weights"][weight])
        torch.testing.assert_close(found, torch.from_numpy(value), rtol=1e-3, atol=5e-4)


def test_in_bfloat16_shared_weights_learn_what_whole_ones_learn(by_two: dict[str, Told]) -> None:
    whole, shared = by_two["bfloat16"], by_two["bfloat16 shared"]
    assert shared["before"] == whole["before"]
    assert shared["curve"][0]["loss"] == whole["curve"][0]["loss"]
    assert shared["curve"][0]["grad_norm"] == pytest.approx(whole["curve"][0]["grad_norm"], rel=1e-5)
    assert [p["loss"] for p in shared["curve"]] == pytest.approx([p["loss"] for p in whole["curve"]], rel=1e-2)


@pytest.mark.parametrize("shared", ["", " shared"])
def test_what_two_processes_go_on_with_ends_in_the_same_bits(shared: str, by_two: dict[str, Told], work: Path) -> None:
    """The second time begins at the last checkpoint of the first."""
    first, again = by_two[f"sft{shared}"], by_two[f"sft{shared} again"]
    assert list((work / f"sft{shared}").glob("step-*"))
    assert again["curve"] == first["curve"]
    assert all((again["weights"][name] == weight).all() for name, weight in first["weights"].items())


def test_one_process_goes_on_from_what_two_shared_out(
    jobs: dict[str, stage.Job], by_two: dict[str, Told], work: Path, tmp_path: Path
) -> None:
    shutil.copytree(work / "sft shared", tmp_path / "copy")
    alone = learned(changed(jobs["sft"], tmp_path / "copy", "ddp"))
    assert len(alone["curve"]) == len(by_two["sft shared"]["curve"])
    assert alone["curve"][0] == by_two["sft shared"]["curve"][0]
    assert alone["after"] == pytest.approx(by_two["sft shared"]["after"], rel=1e-4)


@pytest.mark.parametrize("shared", ["", " shared"])
def test_what_breaks_in_one_process_is_told_once_and_ends_both(shared: str, by_two: dict[str, Told]) -> None:
    assert "diverged: the loss became nan at step 1" in by_two[f"poisoned{shared}"]["error"]


def test_what_one_process_cannot_begin_is_told_by_the_first(by_two: dict[str, Told]) -> None:
    assert by_two["one fails"]["error"] == "process 1: no such folder here"


def test_what_two_said_is_what_one_would_have_said(by_one: dict[str, Told], by_two: dict[str, Told]) -> None:
    alone = by_one["words"]["says"]["said"]
    assert by_two["words"]["says"]["said"] == alone
    assert alone.keys() == {"student", "teacher"}


def test_weights_are_not_shared_out_to_one_process(jobs: dict[str, stage.Job], tiny_llama: Path) -> None:
    assert "there is one; start it with `torchrun" in learned(with_shares(jobs["sft"]))["error"]
    with pytest.raises(ConfigError, match="there is one; start it with `torchrun"):
        shards.must_be_possible(tiny_llama)


def test_a_network_that_is_not_read_in_one_pass_is_not_shared_out(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    shards.must_be_possible(tiny_llama)
    shutil.copytree(tiny_llama, tmp_path / "other")
    config = json.loads((tiny_llama / "config.json").read_text())
    (tmp_path / "other" / "config.json").write_text(json.dumps({**config, "model_type": "olmo"}))
    with pytest.raises(ConfigError, match=r"known so are .*llama.* this is 'olmo'. Use `parallel: ddp`"):
        shards.must_be_possible(tmp_path / "other")


@given(st.lists(st.integers(2, 40), min_size=1, max_size=12), st.integers(1, 5))
def test_each_row_is_one_process_s(lengths: list[int], size: int) -> None:
    rows = tuple(Example(id=str(at), tokens=(1,) * n, mask=(True,) * n) for at, n in enumerate(lengths))
    shares = [Ranks(rank=rank, size=size).share([rows]) for rank in range(size)]
    assert [row for share in shares for batch in share for row in batch] == list(rows)


@given(st.lists(st.integers(2, 40), min_size=1, max_size=3), st.integers(2, 5))
def test_in_lockstep_everybody_reads_and_each_row_is_learned_once(lengths: list[int], size: int) -> None:
    rows = tuple(Example(id=str(at), tokens=(1,) * n, mask=(True,) * n) for at, n in enumerate(lengths))
    shares = [Ranks(rank=rank, size=size, lockstep=True).share([rows]) for rank in range(size)]
    assert all(len(share) == 1 and share[0] for share in shares)
    assert [row for share in shares for batch in share for row in batch if row.targets] == list(rows)


@given(st.integers(0, 40), st.integers(1, 5))
def test_spans_are_a_partition(n: int, size: int) -> None:
    spans = [Ranks(rank=rank, size=size).span(n) for rank in range(size)]
    assert [at for start, end in spans for at in range(start, end)] == list(range(n))


def test_without_torchrun_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert ranks.launched() == ALONE
    ranks.give("nothing is sent")
    ranks.dismiss()
