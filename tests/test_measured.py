"""What a run measured comes to its report: real scores out of a workspace, set beside each other."""

import json
from datetime import date

import pytest
from tests.report.test_html import Text, details, report
from tests.test_scoreboard import OLD, TASK, cli, folder, on_task, recorded, trained, with_targets, workspace

from trueseed import aims, measured, scoring
from trueseed.evaluate.task import Config
from trueseed.lm.speed import Speed
from trueseed.report.html import render
from trueseed.runfile import load

SPEED = Speed(slots=4, dtype="float32")  # as `with_targets` has it
__all__ = ["folder", "workspace"]  # fixtures


@pytest.fixture
def students(folder, workspace, tiny_llama):
    """A trained student that was measured, and two recorded models beside it."""
    student = trained(workspace, tiny_llama, folder, "one")
    config = Config(**{**TASK, "file": str(folder / "task.jsonl")})
    task = scoring.bring_task(workspace, config)
    ours = scoring.on(scoring.student(workspace, student, SPEED), config, task, workspace)
    others = [
        on_task(workspace, folder, recorded(workspace, name, f"own/{name}", right))
        for name, right in (("low", 4), ("high", 9))
    ]
    return student, [*others, ours, others[0]]


def test_a_runs_student_stands_beside_everybody_on_its_tasks(workspace, students):
    student, scores = students
    found = measured.of_run(workspace, student, scores, aims.NOBODY)
    assert [each.student for each in found.tasks] == [False, False, True]  # who plays two parts is there once
    assert [each["models"][0] for each in found.compared] == ["own/low 2023-08-01", "own/high 2023-08-01"]
    assert found.compared[1]["difference"]["value"] == pytest.approx(-9 / 12)
    assert found.compared[1]["p_holm"] == pytest.approx(2 * 2 / 2**9)
    (board,) = found.leaderboards
    assert [row["model"].split()[0] for row in board["rows"]][:2] == ["own/high", "own/low"]
    text = Text(render(report(), details(), found)).text
    assert "B is worse. B − A −0.750" in text
    assert "9 became worse" in text and "Say 3." in text
    brief = found.to_json()["compared"]
    assert "flips" not in brief[0] and json.loads(json.dumps(brief[0]))["worse"] == 4


def test_two_models_are_no_leaderboard_and_what_cannot_be_compared_is_told(workspace, students, folder):
    student, (low, _, ours, _) = students
    other = Config(**{**TASK, "file": str(folder / "task.jsonl"), "limit": 4, "name": "few"})
    few = scoring.on(scoring.student(workspace, student, SPEED), other, scoring.bring_task(workspace, other), workspace)
    found = measured.of_run(workspace, student, [few], aims.NOBODY)
    assert (found.compared, found.leaderboards, found.untold) == ((), (), ())
    path = low.path("samples.jsonl")
    path.chmod(0o644)
    path.write_text(path.read_text().replace('"accuracy": [', '"accuracy": [0.0, 0.0], "was": ['))
    found = measured.of_run(workspace, student, [low, ours], aims.NOBODY)
    assert found.compared == () and "is out of nothing" in found.untold[0]


def test_targets_come_to_the_report_with_the_ladder_of_who_was_measured_before(folder, workspace, students, tiny_llama):
    student, scores = students
    run = load(with_targets(folder, tiny_llama, OLD))
    board = aims.targets(workspace, run, date(2023, 12, 1))
    found = measured.of_run(workspace, student, scores[2:3], board)
    assert found.to_json()["targets"][0]["days_left"] == 30
    assert [rung["model"].split()[0] for rung in found.ladders["task"]][:2] == ["own/high", "own/gpt-3.5"]
    everybody = [workspace.store.get(f"scores:{rung['scores']}") for rung in found.ladders["task"]]
    assert measured.of_run(workspace, student, everybody, board).ladders == {}
    assert "30 days left ; the newest student is below it" in Text(render(report(), details(), found)).text


def test_each_command_of_standing_writes_a_page(folder, workspace, students, tiny_llama):
    pages = [folder / "new" / name for name in ("a.html", "b.html", "c.html")]
    where = ["-w", workspace.folder]
    cli("compare", "own/low", "own/high", *where, "--html", pages[0])
    cli("arena", "--task", "task", *where, "--pairs", 1, "--html", pages[1])
    path = with_targets(folder, tiny_llama, OLD)
    done = cli("targets", path, *where, "--at", "2023-12-01", "--html", pages[2], "--json")
    assert json.loads(done.stdout)["targets"][0]["days_left"] == 30
    texts = [Text(page.read_text()).text for page in pages]
    assert "own/high beside own/low" in texts[0] and "5 became better" in texts[0]
    assert "Judge next" in texts[1] and "36 meetings on 12 prompts" in texts[1]
    assert "Targets on 2023-12-01" in texts[2] and "Ladder of task" in texts[2]
    assert all("training data unknown" in text and "looked at" in text for text in texts)


def test_a_page_that_cannot_be_written_is_told(folder, workspace, students):
    done = cli("compare", "own/low", "own/high", "-w", workspace.folder, "--html", folder, code=1)
    assert "cannot be written" in str(done.exception)
