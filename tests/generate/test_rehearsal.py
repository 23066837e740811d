"""A few real questions before a run."""

from pathlib import Path

import pytest
from tests.generate.test_verifiable import SMOL, config, good, import_prompts, soup

from trueseed.core.chat import Request
from trueseed.generate import verifiable
from trueseed.generate.rehearsal import Rehearsal, rehearse
from trueseed.teachers.scripted import ScriptedTeacher
from trueseed.teachers.teacher import Teacher
from trueseed.terms.model import Use
from trueseed.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "work", create=True)


def rehearsed(workspace: Workspace, script, rows: int = 8) -> tuple[Rehearsal, list[Request]]:
    teacher, prompts = ScriptedTeacher(SMOL, script), import_prompts(workspace)
    with workspace.step("plan", inputs=[prompts], ask={SMOL: Use.TRAIN}, config={"rows": rows}) as step:
        return rehearse(config(ahead=160), prompts, Teacher(teacher, step), step, rows), teacher.requests


def requests_of_a_run(workspace: Workspace, script) -> list[Request]:
    teacher, prompts = ScriptedTeacher(SMOL, script), import_prompts(workspace)
    with workspace.step("generate", inputs=[prompts], ask={SMOL: Use.TRAIN}) as step:
        verifiable.generate(config(ahead=160), prompts, Teacher(teacher, step), step)
    return teacher.requests


def test_with_a_teacher_that_is_right_every_question_is_one_that_the_run_asks_too(workspace):
    _, asked = rehearsed(workspace, good)
    assert asked == requests_of_a_run(workspace, good)[:8]


def test_the_first_half_is_the_runs_own_whatever_comes_of_it(workspace):
    _, asked = rehearsed(workspace, soup)
    assert asked[:4] == requests_of_a_run(workspace, good)[:4]


def test_what_failed_is_tried_on_the_next_rungs(workspace):
    found, _ = rehearsed(workspace, soup)
    assert {row.rung for row in found.rows} > {"plain"}
    assert not any(row.accepted for row in found.rows if row.kind == "uppercase")


def test_every_answer_is_kept_right_or_not(workspace):
    found, asked = rehearsed(workspace, soup)
    assert len(found.rows) == len(found.records) == len(asked) == 8
    assert {record.origin.source for record in found.records} == {SMOL}
