"""How often intervals of 95 % hold the truth, by simulation; and that they are no wider than that takes.

Seeds are fixed, so nothing here is by chance. Of 1,000 drawn, 95 % is 950 give or take 14 (two standard errors), and
what is counted in whole answers, as Wilson's, goes up and down about that by one or two in a hundred.
"""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from scipy.special import comb

from trueseed.evaluate import stats
from trueseed.evaluate.length_control import length_controlled

ENOUGH = 0.93
Columns = tuple[np.ndarray, np.ndarray]
Draw = Callable[[np.random.Generator, int], Columns]


def ties(won: float, lost: float) -> tuple[Draw, float]:
    """Win rates: 1, ½ or 0 a sample."""

    def draw(rng: np.random.Generator, n: int) -> Columns:
        return rng.choice([1.0, 0.0, 0.5], n, p=[won, lost, 1 - won - lost]), np.ones(n)

    return draw, won + (1 - won - lost) / 2


def leaves(valid: float, right: float, metric: str) -> tuple[Draw, float]:
    """JSON extraction, 2 to 5 leaves a sample: `valid` is the share of answers that hold JSON, `right` of leaves."""

    def draw(rng: np.random.Generator, n: int) -> Columns:
        wanted, given = rng.integers(2, 6, n), rng.random(n) < valid
        found = rng.binomial(wanted, right) * given
        if metric == "precision":
            return found.astype(float), (wanted * given).astype(float)
        return 2.0 * found, (wanted + wanted * given).astype(float)

    return draw, right if metric == "precision" else 2 * valid * right / (1 + valid)


def passes(a: float, b: float, k: int = 5, draws: int = 10) -> tuple[Draw, float]:
    """pass@k, of problems whose difficulty is Beta(a, b)."""
    value = np.array([1 - comb(draws - right, k) / comb(draws, k) for right in range(draws + 1)])

    def draw(rng: np.random.Generator, n: int) -> Columns:
        return value[rng.binomial(draws, rng.beta(a, b, n))], np.ones(n)

    failing = math.gamma(b + k) * math.gamma(a + b) / (math.gamma(b) * math.gamma(a + b + k))
    return draw, 1 - failing


def marks(*chances: float) -> tuple[Draw, float]:
    """Of a scale of five, put from 0 to 1."""
    scale = np.linspace(0, 1, 5)

    def draw(rng: np.random.Generator, n: int) -> Columns:
        return rng.choice(scale, n, p=chances), np.ones(n)

    return draw, float(scale @ np.array(chances))


def rights(share: float) -> tuple[Draw, float]:
    return lambda rng, n: ((rng.random(n) < share).astype(float), np.ones(n)), share


