"""Intervals by prompt."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueseed.evaluate import stats

shares = st.lists(st.tuples(st.integers(0, 3), st.just(3)), min_size=5, max_size=40)


@settings(max_examples=30, deadline=None)
@given(shares)
def test_the_interval_holds_the_value(rows):
    right, samples = [float(r) for r, _ in rows], [float(n) for _, n in rows]
    found = stats.share(right, samples)
    assert found.low <= found.value <= found.high
    assert found.value == pytest.approx(sum(right) / sum(samples))
    assert found.n == int(sum(samples))


@settings(max_examples=20, deadline=None)
@given(shares)
def test_a_model_does_not_differ_from_itself(rows):
    right, samples = [float(r) for r, _ in rows], [float(n) for _, n in rows]
    found = stats.share_difference(right, right, samples)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)
    assert stats.paired_p(right, right) == 1.0


def test_about_95_of_100_intervals_hold_the_truth():
    rng, held = random.Random(0), 0
    for seed in range(100):
        right = [float(rng.random() < 0.3) for _ in range(80)]
        found = stats.share(right, [1.0] * 80, seed=seed)
        held += found.low <= 0.3 <= found.high
    assert 88 <= held <= 100


def test_pairing_narrows_the_interval_of_a_difference():
    rng = random.Random(1)
    before = [float(rng.random() < 0.5) for _ in range(300)]
    after = [max(b, float(rng.random() < 0.1)) for b in before]
    shuffled = after[:]
    rng.shuffle(shuffled)
    paired = stats.share_difference(after, before, [1.0] * 300)
    unpaired = stats.share_difference(shuffled, before, [1.0] * 300)
    assert paired.high - paired.low < unpaired.high - unpaired.low


def test_a_clear_difference_has_a_small_p_value():
    assert stats.paired_p([1.0] * 40, [0.0] * 40) < 0.001


def test_perplexity_is_the_exponential_of_the_mean_nll_per_token():
    found = stats.perplexity([2.0, 4.0], [2.0, 4.0])
    assert found.value == pytest.approx(math.e)


def test_the_ratio_of_perplexities_is_one_for_the_same_model():
    assert stats.perplexity_ratio([3.0, 4.0, 5.0], [3.0, 4.0, 5.0], [3.0, 3.0, 3.0]).value == 1.0


def test_one_prompt_gives_no_interval():
    with pytest.raises(ValueError, match="two prompts"):
        stats.share([1.0], [1.0])


@pytest.mark.parametrize(  # Newcombe 1998 (Statistics in Medicine 17), table I, method 3
    ("right", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_a_share_of_independent_samples_has_wilsons_interval(right, n, low, high):
    found = stats.proportion(right, n)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
    assert found.se == pytest.approx(math.sqrt(right / n * (1 - right / n) / (n - 1)))


def test_about_95_of_100_of_them_hold_the_truth_near_the_edge_too():
    rng, held = random.Random(1), 0
    for _ in range(200):
        found = stats.proportion(sum(rng.random() < 0.03 for _ in range(60)), 60)
        held += found.low <= 0.03 <= found.high
    assert 0.93 <= held / 200 <= 0.995


def test_a_score_of_zero_everywhere_is_not_certain():
    found = stats.ratio([0.0] * 30, [2.0] * 30)
    assert (found.value, found.low, found.method) == (0.0, 0.0, "Wilson")
    assert found.high == pytest.approx(stats.proportion(0, 30).high)


def test_a_ratio_has_the_standard_error_of_the_delta_method():
    rng = random.Random(2)
    out_of = [float(rng.randint(1, 4)) for _ in range(300)]
    sums = [float(sum(rng.random() < 0.4 for _ in range(int(n)))) for n in out_of]
    found = stats.ratio(sums, out_of)
    mean = sum(out_of) / 300
    residual = sum((s - found.value * n) ** 2 for s, n in zip(sums, out_of, strict=True)) / 299
    assert found.se == pytest.approx(math.sqrt(residual / 300) / mean, rel=0.1)


def test_what_is_not_a_number_is_no_score():
    with pytest.raises(ValueError, match="not a number"):
        stats.ratio([math.nan, 1.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="not a number"):
        stats.perplexity_of([math.inf, 1.0], [1.0, 1.0])


def test_kappa_is_cohens():
    """His own example: two raters of 100, in agreement on 70 (Cohen 1960 gives the formula by hand)."""
    first = ["yes"] * 50 + ["no"] * 50
    second = ["yes"] * 40 + ["no"] * 10 + ["yes"] * 20 + ["no"] * 30
    by_hand = (0.7 - (0.5 * 0.6 + 0.5 * 0.4)) / (1 - 0.5)
    found = stats.kappa(first, second)
    assert found.value == pytest.approx(by_hand)
    assert found.low < by_hand < found.high


def test_kappa_of_raters_who_always_agree_is_not_certain():
    found = stats.kappa(["a", "b"] * 10, ["a", "b"] * 10)
    assert (found.value, found.high) == (1.0, 1.0)
    assert 0.5 < found.low < 1


def test_kappa_is_nothing_where_one_says_always_the_same():
    assert stats.kappa(["a", "b"] * 10, ["a"] * 20).value == 0


def test_kappas_interval_covers_what_it_should():
    rng, held = np.random.default_rng(0), 0
    for seed in range(15):
        truth = rng.integers(0, 2, 60)
        said = np.where(rng.random(60) < 0.8, truth, 1 - truth)
        found = stats.kappa([str(each) for each in truth], [str(each) for each in said], seed=seed)
        held += found.low <= 0.6 <= found.high
    assert held >= 11
