"""A student learns from a teacher in memory: online, and from its own words."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.test_sft import SAYINGS, make_dataset, report, stopping_at

from trueseed.core.artifacts import Artifact
from trueseed.core.chat import Message, Request, user
from trueseed.errors import ConfigError
from trueseed.lm import checkpoint
from trueseed.lm.engine import Engine
from trueseed.lm.format import Format
from trueseed.lm.network import Network
from trueseed.terms.model import Effect
from trueseed.train import loop, network, on_policy, online
from trueseed.train.batches import Example, pack
from trueseed.train.divergence import Divergence
from trueseed.train.lora import Lora, adapted, merged, merged_copy
from trueseed.train.own_words import OwnWords, Speaker, spoken
from trueseed.train.settings import Distil
from trueseed.workspace import Workspace

ROWS = [
    Example(id="a", tokens=(1, 5, 6, 7, 8), mask=(False, False, True, True, True)),
    Example(id="b", tokens=(1, 5, 6, 9, 10, 11), mask=(False, False, False, True, True, True)),
]
SMALL: dict[str, Any] = {"dtype": "float32", "tokens_per_batch": 64, "num_train_epochs": 2, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def teacher(make_llama: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another tiny model with the same tokenizer, whose answers end."""
    folder: Path = make_llama(tmp_path_factory.mktemp("teacher") / "llama", seed=5, brief=True)
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "work", create=True)


def distilled(workspace: Workspace, base: Path, teacher: Path, config: Any = None, **keys: Any) -> Artifact:
    how = config or on_policy.Config(**{**SMALL, "max_new_tokens": 12, "lmbda": 1.0, **keys})
    dataset = make_dataset(workspace, SAYINGS, SAYINGS[:1])
    with workspace.step("train", inputs=[dataset], effect=Effect.TRAIN, config=how.model_dump()) as step:
        return on_policy.train(how, dataset, base, teacher, step)


def dense(student: Any, teacher: Any, row: Example) -> torch.Tensor:
    ids = torch.tensor(row.tokens)[None]
    q, p = (model(input_ids=ids).logits[0, :-1].double().log_softmax(-1) for model in (student, teacher))
    where = torch.tensor(row.mask[1:])
    return (p.exp() * (p - q)).sum(-1)[where].sum()


def test_the_packed_loss_and_its_gradients_are_those_of_transformers(tiny_llama: Path, teacher: Path) -> None:
    student, other = (checkpoint.load(tiny_llama, torch.float32) for _ in range(2))
    above, reference = online.load(teacher, torch.float32), checkpoint.load(teacher, torch.float32)
    ours = online.Loss(network.prepare(student), above, Divergence())(pack(ROWS))
    theirs = torch.stack([dense(other, reference, row) for row in ROWS]).sum()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    ours.backward()
    theirs.backward()
    for (name, weight), expected in zip(student.named_parameters(), other.parameters(), strict=True):
        atol = 1e-5 * float(expected.grad.abs().max()) + 1e-7
        torch.testing.assert_close(weight.grad, expected.grad, rtol=2e-3, atol=atol, msg=name)
    assert all(weight.grad is None for weight in above.parameters())


