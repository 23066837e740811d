"""Intervals by prompt."""

import math
import random

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
