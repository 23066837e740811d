"""Standing by verdicts: rates, gaps, and how sure they are; against the bootstrap of the same verdicts."""

import json
from datetime import date, timedelta
from random import Random

import numpy as np
import pytest

from trueseed.evaluate.judged_targets import Contest, Judge, by_verdicts
from trueseed.evaluate.judgement import Judgement, Trial
from trueseed.evaluate.pairwise import Contestant, Opinion
from trueseed.evaluate.sample import Sample
from trueseed.evaluate.scored import Scored
from trueseed.evaluate.targets import RATES, Config, together
from trueseed.teachers.judge import Ruling
from trueseed.teachers.likelihood import Found, chosen
from trueseed.teachers.rubric import Rubric

SAMPLES = [Sample(id=str(n), prompt=f"Question {n}?", row={}) for n in range(150)]
JUDGE = Judge(name="j", source="own/j", method="likelihood", believed=True)
TODAY = date(2023, 12, 1)


def contest(
    on: date, better: float, seed: int = 0, *, untold: int = 0, chances: bool = True, passed: bool = True
) -> Contest:
    """A student preferred at this rate, the more so the longer its answer; the first `untold` have no verdict."""
    rng = Random(seed)
    a = {each.id: "x" * rng.randrange(10, 400) for each in SAMPLES}
    b = {each.id: "y" * rng.randrange(10, 400) for each in SAMPLES}
    opinions = []
    for n, each in enumerate(SAMPLES):
        likes = min(max(rng.gauss(better, 0.3) + 0.0005 * (len(a[each.id]) - len(b[each.id])), 0.0), 1.0)
        for order in ("ab", "ba"):
            ruling = chosen(likes if order == "ab" else 1 - likes, Rubric(), "p", Found())
            if not chances:
                ruling = Ruling(value=ruling.value)
            if n < untold:
                ruling = Ruling(fault="prose")
            opinions.append(Opinion(sample=each.id, order=order, ruling=ruling))
    return judged(on, a, b, opinions, passed)


def judged(on: date, a: dict, b: dict, opinions: list[Opinion], passed: bool = True) -> Contest:
    sides = [Contestant(name=name, source=f"own/{name}", answers=it) for name, it in (("student", a), ("old", b))]
    trial = Trial(
        samples=SAMPLES,
        a=sides[0],
        b=sides[1],
        judges=[
            Judgement(
                source="own/j",
                rubric={},
                card={"artifact": "scores:0", "passed": passed, "failed": {} if passed else {"kappa": "0.10"}},
                opinions=opinions,
            )
        ],
    )
    lines = {line["id"]: line for line in json.loads(json.dumps(list(trial.lines())))}
    return Contest(on=on, student=f"own/student {on}", about=json.loads(json.dumps(trial.to_json())), lines=lines)


def target() -> Scored:
    about = {"model": {"source": "own/old"}, "task": {"name": "task", "scorer": "open"}, "metric": "characters"}
    return Scored(digest="0" * 64, about=about, lines={each.id: {} for each in SAMPLES})


def config(**changes) -> Config:
    said = {"name": "old", "task": "task", "by": date(2023, 12, 31), "judge": "j", **changes}
    return Config(**said)


@pytest.mark.parametrize("metric", RATES)
@pytest.mark.parametrize(("untold", "chances"), [(0, True), (30, True), (30, False)])
def test_the_influences_give_the_error_that_the_bootstrap_finds(metric, untold, chances):
    one = contest(TODAY, 0.45, seed=3, untold=untold, chances=chances)
    if metric not in one.rates:
        assert (metric, chances) == ("weighted_win_rate", False)
        return
    moves = one.influences(metric)
    n = len(moves)
    assert float(np.sqrt((moves**2).sum() / (n * (n - 1)))) == pytest.approx(one.rates[metric].se, rel=0.12)
    assert moves.mean() == pytest.approx(0, abs=1e-3)
    assert np.count_nonzero(moves[:untold]) == 0


def test_the_gap_is_the_rate_less_one_half_and_undecided_samples_are_told():
    (step,) = by_verdicts(config(), target(), [contest(TODAY, 0.3, untold=10)], JUDGE, today=TODAY).steps
    assert step.gap.value == pytest.approx(step.rates["win_rate"].value - 0.5)
    assert (step.status, step.undecided, step.wins) == ("below", 10, step.score.value)
    found = by_verdicts(config(metric=RATES[2]), target(), [contest(TODAY, 0.3)], JUDGE, today=TODAY)
    assert found.steps[0].score == found.steps[0].rates["win_rate_at_equal_length"]


