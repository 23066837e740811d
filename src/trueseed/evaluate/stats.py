"""Intervals and tests over prompts.

Several samples of one prompt are not independent, so a score is a ratio of two sums over prompts (right answers to
samples, or negative log-likelihood to tokens), and what varies is prompts. What lies between two known bounds has
an interval by formula, of width zero never; what has none goes by how far each prompt moves it, and by Student's t.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Array = NDArray[np.float64]
ERROR = 0.05  # of every interval and test that says nothing else


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % interval; `n` counts samples (answers), not prompts."""

    value: float
    low: float
    high: float
    n: int

    def to_json(self) -> dict[str, float | int]:
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


def share(right: Sequence[float], samples: Sequence[float]) -> Estimate:
    """Share of right answers, as `ratio`. right, samples: one number per prompt. In [0, 1]."""
    found = ratio(right, samples)
    return Estimate(found.value, found.low, found.high, int(sum(samples)))


def share_difference(right: Sequence[float], other: Sequence[float], samples: Sequence[float]) -> Estimate:
    """Share of `right` minus share of `other`, as `paired_difference`. In [−1, 1]."""
    found = paired_difference(right, samples, other, samples)
    return Estimate(found.value, found.low, found.high, int(sum(samples)))


def perplexity(nll: Sequence[float], tokens: Sequence[float]) -> Estimate:
    """exp(total negative log-likelihood in nats / total tokens), as `perplexity_of`. nll, tokens: one number per
    conversation.
    """
    found = perplexity_of(nll, tokens)
    return Estimate(found.value, found.low, found.high, len(tokens))


def perplexity_difference(nll: Sequence[float], other: Sequence[float], tokens: Sequence[float]) -> Estimate:
    """Perplexity of `nll` minus that of `other`, over the same tokens, as `paired_difference`."""
    found = paired_difference(nll, tokens, other, tokens, kind="perplexity")
    return Estimate(found.value, found.low, found.high, len(tokens))


def perplexity_ratio(nll: Sequence[float], other: Sequence[float], tokens: Sequence[float]) -> Estimate:
    """Perplexity of `nll` divided by that of `other`, over the same tokens; 1.1 is a rise of 10 %."""
    return perplexity([one - that for one, that in zip(nll, other, strict=True)], tokens)


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
    """A value with its standard error and 95 % interval, and how they were found. n: independent samples (prompts) that
    it is out of.
    """

    value: float
    se: float
    low: float
    high: float
    n: int
    method: str

    def to_json(self) -> dict[str, float | int | str]:
        return asdict(self)


def proportion(right: int, n: int) -> Measured:
    """A share of independent samples, with Wilson's interval (1927), which is none of width zero at 0 and 1 either;
    there the standard error is the one that the interval amounts to.

    Raises `ValueError` for fewer than two samples.
    """
    if n < 2:
        raise ValueError(_TOO_FEW)
    value = right / n
    low, high = _wilson(value, n)
    se = math.sqrt(value * (1 - value) / (n - 1)) if 0 < right < n else (high - low) / (2 * _Z)
    return Measured(value=value, se=se, low=low, high=high, n=n, method="Wilson")


def ratio(sums: Sequence[float], out_of: Sequence[float], *, share: bool = True) -> Measured:
    """Σ sums / Σ out_of, one number of each per sample (prompt). share: it lies in [0, 1], as `bounded`; else it may be
    anything, as `by_moves`.

    A share of one answer a sample has Wilson's interval. One out of nothing at all is 0, for none was right. Raises
    `ValueError` for fewer than two samples, and for what is not a number.
    """
    top, bottom = _numbers(sums, out_of)
    if len(top) < 2:
        raise ValueError(_TOO_FEW)
    if not share:
        top, bottom = top[bottom > 0], bottom[bottom > 0]
        if len(top) < 2:
            raise ValueError(_TOO_FEW)
        return by_moves(float(top.sum() / bottom.sum()), _moves(top, bottom))
    if not bottom.any():
        return proportion(0, len(top))
    some = bottom > 0
    if some.sum() > 1 and _one_each(top[some], bottom[some]):
        return proportion(int(top[some].sum()), int(some.sum()))
    return bounded(top, bottom)


