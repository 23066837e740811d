"""A model on a task, through the door."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.story.conftest import on
from tests.tiny_run import run_file
from typer.testing import CliRunner

from trueseed import scoring
from trueseed.cli import app
from trueseed.core.canonical import now
from trueseed.core.chat import Answer
from trueseed.errors import ConfigError, Paused, Refused, TeacherError
from trueseed.evaluate.task import Config
from trueseed.ledger.statement import WITHDRAWAL
from trueseed.teachers.account.allowance import Allowance
from trueseed.teachers.account.holds import OnHold
from trueseed.teachers.account.state import Account, our_entity
from trueseed.teachers.scripted import ScriptedTeacher
from trueseed.teachers.simulator import Behaviour, Simulator, simulator
from trueseed.terms.model import Effect, Use
from trueseed.workspace import Workspace

__all__ = ["on"]  # a fixture
ROWS = [{"id": str(n), "prompt": f"Say {n}.", "target": str(n)} for n in range(4)]
CHOICES = [{"prompt": f"After {n} comes", "choices": [str(n + 1), "a sailor"], "target": 0} for n in range(4)]


def written(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "task.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "work", create=True)


def evaluated(workspace: Workspace, model: Path, *words: object) -> Any:
    arguments = ["evaluate", str(model), "--source", "own/ada", "--workspace", str(workspace.folder), "--json"]
    return CliRunner().invoke(app, [*arguments, *map(str, words)], catch_exceptions=False)


@pytest.fixture
def own_model(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody said whose it is, so it is declared to be ours."""
    found = scoring.resolve(str(tiny_llama), source="own/tiny")
    monkeypatch.setattr(scoring, "resolve", lambda spec: found)
    return tiny_llama


def test_a_score_comes_with_all_that_it_takes_to_repeat_it(workspace, own_model, tmp_path):
    task = written(tmp_path, ROWS)
    done = evaluated(workspace, own_model, "--scorer", "exact", "--task", task, "--max-tokens", 8)
    found = json.loads(done.stdout)
    assert done.exit_code == 0
    assert found["metrics"]["accuracy"].keys() == {"value", "se", "low", "high", "n", "method"}
    assert found["metrics"]["accuracy"]["n"] == 4
    assert (found["task"]["source"], found["task"]["scorer"], found["seed"]) == ("own/ada", "exact", 7)
    assert found["model"].keys() >= {"source", "weights", "engine", "chat_template"}
    assert found["versions"].keys() >= {"python", "torch", "transformers", "code"}
    lines = [json.loads(line) for line in _samples(workspace, found).read_text().splitlines()]
    assert [line["id"] for line in lines] == ["0", "1", "2", "3"]
    assert lines[1]["asked"][0]["messages"] == [{"role": "user", "content": "Say 1."}]
    assert lines[1]["said"][0].keys() == {"text", "finish", "tokens"}


def _samples(workspace: Workspace, found: dict[str, Any]) -> Path:
    return workspace.store.get(found["artifact"]).path("samples.jsonl")


def test_the_same_command_measures_nothing_twice(workspace, own_model, tmp_path):
    task = written(tmp_path, CHOICES)
    one, two = (evaluated(workspace, own_model, "--scorer", "choice", "--task", task) for _ in range(2))
    assert one.stdout == two.stdout
    workspace.ledger.refresh()
    steps = [entry.predicate for entry in workspace.ledger.entries() if entry.predicate.get("step") == "score"]
    assert [step["event"] for step in steps] == ["opened", "done"]
    assert steps[0]["asks"] == [{"source": "own/tiny", "use": "benchmark_teacher"}]


def test_a_page_shows_the_score_and_the_samples(workspace, own_model, tmp_path):
    page = tmp_path / "page.html"
    evaluated(workspace, own_model, "--scorer", "choice", "--task", written(tmp_path, CHOICES), "--html", page)
    assert "4 samples of own/ada, scorer choice" in page.read_text()
    assert "After 3 comes" in page.read_text()


