"""Who stands where, through the door and from the command line."""

import json
import random
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.tiny_run import run_file
from typer.testing import CliRunner

from trueseed import models, scoreboard, scoring
from trueseed.cli import app
from trueseed.core.artifacts import Artifact
from trueseed.errors import ConfigError, Refused
from trueseed.evaluate.outputs import Output, Outputs, Recorded
from trueseed.evaluate.task import Config
from trueseed.lm.source import resolve
from trueseed.runfile import load
from trueseed.terms.model import Effect
from trueseed.workspace import Workspace

PROMPTS = [f"Say {n}." for n in range(12)]
TASK = {"file": "task.jsonl", "scorer": "contains", "source": "own/ada", "max_tokens": 8}
OLD = {"name": "gpt-3.5-turbo", "task": "task", "by": "2023-12-31", "outputs": "old.json", "source": "own/gpt-3.5",
       "maker": "own/ada", "on": "2023-08-01"}  # fmt: skip


def recording(folder: Path, name: str, right: int) -> None:
    """Answers of which so many are right."""
    said = [
        {"instruction": p, "output": str(n) if n < right else "no", "generator": name} for n, p in enumerate(PROMPTS)
    ]
    (folder / name).write_text(json.dumps(said))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [{"id": str(n), "prompt": prompt, "target": str(n)} for n, prompt in enumerate(PROMPTS)]
    (tmp_path / "task.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recording(tmp_path, "old.json", 7)
    recording(tmp_path, "new.json", 11)
    return tmp_path


@pytest.fixture
def workspace(folder: Path) -> Workspace:
    return Workspace.open(folder / "work", create=True)


def with_targets(folder: Path, model: Path, *targets: dict[str, Any]) -> Path:
    path = run_file(folder, model, tasks=[TASK], targets=list(targets), engine={"slots": 4, "dtype": "float32"})
    text = yaml.safe_load(path.read_text())
    for target in text["targets"]:
        target |= {name: date.fromisoformat(target[name]) for name in ("by", "on") if name in target}
    path.write_text(yaml.safe_dump(text))
    return path


def trained(workspace: Workspace, model: Path, folder: Path, name: str) -> Artifact:
    """Weights that a step called train left, which differ by a file."""
    base = models.import_weights(resolve(str(model), source="own/tiny"), workspace)

    def fill(target: Path) -> None:
        for path in base.folder.glob("*.*"):
            if path.name != "manifest.json":
                shutil.copyfile(path, target / path.name)
        (target / "note.txt").write_text(name)

    with workspace.step("train", inputs=[base], effect=Effect.TRAIN, config={"n": name}) as step:
        return step.write("weights", fill, {"source": "own/tiny-student"})


def cli(*words: object, code: int = 0) -> Any:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done


def recorded(workspace: Workspace, name: str, source: str, right: int) -> Artifact:
    rows = tuple(
        Output(id=str(n), instruction=prompt, output=str(n) if n < right else "no") for n, prompt in enumerate(PROMPTS)
    )
    found = Outputs(generator=name, origin=Recorded(source=source, maker="own/ada", on="2023-08-01"), rows=rows)
    return scoring.bring_outputs(workspace, found)


def on_task(workspace: Workspace, folder: Path, outputs: Artifact) -> Artifact:
    config = Config(**{**TASK, "file": str(folder / "task.jsonl")})
    return scoring.on(scoring.recorded(outputs), config, scoring.bring_task(workspace, config), workspace)


def test_the_scoreboard_of_a_run_file_measures_targets_and_student_once(folder, workspace, tiny_llama):
    trained(workspace, tiny_llama, folder, "one")
    new = {**OLD, "name": "gpt-4", "outputs": "new.json", "source": "own/gpt-4", "by": "2024-06-30"}
    path = with_targets(folder, tiny_llama, OLD, new)
    found = json.loads(cli("targets", path, "-w", workspace.folder, "--at", "2023-12-01", "--json").stdout)
    old, later = found["targets"]
    assert (old["target"]["value"], later["target"]["value"]) == (pytest.approx(7 / 12), pytest.approx(11 / 12))
    assert (old["days_left"], later["days_left"]) == (30, 212)
    assert [step["status"] for step in later["steps"]] == ["below"]
    assert later["projection"]["on"] is None and "3 days or more" in later["projection"]["because"]
    assert [rung["model"].split()[0] for rung in found["ladders"]["task"]] == [
        "own/gpt-4",
        "own/gpt-3.5",
        "own/tiny-student",
    ]
    size = Workspace.open(workspace.folder).ledger.size
    told = cli("targets", path, "-w", workspace.folder, "--at", "2023-12-01").stdout
    assert Workspace.open(workspace.folder).ledger.size == size
    assert "gpt-3.5-turbo (2023-08-01) on task, accuracy: by 2023-12-31, 30 days left" in told
    assert "one of 0.03 takes" in told


def test_a_target_whose_terms_are_not_established_is_refused_by_name(folder, workspace, tiny_llama):
    path = with_targets(folder, tiny_llama, {**OLD, "source": "openai/gpt-3.5-turbo-0613@api"})
    with pytest.raises(Refused, match=r"openai/gpt-3\.5-turbo-0613@api may not be used to benchmark_teacher"):
        scoreboard.board(load(path), workspace, date(2023, 12, 1))


def test_another_version_is_another_target(folder, workspace, tiny_llama):
    moved = {**OLD, "outputs": "new.json", "on": "2023-11-06"}
    path = with_targets(folder, tiny_llama, OLD, moved)
    found = scoreboard.board(load(path), workspace, date(2023, 12, 1)).standings
    assert [(each.name, each.version, round(each.target.value, 2)) for each in found] == [
        ("gpt-3.5-turbo", "2023-08-01", 0.58),
        ("gpt-3.5-turbo", "2023-11-06", 0.92),
    ]


def test_a_model_of_ours_can_be_the_target(folder, workspace, tiny_llama):
    told = {"name": "teacher", "task": "task", "by": "2023-12-31"}
    path = with_targets(folder, tiny_llama, {**told, "teacher": {"weights": str(tiny_llama), "source": "own/tiny"}})
    (found,) = scoreboard.board(load(path), workspace, date(2023, 12, 1)).standings
    assert (found.source, found.samples, found.steps) == ("own/tiny", 12, ())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"task": "other"}, "`tasks` has \\['task'\\]"),
        ({"outputs": None}, "give either `outputs`"),
        ({"maker": None}, "give maker too"),
    ],
)
def test_a_target_that_is_none_is_told_of_the_run_file(folder, tiny_llama, change, told):
    with pytest.raises(ConfigError, match=told):
        load(with_targets(folder, tiny_llama, {name: said for name, said in {**OLD, **change}.items() if said}))