CASES = {
    "one answer each": rights(0.3),
    "one answer each, near the edge": rights(0.03),
    "win rate": ties(0.3, 0.3),
    "win rate, most tie": ties(0.1, 0.05),
    "win rate, nearly all tie": ties(0.05, 0.0),
    "win rate, all tie or win": ties(0.6, 0.0),
    "F1": leaves(0.9, 0.7, "f1"),
    "F1, a weak student": leaves(0.1, 0.5, "f1"),
    "precision": leaves(0.9, 0.7, "precision"),
    "precision, a weak student": leaves(0.1, 0.5, "precision"),
    "pass@5": passes(0.3, 1),
    "pass@5, hard": passes(0.1, 2),
    "marks": marks(0.1, 0.2, 0.4, 0.2, 0.1),
    "marks, nearly all the same": marks(0, 0, 0.05, 0.9, 0.05),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("n", [12, 60])
def test_a_score_is_within_its_interval_in_95_of_100_cases(name, n):
    (draw, truth), rng, of = CASES[name], np.random.default_rng(n), 1000
    found = [stats.ratio(*columns) for columns in (draw(rng, n) for _ in range(of)) if columns[1].any()]
    held = sum(each.low <= truth <= each.high for each in found) / len(found)
    assert held >= ENOUGH


@pytest.mark.parametrize("name", ["win rate", "win rate, most tie", "F1", "precision", "pass@5", "marks"])
def test_no_interval_is_wider_than_it_must_be(name):
    """Beside 3.92 times the spread that the scores have."""
    draw, rng = CASES[name][0], np.random.default_rng(3)
    found = [stats.ratio(*draw(rng, 100)) for _ in range(500)]
    ideal = 3.92 * np.std([each.value for each in found])
    assert np.mean([each.high - each.low for each in found]) < 1.12 * ideal


PAIRS = {
    "one answer each": (rights(0.5), rights(0.3)),
    "win rate": (ties(0.3, 0.3), ties(0.2, 0.4)),
    "F1": (leaves(0.9, 0.7, "f1"), leaves(0.8, 0.6, "f1")),
    "F1, a weak student": (leaves(0.1, 0.5, "f1"), leaves(0.9, 0.6, "f1")),
    "precision, a weak student": (leaves(0.1, 0.5, "precision"), leaves(0.9, 0.6, "precision")),
    "pass@5": (passes(0.3, 1), passes(0.1, 2)),
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("n", [12, 60])
def test_a_difference_is_within_its_interval_in_95_of_100_cases(name, n):
    (one, p), (other, q), rng = *PAIRS[name], np.random.default_rng(n)
    drawn = [(*one(rng, n), *other(rng, n)) for _ in range(600)]
    found = [stats.paired_difference(*columns) for columns in drawn if columns[1].any() and columns[3].any()]
    assert sum(each.low <= p - q <= each.high for each in found) / len(found) >= ENOUGH


def texts(rng: np.random.Generator, n: int, spread: float, harder: float = 0.0) -> Columns:
    """Texts of 20 to 200 tokens, each as surprising as it is: 1.6 nats a token on average, and `harder`."""
    tokens = rng.integers(20, 200, n).astype(float)
    return (rng.gamma(1 / spread**2, 1.6 * spread**2, n) + harder) * tokens, tokens


@pytest.mark.parametrize("spread", [0.2, 0.35, 0.6])
@pytest.mark.parametrize("n", [12, 60])
def test_what_has_no_bounds_is_within_its_interval_in_95_of_100_cases(spread, n):
    rng = np.random.default_rng(n)
    drawn = [texts(rng, n, spread) for _ in range(1000)]
    nats = [stats.ratio(*columns, share=False) for columns in drawn]
    assert sum(each.low <= 1.6 <= each.high for each in nats) / 1000 >= ENOUGH
    found = [stats.perplexity_of(*columns) for columns in drawn]
    assert sum(each.low <= math.exp(1.6) <= each.high for each in found) / 1000 >= ENOUGH
    assert np.mean([each.high - each.low for each in nats]) < 1.2 * 3.92 * np.std([each.value for each in nats])


@pytest.mark.parametrize("n", [12, 60])
def test_a_difference_without_bounds_is_within_its_interval_in_95_of_100_cases(n):
    """Of two models on the same texts, the second 0.1 nats a token worse on average."""
    rng, of, held = np.random.default_rng(n), 1000, dict.fromkeys(("ratio", "perplexity"), 0)
    truth = {"ratio": 0.1, "perplexity": math.exp(1.7) - math.exp(1.6)}
    for _ in range(of):
        nll, tokens = texts(rng, n, 0.35)
        worse = nll + rng.gamma(4, 0.025, n) * tokens
        for kind in held:
            found = stats.paired_difference(worse, tokens, nll, tokens, kind=kind)
            held[kind] += found.low <= truth[kind] <= found.high
    assert min(held.values()) / of >= ENOUGH - 0.01


@pytest.mark.parametrize("n", [24, 300])
def test_a_rise_of_perplexity_is_within_its_interval_in_95_of_100_cases(n):
    """As many texts as the shortest recipe has, and as the quickstart has."""
    rng, of, held = np.random.default_rng(n), 1000, 0
    for _ in range(of):
        nll, tokens = texts(rng, n, 0.35)
        found = stats.perplexity_ratio(nll + rng.gamma(4, 0.025, n) * tokens, nll, tokens)
        held += found.low <= math.exp(0.1) <= found.high
    assert held / of >= ENOUGH - 0.01


def test_kappa_is_within_its_interval_in_95_of_100_cases(monkeypatch):
    monkeypatch.setattr(stats, "_resampled", partial(stats._resampled, resamples=400))
    rng, held, of = np.random.default_rng(0), 0, 200
    for seed in range(of):
        truth = rng.integers(0, 2, 60)
        said = np.where(rng.random(60) < 0.8, truth, 1 - truth)
        found = stats.kappa([str(each) for each in truth], [str(each) for each in said], seed=seed)
        held += found.low <= 0.6 <= found.high
    assert held / of >= 0.92


@pytest.mark.parametrize("n", [30, 80])
def test_a_win_rate_at_equal_length_is_within_its_interval_in_95_of_100_cases(n):
    rng, truth, held, of = np.random.default_rng(n), 1 / (1 + math.exp(0.4)), 0, 1000
    for _ in range(of):
        longer = rng.normal(200, 300, n)
        p = 1 / (1 + np.exp(-(-0.4 + np.tanh(longer / longer.std()))))
        found = length_controlled((rng.random(n) < p).astype(float), longer)
        held += found is None or found.low <= truth <= found.high
    assert held / of >= ENOUGH


def test_of_twenty_students_as_good_as_the_target_one_is_called_better_in_one_of_twenty_families_at_most():
    rng, alone, in_order, of, ones = np.random.default_rng(2), 0, 0, 200, np.ones(150)
    for _ in range(of):
        target = (rng.random(150) < 0.6).astype(float)
        gaps = [stats.paired_difference((rng.random(150) < 0.6).astype(float), ones, target, ones) for _ in range(20)]
        alone += any(gap.low > 0 for gap in gaps)
        in_order += any(stats.widened(gap, stats.spent(place)).low > 0 for place, gap in enumerate(gaps, start=1))
    assert alone / of > 0.12  # what nobody corrected
    assert in_order / of <= 0.05
