"""A model on a task, through the door."""

import json
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from trueseed import scoring
from trueseed.cli import app
from trueseed.errors import Refused
from trueseed.evaluate.task import Config
from trueseed.teachers.scripted import ScriptedTeacher
from trueseed.terms.model import Effect
from trueseed.workspace import Workspace

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
        self.speaks = self.identity = {"remote": self.source}
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
    for on in ("2023-08-01", "2023-08-01", "2023-11-06"):
        model = scoring.teacher(voice, {}, version={"name": "gpt", "on": on})
        scores = scoring.on(model, config, task, workspace)
        asked.append(len(voice.model.requests))
    assert asked == [4, 4, 8]
    assert json.loads(scores.path("scores.json").read_bytes())["model"]["version"]["on"] == "2023-11-06"
