"""Sections of who stands where: the numbers they show are those that were measured, and what anyone says is escaped."""

import dataclasses
import os
import re
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from tests.evaluate.test_paired import scores_of
from tests.evaluate.test_targets import right, students
from tests.report.test_html import EVIL, Text, details, report

from trueseed.evaluate import arena, scored
from trueseed.evaluate.bradley_terry import Battles
from trueseed.evaluate.targets import Config, standing
from trueseed.evaluate.verdicts import Verdict
from trueseed.report import compared, judged, leaderboard, results, targets, tasks, timeline
from trueseed.report.html import render
from trueseed.report.results import Results
from trueseed.report.tasks import Scores

CONFIG = Config(name="gpt-3.5-turbo", task="task", by=date(2023, 12, 31), on=date(2023, 8, 1))
TODAY = date(2023, 11, 1)


def scored_by(name: str, share: float, seed: int, n: int = 200) -> scored.Scored:
    found = scores_of(right(share, n, seed), source=name)
    about = {**found.about, "task": {**found.about["task"], "source": "own/ada"}}
    lines = {
        at: {**line, "asked": [{"messages": [{"role": "user", "content": f"Question {at} of {name}?"}]}]}
        for at, line in found.lines.items()
    }
    return dataclasses.replace(found, about=about, lines=lines)


def a_comparison(a: str = "own/base", b: str = "own/student") -> scored.Comparison:
    return scored.compare(scored_by(a, 0.4, 1), scored_by(b, 0.6, 2))


def a_board(names: tuple[str, ...]) -> arena.Leaderboard:
    """Each beats the next in three meetings of four; whoever is last loses all."""
    verdicts = [
        Verdict(sample=str(n), a=a, b=b, winner="a" if n % 4 or b == names[-1] else "b", order=order, judge="own/j")
        for a, b in pairwise(names)
        for n in range(12)
        for order in ("ab", "ba")
    ]
    return arena.leaderboard(Battles.of_verdicts(verdicts), first=arena.shown_first(verdicts))


def a_standing(*shares: float, config: Config = CONFIG, today: date = TODAY):
    return standing(config, scores_of(right(0.6, seed=9), source="openai/gpt-3.5@api"), students(*shares), today=today)


def said_by(name: str) -> scored.Answered:
    return scored.Answered(id=name, asked=name, said=name, why=name, worth=0.0)


def everything(name: str) -> Results:
    """One of each, where everybody is called by one name."""
    of_board = {"title": name, **a_board((f"{name}1", f"{name}2", f"{name}3")).to_json()}
    made = a_standing(0.2, 0.3, 0.4, config=CONFIG.model_copy(update={"name": name})).to_json()
    steps = [{**step, "student": name} for step in made["steps"]]
    card = {
        "judge": name, "pairs": 60, "passed": False, "failed": {"kappa": name}, "faults": {name: 2}, "repaired": 0,
        "metrics": {"agreement": {"value": 0.5, "low": 0.4, "high": 0.6}},
        "not_known": {"kappa": name, "self_preference": name},
        "limits": {"agreement": name, "kappa": name, "self_preference": name}, "cost": {name: 2.0},
        "method": "likelihood", "scope": name, "calibration": [{"from": 0.5, "sure": 0.55, "right": 0.5, "pairs": 60}],
    }  # fmt: skip
    opinion = judged.Opinion(judge=name, said=name, reason=name)
    trial = judged.Comparison(
        a=name, b=name, task=name, told=name, rates=(), judges=(name,), warnings=(name,), worth=(name,),
        samples=(judged.Sample(prompt=name, a=name, b=name, opinions=(opinion,)),),
    )  # fmt: skip
    mine = scored_by(name, 0.5, 3)
    rung = {"model": name, "kind": "student", "on": "2023-10-01", "scores": "d", **mine.about["metrics"]["accuracy"]}
    return Results(
        tasks=(
            Scores(model=name, student=True, about=mine.about, answered=(said_by(name),)),
            Scores(model="other", student=False, about=mine.about),
        ),
        compared=(a_comparison(name, f"{name}2").to_json(),),
        leaderboards=(of_board,),
        targets=({**made, "steps": steps, "source": name, "version": name},),
        ladders={name: (rung,)},
        judged=(trial,),
        cards=(judged.card(card),),
        untold=(name,),
    )