def bounded(
    sums: Sequence[float] | Array, out_of: Sequence[float] | Array, least: float = 0.0, most: float = 1.0
) -> Measured:
    """Σ sums / Σ out_of, of samples that are each worth between `least` and `most`. Those out of nothing say nothing.

    Wilson's interval at the number of independent answers that would err as much (Korn & Graubard 1998, who let
    Student's t count for few samples; Wilson's in it: Dean & Pagano 2015). How far single samples are off is known by
    those seen, so one more is added that is as far off as any. Where none is off, all that is known is that not many
    others can be: no more than Wilson's bound for none of n, as in the rule of three (Hanley & Lippman-Hand 1983).

    Raises `ValueError` where no sample is out of anything, and for what is not a number, or beyond the bounds.
    """
    top, bottom = _numbers(sums, out_of)
    if not bottom.any():
        raise ValueError("a score is out of nothing")
    top, bottom = top[bottom > 0], bottom[bottom > 0]
    if (top < least * bottom - _TINY).any() or (top > most * bottom + _TINY).any():
        raise ValueError(f"a sample is not worth between {least:g} and {most:g}")
    n, span, value = len(top), most - least, float(top.sum() / bottom.sum())
    share, off = min(max((value - least) / span, 0.0), 1.0), _moves(top, bottom) / span
    far = float(np.abs(off).max())
    if far < _TINY:
        _, others = _wilson(0.0, n)
        low, high = share * (1 - others), share + others * (1 - share)
        se, method = (high - low) / (2 * _Z), "rule of three"
    else:
        se, method = math.sqrt((float(off @ off) + far**2) / (n * (n + 1))), "Wilson, effective n"
        low, high = _wilson(share, share * (1 - share) / se**2 * (_Z / _student(n)) ** 2)
    low, high = min(value, least + low * span), max(value, least + high * span)
    return Measured(value=value, se=se * span, low=low, high=high, n=n, method=method)


def by_moves(value: float, moves: Array) -> Measured:
    """Of what has no bounds: its error by how far each sample moves it, with one more that is as far off as any, and
    Student's t. moves (N): zero on average.
    """
    n, far = len(moves), float(np.abs(moves).max())
    se = math.sqrt((float(moves @ moves) + far**2) / (n * (n + 1)))
    method = "Student's t" if se > _TINY else "all samples the same"
    return Measured(value=value, se=se, low=value - _student(n) * se, high=value + _student(n) * se, n=n, method=method)


def perplexity_of(nll: Sequence[float], tokens: Sequence[float]) -> Measured:
    """exp(Σ nll / Σ tokens), one number of each per text, nll in nats; its interval is that of the logarithm, which is
    nearer to a normal's. Raises as `ratio`.
    """
    found = ratio(nll, tokens, share=False)
    value, low, high = (math.exp(min(each, _MOST)) for each in (found.value, found.low, found.high))
    return replace(found, value=value, low=low, high=high, se=value * found.se)


def kappa(
    first: Sequence[str], second: Sequence[str], prompts: Sequence[str] | None = None, *, seed: int = 0
) -> Measured:
    """Cohen's kappa (1960): how much more two raters agree than by chance, 1 for always, one rating of each per sample.
    prompts: which samples are of one prompt, and are drawn together for the interval.

    Where both always give one and the same rating, chance explains everything, and kappa is 0. Resampled by prompt; of
    raters who always agree, or never, resampling finds no spread, and Wilson's interval of their agreement stands in.

    Raises `ValueError` for fewer than two prompts.
    """
    agree = np.asarray([one == other for one, other in zip(first, second, strict=True)], float)
    names = sorted({*first, *second})
    given = [np.asarray([each == name for each in rater], float) for rater in (first, second) for name in names]
    _, prompt = np.unique(prompts if prompts is not None else np.arange(len(agree)), return_inverse=True)
    columns = [np.bincount(prompt, each).astype(float) for each in (agree, np.ones_like(agree), *given)]

    def of(agreed: Any, n: Any, *counts: Any) -> Any:
        halves = zip(counts[: len(names)], counts[len(names) :], strict=True)
        chance = np.asarray(sum(one * other for one, other in halves) / n**2)
        room = np.where(chance < 1, 1 - chance, 1)
        return np.where(chance < 1, (agreed / n - chance) / room, 0.0)

    n = len(columns[0])
    if n > 1 and len(names) > 1 and agree.all() == agree.any():
        agreed, shares = proportion(n if agree.all() else 0, n), [counts.sum() * n / len(agree) for counts in given]
        value, low, high = (float(of(share * n, n, *shares)) for share in (agreed.value, agreed.low, agreed.high))
        return Measured(value=value, se=(high - low) / (2 * _Z), low=low, high=high, n=n, method="Wilson")
    return _resampled(columns, of, seed)