def test_an_architecture_that_is_not_packed_says_the_same(
    tiny_llama: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = network.prepare(checkpoint.load(tiny_llama, torch.float32))
    how = Divergence(beta=0.5, ce_weight=0.5)
    packed = online.Loss(student, online.load(teacher, torch.float32), how)
    expected, parts = packed(pack(ROWS)).item(), packed.parts()
    monkeypatch.setattr(network, "packs", lambda _: False)
    plain = online.Loss(network.restore(student), checkpoint.load(teacher, torch.float32), how)
    student.set_attn_implementation("sdpa")
    assert plain(pack(ROWS)).item() == pytest.approx(expected, rel=1e-5)
    assert plain.parts() == pytest.approx(parts, rel=1e-5)
    assert parts["kl"] + 0.5 * parts["ce"] == pytest.approx(expected, rel=1e-5)


def test_a_token_that_the_teacher_does_not_have_is_told(tiny_llama: Path, teacher: Path) -> None:
    loss = online.Loss(*(online.load(each, torch.float32) for each in (tiny_llama, teacher)), Divergence())
    with pytest.raises(ConfigError, match=r"is to read token 100000, which the student said"):
        loss(pack([Example(id="a", tokens=(1, 100000, 6), mask=(False, False, True))]))


def test_a_student_that_is_its_own_teacher_has_nothing_to_learn(workspace: Workspace, tiny_llama: Path) -> None:
    student = distilled(workspace, tiny_llama, tiny_llama, max_steps=1)
    (point,) = report(student)["curve"]
    assert abs(point["loss"]) < 1e-6
    assert point["grad_norm"] < 1e-5


def test_without_own_words_it_is_online_distillation_to_the_last_bit(
    tmp_path: Path, tiny_llama: Path, teacher: Path
) -> None:
    without = distilled(
        Workspace.open(tmp_path / "one", create=True), tiny_llama, teacher, lmbda=0.0, beta=0.0, loss_top_k=8
    )
    config = Distil(**SMALL, signals="memory", loss_top_k=8)
    online_one = distilled(Workspace.open(tmp_path / "two", create=True), tiny_llama, teacher, config)
    assert report(without)["curve"] == report(online_one)["curve"]
    assert without.path("model.safetensors").read_bytes() == online_one.path("model.safetensors").read_bytes()
    assert report(without)["said"] == {}


def test_it_brings_the_student_closer_to_the_teacher(workspace: Workspace, tiny_llama: Path, teacher: Path) -> None:
    student = distilled(workspace, tiny_llama, teacher, num_train_epochs=15, learning_rate=5e-3, lmbda=0.5)
    assert student.meta["validation_loss_after"] < 0.6 * student.meta["validation_loss_before"]
    assert report(student)["route"]["name"] == "on-policy"
    assert report(student)["curve"][-1]["parts"]["kl"] == pytest.approx(report(student)["curve"][-1]["loss"], rel=1e-5)
    said = report(student)["said"]["student"]
    assert 0.1 < said["share_of_steps"] < 0.9
    assert said["answers"] >= said["steps"] and said["tokens"] <= 12 * said["answers"]
    assert said["first"][0]["prompt"].startswith("Tell me number")


@pytest.mark.parametrize("lora", [None, Lora(rank=2)])
def test_a_run_that_was_stopped_ends_with_the_same_bits(
    tmp_path: Path, tiny_llama: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch, lora: Lora | None
) -> None:
    keys: dict[str, Any] = {"save_steps": 2, "dtype": "bfloat16", "lora": lora, "lmbda": 0.6, "seq_kd": True}
    keys |= {"max_new_tokens": 6}
    whole = distilled(Workspace.open(tmp_path / "whole", create=True), tiny_llama, teacher, **keys)
    interrupted = Workspace.open(tmp_path / "stopped", create=True)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "_rate", stopping_at(3))
        with pytest.raises(KeyboardInterrupt):
            distilled(interrupted, tiny_llama, teacher, **keys)
    resumed = distilled(interrupted, tiny_llama, teacher, **keys)
    assert len(report(whole)["curve"]) > 4
    assert report(resumed) == report(whole)
    assert {"student", "teacher"} == report(whole)["said"].keys()
    assert resumed.path("model.safetensors").read_bytes() == whole.path("model.safetensors").read_bytes()