def test_scores_stand_beside_each_other_with_their_intervals():
    models = [scored_by("own/base", 0.4, 1), scored_by("own/student", 0.6, 2)]
    (task,) = tasks.of_scores([Scores(model=each.model, student=False, about=each.about) for each in models])
    rows = task.metrics[0].rows
    for row, each in zip(rows, models, strict=True):
        it = each.measured("accuracy")
        assert (row.value, row.told) == (f"{it.value:.3f}", f"{it.low:.3f} to {it.high:.3f}, n = 200")
        assert f'cx="{100 * it.value:.2f}%"' in row.plot
    assert task.told == "200 samples of own/ada, scorer exact, seed 7."


def test_a_task_shows_samples_with_their_verdicts_what_was_wrong_first():
    one = scored_by("own/student", 0.6, 2)
    shown = Scores(model=one.model, student=True, about=one.about, answered=one.answered())
    wrong, right = tasks.of_scores([shown])[0].verdicts
    well = sum(each.worth for each in one.answered())
    assert (wrong.told, right.told) == (f"{200 - well:g} wrong, the first 6 here", f"{well:g} right, the first 6 here")
    assert [len(part.samples) for part in (wrong, right)] == [6, 6]
    text = Text(results.page("own/student", Results(tasks=(shown,)))).text
    assert f"Question {wrong.samples[0].id} of own/student?" in text
    assert f"Question {right.samples[5].id} of own/student?" in text


def test_a_task_without_right_or_wrong_shows_no_samples():
    assert scores_of([0.5, 2.0], scorer="perplexity", metric="perplexity").answered() == ()


def test_a_measure_beyond_one_has_a_scale_around_it():
    assert tasks.scale_of([0.2, 0.9]) == (0.0, 1.0)
    assert tasks.scale_of([12.0, 32.0]) == (10.0, 34.0)
    assert tasks.scale_of([5.0, 5.0]) == (4.0, 6.0)


def test_a_comparison_shows_its_test_and_what_got_worse_first():
    found = a_comparison()
    shown = compared.of(found.to_json(), tasks=3)
    assert shown.verdict == "better"
    assert "McNemar" in shown.told and "corrected for 3 tests (Holm)" in shown.told
    assert [(way, n, len(flips)) for way, n, flips in shown.flips] == [
        ("became worse", found.worse, 10),
        ("became better", found.better, 10),
    ]
    assert f"worse {found.worse}, as before {200 - found.worse - found.better}, better {found.better}" in shown.shares
    text = Text(results.page("B beside A", Results(compared=(found.to_json(),)))).text
    assert f"{found.worse} became worse, the first 10 here" in text
    assert f"Question {found.flips[0].id} of own/base?" in text


@pytest.mark.parametrize(
    ("p", "difference", "lower", "verdict"),
    [
        (0.2, 0.3, False, "level"),
        (0.01, 0.3, False, "better"),
        (0.01, -0.3, False, "worse"),
        (0.01, -0.3, True, "better"),
    ],
)
def test_the_test_decides_and_not_the_number(p, difference, lower, verdict):
    said = a_comparison().to_json()
    said |= {"p_holm": p, "lower_is_better": lower, "difference": {**said["difference"], "value": difference}}
    assert compared.of(said).verdict == verdict


def test_a_leaderboard_shows_ratings_and_the_ranks_each_may_have():
    board = a_board(("own/x", "own/y", "own/z"))
    shown = leaderboard.of("capitals", {**board.to_json(), "next": [["own/x", "own/y"]]})
    assert [row.model for row in shown.first] == ["own/x", "own/y", "own/z"]
    assert [row.points for row in shown.first] == [f"{row.rating:.0f}" for row in board.rows]
    last = board.rows[-1]
    assert last.low is None  # it lost everything
    assert shown.first[-1].bounds == f"open to {last.high:.0f}" and "whisker open" in shown.first[-1].plot
    assert shown.first[0].ranks in ("surely 1 of 3", "may be 1 to 2 of 3", "may be 1 to 3 of 3")
    text = Text(results.page("The arena", Results(leaderboards=({"title": "capitals", **board.to_json()},)))).text
    assert "48 meetings on 12 prompts; their average is 1000 points" in text
    assert "without a bound" in text


def test_students_of_the_workspace_are_filled_dots_and_others_hollow_ones_on_a_leaderboard_too():
    ours, theirs = a_board(("own/x", "own/y")).to_json()["rows"]
    shown = leaderboard.of(
        "", {**a_board(("own/x", "own/y")).to_json(), "rows": [{**ours, "contaminated": 0.0}, theirs]}
    )
    assert ["student" in row.plot for row in shown.first] == [True, False]


def test_one_meeting_is_told_as_one():
    one = {**a_board(("own/x", "own/y")).to_json(), "verdicts": 1, "samples": 1}
    assert leaderboard.of("", one).told.startswith("1 meeting on 1 prompt;")