def test_outputs_to_other_prompts_are_told(folder, workspace, tiny_llama):
    (folder / "old.json").write_text(json.dumps([{"instruction": "Say 1.", "output": "1"}]))
    with pytest.raises(ConfigError, match="did not answer 11 of 12 prompts"):
        scoreboard.board(load(with_targets(folder, tiny_llama, OLD)), workspace, date(2023, 12, 1))


def test_recorded_outputs_are_held_out_from_training(workspace):
    kept = recorded(workspace, "old", "own/gpt-3.5", 7)
    with pytest.raises(Refused, match="held-out"), workspace.step("train", inputs=[kept], effect=Effect.TRAIN):
        pass


def test_two_models_are_compared_sample_by_sample(folder, workspace):
    for source, right in (("own/one", 4), ("own/two", 9)):
        on_task(workspace, folder, recorded(workspace, source[4:], source, right))
    (found,) = json.loads(cli("compare", "own/one", "own/two", "-w", workspace.folder, "--json").stdout)
    assert (found["better"], found["worse"]) == (5, 0)
    assert found["p"] == found["p_holm"] == pytest.approx(2 / 2**5)
    assert [flip["id"] for flip in found["flips"]] == ["4", "5", "6", "7", "8"]
    told = cli("compare", "own/one", "own/two", "-w", workspace.folder, "--flips", 1).stdout
    assert "4: 0 became 1" in told and "and 4 more" in told


