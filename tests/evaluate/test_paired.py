"""Two models on the same samples: differences, tests, what flipped, and bad input."""

import json
import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from trueseed.errors import ConfigError
from trueseed.evaluate import scored, stats


def scores_of(right, *, task="t" * 64, source="own/x", out_of=None, ids=None, scorer="exact", metric="accuracy"):
    """Scores as `evaluate` writes them, of one answer a sample."""
    ids = list(range(len(right))) if ids is None else ids
    out_of = out_of or [1] * len(right)
    lines = [
        json.dumps({"id": str(i), "said": [{"text": f"answer {r}"}], "counts": {metric: [r, n]}, "why": "no" * (not r)})
        for i, r, n in zip(ids, right, out_of, strict=True)
    ]
    whole = [float(each) for each in right]
    share = scorer == "exact"
    found = (
        stats.ratio(whole, [float(n) for n in out_of], share=share)
        if all(map(math.isfinite, whole))
        else stats.proportion(1, 2)
    )
    about = {
        "task": {"artifact": task, "name": "task", "scorer": scorer, "samples": len(set(ids))},
        "model": {"source": source},
        "metrics": {metric: found.to_json()},
        "metric": metric,
        "settings": {},
        "versions": {},
        "seed": 7,
    }
    return scored.of_lines("d" * 64, about, lines)


def test_those_that_flipped_are_told_with_both_answers():
    found = scored.compare(scores_of([1, 0, 0, 1]), scores_of([1, 1, 0, 0]))
    assert [(flip.id, flip.a, flip.b) for flip in found.flips] == [("1", 0, 1), ("3", 1, 0)]
    assert (found.flips[0].said_a, found.flips[0].said_b, found.flips[0].why_a) == ("answer 0", "answer 1", "no")
    assert (found.better, found.worse, found.difference.value, found.p) == (1, 1, 0.0, 1.0)


def test_mcnemar_is_the_sign_test_on_those_that_flipped():
    a, b = [1] * 12 + [0] * 8, [1] * 10 + [0] * 2 + [1] * 8
    p, test = stats.swapped_p(b, [1] * 20, a, [1] * 20)
    assert p == pytest.approx(2 * binom.cdf(2, 10, 0.5))
    assert test.startswith("McNemar")


def test_the_permutation_test_agrees_with_all_swaps_there_are():
    rng = np.random.default_rng(0)
    a, n = rng.random(8) * 3, np.full(8, 3.0)
    b = a + rng.normal(0.3, 0.5, 8)
    swaps = np.array(list(product([0, 1], repeat=8)))
    all_ = np.abs(((b - a) * (1 - 2 * swaps)).sum(1))
    p, _ = stats.swapped_p(b, n, a, n)
    assert p == pytest.approx((all_ >= abs((b - a).sum()) - 1e-12).mean(), abs=0.02)


def test_about_95_of_100_intervals_of_a_difference_hold_the_truth():
    """0.2, of correlated pairs."""
    rng, held = np.random.default_rng(5), 0
    for _ in range(400):
        u = rng.random(60)
        held += (found := stats.paired_difference(u < 0.5, [1] * 60, u < 0.3, [1] * 60)).low <= 0.2 <= found.high
    assert 0.93 <= held / 400 <= 0.99


def test_two_that_agree_everywhere_do_not_differ_and_are_not_surely_the_same():
    found = stats.paired_difference([1, 0] * 20, [1] * 40, [1, 0] * 20, [1] * 40)
    assert found.value == 0 and found.low < 0 < found.high


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_between_the_p_value_and_bonferronis(p_values):
    found = stats.holm(p_values)
    assert all(p <= h <= min(1, p * len(p_values)) + 1e-12 for p, h in zip(p_values, found, strict=True))
    assert np.argsort(found, kind="stable").tolist() == np.argsort(found, kind="stable").tolist()
    in_order = [h for _, h in sorted(zip(p_values, found, strict=True))]
    assert in_order == sorted(in_order)


def test_holm_by_a_published_example():
    """Holm's own procedure on 0.01, 0.02, 0.03, 0.04: times 4, 3, 2, 1, never falling."""
    assert stats.holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])


def test_so_many_samples_as_are_needed_show_the_gain_four_times_of_five():
    n = stats.needed(0.05, 100, 0.1)
    rng, seen = np.random.default_rng(6), 0
    for _ in range(400):
        u = rng.random(n)
        more, less = u < 0.175, u > 1 - 0.075  # a gain of 0.1, of pairs with variance 0.25 - 0.01
        seen += abs((more.mean() - less.mean()) / math.sqrt((more.mean() + less.mean()) / n)) > 1.96
    assert n == 197
    assert 0.75 <= seen / 400 <= 0.87


def test_several_tasks_are_corrected_together():
    one = scored.compare(scores_of([0] * 10), scores_of([1] * 10))
    two = scored.compare(scores_of([0, 1] * 5), scores_of([0, 1] * 5))
    assert [each.holm for each in scored.together([one, two])] == [one.p * 2, 1.0]


def test_lower_perplexity_is_better():
    args = {"scorer": "perplexity", "metric": "perplexity", "out_of": [10, 10, 10]}
    a, b = scores_of([20, 20, 20], **args), scores_of([10, 11, 10], **args)
    found = scored.compare(a, b)
    assert (found.better, found.worse) == (3, 0)
    assert found.difference.value < 0 < scored.upwards(found.difference, "perplexity").value


def test_longer_answers_are_not_better_ones():
    long = scores_of([9, 9], scorer="open", metric="characters")
    with pytest.raises(ConfigError, match="not how well"):
        scored.compare(scores_of([1, 1], scorer="open", metric="characters"), long)


def test_a_sample_that_only_one_answered_is_no_pair():
    with pytest.raises(ConfigError, match="2 samples were scored for only one"):
        scored.compare(scores_of([1, 0]), scores_of([1, 0], ids=[0, 5]))


def test_a_sample_that_comes_twice_is_refused():
    with pytest.raises(ConfigError, match="'0' comes twice"):
        scores_of([1, 0], ids=[0, 0])


def test_a_score_that_is_not_a_number_is_refused():
    with pytest.raises(ConfigError, match="that is no score"):
        scores_of([1, math.nan])


def test_missing_samples_are_refused():
    whole = scores_of([1, 0, 1])
    with pytest.raises(ConfigError, match="2 samples are there, of 3"):
        scored.of_lines("d", whole.about, [json.dumps(line) for line in list(whole.lines.values())[:2]])


def test_scores_on_other_samples_are_not_compared():
    with pytest.raises(ConfigError, match="was measured on"):
        scored.compare(scores_of([1, 0]), scores_of([1, 0], task="u" * 64))
