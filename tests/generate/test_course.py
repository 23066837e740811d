"""Imagined courses of the recipe beside the recipe itself."""

import numpy as np
import pytest
from tests.generate.test_verifiable import KINDS, config, good, import_prompts, soup

from trueseed.checks import how
from trueseed.checks.kind import Constraint
from trueseed.core.chat import Request
from trueseed.generate import verifiable
from trueseed.generate.course import Courses, Seen, imagine
from trueseed.teachers.scripted import ScriptedTeacher
from trueseed.teachers.teacher import Teacher
from trueseed.terms.model import Use
from trueseed.workspace import Workspace

SMOL = "huggingfacetb/smollm2-135m-instruct@weights"
MANY = 1_000_000  # answers after which a rate is certain


def courses(chosen: verifiable.Config, seen, draws: int = 60) -> Courses:
    return imagine(chosen, seen, np.random.default_rng(3), draws)


def really_asked(tmp_path, script, chosen: verifiable.Config) -> int:
    workspace = Workspace.open(tmp_path / "work", create=True)
    prompts, teacher = import_prompts(workspace), ScriptedTeacher(SMOL, script, slots=3)
    with workspace.step("generate", inputs=[prompts], ask={SMOL: Use.TRAIN}) as step:
        verifiable.generate(chosen, prompts, Teacher(teacher, step), step)
    return len(teacher.requests)


ADVICE = how(Constraint("lowercase", {}))


def only_with_help(request: Request) -> str:
    """Right when the form is spelt out, wrong when asked plainly."""
    return good(request) if ADVICE in request.messages[-1].content else soup(request)


@pytest.mark.parametrize(("accept", "ahead"), [(12, 5), (30, 12)])
def test_a_teacher_that_is_always_right_is_asked_as_often_as_imagined(tmp_path, accept, ahead):
    chosen = config(accept=accept, ahead=ahead)
    sure = courses(chosen, {(kind, rung): Seen(MANY, MANY) for kind in KINDS for rung in chosen.rungs})
    assert set(sure.asked.sum((1, 2))) == {really_asked(tmp_path, good, chosen)}


def test_a_rung_that_always_fails_costs_its_trials_and_then_is_passed_over(tmp_path):
    chosen = config(accept=30, kinds=["lowercase"], rungs=["plain", "spelt"], tries=2)
    seen = {(kind, "plain"): Seen(MANY, 0) for kind in chosen.kinds}
    seen |= {(kind, "spelt"): Seen(MANY, MANY) for kind in chosen.kinds}
    imagined, real = courses(chosen, seen).asked.sum((1, 2)), really_asked(tmp_path, only_with_help, chosen)
    assert imagined.min() <= real <= imagined.max()
    assert np.ptp(imagined) <= 2


def test_more_answers_make_a_narrower_interval():
    chosen = config(accept=60, rungs=["plain"])
    few = courses(chosen, {("lowercase", "plain"): Seen(4, 2)}).asked.sum((1, 2))
    many = courses(chosen, {(kind, "plain"): Seen(400, 200) for kind in KINDS}).asked.sum((1, 2))
    assert np.ptp(many) < np.ptp(few) / 2


def test_a_teacher_that_never_succeeds_comes_short_within_the_bound():
    chosen = config(accept=20, rungs=["plain"], effort=3)
    hopeless = courses(chosen, {(kind, "plain"): Seen(MANY, 0) for kind in KINDS})
    assert hopeless.accepted.max() < 20
    assert hopeless.asked.sum((1, 2)).max() <= 60


def test_a_large_run_is_imagined_small_and_scaled():
    chosen = config(accept=30_000, rungs=["plain"])
    sure = courses(chosen, {(kind, "plain"): Seen(MANY, MANY) for kind in KINDS}, draws=5)
    assert 30_000 <= sure.asked.sum((1, 2)).min() <= 31_000
