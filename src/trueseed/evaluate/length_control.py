"""A win rate as it would be if both answers were equally long (Dubois et al. 2024, arXiv:2404.04475).

AlpacaEval 2 fits logit P(a wins) = θ + φ · tanh(Δ / sd(Δ)), where Δ is how much longer a's answer is, and reads the win
rate at Δ = 0. Theirs has a third term, how hard each prompt is, which takes many models to fit; with two there is none.
Both coefficients have a normal prior of mean 0 and standard deviation 5: nothing to 100 verdicts, but finite where one
side won whatever was longer.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trueseed.evaluate.stats import Measured

PRIOR_SD = 5.0
RESAMPLES = 2000
_AT_ONCE = 100  # resamples fitted together: bounds the memory
Array = NDArray[np.float64]


def length_controlled(
    won: Sequence[float], longer: Sequence[float], prompts: Sequence[str] | None = None, *, seed: int = 0
) -> Measured | None:
    """won: 1, ½ (a tie) or 0, one number a sample. longer: by how many characters a's answer is longer. prompts: which
    samples are of one prompt, and are drawn together for the interval.

    None when every sample went one way: then there is no slope to be found, and the plain win rate is all there is.
    Raises `ValueError` for fewer than two prompts, and for what is not a number.
    """
    y, delta = np.asarray(won, float), np.asarray(longer, float)
    if not (np.isfinite(y).all() and np.isfinite(delta).all()):
        raise ValueError("a verdict or a length is not a number")
    _, cluster = np.unique(prompts if prompts is not None else np.arange(len(y)), return_inverse=True)
    n = int(cluster.max()) + 1 if len(y) else 0
    if n < 2:
        raise ValueError("an interval needs at least two prompts")
    if (y == y[0]).all():
        return None
    x = _slope(delta)
    rng = np.random.default_rng(seed)
    best_1K = fit(y, x, np.ones((1, len(y))))
    drawn = [
        fit(y, x, rng.multinomial(n, np.full(n, 1 / n), _AT_ONCE)[:, cluster].astype(float), start_1K=best_1K)
        for _ in range(RESAMPLES // _AT_ONCE)
    ]
    found = _at_equal_length(np.concatenate(drawn))
    low, high = np.quantile(found, (0.025, 0.975))
    value, se = float(_at_equal_length(best_1K)[0]), float(found.std(ddof=1))
    return Measured(value=value, se=se, low=float(low), high=float(high), n=n, method="bootstrap")


def influences(won: Sequence[float], longer: Sequence[float]) -> Array:
    """How far each sample moves the rate at equal length (N): zero on average but for the prior's pull, and their
    variance by N is that of the rate, as far as it is a straight line in the samples (Hampel 1974). Arguments as of
    `length_controlled`, of samples that did not all go one way.
    """
    y, x = np.asarray(won, float), _slope(np.asarray(longer, float))
    [(theta, phi)] = fit(y, x, np.ones((1, len(y))))
    design_NK = np.stack([np.ones_like(x), x], axis=1)
    p_N = 1 / (1 + np.exp(-(design_NK @ np.array([theta, phi]))))
    curve_KK = (design_NK * (p_N * (1 - p_N))[:, None]).T @ design_NK + np.eye(2) / PRIOR_SD**2
    moved_NK = (design_NK * (y - p_N)[:, None]) @ np.linalg.inv(curve_KK)
    rate = 1 / (1 + np.exp(-theta))
    return np.asarray(rate * (1 - rate) * moved_NK[:, 0] * len(y))


def _slope(delta: Array) -> Array:
    return np.tanh(delta / delta.std()) if delta.any() and delta.std() > 0 else np.zeros_like(delta)


def fit(y: Array, x: Array, weights: Array, *, start_1K: Array | None = None) -> Array:
    """Coefficients (θ, φ) of the most likely fit, by Newton's method. y, x: (N,); weights: (R, N), one fit for each
    row; returns (R, 2).
    """
    design_NK = np.stack([np.ones_like(x), x], axis=1)
    squares_N3 = np.stack([np.ones_like(x), x, x * x], axis=1)
    found_RK = np.zeros((len(weights), 2)) + (0.0 if start_1K is None else start_1K)
    for _ in range(100):
        p_RN = 1 / (1 + np.exp(-(found_RK @ design_NK.T)))
        slope_RK = (weights * (y - p_RN)) @ design_NK - found_RK / PRIOR_SD**2
        curve_R3 = (weights * p_RN * (1 - p_RN)) @ squares_N3 + np.array([1, 0, 1]) / PRIOR_SD**2
        step_RK = np.linalg.solve(curve_R3[:, [[0, 1], [1, 2]]], slope_RK[..., None])[..., 0]
        size_R1 = np.abs(step_RK).max(axis=1, keepdims=True)
        found_RK += step_RK / np.maximum(size_R1, 1.0)  # at most one at a time: no leap into the flat ends
        if size_R1.max() < 1e-9:
            return found_RK
    raise ValueError("the length control did not come to rest; the verdicts or lengths are out of any range")


def _at_equal_length(found_RK: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-found_RK[:, 0])))