def test_likelihoods_are_written_down_as_they_were_asked(workspace, own_model, tmp_path):
    done = evaluated(workspace, own_model, "--scorer", "choice", "--task", written(tmp_path, CHOICES))
    line = json.loads(_samples(workspace, json.loads(done.stdout)).read_text().splitlines()[0])
    assert line["asked"] == [
        {"before": "After 0 comes", "text": " 1"},
        {"before": "After 0 comes", "text": " a sailor"},
    ]
    assert all(each["nll"] > 0 for each in line["said"])


def test_a_task_is_held_out_from_training(workspace, tmp_path):
    config = Config(file=str(written(tmp_path, ROWS)), scorer="exact", source="own/ada")
    task = scoring.bring_task(workspace, config)
    with pytest.raises(Refused, match="held-out"), workspace.step("train", inputs=[task], effect=Effect.TRAIN):
        pass


def test_a_model_whose_terms_nobody_knows_is_not_measured(workspace, tiny_llama, tmp_path):
    config = Config(file=str(written(tmp_path, ROWS)), scorer="exact", source="own/ada")
    task = scoring.bring_task(workspace, config)
    with pytest.raises(Refused, match="benchmark_teacher"):
        scoring.on(scoring.ours(workspace, str(tiny_llama)), config, task, workspace)


def test_no_student_is_a_mistake_of_the_users(workspace, tmp_path):
    with pytest.raises(Exception, match="no student was trained"):
        evaluated(workspace, Path("student"), "--scorer", "exact", "--task", written(tmp_path, ROWS))


class Moving:
    """A voice behind an API, whose model may move: it says which answer it was asked for."""

    source, scorer, price = "own/moving", None, None

    def __init__(self) -> None:
        self.speaks = self.identity = {"remote": {"wire_model": "moving"}}
        self.model = ScriptedTeacher(self.source, lambda request: str(len(self.model.requests)))

    @contextmanager
    def speaking(self, step):
        yield self.model

    def close(self) -> None:
        pass


def test_another_version_of_a_model_is_asked_anew_past_the_cache_and_the_same_is_not(workspace, tmp_path):
    config = Config(file=str(written(tmp_path, ROWS)), scorer="exact", source="own/ada")
    task, voice = scoring.bring_task(workspace, config), Moving()
    asked = []
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    for name in ("gpt", "gpt", "gpt, as it was said to have moved"):
        model = scoring.teacher(voice, {}, version={"name": name, "on": today})
        scores = scoring.on(model, config, task, workspace)
        asked.append(len(voice.model.requests))
    assert asked == [4, 4, 8]
    assert json.loads(scores.path("scores.json").read_bytes())["model"]["version"]["on"] == today


def of_day(on: str) -> dict[str, str]:
    return {"name": "gpt", "on": on}


def test_a_version_of_another_day_is_not_asked_today(workspace, tmp_path):
    config = Config(file=str(written(tmp_path, ROWS)), scorer="exact", source="own/ada")
    task, voice = scoring.bring_task(workspace, config), Moving()
    for day in ("2023-11-06", "2093-11-06"):
        with pytest.raises(ConfigError, match=f"own/moving cannot be asked as of {day}"):
            scoring.on(scoring.teacher(voice, {}, of_day(day)), config, task, workspace)
    assert voice.model.requests == []


def test_on_a_later_day_its_scores_of_its_own_day_count(workspace, tmp_path, on):
    config = Config(file=str(written(tmp_path, ROWS)), scorer="exact", source="own/ada")
    voice = Moving()
    on("2023-11-06")
    task = scoring.bring_task(workspace, config)
    then = scoring.on(scoring.teacher(voice, {}, of_day("2023-11-06")), config, task, workspace)
    on("2023-11-07")
    model = scoring.teacher(voice, {}, of_day("2023-11-06"))
    size = workspace.ledger.size
    assert scoring.on(model, config, task, workspace) == then
    assert (len(voice.model.requests), workspace.ledger.size) == (4, size)
    with pytest.raises(ConfigError, match="with these settings"):
        scoring.on(model, config.model_copy(update={"max_tokens": 9}), task, workspace)


