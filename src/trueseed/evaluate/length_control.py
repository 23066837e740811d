"""A win rate as it would be if both answers were equally long (Dubois et al. 2024, arXiv:2404.04475).

AlpacaEval 2 fits logit P(a wins) = θ + φ · tanh(Δ / sd(Δ)), where Δ is how much longer a's answer is, and reads the win
rate at Δ = 0. Theirs has a third term, how hard each prompt is, which takes many models to fit; with two there is none.
Both coefficients have a normal prior of mean 0 and standard deviation 5: nothing to 100 verdicts, but finite where one
side won whatever was longer.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trueseed.evaluate import stats
from trueseed.evaluate.stats import Measured

PRIOR_SD = 5.0
Array = NDArray[np.float64]


def length_controlled(
    won: Sequence[float], longer: Sequence[float], prompts: Sequence[str] | None = None
) -> Measured | None:
    """won: 1, ½ (a tie) or 0, one number a sample. longer: by how many characters a's answer is longer. prompts: which
    samples are of one prompt, and are no independent ones. The interval is that of θ, by how far each prompt moves it.

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
    theta, moves = _fitted(y, _slope(delta))
    found = stats.by_moves(theta, n * np.bincount(cluster, moves).astype(float))
    rate, low, high = (float(_sigmoid(each)) for each in (found.value, found.low, found.high))
    return replace(found, value=rate, low=low, high=high, se=rate * (1 - rate) * found.se)


def influences(won: Sequence[float], longer: Sequence[float]) -> Array:
    """How far each sample moves the rate at equal length (N): zero on average but for the prior's pull, and their
    variance by N is that of the rate, as far as it is a straight line in the samples (Hampel 1974). Arguments as of
    `length_controlled`, of samples that did not all go one way.
    """
    theta, moves = _fitted(np.asarray(won, float), _slope(np.asarray(longer, float)))
    rate = _sigmoid(theta)
    return np.asarray(rate * (1 - rate) * moves * len(moves))


def fit(y: Array, x: Array, weights: Array | None = None) -> Array:
    """The most likely coefficients (θ, φ), by Newton's method. y, x: (N,). weights: how often each sample counts (N),
    once when left out.
    """
    weights = np.ones_like(y) if weights is None else weights
    found_K = np.zeros(2)
    for _ in range(100):
        p_N = _sigmoid(_design(x) @ found_K)
        slope_K = _design(x).T @ (weights * (y - p_N)) - found_K / PRIOR_SD**2
        step_K = np.linalg.solve(_curve(x, weights * p_N * (1 - p_N)), slope_K)
        size = float(np.abs(step_K).max())
        found_K = found_K + step_K / max(size, 1.0)  # at most one at a time: no leap into the flat ends
        if size < 1e-9:
            return found_K
    raise ValueError("the length control did not come to rest; the verdicts or lengths are out of any range")


def _fitted(y: Array, x: Array) -> tuple[float, Array]:
    """θ, and how far each sample moves it (N)."""
    found_K = fit(y, x)
    p_N = _sigmoid(_design(x) @ found_K)
    moved_NK = (_design(x) * (y - p_N)[:, None]) @ np.linalg.inv(_curve(x, p_N * (1 - p_N)))
    return float(found_K[0]), np.asarray(moved_NK[:, 0])


def _design(x: Array) -> Array:
    return np.stack([np.ones_like(x), x], axis=1)


def _curve(x: Array, spread_N: Array) -> Array:
    """Of the loss, with the prior's (K, K)."""
    return np.asarray((_design(x) * spread_N[:, None]).T @ _design(x) + np.eye(2) / PRIOR_SD**2)


def _slope(delta: Array) -> Array:
    return np.tanh(delta / delta.std()) if delta.any() and delta.std() > 0 else np.zeros_like(delta)


def _sigmoid(at: Array | float) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.asarray(at))))
