"""Intervals and tests over prompts, by scipy.

Several samples of one prompt are not independent, so everything is resampled by prompt: a score is a ratio of two sums
over prompts (right answers to samples, or negative log-likelihood to tokens), and the bootstrap draws prompts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % percentile-bootstrap interval; `n` counts samples (answers), not prompts."""

    value: float
    low: float
    high: float
    n: int

    def to_json(self) -> dict[str, float | int]:
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


def share(right: Sequence[float], samples: Sequence[float], *, seed: int = 0) -> Estimate:
    """Share of right answers. right, samples: one number per prompt. In [0, 1]."""
    return _estimate((right, samples), lambda r, n: r / n, int(sum(samples)), seed)


def share_difference(
    right: Sequence[float], other: Sequence[float], samples: Sequence[float], *, seed: int = 0
) -> Estimate:
    """Share of `right` minus share of `other`, paired by prompt. In [−1, 1]."""
    return _estimate((right, other, samples), lambda a, b, n: (a - b) / n, int(sum(samples)), seed)


def perplexity(nll: Sequence[float], tokens: Sequence[float], *, seed: int = 0) -> Estimate:
    """exp(total negative log-likelihood in nats / total tokens). nll, tokens: one number per conversation."""
    return _estimate((nll, tokens), lambda a, n: np.exp(a / n), len(tokens), seed)


def perplexity_difference(
    nll: Sequence[float], other: Sequence[float], tokens: Sequence[float], *, seed: int = 0
) -> Estimate:
    """Perplexity of `nll` minus that of `other`, over the same tokens."""
    return _estimate((nll, other, tokens), lambda a, b, n: np.exp(a / n) - np.exp(b / n), len(tokens), seed)


def perplexity_ratio(
    nll: Sequence[float], other: Sequence[float], tokens: Sequence[float], *, seed: int = 0
) -> Estimate:
    """Perplexity of `nll` divided by that of `other`, over the same tokens; 1.1 is a rise of 10 %."""
    return _estimate((nll, other, tokens), lambda a, b, n: np.exp((a - b) / n), len(tokens), seed)


def paired_p(right: Sequence[float], other: Sequence[float], *, seed: int = 0) -> float:
    """Two-sided p-value of a sign-flip permutation test on the per-prompt differences."""
    difference = np.asarray(right, float) - np.asarray(other, float)
    if not difference.any():
        return 1.0
    outcome = stats.permutation_test(
        (difference,), lambda x, axis: x.mean(axis), permutation_type="samples", vectorized=True, rng=seed
    )
    return float(outcome.pvalue)


def _estimate(
    columns: Sequence[Sequence[float]], ratio: Callable[..., Any], n: int, seed: int, resamples: int = 5000
) -> Estimate:
    arrays = tuple(np.asarray(column, dtype=float) for column in columns)

    def statistic(*parts: Array, axis: int = -1) -> Any:
        return ratio(*(part.sum(axis=axis) for part in parts))

    value = float(statistic(*arrays))
    if len(arrays[0]) < 2:
        raise ValueError("an interval needs at least two prompts")
    interval = stats.bootstrap(
        arrays,
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        method="percentile",
        rng=seed,
        batch=1000,
    ).confidence_interval
    return Estimate(value, float(interval.low), float(interval.high), n)