def test_what_was_begun_on_its_day_goes_on_the_next(workspace, tmp_path, on):
    config = Config(file=str(written(tmp_path, ROWS)), scorer="exact", source="own/ada")
    voice = Moving()
    voice.model = ScriptedTeacher(voice.source, ["0"])  # and then it comes to its end
    on("2023-11-06")
    task = scoring.bring_task(workspace, config)
    model = scoring.teacher(voice, {}, of_day("2023-11-06"))
    with pytest.raises(TeacherError):
        scoring.on(model, config, task, workspace)
    on("2023-11-07")
    voice.model = ScriptedTeacher(voice.source, lambda request: request.messages[-1].content[4:-1])  # "Say 2."
    scores = json.loads(scoring.on(model, config, task, workspace).path("scores.json").read_bytes())
    assert scores["metrics"]["accuracy"]["value"] == 1.0


# ------------------------------------------------------------------------------------------------- models behind an API

KEY = "sk-score-5up3rs3cr3t-0123456789"


@pytest.fixture(scope="module")
def shared() -> Iterator[Simulator]:
    with simulator(Behaviour()) as running:
        yield running


@pytest.fixture
def provider(shared: Simulator, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    monkeypatch.setenv("SCORE_KEY", KEY)
    shared.reset()
    shared.behave(Behaviour())
    return shared


@pytest.fixture
def served(tmp_path: Path, provider: Simulator) -> Callable[..., Path]:
    """A file of a model behind the simulator; `changes` beside its endpoint."""

    def written(source: str = "own/served", limits: list[dict[str, Any]] | None = None, **changes: Any) -> Path:
        path = tmp_path / "served.yaml"
        remote = {"source": source, "model": "simulated", "base_url": provider.openai, "key_from": "SCORE_KEY"}
        path.write_text(yaml.safe_dump({"remote": {**remote, **changes}, "limits": limits or []}))
        return path

    return written


def charged() -> dict[Use, int]:
    today = datetime.now(UTC)
    used = Allowance(Account.open(), [], our_entity()).used(since=today - timedelta(days=1), until=today)
    return {each.use: each.charged.requests for each in used}


def test_a_model_behind_an_api_is_measured_under_its_own_terms_and_charged_once(workspace, served, provider, tmp_path):
    words = ("--scorer", "contains", "--task", written(tmp_path, ROWS))
    done = evaluated(workspace, served(price={"input": 1.0, "output": 2.0}), *words)
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert (found["model"]["source"], found["metrics"]["accuracy"]["n"]) == ("own/served", 4)
    assert found["model"]["remote"]["base_url"] == provider.openai
    again = evaluated(workspace, served(price={"input": 1.0, "output": 3.0}), *words)  # another price, the same answers
    assert (again.stdout, provider.counts()["billed"]) == (done.stdout, 4)
    assert charged() == {Use.BENCHMARK_TEACHER: 4}
    workspace.ledger.refresh()
    steps = [entry.predicate for entry in workspace.ledger.entries() if entry.predicate.get("step") == "score"]
    assert steps[0]["asks"] == [{"source": "own/served", "use": "benchmark_teacher"}]
    assert steps[0]["effect"] == "none"
    assert not any(KEY.encode() in path.read_bytes() for path in workspace.folder.rglob("*") if path.is_file())


def test_one_that_a_run_file_names_is_measured_under_its_limits(workspace, provider, tiny_llama, tmp_path):
    remote = {"source": "own/served", "model": "simulated", "base_url": provider.openai, "key_from": "SCORE_KEY"}
    limit = {"source": "own/*", "per": "total", "requests": 3, "project": "tiny"}
    file = run_file(tmp_path, tiny_llama, teacher={"remote": remote}, limits=[limit])
    words = ["--scorer", "contains", "--task", str(written(tmp_path, ROWS)), "--run", str(file)]
    with pytest.raises(Paused, match="3 requests"):
        evaluated(workspace, Path("teacher"), *words)
    assert provider.counts()["billed"] == 3
    with pytest.raises(ConfigError, match=r"names no 'judge 1'; it names teacher \(own/served\)"):
        evaluated(workspace, Path("judge 1"), *words)


def test_tasks_as_a_run_composes_them_are_asked_of_it_too(workspace, served, tmp_path):
    from random import Random

    from trueseed.checks.kinds import sample
    from trueseed.checks.task import Task

    tasks = [
        Task(prompt_id=what, prompt=f"Tell me of {what}.", constraints=(sample("words_at_most", Random(7)),), variant=n)
        for n, what in enumerate(("tea", "salt"))
    ]
    path = written(tmp_path, [task.to_json() for task in tasks])
    found = json.loads(evaluated(workspace, served(), "--scorer", "instructions", "--task", path).stdout)
    asked = [json.loads(line)["asked"][0] for line in _samples(workspace, found).read_text().splitlines()]
    assert [each["messages"][0]["content"] for each in asked] == [task.text for task in tasks]
    assert found["metrics"]["accuracy"]["n"] == 2


def test_asked_anew_it_is_asked_though_it_answered_before(workspace, served, provider, tmp_path):
    words = ("--scorer", "contains", "--task", written(tmp_path, ROWS))
    evaluated(workspace, served(), *words)
    found = json.loads(evaluated(workspace, served(), *words, "--anew").stdout)
    assert provider.counts()["billed"] == 8
    assert found["model"]["version"] == {"name": "own/served", "on": datetime.now(UTC).date().isoformat()}


def test_the_name_by_which_its_server_answered_is_kept_and_makes_it_another_model(
    workspace, served, provider, tmp_path
):
    words = ("--scorer", "contains", "--task", written(tmp_path, ROWS), "--anew")
    names = []
    for name in ("simulated-0613", "simulated-1106"):
        provider.behave(Behaviour(served=name))
        found = json.loads(evaluated(workspace, served(source=f"own/served-{len(names)}"), *words).stdout)
        names.append(found["model"]["served"])
    assert names == [["simulated-0613"], ["simulated-1106"]]


def test_a_dated_model_that_its_server_says_is_another_is_no_target(workspace, served, provider, tmp_path):
    words = ("--scorer", "contains", "--task", written(tmp_path, ROWS), "--anew")
    provider.behave(Behaviour(models=("gpt-4-1106-preview",), served="gpt-4-0125-preview"))
    with pytest.raises(TeacherError, match="its server answers as 'gpt-4-0125-preview': another model"):
        evaluated(workspace, served(model="gpt-4-1106-preview", at_once=1), *words)
    assert provider.counts()["billed"] < len(ROWS)


def test_a_model_that_moves_while_it_is_asked_has_no_score(workspace, tmp_path):
    config = Config(file=str(written(tmp_path, ROWS)), scorer="exact", source="own/ada")
    task, voice = scoring.bring_task(workspace, config), Moving()

    def said(request):
        name = "new" if len(voice.model.requests) > 2 else "old"
        return Answer(text="1", finish="stop", prompt_tokens=1, completion_tokens=1, model=name)

    voice.model = ScriptedTeacher(voice.source, said)
    with pytest.raises(TeacherError, match="moved while it was asked: its server answered as new and as old"):
        scoring.on(scoring.teacher(voice, {}, of_day(f"{datetime.now(UTC):%Y-%m-%d}")), config, task, workspace)
    voice.model = ScriptedTeacher(voice.source, said)
    plain = scoring.on(scoring.teacher(voice, {}), config, task, workspace)  # of no date, its names are told
    found = json.loads(plain.path("scores.json").read_bytes())
    assert found["model"]["served"] == ["new", "old"]
    assert found["warnings"] == ["its server answered as new and as old, so this is the score of no one model"]


def test_weights_do_not_move(workspace, tiny_llama, tmp_path):
    path = tmp_path / "weights.yaml"
    path.write_text(yaml.safe_dump({"weights": str(tiny_llama), "source": "own/tiny"}))
    with pytest.raises(ConfigError, match="do not move"):
        scoring.of_file(path, workspace, anew=date(2026, 1, 1))


@pytest.mark.parametrize("source", ["openai/gpt-4o-mini@api", "nobody/x@api"])
def test_terms_that_do_not_let_it_be_measured_are_told_before_any_call(workspace, served, provider, tmp_path, source):
    file = served(source, price={"input": 1.0, "output": 2.0})
    with pytest.raises(Refused, match="benchmark_teacher"):
        evaluated(workspace, file, "--scorer", "contains", "--task", written(tmp_path, ROWS))
    assert provider.counts()["arrived"] == 0


def test_an_unknown_price_is_not_spent(workspace, served, provider, tmp_path):
    task = written(tmp_path, ROWS)
    with pytest.raises(Refused, match="price"):
        evaluated(workspace, served("deepseek/deepseek-chat@api"), "--scorer", "contains", "--task", task)
    assert provider.counts()["arrived"] == 0


def test_a_source_alone_says_how_to_name_it(workspace, tmp_path):
    with pytest.raises(ConfigError, match=r"is behind an API: name the run file .*--run"):
        evaluated(workspace, Path("mistral/mistral-small@api"), "--scorer", "exact", "--task", written(tmp_path, ROWS))


def test_an_order_to_stop_ends_the_measuring_at_the_next_call(workspace, served, provider, tmp_path):
    """What was reported went on: after an order to stop, the API was still used for evaluation."""
    rows = [{"prompt": f"Say {n}.", "target": str(n)} for n in range(12)]
    config = Config(file=str(written(tmp_path, rows)), scorer="exact", source="own/ada")
    task, model = scoring.bring_task(workspace, config), scoring.of_file(served(at_once=1), workspace)
    elsewhere = Workspace.open(workspace.folder)

    def stop(step: str, done: int, *_: object) -> None:
        if (step, done) == ("score", 3):
            order = {"source": "own/served", "reason": "told to stop", "at": now()}
            elsewhere.ledger.append(WITHDRAWAL, [], order)

    workspace.report = stop
    with pytest.raises(Refused, match="told to stop"):
        scoring.on(model, config, task, workspace)
    assert provider.counts()["billed"] <= 4  # three answers, and the one that was under way
    asked = provider.counts()["arrived"]
    with pytest.raises(Refused, match="told to stop"):
        scoring.on(model, config, task, workspace)
    assert provider.counts()["arrived"] == asked


def test_a_suspension_ends_it_for_every_route_of_that_maker(workspace, served, provider, tmp_path):
    free, task = {"input": 0.0, "output": 0.0}, written(tmp_path, ROWS)
    words = ("--scorer", "contains", "--task", task)
    provider.behave(Behaviour(suspend_at=2))
    with pytest.raises(OnHold):
        evaluated(workspace, served("deepseek/deepseek-chat@api", price=free, at_once=1), *words)
    asked = provider.counts()["arrived"]
    with pytest.raises(Refused, match="hold"):
        evaluated(workspace, served("deepseek/deepseek-chat@openrouter", price=free), *words)
    assert provider.counts()["arrived"] == asked


def test_what_it_would_not_answer_counts_as_wrong_and_is_said(workspace, served, provider, tmp_path):
    provider.behave(Behaviour(filtered="Say 2."))
    found = json.loads(evaluated(workspace, served(), "--scorer", "contains", "--task", written(tmp_path, ROWS)).stdout)
    assert found["counts"] == {"answers": 4, "skipped": 1}
    assert "1 of 4 prompts got no answer, and counts as wrong" in found["warnings"][0]
    lines = [json.loads(line) for line in _samples(workspace, found).read_text().splitlines()]
    assert "declined the prompt" in lines[2]["said"][0]["because"]


def test_no_answer_at_all_is_no_score(workspace, tmp_path):
    voice = Moving()
    gone = Answer(text="", finish="skipped", prompt_tokens=0, completion_tokens=0, because="the filter")
    voice.model = ScriptedTeacher(voice.source, lambda request: gone)
    config = Config(file=str(written(tmp_path, ROWS)), scorer="exact", source="own/ada")
    with pytest.raises(TeacherError, match="not one of 4 prompts got an answer: the filter"):
        scoring.on(scoring.teacher(voice, {}), config, scoring.bring_task(workspace, config), workspace)


def test_likelihoods_that_an_api_does_not_tell_are_refused_in_words(workspace, served, provider, tmp_path):
    with pytest.raises(ConfigError, match=r"does not say how likely it finds a given text.*scorer reads answers"):
        evaluated(workspace, served(), "--scorer", "choice", "--task", written(tmp_path, CHOICES))
    assert provider.counts()["billed"] == 0
