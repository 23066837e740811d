"""Who stands where, through the door and from the command line."""

import json
import random
import shutil
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.tiny_run import run_file
from typer.testing import CliRunner

from trueseed import aims, asking, harnessing, measured, models, scoreboard, scoring
from trueseed.cli import app
from trueseed.core.artifacts import Artifact
from trueseed.errors import ConfigError, Refused
from trueseed.evaluate.outputs import Output, Outputs, Recorded
from trueseed.evaluate.task import Config
from trueseed.lm.source import resolve
from trueseed.lm.speed import Speed
from trueseed.runfile import load
from trueseed.terms.model import Effect
from trueseed.workspace import Workspace

PROMPTS = [f"Say {n}." for n in range(12)]
TASK = {"file": "task.jsonl", "scorer": "contains", "source": "own/ada", "max_tokens": 8, "of": ["student"]}
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
    return with_task(folder, model, TASK, *targets)


def with_task(folder: Path, model: Path, task: dict[str, Any], *targets: dict[str, Any], **changes: Any) -> Path:
    said = {"tasks": [task], "targets": list(targets), "engine": {"slots": 4, "dtype": "float32"}, **changes}
    path = run_file(folder, model, **said)
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


def test_contamination_and_looks_stand_beside_every_score_of_targets(folder, workspace, tiny_llama):
    trained(workspace, tiny_llama, folder, "one")
    path = with_targets(folder, tiny_llama, OLD)
    words = ("targets", path, "-w", workspace.folder, "--at", "2023-12-01")
    (found,) = json.loads(cli(*words, "--json").stdout)["targets"]
    assert (found["looks"]["times"], found["looks"]["students"], found["looks"]["others"]) == (2, 1, 1)
    assert found["contamination"] == ["training data unknown: own/gpt-3.5: its training data is not here"]
    (step,) = found["steps"]
    assert step["contaminated"] is None
    assert step["contamination"] == [
        "training data unknown: own/tiny, from which it was trained: its training data is not here"
    ]
    told = cli(*words).stdout
    assert "below  (training data unknown)" in told
    assert "looked at 2 times by 1 student and 1 other" in told


def test_results_that_were_imported_without_samples_hold_up_neither_targets_nor_a_report(folder, workspace, tiny_llama):
    student = trained(workspace, tiny_llama, folder, "one")
    results = {"results": {"task": {"acc,none": 0.5, "acc_stderr,none": 0.1}}, "n-samples": {"task": {"effective": 30}}}
    (folder / "results_1.json").write_text(json.dumps(results))
    base = models.import_weights(resolve(str(tiny_llama), source="own/tiny"), workspace)
    model = scoring.held(base, "own/tiny", Speed(dtype="float32"))
    [alone] = harnessing.imported(model, folder / "results_1.json", [], "own/ada", workspace)
    path = with_targets(folder, tiny_llama, OLD)
    found = json.loads(cli("targets", path, "-w", workspace.folder, "--at", "2023-12-01", "--json").stdout)
    assert [rung["model"].split()[0] for rung in found["ladders"]["task"]] == ["own/gpt-3.5", "own/tiny-student"]
    workspace = Workspace.open(workspace.folder)
    scores = [on_task(workspace, folder, recorded(workspace, "old", "own/old", 7))]
    [why] = measured.of_run(workspace, student, scores, aims.NOBODY).untold
    assert "own/tiny on task was imported without its samples" in why and "import it again" in why
    with pytest.raises(ConfigError, match="without its samples"):
        scoreboard.compare(workspace, f"scores:{alone.digest}", "own/old")


def test_a_target_whose_terms_are_not_established_is_refused_by_name(folder, workspace, tiny_llama):
    path = with_targets(folder, tiny_llama, {**OLD, "source": "openai/gpt-3.5-turbo-0613@api"})
    with pytest.raises(Refused, match=r"openai/gpt-3\.5-turbo-0613@api may not be used to benchmark_teacher"):
        aims.targets(workspace, load(path), date(2023, 12, 1))


def test_another_version_is_another_target(folder, workspace, tiny_llama):
    moved = {**OLD, "outputs": "new.json", "on": "2023-11-06"}
    path = with_targets(folder, tiny_llama, OLD, moved)
    found = aims.targets(workspace, load(path), date(2023, 12, 1)).standings
    assert [(each.name, each.version, round(each.target.value, 2)) for each in found] == [
        ("gpt-3.5-turbo", "2023-08-01", 0.58),
        ("gpt-3.5-turbo", "2023-11-06", 0.92),
    ]