@pytest.fixture
def words(tiny_llama: Path, teacher: Path, tmp_path: Path) -> Any:
    """Makes own words of two prompts, four steps planned."""

    def make(**keys: Any) -> OwnWords:
        form = Format(tiny_llama)
        prompts = {name: user(f"Tell me of {name}.") for name in ("wind", "rain")}
        rows = tuple(
            Example(id=name, tokens=(*form.prompt(chat), 7), mask=(False,) * len(form.prompt(chat)) + (True,))
            for name, chat in prompts.items()
        )
        speakers = [
            Speaker(name, lambda folder=folder: Network(folder, torch.float32))
            for name, folder in (("student", tiny_llama), ("teacher", teacher))
        ]
        config = on_policy.Config(**{**SMALL, "max_new_tokens": 9, "lmbda": 1.0, **keys})
        return OwnWords([[rows]] * 4, prompts, form, speakers, config, tmp_path)

    return make


def test_rows_are_the_tokens_that_the_student_says(words: Any, tiny_llama: Path) -> None:
    rows = {row.id: row for batch in words(sampling_temperature=1e-6)[0] for row in batch}
    engine = Engine(tiny_llama, "tests/tiny@weights", dtype="float32")
    for name, row in rows.items():
        request = Request(messages=user(f"Tell me of {name}."), max_tokens=9, temperature=0, logprobs=True)
        ((_, answer),) = engine.answers([request])
        said = tuple(each.token for each in answer.logprobs)
        prompt = tuple(engine.format.prompt(request.messages))
        assert row.tokens == prompt + said
        assert row.mask == (False,) * len(prompt) + (True,) * len(said)


def test_words_are_a_function_of_seed_and_step(words: Any) -> None:
    first, again, other = words(), words(), words(seed=1)
    assert [first[at] for at in (0, 1)] == [again[at] for at in (0, 1)]
    assert again[1] == first[1]  # whatever was asked before
    assert first[0] != first[1]
    assert first[0] != other[0]


def test_the_share_of_own_words_is_lmbda(words: Any) -> None:
    some = words(lmbda=0.3, seq_kd=True)
    own = sum(some.whose(at) == "student" for at in range(600))
    assert own / 600 == pytest.approx(0.3, abs=0.06)
    assert {some.whose(at) for at in range(600)} == {"student", "teacher"}
    assert {words(lmbda=0.0).whose(at) for at in range(99)} == {None}
    assert {words(lmbda=1.0).whose(at) for at in range(99)} == {"student"}


def test_with_seq_kd_the_rest_are_the_teachers_words(words: Any, teacher: Path) -> None:
    rows = {row.id: row for batch in words(lmbda=0.0, seq_kd=True, sampling_temperature=1e-6)[2] for row in batch}
    talks = spoken(
        Network(teacher, torch.float32),
        Format(teacher),
        [Request(messages=user(f"Tell me of {name}."), max_tokens=9, temperature=0) for name in rows],
    )
    assert [row.tokens for row in rows.values()] == [(*talk.prompt, *talk.ids) for talk in talks]


def test_words_that_an_answer_could_not_end_before_the_context_are_refused(
    workspace: Workspace, tiny_llama: Path, teacher: Path
) -> None:
    with pytest.raises(ConfigError, match=r"max_new_tokens: 1020 does not fit behind 4 of 4 prompts: the student's"):
        distilled(workspace, tiny_llama, teacher, max_new_tokens=1020)
    with pytest.raises(ConfigError, match=r"Lower max_new_tokens"):
        distilled(workspace, tiny_llama, teacher, max_new_tokens=1020, lmbda=0.0, seq_kd=True)


def test_a_student_that_says_nothing_at_all_is_told_of(
    tmp_path: Path, workspace: Workspace, tiny_llama: Path, teacher: Path
) -> None:
    mute = checkpoint.load(tiny_llama, torch.float32)
    with torch.no_grad():
        mute.model.norm.weight.zero_()[0] = 1.0
        mute.get_input_embeddings().weight[:, 0] = 20.0
        mute.get_input_embeddings().weight[0, 0] = 400.0  # its end token
    checkpoint.save(mute, tmp_path / "mute", like=tiny_llama)
    with pytest.raises(ConfigError, match="answers of the student at step 1 are empty"):
        distilled(workspace, tmp_path / "mute", teacher)