def test_a_comparison_is_kept_once_as_scores_of_both(folder, workspace):
    scores = [
        on_task(workspace, folder, recorded(workspace, source[4:], source, right))
        for source, right in (("own/one", 4), ("own/two", 9))
    ]
    for _ in range(2):
        cli("compare", "own/one", "own/two", "-w", workspace.folder, "--keep")
    made = [each for each in Workspace.open(workspace.folder).ledger.entries() if each.predicate["step"] == "compare"]
    assert [each.predicate["event"] for each in made] == ["opened", "done"]
    assert {each["digest"] for each in made[1].predicate["inputs"]} == {each.digest for each in scores}
    (output,) = made[1].statement["subject"]
    kept = workspace.store.get(f"scores:{output['digest']['sha256']}")
    (found,) = json.loads(kept.path("compared.json").read_text())
    assert (found["better"], found["scores"]) == (5, [each.digest for each in scores])


def test_who_was_never_measured_is_told_who_was(folder, workspace):
    on_task(workspace, folder, recorded(workspace, "one", "own/one", 4))
    with pytest.raises(ConfigError, match="measured were own/one"):
        scoreboard.compare(workspace, "own/one", "own/nobody")


def test_everybody_on_a_task_meets_in_the_arena(folder, workspace):
    for source, right in (("own/one", 4), ("own/two", 9), ("own/three", 6)):
        on_task(workspace, folder, recorded(workspace, source[4:], source, right))
    found = json.loads(cli("arena", "--task", "task", "-w", workspace.folder, "--json", "--pairs", 2).stdout)
    assert [row["model"].split()[0] for row in found["rows"]] == ["own/two", "own/three", "own/one"]
    assert (found["verdicts"], found["samples"], len(found["next"])) == (36, 12, 2)
    assert [row["wins"] * 24 for row in found["rows"]] == pytest.approx([16, 11.5, 8.5])


def test_verdicts_of_a_file_are_rated_without_a_workspace(tmp_path):
    rng = random.Random(0)
    rows = [
        {
            "sample": str(n),
            "a": a,
            "b": b,
            "winner": rng.choice(["a", "a", "a", "b", "tie"]),
            "order": order,
            "judge": "own/j",
        }
        for n in range(40)
        for a, b in (("x", "y"), ("y", "z"))
        for order in ("ab", "ba")
    ]
    (tmp_path / "v.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = cli("arena", tmp_path / "v.jsonl", "--anchor", "z", "-w", tmp_path / "none").stdout
    assert "160 verdicts on 40 prompts; sandwich, clustered by prompt" in told
    assert "[1000, 1000]" in told.splitlines()[4]
    assert "3 comparisons, each interval at 95 % by itself" in told
    assert [line.split()[-1] for line in told.splitlines()[2:5]] == ["x", "y", "z"]


def test_two_models_are_one_comparison_which_chance_is_not_told_of(tmp_path):
    rows = [
        {"sample": str(n), "a": "x", "b": "y", "winner": winner, "order": "ab", "judge": "own/j"}
        for n, winner in enumerate("aab")
    ]
    (tmp_path / "v.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = cli("arena", tmp_path / "v.jsonl", "-w", tmp_path / "none").stdout
    assert told.startswith("3 verdicts on 3 prompts;") and "comparison" not in told


def test_a_task_that_nobody_was_measured_on_is_told(workspace):
    with pytest.raises(ConfigError, match="0 tasks that were measured here are called 'capitals'"):
        scoreboard.competing([], workspace, task="capitals")


def test_a_judge_who_said_nothing_is_told(tmp_path):
    row = {"sample": "1", "a": "x", "b": "y", "winner": "a", "order": "ab", "judge": "own/j"}
    (tmp_path / "v.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(ConfigError, match="judges are own/j"):
        scoreboard.arena(scoreboard.competing([str(tmp_path / "v.jsonl")], None), judge="own/k")
