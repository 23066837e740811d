"""The win rate at equal length, against a fit by brute force."""

import numpy as np
import pytest
from scipy.optimize import minimize

from trueseed.evaluate.length_control import PRIOR_SD, fit, length_controlled


def drawn(n: int, theta: float, phi: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    longer = rng.normal(200, 300, n)
    p = 1 / (1 + np.exp(-(theta + phi * np.tanh(longer / longer.std()))))
    return (rng.random(n) < p).astype(float), longer


@pytest.mark.parametrize("seed", range(4))
def test_newton_finds_what_brute_force_finds(seed):
    y, longer = drawn(60, -0.5, 1.5, seed)
    y[:6] = 0.5  # ties
    x = np.tanh(longer / longer.std())
    weights = np.random.default_rng(seed).integers(0, 4, 60).astype(float)

    def loss(found):
        eta = found[0] + found[1] * x
        return (weights * (np.logaddexp(0, eta) - y * eta)).sum() + (found @ found) / (2 * PRIOR_SD**2)

    best = minimize(loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-12})
    np.testing.assert_allclose(fit(y, x, weights), best.x, atol=1e-5)


def test_it_stays_finite_where_one_side_won_whatever_was_longer():
    found = fit(np.ones(50), np.linspace(-1, 1, 50))
    assert np.isfinite(found).all()


def test_its_error_is_what_resampling_finds():
    y, longer = drawn(200, 0.4, 1.0)
    y[:40] = 0.5
    x, rng = np.tanh(longer / longer.std()), np.random.default_rng(0)
    drawn_RN = rng.multinomial(200, np.full(200, 1 / 200), 500).astype(float)
    rates = [1 / (1 + np.exp(-fit(y, x, weights)[0])) for weights in drawn_RN]
    found = length_controlled(y, longer)
    assert found.se == pytest.approx(np.std(rates), rel=0.08)
    assert (found.low, found.high) == pytest.approx(np.quantile(rates, [0.025, 0.975]), abs=0.02)


def test_a_side_that_wins_by_length_alone_is_even_at_equal_length():
    y, longer = drawn(600, 0.0, 2.0)
    found = length_controlled(y, longer)
    assert y.mean() > 0.6
    assert found.low < 0.5 < found.high


def test_lengths_that_do_not_differ_change_nothing():
    found = length_controlled([1, 1, 0, 1, 0.5, 1], [0] * 6)
    assert found.value == pytest.approx(4.5 / 6, abs=0.01)


def test_samples_of_one_prompt_widen_the_interval():
    y, longer = drawn(60, 0.3, 0.5)
    four = [np.repeat(each, 4) for each in (y, longer)]
    alone = length_controlled(*four)
    together = length_controlled(*four, prompts=[str(n // 4) for n in range(240)])
    assert together.n == 60
    assert together.se > 1.5 * alone.se


def test_no_slope_is_found_where_all_went_one_way():
    assert length_controlled([1.0] * 10, range(10)) is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(bad):
    with pytest.raises(ValueError, match="not a number"):
        length_controlled([1, bad, 0], [1, 2, 3])
