"""Intervals and tests over prompts, by scipy.

Several samples of one prompt are not independent, so everything is resampled by prompt: a score is a ratio of two sums
over prompts (right answers to samples, or negative log-likelihood to tokens), and the bootstrap draws prompts.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A value with its standard error and 95 % interval, and how they were found. n: independent samples (prompts)."""

    value: float
    se: float
    low: float
    high: float
    n: int
    method: str

    def to_json(self) -> dict[str, float | int | str]:
        return asdict(self)


def proportion(right: int, n: int) -> Measured:
    """A share of independent samples, with Wilson's interval (1927), which is none of width zero at 0 and 1 either.

    Raises `ValueError` for fewer than two samples.
    """
    if n < 2:
        raise ValueError(_TOO_FEW)
    value = right / n
    low, high = stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
    se = float(np.sqrt(value * (1 - value) / (n - 1)))
    return Measured(value=value, se=se, low=float(low), high=float(high), n=n, method="Wilson")


def ratio(sums: Sequence[float], out_of: Sequence[float], *, seed: int = 0, share: bool = True) -> Measured:
    """Σ sums / Σ out_of, one number of each per sample (prompt). share: it lies in [0, 1].

    Shares of one answer a sample get Wilson's interval; others are resampled by sample, and where a share is 0 or 1 in
    every sample, so that resampling finds no spread, Wilson's over the samples stands in.

    Raises `ValueError` for fewer than two samples, and for what is not a number.
    """
    top, bottom = np.asarray(sums, float), np.asarray(out_of, float)
    if not (np.isfinite(top).all() and np.isfinite(bottom).all()):
        raise ValueError("a sample was scored with what is not a number")
    if share and np.isin(top, (0, 1)).all() and (bottom == 1).all():
        return proportion(int(top.sum()), len(top))
    if share and (not top.any() or (top == bottom).all()):
        return proportion(len(top) if top.any() else 0, len(top))
    return _measured((top, bottom), lambda a, n: a / n, seed)


def perplexity_of(nll: Sequence[float], tokens: Sequence[float], *, seed: int = 0) -> Measured:
    """exp(Σ nll / Σ tokens), one number of each per text, nll in nats. Raises as `ratio`."""
    if not np.isfinite(np.asarray(nll, float)).all():
        raise ValueError("a text was scored with what is not a number")
    return _measured((nll, tokens), lambda a, n: np.exp(a / n), seed)


def kappa(first: Sequence[str], second: Sequence[str], *, seed: int = 0) -> Measured:
    """Cohen's kappa (1960): how much more two raters agree than by chance, 1 for always, one rating of each per sample.

    Where both always give one and the same rating, chance explains everything, and kappa is 0. Resampled by sample; of
    raters who always agree resampling finds no spread, and Wilson's interval of their agreement stands in.

    Raises `ValueError` for fewer than two samples.
    """
    agree = np.asarray([one == other for one, other in zip(first, second, strict=True)], float)
    names = sorted({*first, *second})
    given = [np.asarray([each == name for each in rater], float) for rater in (first, second) for name in names]
    each = np.ones_like(agree)

    def of(agreed: Any, n: Any, *counts: Any) -> Any:
        halves = zip(counts[: len(names)], counts[len(names) :], strict=True)
        chance = np.asarray(sum(one * other for one, other in halves) / n**2)
        room = np.where(chance < 1, 1 - chance, 1)
        return np.where(chance < 1, (agreed / n - chance) / room, 0.0)

    if len(agree) > 1 and agree.all() and len(names) > 1:
        sums = [counts.sum() for counts in given]
        share, n = proportion(len(agree), len(agree)), len(agree)
        return Measured(value=1.0, se=0.0, low=float(of(share.low * n, n, *sums)), high=1.0, n=n, method="Wilson")
    return _measured((agree, each, *given), of, seed)


def paired_difference(
    sums: Sequence[float],
    out_of: Sequence[float],
    other_sums: Sequence[float],
    other_out_of: Sequence[float],
    *,
    seed: int = 0,
    kind: Literal["share", "ratio", "perplexity"] = "share",
) -> Measured:
    """One score minus another over the same samples, in the same order, each as in `ratio`, or as in `perplexity_of`.

    Shares of one answer a sample get Bonett and Price's interval (2012), which is none of width zero where all agree;
    the others are resampled by sample, and where no sample differs, that interval stands in. Raises as `ratio`.
    """
    columns = [np.asarray(each, float) for each in (sums, out_of, other_sums, other_out_of)]
    if not all(np.isfinite(each).all() for each in columns):
        raise ValueError("a sample was scored with what is not a number")
    top, bottom, other_top, other_bottom = columns
    if len(top) < 2:
        raise ValueError(_TOO_FEW)
    if kind == "share" and (_one_each(top, bottom, other_top, other_bottom) or _same(columns)):
        more, less = int((top > other_top).sum()), int((top < other_top).sum())
        return _discordant(more, less, len(top))
    shape = np.exp if kind == "perplexity" else np.asarray
    return _measured(columns, lambda a, m, b, n: shape(a / m) - shape(b / n), seed)