def paired_difference(
    sums: Sequence[float],
    out_of: Sequence[float],
    other_sums: Sequence[float],
    other_out_of: Sequence[float],
    *,
    kind: Literal["share", "ratio", "perplexity"] = "share",
) -> Measured:
    """One score minus another over the same samples, in the same order, each as in `ratio`, or as in `perplexity_of`.

    Shares get Bonett and Price's interval (2012), which is none of width zero where all agree (`_differing`); the
    others go by how far each sample moves the difference. Raises as `ratio`, and where one of the two is out of
    nothing.
    """
    top, bottom, other_top, other_bottom = columns = _numbers(sums, out_of, other_sums, other_out_of)
    if len(top) < 2:
        raise ValueError(_TOO_FEW)
    if not (bottom.any() and other_bottom.any()):
        raise ValueError("one of the two scores is out of nothing")
    if kind == "share":
        return _differing(top, bottom, other_top, other_bottom)
    some = (bottom > 0) | (other_bottom > 0)
    top, bottom, other_top, other_bottom = (each[some] for each in columns)
    one, other = float(top.sum() / bottom.sum()), float(other_top.sum() / other_bottom.sum())
    moves, theirs = _moves(top, bottom), _moves(other_top, other_bottom)
    if kind == "ratio":
        return by_moves(one - other, moves - theirs)
    one, other = math.exp(min(one, _MOST)), math.exp(min(other, _MOST))
    return by_moves(one - other, one * moves - other * theirs)


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
    A ratio out of nothing counts as 0 there, as in `ratio`. Raises `ValueError` for what is not a number.
    """
    top, bottom, other_top, other_bottom = _numbers(sums, out_of, other_sums, other_out_of)
    if _one_each(top, bottom) and _one_each(other_top, other_bottom):
        more, less = int((top > other_top).sum()), int((top < other_top).sum())
        return float(stats.binomtest(more, more + less).pvalue) if more + less else 1.0, "McNemar, exact"
    swap = np.random.default_rng(seed).integers(0, 2, (draws, len(top))).astype(float)
    over, under = swap @ (other_top - top), swap @ (other_bottom - bottom)
    one = _over(top.sum() + over, bottom.sum() + under)
    found = one - _over(other_top.sum() - over, other_bottom.sum() - under)
    seen = abs(_over(top.sum(), bottom.sum()) - _over(other_top.sum(), other_bottom.sum()))
    return float((1 + (np.abs(found) >= seen * (1 - 1e-12)).sum()) / (draws + 1)), f"permutation, {draws} draws"


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of a family, corrected so that one in twenty families errs at 0.05 (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.asarray(p_values, float)[order] * np.arange(len(order), 0, -1)
    found = np.empty(len(order))
    found[order] = np.minimum(np.maximum.accumulate(adjusted), 1.0)
    return [float(each) for each in found]


def spent(place: int, error: float = ERROR) -> float:
    """Of the error of a whole sequence of comparisons, however long, the part of the place-th one, from 1:
    error / (place (place + 1)), which sum to it. So one in twenty sequences errs at 0.05, and nothing that comes later
    takes back what was found (Bonferroni's correction spent in order: Foster & Stine 2008; Tian & Ramdas 2021).
    """
    return error / (place * (place + 1))


def widened(found: Measured, error: float) -> Measured:
    """The interval of a smaller error than 0.05: its ends are further off, as a normal's would be."""
    by = float(stats.norm.isf(error / 2)) / _Z
    low, high = (found.value + (end - found.value) * by for end in (found.low, found.high))
    return replace(found, low=low, high=high)


POWER = 0.8


def detectable(se: float, *, power: float = POWER, error: float = ERROR) -> float:
    """The least true difference that a two-sided test at this error sees with this power, at this standard error."""
    return float(se * (stats.norm.isf(error / 2) + stats.norm.ppf(power)))


def needed(se: float, n: int, gain: float, *, power: float = POWER, error: float = ERROR) -> int:
    """Samples that it takes to see `gain`, when `n` of them gave this standard error. Raises `ValueError` for none."""
    if not gain > 0:
        raise ValueError("a gain to be seen is above zero")
    return max(2, int(np.ceil(n * (detectable(se, power=power, error=error) / gain) ** 2)))


_TOO_FEW = "an interval needs at least two prompts"
_MOST = 700.0  # nats, of which the exponential is still a number
_Z = float(stats.norm.isf(ERROR / 2))


def _numbers(*columns: Sequence[float] | Array) -> tuple[Array, ...]:
    arrays = tuple(np.asarray(each, float) for each in columns)
    if not all(np.isfinite(each).all() for each in arrays):
        raise ValueError("a sample was scored with what is not a number")
    return arrays


def _one_each(top: Array, bottom: Array) -> bool:
    return bool(((top == 0) | (top == 1)).all() and (bottom == 1).all())


def _over(top: Any, bottom: Any) -> Array:
    return np.asarray(np.divide(top, bottom, out=np.zeros_like(np.asarray(top, float)), where=np.asarray(bottom) > 0))


def _student(n: int) -> float:
    """Bounds 95 % of Student's t of n - 1 degrees of freedom, of one at least."""
    return float(special.stdtrit(max(n - 1, 1), 1 - ERROR / 2))


def _wilson(share: float, n: float) -> tuple[float, float]:
    """n: samples, or what as many independent ones amount to."""
    z2 = _Z**2
    middle, reach = share + z2 / (2 * n), _Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    low, high = (middle - reach) / (1 + z2 / n), (middle + reach) / (1 + z2 / n)
    return max(0.0, min(low, share)), min(1.0, max(high, share))  # rounding leaves 0 and 1 outside by 1e-17


def _differing(top: Array, bottom: Array, other_top: Array, other_bottom: Array) -> Measured:
    """Bonett & Price 2012: one discordant sample is added either way. Of shares that are more than one answer a sample,
    how far each sample moves the difference stands for being discordant, the two that are added are as far off as any
    that was seen (wholly, where none is), and Student's t counts for few.
    """
    some = (bottom > 0) | (other_bottom > 0)
    n, value = int(some.sum()), float(top.sum() / bottom.sum() - other_top.sum() / other_bottom.sum())
    moves = value + _moves(top[some], bottom[some]) - _moves(other_top[some], other_bottom[some])
    far = float(np.abs(moves).max())
    far = far if far > _TINY else 1.0
    middle = float(moves.sum()) / (n + 2)
    se = math.sqrt(((float(moves @ moves) + 2 * far**2) / (n + 2) - middle**2) / (n + 2))
    plain = _one_each(top, bottom) and _one_each(other_top, other_bottom)
    reach = se * (_Z if plain else _student(min(int((bottom > 0).sum()), int((other_bottom > 0).sum()))))
    low, high = min(value, max(-1.0, middle - reach)), max(value, min(1.0, middle + reach))
    return Measured(value=value, se=se, low=low, high=high, n=n, method="Bonett-Price")


def _moves(top: Array, bottom: Array) -> Array:
    """How far each sample moves the ratio (Hampel 1974): zero on average."""
    return np.asarray((top - top.sum() / bottom.sum() * bottom) / bottom.mean())


_TINY = 1e-12


def _resampled(
    columns: Sequence[Sequence[float] | Array], of: Callable[..., Any], seed: int, resamples: int = 5000
) -> Measured:
    """With a percentile interval."""
    arrays = tuple(np.asarray(column, dtype=float) for column in columns)

    def statistic(*parts: Array, axis: int = -1) -> Any:
        return of(*(part.sum(axis=axis) for part in parts))

    if len(arrays[0]) < 2:
        raise ValueError(_TOO_FEW)
    value = float(statistic(*arrays))
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
    (low, high), se = found.confidence_interval, float(found.standard_error)
    method = "bootstrap" if se else "all samples the same"
    return Measured(value=value, se=se, low=float(low), high=float(high), n=len(arrays[0]), method=method)
