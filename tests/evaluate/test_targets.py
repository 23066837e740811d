"""How far it is to a target, and when the students will be there."""

from datetime import date, timedelta

import numpy as np
import pytest
from tests.evaluate.test_paired import scores_of

from trueseed.evaluate.targets import Config, Made, standing
from trueseed.evaluate.trend import Point, project

TODAY = date(2023, 11, 1)
CONFIG = Config(name="gpt-3.5-turbo", task="task", by=date(2023, 12, 31))


def points(gaps, every=30):
    return [Point(on=TODAY - timedelta(days=every * (len(gaps) - 1 - n)), gap=gap) for n, gap in enumerate(gaps)]


def right(share, n=200, seed=0):
    return [int(u < share) for u in np.random.default_rng(seed).random(n)]


def students(*shares, every=30):
    first = TODAY - timedelta(days=every * len(shares))
    return [
        Made(on=first + timedelta(days=every * at), scored=scores_of(right(share, seed=at), source="own/s"))
        for at, share in enumerate(shares)
    ]


def test_a_straight_rise_is_projected_to_the_day_it_reaches_zero():
    found = project(points([-0.4, -0.3, -0.2, -0.1]), np.eye(4) * 1e-6, today=TODAY)
    assert found.on == TODAY + timedelta(days=30)
    assert found.slope == pytest.approx(0.1)
    assert found.low <= found.on <= found.high
    assert (found.high - found.low).days < 20


def test_two_students_are_too_few_for_a_line():
    found = project(points([-0.4, -0.3]), np.eye(2) * 1e-6, today=TODAY)
    assert (found.on, found.low, found.high, found.slope) == (None, None, None, None)
    assert "3 days or more" in found.because


def test_where_the_slope_may_be_zero_the_day_has_no_last_bound_and_says_so():
    found = project(points([-0.30, -0.22, -0.24, -0.17]), np.eye(4) * 0.03**2, today=TODAY)
    assert found.on is not None and found.high is None
    assert "no last bound" in found.because or "no bounds" in found.because


def test_students_that_fall_have_no_day():
    found = project(points([-0.1, -0.2, -0.3, -0.4]), np.eye(4) * 1e-6, today=TODAY)
    assert (found.on, found.low, found.high) == (None, None, None)
    assert "do not come nearer" in found.because


def test_about_95_of_100_bounds_hold_the_true_day():
    rng, held, bounded = np.random.default_rng(7), 0, 0
    true = TODAY + timedelta(days=60)
    errors = np.full((6, 6), 0.01**2) + np.eye(6) * 0.015**2  # what all share is what they stand beside
    days = np.array([(point.on - TODAY).days for point in points([0.0] * 6)])
    for _ in range(400):
        gaps = (days - 60) * 0.003 + rng.multivariate_normal(np.zeros(6), errors)
        found = project(points(gaps), errors, today=TODAY)
        held += (found.low is None or found.low <= true) and (found.high is None or true <= found.high)
        bounded += found.low is not None and found.high is not None
    assert bounded > 300
    assert held / 400 >= 0.94


def test_scatter_beyond_the_errors_widens_the_bounds():
    smooth = project(points([-0.40, -0.30, -0.20, -0.10, -0.05]), np.eye(5) * 0.005**2, today=TODAY)
    rough = project(points([-0.40, -0.25, -0.25, -0.05, -0.10]), np.eye(5) * 0.005**2, today=TODAY)
    assert rough.slope_high - rough.slope_low > 2 * (smooth.slope_high - smooth.slope_low)


def test_a_number_that_is_none_is_refused():
    with pytest.raises(ValueError, match="not a number"):
        project(points([-0.4, float("nan"), -0.2]), np.eye(3), today=TODAY)


def test_the_scoreboard_tells_gap_days_left_and_what_could_be_seen():
    found = standing(CONFIG, scores_of(right(0.6, seed=9)), students(0.1, 0.2, 0.3, 0.4), today=TODAY)
    assert [step.status for step in found.steps] == ["below"] * 4
    assert found.days_left == 60
    assert found.met_on is None and found.projection.on is not None
    assert found.late == (found.projection.on - CONFIG.by).days
    assert found.steps[-1].gap.value == pytest.approx(np.mean(right(0.4, seed=3)) - np.mean(right(0.6, seed=9)))
    assert 0.05 < found.detectable < 0.2
    assert found.needed > 200


def test_a_target_is_met_on_the_day_of_the_first_student_that_surely_is_not_below_it():
    made = students(0.3, 0.9, 0.95)
    found = standing(CONFIG, scores_of(right(0.5, seed=9)), made, today=TODAY)
    assert [step.status for step in found.steps] == ["below", "met", "met"]
    assert found.met_on == made[1].on
    assert found.days_left == (CONFIG.by - made[1].on).days
    assert found.late is None


def test_a_student_that_cannot_be_told_from_its_target_is_level_and_within_a_margin_has_met_it():
    same, made = scores_of(right(0.5)), students(0.5)
    assert standing(CONFIG, same, made, today=TODAY).steps[0].status == "level"
    lenient = CONFIG.model_copy(update={"margin": 0.05})
    assert standing(lenient, same, made, today=TODAY).steps[0].status == "met"


def test_what_was_met_stays_met_however_many_students_follow():
    target, made = scores_of(right(0.5, seed=9)), students(0.3, 0.9, *[0.2] * 20)
    alone, among = (standing(CONFIG, target, made[:n], today=TODAY) for n in (2, len(made)))
    assert alone.met_on == among.met_on == made[1].on
    assert among.to_json()["steps"][:2] == alone.to_json()["steps"]


def test_the_later_of_many_students_the_surer_it_must_be():
    target = scores_of(right(0.5, seed=9))
    lucky = scores_of([1] * 14 + right(0.5, seed=9)[14:], source="own/s")  # better on seven or so, worse on none
    first = TODAY - timedelta(days=60)
    first_of_all = standing(CONFIG, target, [Made(on=first, scored=lucky)], today=TODAY).steps[0]
    after = [*students(*[0.1] * 20, every=1), Made(on=TODAY, scored=lucky)]
    last_of_many = standing(CONFIG, target, after, today=TODAY).steps[-1]
    assert first_of_all.gap == last_of_many.gap
    assert first_of_all.gap.low > 0
    assert (last_of_many.status, last_of_many.error) == ("level", pytest.approx(0.05 / (21 * 22)))
    said = last_of_many.to_json()
    assert said["surely"]["low"] < 0 < said["gap"]["low"]


def test_after_the_deadline_it_is_late():
    found = standing(CONFIG, scores_of(right(0.6)), students(0.1), today=date(2024, 1, 10))
    assert found.days_left == -10


def test_without_a_student_there_is_a_target_and_no_number():
    found = standing(CONFIG, scores_of(right(0.6)), [], today=TODAY)
    assert (found.steps, found.detectable, found.needed, found.projection.on) == ((), None, None, None)


def test_outputs_without_an_origin_are_no_target():
    with pytest.raises(ValueError, match="give source, maker, on too"):
        Config(name="x", task="t", by=date(2024, 6, 30), outputs="o.json")
