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
def test_a_model_does_not_differ_from_itself_and_is_not_surely_the_same(rows):
    right, samples = [float(r) for r, _ in rows], [float(n) for _, n in rows]
    found = stats.share_difference(right, right, samples)
    assert found.value == 0.0 and found.low < 0 < found.high
    assert stats.paired_p(right, right) == 1.0


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
    if right:
        assert found.se == pytest.approx(math.sqrt(right / n * (1 - right / n) / (n - 1)))
    else:
        assert found.se > 0


def test_a_score_of_zero_everywhere_is_not_certain():
    found = stats.ratio([0.0] * 30, [2.0] * 30)
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(stats.proportion(0, 30).high)


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1), st.integers(2, 2000))
def test_samples_that_are_all_worth_the_same_are_not_certain(worth, n):
    """Others may be 3.7 of n, by the rule of three at 97.5 %."""
    found = stats.ratio([worth] * n, [1.0] * n)
    assert found.low <= found.value <= found.high
    assert 0 < found.high - found.low <= 3.85 / n
    assert found.se > 0
    assert found.high - found.low == pytest.approx(stats.proportion(0, n).high)


def test_marks_that_are_all_the_same_are_not_certain():
    found = stats.bounded([7.0] * 12, [1.0] * 12, 1, 10)
    assert found.value == 7.0
    assert 1 < found.low < 6 and 7.5 < found.high < 10


weak = st.lists(st.integers(0, 4).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=2, max_size=40)


@settings(max_examples=150, deadline=None)
@given(weak, st.data())
def test_answers_that_are_mostly_out_of_nothing_have_numbers_all_the_same(rows, data):
    """Precision of a student that seldom gives JSON: right of what it gave."""
    others = data.draw(st.lists(st.sampled_from([(0, 0), (1, 2), (2, 2)]), min_size=len(rows), max_size=len(rows)))
    (top, bottom), (other_top, other_bottom) = zip(*rows, strict=True), zip(*others, strict=True)
    with np.errstate(all="raise"):
        found = stats.ratio(top, bottom)
        assert 0 <= found.low <= found.value <= found.high <= 1 and 0 < found.se < math.inf
        if any(bottom) and any(other_bottom):
            apart = stats.paired_difference(top, bottom, other_top, other_bottom)
            assert -1 <= apart.low <= apart.value <= apart.high <= 1 and 0 < apart.se < math.inf
            p, _ = stats.swapped_p(top, bottom, other_top, other_bottom, draws=99)
            assert 0 < p <= 1


def test_one_answer_of_thirty_says_little():
    found = stats.ratio([1.0] + [0.0] * 29, [2.0] + [0.0] * 29)
    assert (found.value, found.n) == (0.5, 1)
    assert found.low < 0.15 and found.high > 0.85


def test_texts_without_a_token_that_counts_have_no_part_in_a_perplexity():
    found = stats.perplexity_of([2.0, 0.0, 4.0], [1.0, 0.0, 2.0])
    assert (found.value, found.n) == (pytest.approx(math.exp(2)), 2)
    with pytest.raises(ValueError, match="two prompts"):
        stats.perplexity_of([2.0, 0.0], [1.0, 0.0])


def test_a_perplexity_has_the_error_that_resampling_its_texts_finds():
    rng = np.random.default_rng(3)
    tokens = rng.integers(20, 200, 400).astype(float)
    nll, other = (rng.gamma(8, 0.2, 400) * tokens for _ in range(2))
    found = stats.perplexity_of(nll, tokens)
    apart = stats.paired_difference(nll, tokens, other, tokens, kind="perplexity")
    drawn = rng.multinomial(400, np.full(400, 1 / 400), 4000).astype(float)
    one, two = (np.exp(drawn @ each / (drawn @ tokens)) for each in (nll, other))
    assert found.se == pytest.approx(one.std(), rel=0.05)
    assert (found.low, found.high) == pytest.approx(np.quantile(one, [0.025, 0.975]), rel=0.01)
    assert apart.se == pytest.approx((one - two).std(), rel=0.05)


def test_an_interval_beyond_all_numbers_is_still_one():
    found = stats.perplexity_of([1.0, 900.0], [1.0, 1.0])
    assert all(map(math.isfinite, (found.value, found.low, found.high, found.se)))


@given(st.integers(1, 1000))
def test_what_a_sequence_spends_is_never_more_than_one_in_twenty(n):
    spent = [stats.spent(place) for place in range(1, n + 1)]
    assert sum(spent) == pytest.approx(0.05 * n / (n + 1))
    assert spent == sorted(spent, reverse=True)


def test_a_smaller_error_moves_the_ends_away_as_the_normal_has_it():
    found = stats.widened(stats.proportion(40, 100), 0.01)
    assert (found.low - 0.4) / (stats.proportion(40, 100).low - 0.4) == pytest.approx(2.5758 / 1.95996, rel=1e-4)
    same = stats.widened(found, 0.05)
    assert (same.low, same.high) == (pytest.approx(found.low), pytest.approx(found.high))


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


def test_kappa_of_raters_who_never_agree_is_not_certain():
    ties = stats.kappa(["tie"] * 20, ["a", "b"] * 10)
    assert ties.value == ties.low == 0.0 and 0.05 < ties.high < 0.2
    crossed = stats.kappa(["a", "b"] * 10, ["b", "a"] * 10)
    assert (crossed.value, crossed.low) == (-1.0, -1.0) and -0.9 < crossed.high < -0.5


def test_kappa_is_as_sure_as_there_are_prompts():
    first, second = ["a", "b", "a", "b", "b"] * 8, ["a", "b", "b", "b", "a"] * 8
    one = stats.kappa(first, second)
    four = stats.kappa(first * 4, second * 4, [f"{n:02}" for n in range(40)] * 4)
    assert (four.n, four.value, four.low, four.high) == pytest.approx((one.n, one.value, one.low, one.high))


def test_kappa_is_nothing_where_one_says_always_the_same():
    assert stats.kappa(["a", "b"] * 10, ["a"] * 20).value == 0