def swapped_p(
    sums: Sequence[float],
    out_of: Sequence[float],
    other_sums: Sequence[float],
    other_out_of: Sequence[float],
    *,
    seed: int = 0,
    draws: int = 9999,
) -> tuple[float, str]:
    """Two-sided p-value that two ratios of sums over the same samples differ by chance, and the test that gave it.

    McNemar's, exact, for one right or wrong answer a sample; else a permutation test that swaps the two within samples.
    """
    top, bottom, other_top, other_bottom = (np.asarray(e, float) for e in (sums, out_of, other_sums, other_out_of))
    if _one_each(top, bottom, other_top, other_bottom):
        more, less = int((top > other_top).sum()), int((top < other_top).sum())
        return float(stats.binomtest(more, more + less).pvalue) if more + less else 1.0, "McNemar, exact"
    swap = np.random.default_rng(seed).integers(0, 2, (draws, len(top))).astype(float)
    over, under = swap @ (other_top - top), swap @ (other_bottom - bottom)
    found = (top.sum() + over) / (bottom.sum() + under) - (other_top.sum() - over) / (other_bottom.sum() - under)
    seen = abs(top.sum() / bottom.sum() - other_top.sum() / other_bottom.sum())
    return float((1 + (np.abs(found) >= seen * (1 - 1e-12)).sum()) / (draws + 1)), f"permutation, {draws} draws"


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of a family, corrected so that one in twenty families errs at 0.05 (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.asarray(p_values, float)[order] * np.arange(len(order), 0, -1)
    found = np.empty(len(order))
    found[order] = np.minimum(np.maximum.accumulate(adjusted), 1.0)
    return [float(each) for each in found]


POWER = 0.8


def detectable(se: float, *, power: float = POWER) -> float:
    """The least true difference that a two-sided test at 5 % sees with this power, at this standard error."""
    return float(se * (stats.norm.ppf(0.975) + stats.norm.ppf(power)))


def needed(se: float, n: int, gain: float, *, power: float = POWER) -> int:
    """Samples that it takes to see `gain`, when `n` of them gave this standard error. Raises `ValueError` for none."""
    if not gain > 0:
        raise ValueError("a gain to be seen is above zero")
    return max(2, int(np.ceil(n * (detectable(se, power=power) / gain) ** 2)))


def _one_each(top: Array, bottom: Array, other_top: Array, other_bottom: Array) -> bool:
    return bool(np.isin((top, other_top), (0, 1)).all() and (bottom == 1).all() and (other_bottom == 1).all())


def _same(columns: Sequence[Array]) -> bool:
    top, bottom, other_top, other_bottom = columns
    return bool((top == other_top).all() and (bottom == other_bottom).all())


def _discordant(more: int, less: int, n: int) -> Measured:
    """Bonett & Price 2012: one discordant sample is added either way."""
    gained, lost = (more + 1) / (n + 2), (less + 1) / (n + 2)
    middle = gained - lost
    se = float(np.sqrt((gained + lost - middle**2) / (n + 2)))
    reach = float(stats.norm.ppf(0.975)) * se
    value = (more - less) / n
    low, high = max(-1.0, min(value, middle - reach)), min(1.0, max(value, middle + reach))
    return Measured(value=value, se=se, low=low, high=high, n=n, method="Bonett-Price")


_TOO_FEW = "an interval needs at least two prompts"


def _measured(columns: Sequence[Sequence[float] | Array], of: Callable[..., Any], seed: int) -> Measured:
    value, low, high, se = _resampled(columns, of, seed)
    return Measured(value=value, se=se, low=low, high=high, n=len(columns[0]), method="bootstrap")


def _estimate(columns: Sequence[Sequence[float]], of: Callable[..., Any], n: int, seed: int) -> Estimate:
    value, low, high, _ = _resampled(columns, of, seed)
    return Estimate(value, low, high, n)


def _resampled(
    columns: Sequence[Sequence[float] | Array], of: Callable[..., Any], seed: int, resamples: int = 5000
) -> tuple[float, float, float, float]:
    """Value, bounds of the percentile interval, standard error."""
    arrays = tuple(np.asarray(column, dtype=float) for column in columns)

    def statistic(*parts: Array, axis: int = -1) -> Any:
        return of(*(part.sum(axis=axis) for part in parts))

    value = float(statistic(*arrays))
    if len(arrays[0]) < 2:
        raise ValueError(_TOO_FEW)
    found = stats.bootstrap(
        arrays,
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        method="percentile",
        rng=seed,
        batch=1000,
    )
    interval = found.confidence_interval
    return value, float(interval.low), float(interval.high), float(found.standard_error)