def test_a_long_leaderboard_is_folded():
    board = a_board(tuple(f"own/{n}" for n in range(18)))
    shown = leaderboard.of("", board.to_json())
    assert (len(shown.first), len(shown.rest)) == (15, 3)


def test_a_target_shows_gap_trend_projected_day_and_days_left():
    found = a_standing(0.2, 0.3, 0.4, 0.5)
    shown, line = targets.of(found.to_json()), found.projection
    facts, newest = dict(shown.facts), found.steps[-1].gap
    assert (shown.left, shown.late) == ("60 days left", False)
    assert facts["Gap"].startswith(f"{newest.value:+.3f}".replace("-", "−"))
    assert facts["Trend"] == f"{line.slope:+.3f} in 30 days [{line.slope_low:+.3f}, {line.slope_high:+.3f}]"
    assert facts["Projected"].startswith(f"there on {line.on}")
    assert [row.on for row in shown.students] == [step.on.isoformat() for step in reversed(found.steps)]
    assert all(kind in shown.plot for kind in ("deadline", "today", "trend", "likely"))
    assert shown.plot.count('class="dot"') == 4


def test_a_deadline_that_is_over_and_a_target_without_students_are_told():
    late = targets.of(a_standing(0.2, today=CONFIG.by + timedelta(days=5)).to_json())
    assert (late.left, late.late, dict(late.facts)["Projected"][:14]) == ("5 days late", True, "no projection:")
    assert "trend" not in late.plot
    nobody = targets.of(a_standing().to_json())
    assert (nobody.plot, nobody.students, dict(nobody.facts)["Students"]) == (None, (), "none has a score yet")


def test_points_of_the_timeline_stand_where_their_gaps_are():
    said = a_standing(0.2, 0.3, 0.4).to_json()
    spots = re.findall(r'class="dot" cx="([\d.]+)" cy="([\d.]+)"', str(timeline.gaps(said)))
    across, down = ([float(spot[axis]) for spot in spots] for axis in (0, 1))
    assert across == sorted(across)
    by_gap = sorted(zip([step["gap"]["value"] for step in said["steps"]], down, strict=True))
    assert [y for _, y in by_gap] == sorted(down, reverse=True)
    assert all(timeline.TOP <= y <= timeline.HIGH for y in down)


def test_a_day_far_off_does_not_squeeze_the_picture():
    said = a_standing(0.2, 0.3, 0.4).to_json()
    said["projection"] |= {"on": "2040-01-01", "high": None}
    assert "2026" not in timeline.gaps(said) and "open" in timeline.gaps(said)


def test_a_figure_of_a_card_that_is_not_known_says_why():
    known, needed, may_be = everything("too few").cards[0].figures
    assert (known.value, known.keeps, known.plot is None) == ("0.500", True, False)
    assert (needed.value, needed.why, needed.keeps, needed.plot) == ("not known", "too few", False, None)
    assert (may_be.name, may_be.keeps) == ("self preference", None)


def test_all_sections_stand_in_the_report_and_none_without_what_was_measured():
    text = Text(render(report(), details(), everything("own/somebody"))).text
    for told in (
        "How well it does on each task",
        "What changed, sample by sample",
        "Who wins against whom",
        "How far it is to the targets",
        "Who answers better",
        "The card of own/ somebody",
        "Not set beside each other: own/somebody",
    ):
        assert told in text, told
    bare = Text(render(report(), details())).text
    assert "on each task" not in bare and "targets" not in bare


def test_nothing_that_a_model_or_a_file_says_becomes_markup():
    for page in (render(report(), details(), everything(EVIL)), results.page(EVIL, everything(EVIL))):
        parsed = Text(page)
        assert not {"script", "img"} & {tag for tag, _ in parsed.tags}
        assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
        assert {attributes["href"][0] for tag, attributes in parsed.tags if tag == "a"} == {"#"}
        assert parsed.text.count("alert(1)") > 60
        assert " 49 " not in parsed.text


LONG = "a-maker-of-models/a-model-with-a-very-long-name-indeed-135m-instruct-dpo-v2@weights 2c6858ed"


@pytest.mark.browser
@pytest.mark.parametrize(("scheme", "width"), [("light", 1180), ("dark", 375)])
def test_the_sections_fit_the_screen(browser, tmp_path, scheme, width):
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    (tmp_path / "report.html").write_text(render(report(), details(), everything(LONG)), encoding="utf-8")
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    page.screenshot(path=folder / f"results-{scheme}-{width}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    context.close()
