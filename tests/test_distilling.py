"""Distillation as a user meets it: a run file names the method, the door asks the distiller's terms, labels arrive."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.report.test_html import Text
from tests.test_ahead import ACME
from tests.test_workspace import events
from tests.tiny_run import run_file

from trueseed import destroy, distilling, learned, models, pipeline, recall, rerun, runfile
from trueseed.core.artifacts import Artifact
from trueseed.core.chat import Answer, TokenLogprob
from trueseed.core.records import read_parquet
from trueseed.doctor.examine import examine
from trueseed.errors import ConfigError, Refused
from trueseed.ledger.lineage import Lineage
from trueseed.lm.engine import Engine
from trueseed.lm.format import Format
from trueseed.lm.topk import TopK
from trueseed.lm.vocabulary import spellings
from trueseed.papers import card, dossier
from trueseed.plan import making
from trueseed.report import proof, verify, verify_proof
from trueseed.runfile import RunFile
from trueseed.teachers.simulator import simulator
from trueseed.terms.answers import may
from trueseed.terms.model import Effect, Relation, Use
from trueseed.train import codec, collect, distil, settings
from trueseed.train.signals import Signals
from trueseed.workspace import Workspace

FORBIDS = f"""{ACME.partition("[[permissions]]")[0]}
[[permissions]]
uses = ["train", "reward", "serve", "publish"]
relations = ["output", "filter", "score"]
verdict = "refuse"
clause = "3"
because = "output may not be used to develop models"
"""
WISE = "own/wise"
pytestmark = pytest.mark.xdist_group("distilling")


@pytest.fixture(scope="module")
def state(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(autouse=True)
def own_state(state, monkeypatch) -> None:
    """All tests here look at one run, whose keys lie there."""
    monkeypatch.setenv("TRUESEED_STATE", str(state))


@dataclass
class Place:
    """One workspace, and its runs: a student of one layer out of two, taught by a teacher, distilled by another."""

    folder: Path
    model: Path

    @cached_property
    def workspace(self) -> Workspace:
        return Workspace.open(self.folder / "work", create=True)

    def file(self, **train: Any) -> RunFile:
        base = {"weights": str(self.model), "source": "own/tiny", "layers": "every_other"}
        wise = {"teacher": {"weights": str(self.model), "source": WISE}, "max_steps": 2}
        return runfile.load(run_file(self.folder, self.model, base=base, train={**wise, **train}))

    def run(self, **train: Any) -> pipeline.Outcome:
        outcome = pipeline.run(self.file(**train), self.workspace)
        pipeline.write_report(self.workspace, outcome)
        return outcome

    def newest(self, kind: str, step: str) -> Artifact:
        made = Lineage.read(self.workspace.ledger).newest(kind, step=step)
        assert made is not None
        return self.workspace.store.get(f"{made.kind}:{made.digest}")

    def labels(self, artifact: Artifact) -> set[tuple[str, Relation]]:
        return {(label.source, label.relation) for label in self.workspace.labels(artifact)}

    @property
    def training(self) -> dict[str, Any]:
        return json.loads((self.folder / "work" / "report.json").read_text())["training"]


@pytest.fixture(scope="module")
def place(tmp_path_factory, brief_llama, state) -> Iterator[Place]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRUESEED_STATE", str(state))
        found = Place(tmp_path_factory.mktemp("distilled"), brief_llama)
        found.run(method="distil", loss_top_k=8)
        yield found


def test_a_student_has_the_layers_and_the_labels_of_all_that_it_came_of(place):
    student = place.newest("weights", "train")
    assert json.loads(student.path("config.json").read_text())["num_hidden_layers"] == 1
    assert place.newest("weights", "layers").meta["layers"] == "every_other"
    own = {label for label in place.labels(student) if label[0] in ("own/tiny", WISE)}
    assert own == {("own/tiny", Relation.OUTPUT), ("own/tiny", Relation.WEIGHTS), (WISE, Relation.OUTPUT)}


def test_signals_are_an_artifact_with_the_labels_of_records_and_distiller(place):
    found, dataset = place.newest("signals", "signals"), place.newest("dataset", "curate")
    assert place.labels(found) == place.labels(dataset) | {(WISE, Relation.OUTPUT)}
    assert len(Signals.open(found.folder)) == dataset.meta["train"] + dataset.meta["validation"]
    assert (found.meta["source"], found.meta["k"]) == (WISE, 8)


def test_report_and_model_card_say_which_way_was_taken_and_why(place):
    told, page = place.training, (place.folder / "work" / "report.html").read_text()
    assert (told["method"], told["route"], told["distiller"]) == ("distil", "stored top-k", WISE)
    assert told["numbers"]["stored for each"] == 8
    written = card.render(dossier.of(place.workspace, place.newest("weights", "train"), "tiny-student"))
    assert all(reason in written for reason in told["reasons"])
    text = Text(page).text
    assert f"distil of {WISE} , by the route stored top-k , because" in text
    assert all(" ".join(reason.split()) in text for reason in told["reasons"])
    assert "divergence from the teacher" in page  # the parts of the loss are drawn


def test_the_workspace_is_whole_and_the_student_is_proven_to_third_parties(place, tmp_path):
    assert not verify.workspace(place.workspace.folder).broken
    made, packed = proof.make(place.workspace)
    (tmp_path / "proof.zip").write_bytes(packed)
    assert made.digest == place.newest("weights", "train").digest
    assert verify_proof.proof(tmp_path / "proof.zip", []).findings == ()


def test_a_second_run_asks_nobody_again(place):
    size = place.workspace.ledger.size
    place.run(method="distil", loss_top_k=8)
    assert place.workspace.ledger.size == size


def test_a_killed_step_hears_only_of_what_is_missing(place, monkeypatch):
    asked: list[int] = []
    hear = Engine.topk

    def counted(self: Engine, chats: Any, k: int, **how: Any) -> Any:
        asked.append(len(chats))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return hear(self, chats, k, **how)

    monkeypatch.setattr(Engine, "topk", counted)
    monkeypatch.setattr(collect, "TOGETHER", 2)
    file, dataset = place.file(method="distil", loss_top_k=4), place.newest("dataset", "curate")
    wise = models.held(file.distiller, file.engine, place.workspace)
    base = place.newest("weights", "layers")
    with pytest.raises(KeyboardInterrupt):
        distilling.ask(file, place.workspace, dataset, base, wise)
    killed_after = sum(asked[:2])
    found = distilling.ask(file, place.workspace, dataset, base, wise)
    records = dataset.meta["train"] + dataset.meta["validation"]
    assert len(Signals.open(found.folder)) == records
    assert sum(asked[3:]) == records - killed_after


def test_tokens_drawn_from_the_tail_are_stored_and_learned_from(place):
    outcome = place.run(method="distil", loss_top_k=4, tail_draws=3)
    signals = place.newest("signals", "signals")
    assert (Signals.open(signals.folder).about.k, Signals.open(signals.folder).about.draws) == (4, 3)
    assert "3 drawn from the others stand for these" in str(place.training)
    assert outcome.student
    again = place.run(method="distil", loss_top_k=4, tail_draws=3)
    assert again.student == outcome.student


def test_what_another_version_stored_is_heard_again(place, monkeypatch):
    file, dataset = place.file(method="distil", loss_top_k=8), place.newest("dataset", "curate")
    wise = models.held(file.distiller, file.engine, place.workspace)
    base = place.newest("weights", "layers")
    assert distilling.ask(file, place.workspace, dataset, base, wise)  # stored by the first run of all

    def heard(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Engine, "topk", heard)
    monkeypatch.setattr(codec, "VERSION", codec.VERSION + 1)
    with pytest.raises(KeyboardInterrupt):
        distilling.ask(file, place.workspace, dataset, base, wise)


@pytest.mark.parametrize(
    ("train", "route"),
    [
        ({"method": "distil", "signals": "memory"}, "in memory"),
        ({"method": "on_policy", "lmbda": 1.0, "max_new_tokens": 8}, "on-policy"),
    ],
    ids=["memory", "on_policy"],
)
def test_a_teacher_in_memory_is_asked_in_the_train_step_and_is_no_input_of_it(place, train, route):
    student = place.run(**train).student
    maker = Lineage.read(place.workspace.ledger).maker(student.digest)
    assert maker.predicate["asks"] == [{"source": WISE, "use": "train"}]
    assert {used["kind"] for used in maker.predicate["inputs"]} == {"dataset", "weights"}
    assert (WISE, Relation.OUTPUT) in place.labels(student)
    assert (WISE, Relation.WEIGHTS) not in place.labels(student)
    assert (place.training["route"], place.training["distiller"]) == (route, WISE)


def test_words_alone_are_learned_where_tokens_differ_and_that_is_said(place, make_llama, tmp_path):
    other = "{% for message in messages %}{{ message['content'] }}<|end|>{% endfor %}"
    foreign = make_llama(tmp_path / "foreign", seed=1, chat_template=other)
    file = runfile.load(
        run_file(tmp_path, place.model, base={"weights": str(foreign)}, train={"method": "distil", "max_steps": 1})
    )
    base = models.base(file.base, models.resolved(file.base), place.workspace)
    dataset, teacher = place.newest("dataset", "curate"), models.held(file.distiller, file.engine, place.workspace)
    student = distilling.train(file, place.workspace, dataset, base, teacher)
    config = Lineage.read(place.workspace.ledger).maker(student.digest).predicate["config"]
    assert (config["method"], config["route"]["name"]) == ("distil", "sequence-level")
    assert "read a chat" in config["route"]["reasons"][0]


def test_the_methods_that_are_shown_from_python_teach(place, tmp_path):
    shown = (Path(__file__).parent.parent / "docs" / "distillation.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", shown, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(block, names)
    dataset = place.newest("dataset", "curate")
    for student in names["distilled"](place.workspace, dataset, place.model, WISE, tmp_path / "half"):
        assert json.loads(student.path("config.json").read_text())["num_hidden_layers"] == 1


def test_a_distiller_of_other_tokens_and_others_words_is_refused(place, make_llama, tmp_path):
    other = "{% for message in messages %}{{ message['content'] }}<|end|>{% endfor %}"
    foreign = make_llama(tmp_path / "foreign", seed=1, chat_template=other)
    file = place.file(method="distil", teacher={"weights": str(foreign), "source": "own/foreign"})
    teacher = models.held(file.distiller, file.engine, place.workspace)
    with pytest.raises(ConfigError, match=r"own/foreign cannot distil: .* the records are not in its words"):
        distilling.train(
            file, place.workspace, place.newest("dataset", "curate"), place.newest("weights", "layers"), teacher
        )


class Told:
    """A teacher whose answers are kept with what it told of their tokens."""

    source = WISE

    def __init__(self, place, dataset: Artifact) -> None:
        self.engine = Engine(place.model, WISE, dtype="float32")
        self.records = {record.origin.request: record for part in ("train", "validation")
                        for record in read_parquet(dataset.path(f"{part}.parquet"))}  # fmt: skip
        chats = [self.engine.format.training(record.messages) for record in self.records.values()]
        self.answers = {
            request: _as_told(chat, topk, spellings(self.engine.format))
            for request, chat, topk in zip(self.records, chats, self.engine.topk(chats, 6), strict=True)
        }

    def known(self, request: str) -> Answer | None:
        return self.answers.get(request)


def _gathered(place, config: settings.Distil, dataset: Artifact, teacher: Told, said: str) -> Artifact:
    with place.workspace.step("signals", inputs=[dataset], ask={WISE: Use.TRAIN}, config={"told": said}) as step:
        return collect.gathered(config, dataset, place.model, teacher, step)


def test_what_a_server_told_of_its_answers_is_what_its_weights_would_have_told(place):
    dataset, config = place.newest("dataset", "curate"), settings.Distil(loss_top_k=6)
    teacher = Told(place, dataset)
    gathered = _gathered(place, config, dataset, teacher, "all")
    with place.workspace.step("signals", inputs=[dataset], ask={WISE: Use.TRAIN}, config={}) as step:
        heard = collect.collect(config, dataset, place.model, teacher.engine, step)
    told, known = Signals.open(gathered.folder), Signals.open(heard.folder)
    for record in teacher.records.values():
        assert (told[record.id].ids == known[record.id].ids).all()
        assert np.allclose(told[record.id].tail, known[record.id].tail, atol=0.02)
    assert not told.left_out


def test_a_record_that_a_server_told_nothing_of_stops_the_run_and_the_key_that_leaves_it_out_is_named(place):
    dataset = place.newest("dataset", "curate")
    teacher = Told(place, dataset)
    teacher.answers.popitem()
    with pytest.raises(ConfigError, match=r"told nothing of record .*`incomparable: drop`"):
        _gathered(place, settings.Distil(loss_top_k=6), dataset, teacher, "less")


@dataclass
class Brief:
    """A copy of a model that reads no more than so many tokens."""

    of: Path
    folder: Path
    context: int

    def __post_init__(self) -> None:
        shutil.copytree(self.of, self.folder)
        config = json.loads((self.of / "config.json").read_text())
        (self.folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": self.context}))


def _lengths(place, dataset: Artifact) -> dict[str, int]:
    form = Format(place.model)
    parts = (read_parquet(dataset.path(f"{part}.parquet")) for part in ("train", "validation"))
    return {record.id: len(form.training(record.messages)[0]) for part in parts for record in part}


def test_what_the_teacher_cannot_read_is_left_out_counted_and_said_and_the_student_learns_the_rest(
    place, tmp_path, monkeypatch
):
    dataset = place.newest("dataset", "curate")
    lengths = _lengths(place, dataset)
    context = sorted(lengths.values())[-3]  # two are longer
    long = {record for record, length in lengths.items() if length > context}
    brief = Brief(place.model, tmp_path / "brief", context)
    config, engine = settings.Distil(loss_top_k=4, max_steps=1), Engine(brief.folder, WISE, dtype="float32")
    said: list[str] = []
    monkeypatch.setattr(place.workspace, "report", lambda *told: said.append(told[-1]))
    with place.workspace.step("signals", inputs=[dataset], ask={WISE: Use.TRAIN}, config={"brief": True}) as step:
        signals = collect.collect(config, dataset, brief.folder, engine, step)
    assert set(Signals.open(signals.folder).left_out) == long
    assert Lineage.read(place.workspace.ledger).maker(signals.digest).predicate["counts"]["too_long"] == len(long)
    assert f"{len(long)} of {len(lengths)} records left out" in said[0]
    assert f"more than {context} tokens (the teacher's context)" in said[0]
    trains = {"brings": {WISE: Relation.WEIGHTS}, "effect": Effect.TRAIN}
    with place.workspace.step("train", inputs=[dataset, signals], config={"brief": 1}, **trains) as step:
        student = distil.train(config, dataset, place.model, signals, step)
    maker = Lineage.read(place.workspace.ledger).maker(student.digest)
    found = learned.of(student, maker)
    assert maker.predicate["counts"]["teacher_too_long"] == found.numbers[learned.TOO_LONG] == len(long)
    assert any("(`too_long: drop`): the teacher could not read them" in reason for reason in found.reasons)
    refuses = config.model_copy(update={"too_long": "refuse"})
    one = sorted(long)[0][:16]
    with (
        pytest.raises(ConfigError, match=rf"{len(long)} records? too long for the teacher.*{one}"),
        place.workspace.step("train", inputs=[dataset, signals], config={"brief": 2}, **trains) as step,
    ):
        distil.train(refuses, dataset, place.model, signals, step)
    with (
        pytest.raises(ConfigError, match=rf"{len(long)} records? of more than {context} tokens .*{one}"),
        place.workspace.step("signals", inputs=[dataset], ask={WISE: Use.TRAIN}, config={"brief": 2}) as step,
    ):
        collect.collect(refuses, dataset, brief.folder, engine, step)


def test_what_the_student_cannot_read_its_teacher_is_not_asked_about(place, tmp_path):
    dataset = place.newest("dataset", "curate")
    lengths = _lengths(place, dataset)
    brief = Brief(place.model, tmp_path / "brief", sorted(lengths.values())[-3])
    engine = Engine(place.model, WISE, dtype="float32")
    with place.workspace.step("signals", inputs=[dataset], ask={WISE: Use.TRAIN}, config={"student": 1}) as step:
        signals = collect.collect(settings.Distil(loss_top_k=4), dataset, place.model, engine, step, brief.folder)
    assert len(Signals.open(signals.folder)) == sum(length <= brief.context for length in lengths.values())


def test_records_that_cannot_be_compared_are_left_out_where_that_is_asked_counted_and_said(place):
    dataset = place.newest("dataset", "curate")
    teacher, drop = Told(place, dataset), settings.Distil(loss_top_k=6, max_steps=1, incomparable="drop")
    untold, unlike = list(teacher.answers)[:2]
    del teacher.answers[untold]
    teacher.answers[unlike] = replace(teacher.answers[unlike], logprobs=teacher.answers[unlike].logprobs[1:])
    signals = _gathered(place, drop, dataset, teacher, "some of it")
    kept, records = Signals.open(signals.folder), teacher.records
    assert kept.left_out == {records[untold].id: "untold", records[unlike].id: "unlike"}
    assert len(kept) == len(records) - 2
    counts = Lineage.read(place.workspace.ledger).maker(signals.digest).predicate["counts"]
    assert (counts["untold"], counts["unlike"], counts["records"]) == (1, 1, len(kept))
    trains = {"brings": {WISE: Relation.WEIGHTS}, "effect": Effect.TRAIN}
    with place.workspace.step("train", inputs=[dataset, signals], config={"drop": True}, **trains) as step:
        student = distil.train(drop, dataset, place.model, signals, step)
    (said,) = (
        each for each in json.loads(student.path("curve.json").read_text())["route"]["reasons"] if "drop" in each
    )
    assert said.startswith(f"2 of {len(records)} records are left out (`incomparable: drop`): 1 spoken in other tokens")
    with (
        pytest.raises(ConfigError, match="was not asked about 2 records"),
        place.workspace.step("train", inputs=[dataset, signals], config={"drop": False}, **trains) as step,
    ):
        distil.train(drop.model_copy(update={"incomparable": "refuse"}), dataset, place.model, signals, step)


def test_a_server_that_told_nothing_of_any_record_is_refused_also_where_such_records_are_left_out(place):
    dataset = place.newest("dataset", "curate")
    teacher = Told(place, dataset)
    teacher.answers.clear()
    with pytest.raises(ConfigError, match="none of the"):
        _gathered(place, settings.Distil(loss_top_k=6, incomparable="drop"), dataset, teacher, "nothing")


def _as_told(chat: tuple[list[int], list[bool]], topk: TopK, written: dict[int, bytes]) -> Answer:
    ids = [token for token, counts in zip(*chat, strict=True) if counts]
    steps = [
        TokenLogprob(token, 0.0, written.get(token, b""), tuple(
            TokenLogprob(int(each), float(logprob), written.get(int(each), b""))
            for each, logprob in zip(topk.ids[at], topk.logprobs[at], strict=True)
        ))
        for at, token in enumerate(ids)
    ]  # fmt: skip
    return Answer(text="", finish="stop", prompt_tokens=1, completion_tokens=len(ids), logprobs=tuple(steps))


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({}, "rungs: \\[plain\\]"),
        ({"generate": {"rungs": ["plain"]}, "train": {"loss_top_k": 32}}, "20 tokens at most"),
        ({"generate": {"rungs": ["plain"]}, "train": {"tail_draws": 4}}, "set `tail_draws: 0`"),
        ({"generate": {"rungs": ["plain"]}, "train": {"signals": "memory"}}, "words that are not its own"),
        ({"generate": {"rungs": ["plain"]}, "cache": False}, "take `cache: false` out"),
    ],
)
def test_a_server_distils_by_its_own_answers_alone(tmp_path, changes, because):
    remote = {"source": "own/served", "model": "tiny", "base_url": "http://127.0.0.1:1/v1"}
    train = {"method": "distil", "loss_top_k": 20, **changes.get("train", {})}
    with pytest.raises(ConfigError, match=because):
        runfile.load(run_file(tmp_path, tmp_path, teacher={"remote": remote}, **{**changes, "train": train}))
    told = {"generate": {"rungs": ["plain"]}, "train": {"method": "distil", "loss_top_k": 20}}
    file = runfile.load(run_file(tmp_path, tmp_path, teacher={"remote": remote}, **told))
    assert (file.hears_distiller_in, file.top_logprobs_of(file.teacher)) == ("signals", 20)


@pytest.mark.parametrize("incomparable", ["refuse", "drop"])
def test_a_server_of_other_tokens_ends_the_run_after_a_handful_of_answers(tmp_path, brief_llama, incomparable):
    """The simulator speaks in words, the student reads parts of them."""
    said: list[tuple[str, str]] = []
    with simulator() as provider:
        remote = {"source": "own/served", "model": "simulated", "base_url": provider.openai}
        train = {"method": "distil", "loss_top_k": 4, "incomparable": incomparable}
        generate = {"accept": 40, "rungs": ["plain"]}
        path = run_file(tmp_path, brief_llama, teacher={"remote": remote}, generate=generate, train=train)
        workspace = Workspace.open(tmp_path / "work", create=True)
        workspace.report = lambda step, _done, _total, unit, note: said.append((f"{step} {unit}", note))
        with pytest.raises(ConfigError, match=r"8 of the first 8 whole answers of own/served cannot be compared"):
            pipeline.run(runfile.load(path), workspace)
        assert provider.counts()["billed"] == 8
    assert events(workspace)[-1] == ("generate", "failed")
    assert said[0] == ("preflight route", next(note for step, note in said if step == "preflight route"))
    assert said[0][1].startswith("stored top-k: own/served tells its 4 most probable tokens with each answer")


@pytest.mark.parametrize(("method", "step"), [("distil", "signals"), ("on_policy", "train")])
def test_a_distiller_whose_terms_forbid_training_is_refused_before_anything_is_asked(
    tmp_path, tiny_llama, method, step
):
    (tmp_path / "work" / "terms").mkdir(parents=True)
    (tmp_path / "work" / "terms" / "acme.toml").write_text(FORBIDS)
    workspace = Workspace.open(tmp_path / "work", create=True)
    acme = {"weights": str(tiny_llama), "source": "acme/tiny@weights"}
    file = runfile.load(run_file(tmp_path, tiny_llama, train={"method": method, "teacher": acme}))
    with pytest.raises(Refused, match=r"acme/tiny@weights.* output may not be used to develop models"):
        pipeline.run(file, workspace)
    assert events(workspace) == [(step, "refused")]
    planned = making.make(file, workspace, rows=0)
    assert (planned.exit_code, planned.teachers[-1].of, planned.teachers[-1].refused) == (3, "distiller", True)
    assert step in [ruling.step for ruling in planned.rulings if ruling.refused]
    found = [check for check in examine(file, tmp_path / "work").checks if check.status == "fails"]
    assert ("distiller", "terms for train") in [(check.of, check.name) for check in found]
    assert not may("train", "acme/tiny@weights", at=date(2026, 3, 5), catalog=workspace.catalog).permitted


def test_the_doctor_says_which_layers_and_which_route_there_will_be(place):
    found = {check.name: check for check in examine(place.file(method="distil"), place.folder / "work").checks}
    assert found["layers"].meaning == "the student has 1 of 2: 0"
    assert found["route"].meaning.startswith("stored top-k: ")


def test_a_plan_tells_what_hearing_will_take(place):
    planned = making.make(place.file(method="distil", loss_top_k=8), place.workspace, rows=2)
    (signals,) = (step for step in planned.estimate.steps if step.step == "signals")
    assert signals.numbers["seconds"].low > 0
    assert signals.numbers["requests"].high == 0


def test_what_a_recalled_distiller_said_stops_and_a_rebuild_goes_without_it(place):
    file = place.file(method="distil", loss_top_k=8)
    old = place.run(method="distil", loss_top_k=8).student
    reach = recall.recall(place.workspace, WISE, "asked for")
    assert {"signals", "weights"} <= {artifact.kind for artifact in reach.stops}
    assert place.newest("dataset", "curate") in reach.stands
    doomed = destroy.look(place.workspace, destroy.Wanted(targets=(WISE,), descendants=False, by_licence=False))
    assert "signals" in {made.kind for made in doomed.artifacts}
    with pytest.raises(Refused, match="is to distil"):
        rerun.look(file, place.workspace)
    again = place.file(method="distil", loss_top_k=8, teacher={"weights": str(place.model), "source": "own/tiny"})
    course = rerun.look(again, place.workspace)
    assert course is not None
    student = rerun.rebuild(course, again, place.workspace).student
    assert student.digest != old.digest
    assert WISE not in {source for source, _ in place.labels(student)}
    assert not verify.workspace(place.workspace.folder).broken