def test_a_model_of_ours_can_be_the_target(folder, workspace, tiny_llama):
    told = {"name": "teacher", "task": "task", "by": "2023-12-31"}
    path = with_targets(folder, tiny_llama, {**told, "teacher": {"weights": str(tiny_llama), "source": "own/tiny"}})
    (found,) = aims.targets(workspace, load(path), date(2023, 12, 1)).standings
    assert (found.source, found.samples, found.steps) == ("own/tiny", 12, ())


def test_a_model_that_answered_more_at_a_time_is_the_same_on_the_ladder(folder, workspace, tiny_llama):
    base = models.import_weights(resolve(str(tiny_llama), source="own/tiny"), workspace)
    task = Config(**{**TASK, "file": str(folder / "task.jsonl")})
    for slots in (2, 4):
        model = scoring.held(base, "own/tiny", Speed(slots=slots, dtype="float32"))
        newest = scoring.measure(workspace, model, task)
    [rung] = scoreboard.ladder(workspace, scoring.bring_task(workspace, task).digest)
    assert rung.scores == newest.digest


def test_base_and_teacher_stand_on_the_ladder_of_a_target_unless_of_narrows_it(
    folder, workspace, tiny_llama, monkeypatch
):
    monkeypatch.setattr(asking, "is_here", lambda spec: False)
    trained(workspace, tiny_llama, folder, "one")
    trained(workspace, tiny_llama, folder, "two")
    unnamed = {name: said for name, said in TASK.items() if name != "of"}
    path = with_task(folder, tiny_llama, unnamed, OLD, base={"layers": [0]})
    words = ("targets", path, "-w", workspace.folder, "--at", "2023-12-01")
    found = json.loads(cli(*words, "--json").stdout)
    rungs = found["ladders"]["task"]
    assert [rung["model"].split()[0] for rung in rungs].count("own/tiny") == 2  # the teacher, and its first layer
    assert Counter(rung["kind"] for rung in rungs) == {"target": 1, "student": 1, "other": 2}
    assert rungs[-1]["floor"] == "on the floor: its accuracy may be 0.000, which an empty answer gets"
    assert (
        "embedded (huggingfacetb/smollm2-135m-instruct@weights) is not on the ladder of task: it is not here yet"
        in (found["left_out"][0])
    )
    assert "1 student of before was never measured on task" in found["left_out"][1]
    told = cli(*words).stdout
    assert "on the floor: its accuracy may be 0.000" in told and "; on the floor)" in told
    narrowed = load(with_targets(folder, tiny_llama, OLD))
    assert asking.ladder(narrowed, narrowed.tasks[0], asking.permits(workspace)).whom == ("student",)


def test_who_may_not_be_measured_stays_off_the_ladder_and_is_refused_where_it_is_named(folder, workspace, tiny_llama):
    unnamed = {name: said for name, said in TASK.items() if name != "of"}
    teacher = {"remote": {"source": "openai/gpt-4o-mini@api", "price": {"input": 1.0, "output": 1.0}}}
    file = load(with_task(folder, tiny_llama, unnamed, OLD, teacher=teacher))
    workspace.declare(file.project, file.facts)
    found = asking.ladder(file, file.tasks[0], asking.permits(workspace))
    assert found.whom[:2] == ("student", "base")
    assert found.left_out[0].startswith(
        "teacher (openai/gpt-4o-mini@api) is not on the ladder of task: its terms do not"
    )
    named = load(with_task(folder, tiny_llama, {**unnamed, "of": ["student", "teacher"]}, OLD, teacher=teacher))
    assert asking.ladder(named, named.tasks[0], asking.permits(workspace)).whom == ("student", "teacher")


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
        aims.targets(workspace, load(with_targets(folder, tiny_llama, OLD)), date(2023, 12, 1))


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


def test_a_task_that_only_a_judge_can_rank_does_not_stop_the_comparison_on_others(folder, workspace):
    for source, right in (("own/one", 4), ("own/two", 9)):
        outputs = recorded(workspace, source[4:], source, right)
        on_task(workspace, folder, outputs)
        talk = Config(**{**TASK, "file": str(folder / "task.jsonl"), "scorer": "open", "name": "talk"})
        scoring.on(scoring.recorded(outputs), talk, scoring.bring_task(workspace, talk), workspace)
    assert [each.task for each in scoreboard.compare(workspace, "own/one", "own/two")] == ["task"]


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
    assert found["held"][0].startswith("looked at 3 times by 0 students and 3 others")
    assert [row["contaminated"] for row in found["rows"]] == [None] * 3
    assert "own/two 2023-08-01: training data unknown: own/two: its training data is not here" in found["held"]


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
