"""MT-bench from its questions to its files: two turns asked, judged with references, out again, through the door."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.evaluate.formats.test_reading import MT_QUESTIONS, MT_REFERENCES, lines
from tests.test_judging import Voice, seat
from tests.test_judging import steps as of_step
from typer.testing import CliRunner

from trueseed import benchmarks, judging, scoring
from trueseed.cli import app, evaluation
from trueseed.core.chat import Request
from trueseed.errors import ConfigError
from trueseed.evaluate.formats import reading
from trueseed.evaluate.outputs import Recorded
from trueseed.evaluate.task import Config, References, thaw
from trueseed.workspace import Workspace


def polite(request: Request) -> str:
    return f"{len(request.messages)} messages, and I say please"


def curt(request: Request) -> str:
    return "No." if len(request.messages) == 1 else "No!"


def prefers_please(request: Request) -> str:
    text = request.messages[0].content
    if "Give a whole number" in text:
        return json.dumps({"reason": "r", "marks": {"overall": 9 if "please" in text else 2}})
    first = text.split("<answer A ")[1].split("</answer A")[0]
    return json.dumps({"reason": "please", "winner": "A" if "please" in first else "B"})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "work", create=True)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    references = References(file=str(lines(tmp_path, MT_REFERENCES, "reference.jsonl")), source="own/gpt")
    return Config(scorer="open", file=str(lines(tmp_path, MT_QUESTIONS, "question.jsonl")), source="own/mt",
                  references=references)  # fmt: skip


@pytest.fixture
def task(workspace: Workspace, config: Config) -> Any:
    return scoring.bring_task(workspace, config)


def model(source: str, script: Any) -> scoring.Model:
    return scoring.Model(voice=Voice(source, script), weights=None, asked=False)


@pytest.fixture
def sides(workspace: Workspace, config: Config, task: Any) -> Any:
    both = (model("own/polite", polite), model("own/curt", curt))
    return tuple(judging.speaking(each, config, task, workspace) for each in both)


def test_the_second_turn_is_asked_after_the_models_own_first_answer(workspace, config, task):
    speaker = model("own/polite", polite)
    found = judging.speaking(speaker, config, task, workspace)
    assert found.answers["81/2"] == "3 messages, and I say please"
    second = [request for request in speaker.voice.asked if len(request.messages) == 3]
    assert [message.content for message in second[0].messages] == [
        "Write a line on tea.", "1 messages, and I say please", "Now without the letter e.",
    ]  # fmt: skip
    line = json.loads(found.artifact.path("samples.jsonl").read_bytes().splitlines()[1])
    assert (line["id"], len(line["asked"][0]["messages"])) == ("81/2", 3)


def test_judges_are_shown_both_turns_and_the_reference_of_a_question_that_has_one(workspace, task, sides):
    judge = seat(prefers_please, "own/judge", asked=False)
    found = judging.pairwise(*sides, task, [judge], workspace, checked=False)
    assert json.loads(found.path("scores.json").read_bytes())["counts"]["wins"] == 4
    shown = [request.messages[0].content for request in judge.model.voice.asked]
    of = {turns: [text for text in shown if ("[turn 2]" in text) == turns] for turns in (True, False)}
    assert len(of[True]) == len(of[False]) == 4
    assert all("Judge what was answered to its last turn" in text for text in of[True])
    assert all(("<reference " in text) == ("17 * 3" in text) for text in shown)
    assert any("[turn 2]\n25.5" in text for text in shown)


def test_marks_of_two_turns_are_as_sure_as_there_are_conversations(workspace, task, sides):
    judge = seat(prefers_please, "own/judge", asked=False)
    told = json.loads(judging.mark(sides[0], task, judge, workspace, checked=False).path("scores.json").read_bytes())
    assert told["counts"] == {"samples": 4, "marked": 4, "no_verdict": 0}
    assert (told["metrics"]["overall"]["value"], told["metrics"]["overall"]["n"]) == (9.0, 2)


def test_scores_go_out_as_mt_bench_has_them_and_come_back(workspace, task, sides, tmp_path):
    judge = seat(prefers_please, "own/judge", asked=False)
    compared = judging.pairwise(*sides, task, [judge], workspace, checked=False)
    marks = [judging.mark(side, task, judge, workspace, checked=False) for side in sides]
    folder = tmp_path / "mt_bench"
    written = benchmarks.export(workspace, [compared, *marks], folder, "mt-bench")
    assert written.files.keys() == {
        "question.jsonl", "model_answer/own__polite.jsonl", "model_answer/own__curt.jsonl",
        "model_judgment/own__judge_pair.jsonl", "model_judgment/own__judge_single.jsonl", "origins.json",
    }  # fmt: skip
    assert [json.loads(line)["turns"] for line in (folder / "question.jsonl").read_text().splitlines()] == [
        row["turns"] for row in MT_QUESTIONS
    ]
    said = reading.judgments(folder / "model_judgment/own__judge_pair.jsonl")
    assert {(each.winner, each.order) for each in said.verdicts} == {("a", "ab"), ("a", "ba")}
    scores = [json.loads(line) for line in (folder / "model_judgment/own__judge_single.jsonl").read_text().splitlines()]
    assert sorted((row["model"], row["score"], row["turn"]) for row in scores)[:2] == [("own__curt", 2, 1)] * 2
    assert json.loads((folder / "origins.json").read_text())["models"]["own__curt"]["source"] == "own/curt"
    [closing] = [each for each in of_step(workspace, benchmarks.STEP) if each["event"] == "done"]
    assert closing["handed_out"].keys() == written.files.keys()
    origin = Recorded(source="own/curt", maker="own/ada")
    again = reading.outputs(folder / "model_answer/own__curt.jsonl", origin, thaw(task).samples)
    entrant = judging.speaking(scoring.recorded(scoring.bring_outputs(workspace, again)), Config(scorer="open"), task,
                               workspace)  # fmt: skip
    assert entrant.answers == sides[1].answers


def test_what_was_written_is_written_over_by_nobody(workspace, sides, tmp_path):
    benchmarks.export(workspace, [sides[0].artifact], tmp_path / "out", "mt-bench")
    with pytest.raises(ConfigError, match="is there already"):
        benchmarks.export(workspace, [sides[1].artifact], tmp_path / "out", "mt-bench")


def test_a_folder_that_somebody_else_fills_is_left_alone(workspace, sides, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="not there yet"):
        benchmarks.export(workspace, [sides[0].artifact], tmp_path / "out", "mt-bench")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_export_that_is_cut_short_leaves_nothing_and_is_handed_out_by_the_same_command(
    workspace, sides, tmp_path, monkeypatch
):
    whole, written = Path.write_bytes, []

    def little_room(path: Path, content: bytes) -> int:
        written.append(path.name)
        if len(written) > 1:
            raise OSError(28, "No space left on device")
        return whole(path, content)

    monkeypatch.setattr(Path, "write_bytes", little_room)
    with pytest.raises(OSError, match="No space left"):
        benchmarks.export(workspace, [sides[0].artifact], tmp_path / "to" / "out", "mt-bench")
    assert list((tmp_path / "to").iterdir()) == []
    assert len(written) == 2 and of_step(workspace, benchmarks.STEP)[-1]["event"] == "failed"
    monkeypatch.undo()
    done = benchmarks.export(workspace, [sides[0].artifact], tmp_path / "to" / "out", "mt-bench")
    assert sorted(path.name for path in (tmp_path / "to").rglob("*.json*")) == sorted(
        name.split("/")[-1] for name in done.files
    )


def test_two_turns_do_not_go_where_there_is_one(workspace, sides, tmp_path):
    with pytest.raises(ConfigError, match="no questions of several turns"):
        benchmarks.export(workspace, [sides[0].artifact], tmp_path / "out", "arena-hard")
    assert not (tmp_path / "out").exists()


def invoked(workspace: Workspace, *words: object) -> Any:
    arguments = [*map(str, words), "--workspace", str(workspace.folder)]
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_from_the_command_line(workspace, sides, tmp_path):
    done = invoked(workspace, "scores", "export", f"scores:{sides[0].artifact.digest}", "--as", "mt-bench", "--to",
                   tmp_path / "out")  # fmt: skip
    assert done.exit_code == 0
    assert (tmp_path / "out/model_answer/own__polite.jsonl").is_file()


def test_the_arena_reads_mt_benchs_marks_and_says_so(workspace, tmp_path):
    rows = [
        {"question_id": q, "model": name, "judge": ["gpt-4", "single-v1"], "score": score + q % 2, "turn": turn}
        for q in range(8)
        for turn in (1, 2)
        for name, score in (("good", 8), ("fair", 6 + q % 4), ("bad", 6 if q == 4 else 3))
    ]
    done = invoked(workspace, "arena", lines(tmp_path, rows, "gpt-4_single.jsonl"))
    assert "gpt-4_single.jsonl: MT-bench, 48 verdicts; 0 judgments were none" in done.stderr
    rated = [line.split()[-1] for line in done.stdout.splitlines() if line.strip()[:1].isdigit() and "  " in line]
    assert rated[-3:] == ["good", "fair", "bad"]


def test_a_tasks_line_says_how_it_was_read(workspace, task, sides):
    found = json.loads(sides[0].artifact.path("scores.json").read_bytes())
    assert evaluation.table(found)[0].endswith("4 samples of own/mt, scorer open, read as MT-bench")
