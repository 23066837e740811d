"""What the doctor says of tasks, judges and targets, before anybody is asked."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.tiny_run import run_file

from trueseed import judging, runfile, scoring
from trueseed.checks import sandbox
from trueseed.doctor.check import Check, Findings
from trueseed.doctor.examine import examine
from trueseed.errors import ConfigError
from trueseed.evaluate.task import Config
from trueseed.teachers.scripted import ScriptedTeacher
from trueseed.teachers.simulator import Behaviour, Simulator, simulator
from trueseed.workspace import Workspace

KEY = "sk-measure-5up3rs3cr3t-0123456789"
TODAY = datetime.now(UTC).date()
ROWS = [{"id": str(n), "prompt": f"Say {n} in a word of your own.", "target": str(n)} for n in range(4)]
pytestmark = pytest.mark.xdist_group("doctor")

Look = Callable[..., Findings]


@pytest.fixture(scope="module")
def provider() -> Iterator[Simulator]:
    with simulator(Behaviour(models=("large", "judge-2026-01-31"), keys=(KEY,))) as running:
        yield running


def remote(provider: Simulator, source: str, model: str = "large", **changes: Any) -> dict[str, Any]:
    price = {"input": 1.0, "output": 2.0}
    said = {"source": source, "model": model, "base_url": provider.openai, "key_from": "DOCTOR_KEY", "price": price}
    return {"remote": {**said, **changes}}


@pytest.fixture
def look(tmp_path: Path, tiny_llama: Path, provider: Simulator) -> Look:
    """Examines a run file with a remote teacher and these parts; `rows`: of the file task.jsonl."""

    def examined(rows: list[dict[str, Any]] = ROWS, **parts: Any) -> Findings:
        (tmp_path / "task.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        parts = {"teacher": remote(provider, "own/served"), **parts}
        file = runfile.load(run_file(tmp_path, tiny_llama, **parts))
        return examine(file, tmp_path / "work", {"DOCTOR_KEY": KEY})

    return examined


def task(scorer: str = "contains", **changes: Any) -> list[dict[str, Any]]:
    return [{"file": "task.jsonl", "scorer": scorer, "source": "own/ada", **changes}]


def of(findings: Findings, subject: str) -> dict[str, Check]:
    return {check.name: check for check in findings.checks if check.of == subject}


def test_a_task_that_is_well_is_read_scored_and_compared_with_the_prompts(look, provider):
    findings = look(tasks=task())
    found = of(findings, "task task")
    assert {name: check.status for name, check in found.items()} == {
        "samples": "ok", "scorer": "ok", "training data": "ok",
    }  # fmt: skip
    assert findings.exit_code == 0
    assert provider.counts()["billed"] == 0


@pytest.mark.parametrize(
    ("rows", "changes", "words"),
    [
        ([ROWS[0], ROWS[0]], {}, "line 2: id '0' was used before"),
        ([ROWS[0], {"prompt": "?"}], {}, "line 2: 'target' is missing"),
        (ROWS, {"file": "nowhere.jsonl"}, "cannot be read"),
        (ROWS, {"scorer": "vibes"}, "no scorer 'vibes'"),
        (ROWS, {"source": None}, "say where"),
    ],
)
def test_a_task_that_is_none_is_told_with_its_lines(look, rows, changes, words):
    findings = look(rows, tasks=task(**changes))
    check = next(check for check in findings.checks if check.name == "samples")
    assert (check.status, findings.exit_code) == ("fails", 2)
    assert words in check.meaning


def test_samples_that_stand_in_the_training_prompts_are_named(look, tmp_path):
    prompt = {"id": "leaky", "prompt": "say 2, in a WORD of your own", "topic": "words"}
    (tmp_path / "mine.jsonl").write_text(json.dumps(prompt) + "\n")
    findings = look(tasks=task(), prompts={"file": "mine.jsonl", "source": "own/me"})
    check = of(findings, "task task")["training data"]
    assert check.status == "warning"
    assert "1 of 4 samples stands in 1 prompt, as the prompt of '2' in prompt 'leaky'" in check.meaning


def test_samples_that_stand_in_imported_questions_and_answers_are_named(look, tmp_path):
    chats = [("Say a word.", "Soup."), ("Repeat after me.", ROWS[1]["prompt"]), (ROWS[3]["prompt"], "Three.")]
    rows = [
        {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}
        for asked, said in chats
    ]
    (tmp_path / "theirs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    brought = [{"file": "theirs.jsonl", "source": "own/cook"}]
    check = of(look(tasks=task(), **{"import": brought}), "task task")["training data"]
    assert check.status == "warning"
    assert "2 of 4 samples stand in" in check.meaning and "and 3 imported records" in check.meaning
    assert f"as the prompt of '1' in line 2 of {tmp_path / 'theirs.jsonl'}" in check.meaning


def test_training_data_that_cannot_be_read_is_told_as_not_compared(look, tmp_path):
    brought = [{"file": "nowhere.jsonl", "source": "own/cook"}]
    findings = look(tasks=task(), **{"import": brought})
    told = [check for check in findings.checks if (check.of, check.name) == ("task task", "training data")]
    assert [check.status for check in told] == ["warning", "ok"]
    assert "nowhere.jsonl cannot be read" in told[0].meaning


def test_code_is_not_executed_where_no_sandbox_can_be_built(look, monkeypatch):
    def cannot() -> None:
        raise ConfigError("nothing was executed: the sandbox cannot be built here")

    rows = [{"prompt": "def f():\n", "test": "def check(f): pass", "entry_point": "f"}] * 2
    monkeypatch.setattr(sandbox, "must_be_possible", cannot)
    findings = look(rows, tasks=task("humaneval"))
    assert of(findings, "task task")["sandbox"].status == "fails"


def test_a_teacher_that_cannot_tell_likelihoods_is_not_measured_by_them(look, provider):
    rows = [{"prompt": f"After {n} comes", "choices": ["two", "three"], "target": 0} for n in range(2)]
    own = of(look(rows, tasks=task("choice", of=["student", "teacher"])), "task task")
    assert own["likelihoods"].status == "warning"  # a server of one's own may
    theirs = {"teacher": remote(provider, "deepseek/deepseek-chat@openrouter")}
    found = of(look(rows, tasks=task("choice", of=["student", "teacher"]), **theirs), "task task")
    assert found["likelihoods"].status == "fails"


def judged(*judges: dict[str, Any]) -> dict[str, Any]:
    return {"tasks": task("open", of=["student", "teacher"]), "judges": list(judges)}


def test_a_judge_is_looked_at_as_whoever_is_asked_and_for_judging(look, provider):
    findings = look(**judged(remote(provider, "own/judge", "judge-2026-01-31")))
    found = of(findings, "judge 1")
    assert {name for name in found if name.startswith("terms")} == {"terms for judge"}
    assert found["model"].status == found["price"].status == found["impartial"].status == "ok"
    assert (found["card"].status, findings.exit_code) == ("warning", 0)
    assert "was not tried in this workspace" in found["card"].meaning


def test_a_judge_that_may_not_judge_or_cannot_be_reached_fails(look, provider):
    judge = remote(provider, "nobody/judge@api", "gone")
    findings = look(**judged(judge))
    found = of(findings, "judge 1")
    assert found["terms for judge"].status == found["model"].status == "fails"
    assert findings.exit_code == 3


def test_a_judge_that_is_the_teacher_is_told(look, provider):
    findings = look(**judged(remote(provider, "own/served")))
    check = of(findings, "judge 1")["impartial"]
    assert check.status == "warning"
    assert "judges its own answers" in check.meaning


def test_a_judge_without_what_verdicts_take_is_told(look, provider):
    judge = remote(provider, "openai/gpt-5-mini@api", "gpt-5-mini")
    assert "temperature" in of(look(**judged(judge)), "judge 1")["capabilities for verdicts"].meaning


class Prose:
    """A voice that gives no verdict."""

    source, scorer, price = "own/judge", None, None
    speaks: ClassVar[dict[str, Any]] = {}
    identity = speaks

    @contextmanager
    def speaking(self, step):
        yield ScriptedTeacher(self.source, lambda request: "Both are fine.")


def test_a_card_that_was_failed_here_is_told_with_its_day(look, tmp_path, provider):
    place = Workspace.open(tmp_path / "work", create=True)
    pairs = tmp_path / "gold.jsonl"
    check = {"scorer": "exact", "target": "4"}
    rows = [{"prompt": f"2 + 2 = ? ({n})", "right": "4", "wrong": "5", "check": check} for n in range(2)]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    seat = judging.Seat(model=scoring.teacher(Prose(), {}))
    judging.check(seat, place, scoring.bring_task(place, Config(scorer="gold", file=str(pairs), source="own/ada")))
    findings = look(**judged(remote(provider, "own/judge")))
    found = of(findings, "judge 1")["card"]
    assert found.status == "warning"
    assert f"failed on {TODAY}: agreement" in found.meaning


def outputs(folder: Path, rows: list[dict[str, Any]]) -> None:
    (folder / "old.json").write_text(
        json.dumps([{"instruction": row["prompt"], "output": "1", "generator": "old"} for row in rows])
    )


def aimed(**changes: Any) -> dict[str, Any]:
    goal = {"name": "old", "task": "task", "by": TODAY + timedelta(days=9), "outputs": "old.json",
            "source": "own/old", "maker": "own/ada", "on": date(2023, 8, 1), **changes}  # fmt: skip
    return {"tasks": task(), "targets": [{name: said for name, said in goal.items() if said is not None}]}


def test_a_target_by_its_recorded_answers_is_read_and_compared_with_its_task(look, tmp_path):
    outputs(tmp_path, ROWS)
    found = of(look(**aimed()), "target old")
    assert {name: check.status for name, check in found.items()} == dict.fromkeys(
        ("terms for benchmark_teacher", "outputs", "samples", "day", "deadline"), "ok"
    )
    assert "4 of 'old', written down by own/ada" in found["outputs"].meaning
    assert "9 days left" in found["deadline"].meaning


def test_a_target_that_did_not_answer_the_task_or_is_of_a_day_to_come_fails(look, tmp_path):
    outputs(tmp_path, ROWS[1:])
    found = of(look(**aimed(on=TODAY + timedelta(days=1), by=TODAY - timedelta(days=2))), "target old")
    assert "1 of 4 prompts of task have no answer" in found["samples"].meaning
    assert (found["samples"].status, found["day"].status) == ("fails", "fails")
    assert "2 days past" in found["deadline"].meaning


def test_a_target_without_its_file_or_whose_terms_are_not_known_fails(look, tmp_path):
    found = of(look(**aimed(source="nobody/x@api")), "target old")
    assert found["outputs"].status == found["terms for benchmark_teacher"].status == "fails"


@pytest.mark.parametrize(("model", "status"), [("large", "warning"), ("judge-2026-01-31", "ok")])
def test_a_target_that_is_asked_now_is_a_dated_version_or_that_is_said(look, provider, model, status):
    teacher = remote(provider, "own/goal", model)
    changes: dict[str, Any] = dict.fromkeys(("outputs", "source", "maker"))
    findings = look(**aimed(teacher=teacher, on=TODAY, **changes))
    found = of(findings, "target old")
    assert (found["version"].status, found["day"].status, found["model"].status) == (status, "ok", "ok")
    assert found["terms for benchmark_teacher"].status == "ok"
    assert findings.exit_code == 0


def test_a_target_of_another_day_that_was_not_asked_then_fails(look, provider):
    changes: dict[str, Any] = dict.fromkeys(("outputs", "source", "maker"))
    findings = look(**aimed(teacher=remote(provider, "own/goal"), on=date(2023, 8, 1), **changes))
    check = of(findings, "target old")["day"]
    assert (check.status, findings.exit_code) == ("fails", 2)
    assert "cannot be asked as of 2023-08-01" in check.meaning