def test_weights_of_this_moment_speak_as_they_would_from_a_folder(tmp_path: Path, tiny_llama: Path) -> None:
    model = network.prepare(checkpoint.load(tiny_llama, torch.bfloat16))
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.mul_(1.5)
    checkpoint.save(network.restore(model), tmp_path / "now", like=tiny_llama)
    ids = [[1, 5, 6, 7], [1, 9]]
    assert torch.equal(Network.of(network.prepare(model)).forward(ids), Network(tmp_path / "now").forward(ids))


def test_adapters_speak_merged_and_go_on_learning(tiny_llama: Path) -> None:
    learner = adapted(checkpoint.load(tiny_llama, torch.float32), Lora(rank=2), seed=0)
    with torch.no_grad():
        for name, weight in learner.named_parameters():
            if "lora_B" in name:
                weight.normal_(generator=torch.Generator().manual_seed(0))
    before = {name: weight.clone() for name, weight in learner.named_parameters()}
    now = Network.of(merged_copy(learner)).forward([[1, 5, 6]])
    for name, weight in learner.named_parameters():
        assert torch.equal(weight, before[name])
    torch.testing.assert_close(now, Network.of(merged(learner)).forward([[1, 5, 6]]))
    assert not torch.equal(now, Network(tiny_llama, torch.float32).forward([[1, 5, 6]]))


def test_a_teacher_with_a_longer_padded_vocabulary_teaches(
    tmp_path: Path, workspace: Workspace, tiny_llama: Path, teacher: Path
) -> None:
    padded = checkpoint.load(teacher, torch.float32)
    padded.resize_token_embeddings(padded.config.vocab_size + 20, mean_resizing=False)
    checkpoint.save(padded, tmp_path / "padded", like=teacher)
    student = distilled(workspace, tiny_llama, tmp_path / "padded", num_train_epochs=1)
    assert json.loads(student.path("config.json").read_text())["vocab_size"] == padded.config.vocab_size - 20
    assert student.meta["validation_loss_after"] < student.meta["validation_loss_before"]


def test_a_teacher_whose_tokens_are_others_is_refused_with_the_way_out(
    tmp_path: Path, workspace: Workspace, tiny_llama: Path, teacher: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(teacher, other)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    words = tokenizer["model"]["vocab"]
    one, two = list(words)[100:102]
    words[one], words[two] = words[two], words[one]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ConfigError, match=r"`method: on_policy` is not possible .* train on its words"):
        distilled(workspace, tiny_llama, other)


def test_records_longer_than_the_teacher_reads_are_left_out_or_refused(
    tmp_path: Path, workspace: Workspace, tiny_llama: Path, teacher: Path
) -> None:
    brief, form = checkpoint.load(teacher, torch.float32), Format(tiny_llama)
    chats = [(*user(f"Tell me number {at}."), Message("assistant", said)) for at, said in enumerate(SAYINGS)]
    longest = max(len(form.training(chat)[0]) for chat in chats)
    for context in (16, longest - 1):
        brief.config.max_position_embeddings = context
        checkpoint.save(brief, tmp_path / str(context), like=teacher)
    with pytest.raises(ConfigError, match=r"no record remains .* longer than the teacher's context of 16 tokens"):
        distilled(workspace, tiny_llama, tmp_path / "16", lmbda=0.0)
    with pytest.raises(ConfigError, match=rf"records? of more than {longest - 1} tokens \(the teacher's context\)"):
        distilled(workspace, tiny_llama, tmp_path / str(longest - 1), lmbda=0.0, too_long="refuse")
    distilled(workspace, tiny_llama, tmp_path / str(longest - 1), lmbda=0.0, max_steps=1)
    counts = [e.predicate["counts"] for e in workspace.ledger.entries() if e.predicate.get("event") == "done"][-1]
    assert counts["train_too_long"] >= 1