def test_students_that_come_nearer_are_projected_to_a_day():
    days = [TODAY - timedelta(days=150 - 30 * n) for n in range(6)]
    made = [contest(day, 0.1 + 0.06 * n, seed=n) for n, day in enumerate(days)]
    found = by_verdicts(config(), target(), made, JUDGE, today=TODAY)
    assert [step.on for step in found.steps] == days
    assert found.projection.on and found.projection.on > TODAY
    assert found.projection.low <= found.projection.on
    assert found.detectable > 0 and found.needed > len(SAMPLES)
    assert found.to_json()["judge"] == JUDGE.to_json()


def test_the_same_verdicts_vary_together():
    one = contest(TODAY, 0.4, seed=1).influences("win_rate")
    both = together(np.stack([one, one]))
    assert both[0, 1] / both[0, 0] > 0.95
    other = contest(TODAY, 0.4, seed=2).influences("win_rate")
    apart = together(np.stack([one, other]))
    assert abs(apart[0, 1] / apart[0, 0]) < 0.3


def test_a_student_without_a_rate_is_left_out_and_told():
    silent = contest(TODAY, 0.4, untold=len(SAMPLES))
    found = by_verdicts(config(), target(), [silent], JUDGE, today=TODAY)
    assert found.steps == ()
    assert "come to no win_rate" in found.judge["warnings"][0]


def in_words(winner) -> Contest:
    """One verdict on every sample: a side by its place, `tie`, or whatever `winner` says of an order."""
    a, b = ({each.id: f"{side} {each.id}" for each in SAMPLES} for side in "ab")
    opinions = [
        Opinion(sample=each.id, order=order, ruling=Ruling(value=winner(order)))
        for each in SAMPLES
        for order in ("ab", "ba")
    ]
    return judged(TODAY, a, b, opinions)


def test_a_judge_that_always_says_a_makes_no_target_met():
    one = in_words(lambda order: "first")
    assert one.rates == {}
    found = by_verdicts(config(margin=0.1), target(), [one], JUDGE, today=TODAY)
    assert (found.steps, found.met_on, found.detectable, found.needed) == ((), None, None, None)
    assert "come to no win_rate" in found.judge["warnings"][0]
    assert "on 150 of 150 samples that were decided the verdict turned with the order" in one.about["warnings"][0]


def test_a_judge_that_failed_its_card_gives_no_status_no_day_and_no_projection():
    days = [TODAY - timedelta(days=90 - 30 * n) for n in range(4)]
    made = [contest(day, 0.3 + 0.2 * n, seed=n, passed=False) for n, day in enumerate(days)]
    failed = Judge(name="j", source="own/j", method="likelihood", believed=False)
    found = by_verdicts(config(), target(), made, failed, today=TODAY)
    assert [step.status for step in found.steps] == [None] * 4
    assert found.steps[-1].gap.low > 0  # it says so, and is not believed
    assert (found.met_on, found.projection.on, found.projection.slope) == (None, None, None)
    assert "not to be believed" in found.projection.because
    assert (found.detectable, found.needed) == (None, None)


def test_ties_everywhere_are_level_and_not_certain():
    found = by_verdicts(config(), target(), [in_words(lambda order: "tie")], JUDGE, today=TODAY)
    (step,) = found.steps
    assert (step.score.value, step.status) == (0.5, "level")
    assert step.gap.low < 0 < step.gap.high
    assert found.detectable > 0.005 and found.needed > 10
    lenient = by_verdicts(config(margin=0.03), target(), [in_words(lambda order: "tie")], JUDGE, today=TODAY)
    assert lenient.steps[0].status == "met"


def test_a_student_that_wins_everything_has_a_gap_that_can_be_missed():
    found = by_verdicts(
        config(), target(), [in_words(lambda order: "first" if order == "ab" else "second")], JUDGE, today=TODAY
    )
    assert (found.steps[0].score.value, found.steps[0].status) == (1.0, "met")
    assert found.detectable > 0
