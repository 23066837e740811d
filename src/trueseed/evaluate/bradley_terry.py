"""Ratings from pairs (Bradley & Terry 1952): that i beats j has log-odds rating[i] − rating[j].

    fitted = fit(battles)
    fitted.ratings, fitted.covariance        # natural log-odds, summing to zero

A tie is half a win for each; with ties it is a quasi-likelihood, so the errors do not lean on the model: they are the
sandwich of scores summed by prompt (Liang & Zeger 1986), as verdicts on one prompt are not independent.

The maximum exists when every model can be reached from every other by wins or ties (Ford 1957). Where a model won, or
lost, all it met, it lies at infinity: then, and only then, ratings are drawn to zero by a normal prior (`PRIOR_SD`),
and `unbounded` says which side of whose interval is open. Models that nothing connects cannot be rated together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from trueseed.errors import ConfigError
from trueseed.evaluate.formats.row import first_turn
from trueseed.evaluate.verdicts import Verdict

Array = NDArray[np.float64]
Places = NDArray[np.int32]

PRIOR_SD = 3.0  # log-odds: 520 points, where one model beats another in 20 of 21
FEW = 30  # prompts of a model, below which the sandwich alone may miss its spread
_STEPS, _CLOSE = 100, 1e-9


@dataclass(frozen=True, kw_only=True)
class Battles:
    """Pairs that met, one row each. models, samples: by name; the turns of a conversation are one sample, as they are
    not independent. sample, a, b: places therein (V). score: of a, 1, ½ or 0, or its share where a judge told its odds.

    The same pair may meet on the same sample more than once: in another order or turn, before another judge.
    """

    models: tuple[str, ...]
    samples: tuple[str, ...]
    sample: Places
    a: Places
    b: Places
    score: Array

    @classmethod
    def of_verdicts(cls, verdicts: Sequence[Verdict], *, much: int = 1) -> "Battles":
        """much: so many meetings is it when the winner is much better."""
        verdicts = [each for each in verdicts for _ in range(much if each.much else 1)]
        models = tuple(sorted({name for each in verdicts for name in (each.a, each.b)}))
        known = {each.sample for each in verdicts}
        begun = {each: first_turn(each, known) for each in known}
        samples = tuple(dict.fromkeys(begun[each.sample] for each in verdicts))
        at, on = {name: n for n, name in enumerate(models)}, {name: n for n, name in enumerate(samples)}
        return cls(
            models=models,
            samples=samples,
            sample=np.array([on[begun[each.sample]] for each in verdicts], np.int32),
            a=np.array([at[each.a] for each in verdicts], np.int32),
            b=np.array([at[each.b] for each in verdicts], np.int32),
            score=np.array([each.worth for each in verdicts], np.float64),
        )

    @classmethod
    def of_scores(cls, models: Sequence[str], samples: Sequence[str], scores_NS: Array) -> "Battles":
        """Everybody meets everybody on every sample, and the higher score wins. Raises `ValueError` for NaN."""
        if not np.isfinite(scores_NS).all():
            raise ValueError("a score is not a number")
        a, b = (each.astype(np.int32) for each in np.triu_indices(len(models), 1))
        won = (np.sign(scores_NS[a] - scores_NS[b]) + 1) / 2
        return cls(
            models=tuple(models),
            samples=tuple(samples),
            sample=np.tile(np.arange(len(samples), dtype=np.int32), len(a)),
            a=np.repeat(a, len(samples)),
            b=np.repeat(b, len(samples)),
            score=won.ravel(),
        )

    def __len__(self) -> int:
        return len(self.score)

    def prompts_of_models(self) -> Places:
        """On how many prompts each model met anybody (N)."""
        seen = np.zeros((len(self.samples), len(self.models)), bool)
        seen[self.sample, self.a] = seen[self.sample, self.b] = True
        return np.asarray(seen.sum(0), np.int32)

    @cached_property
    def met(self) -> "Met":
        """Summed by pair."""
        low, high = np.minimum(self.a, self.b), np.maximum(self.a, self.b)
        keys, place = np.unique(low.astype(np.int64) * len(self.models) + high, return_inverse=True)
        mine = np.where(self.a == low, self.score, 1 - self.score)
        return Met(
            low=(keys // len(self.models)).astype(np.int32),
            high=(keys % len(self.models)).astype(np.int32),
            won=np.bincount(place, mine, len(keys)).astype(float),
            n=np.bincount(place, minlength=len(keys)).astype(float),
            place=place.astype(np.int32),
            mine=mine,
        )


@dataclass(frozen=True, kw_only=True)
class Met:
    """Pairs (P), low < high. won: by the lower, ties half. n: verdicts. place, mine: of each row (V), its pair and the
    lower's score.
    """

    low: Places
    high: Places
    won: Array
    n: Array
    place: Places
    mine: Array


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """ratings (N), covariance (N, N): log-odds, ratings summing to zero. unbounded: by model, the open sides of its
    interval (`low`, `high`); where there are any, all was regularised. replicates: (B, N) of a bootstrap, else None.
    """

    models: tuple[str, ...]
    ratings: Array
    covariance: Array
    samples: int
    unbounded: Mapping[str, frozenset[str]]
    replicates: Array | None = None

    @property
    def regularised(self) -> bool:
        return bool(self.unbounded)

    def contrasts(self) -> tuple[Array, Array]:
        """rating[i] − rating[j] and its standard error, for all pairs (N, N)."""
        spread = np.diag(self.covariance)
        variance = spread[:, None] + spread[None, :] - 2 * self.covariance
        return self.ratings[:, None] - self.ratings[None, :], np.sqrt(np.maximum(variance, 0))

    def relative_to(self, model: str) -> "Fitted":
        """The same with one model's rating at zero, which is then certain."""
        at = self.models.index(model)
        shift = np.eye(len(self.models))
        shift[:, at] -= 1
        moved = None if self.replicates is None else self.replicates @ shift.T
        covariance = shift @ self.covariance @ shift.T
        return replace(self, ratings=shift @ self.ratings, covariance=covariance, replicates=moved)


def fit(battles: Battles, *, resamples: int = 0, seed: int = 0) -> Fitted:
    """resamples: bootstrap draws of prompts; 0 for the sandwich.

    Raises `ConfigError` for models that nothing connects, naming the groups; for fewer than two models or prompts.
    """
    _must_be_enough(battles)
    met, models = battles.met, battles.models
    _must_be_connected(models, met)
    unbounded = _unbounded(models, met)
    prior = 1 / PRIOR_SD**2 if unbounded else 0.0
    ratings, bread = maximum(met, len(models), met.won, met.n, prior)
    replicates = None
    if resamples:
        replicates = _resampled(battles, ratings, prior, resamples, seed)
        covariance = np.cov(replicates.T)
    else:
        covariance = _sandwich(battles, ratings, bread)
    if unbounded:
        covariance = _at_least(covariance, bread, np.ones(len(models)))
    return Fitted(
        models=models,
        ratings=ratings,
        covariance=covariance,
        samples=len(battles.samples),
        unbounded=unbounded,
        replicates=replicates,
    )


def _must_be_enough(battles: Battles) -> None:
    if len(battles.models) < 2:
        raise ConfigError(f"an arena needs at least two models, and here are {len(battles.models)}")
    if len(battles.samples) < 2:
        raise ConfigError(f"an interval needs at least two prompts, and here are {len(battles.samples)}")


def _must_be_connected(models: Sequence[str], met: Met) -> None:
    count, group = _components(len(models), met.low, met.high, "weak")
    if count > 1:
        groups = (
            ", ".join(name for name, of in zip(models, group, strict=True) if of == each) for each in range(count)
        )
        raise ConfigError(
            f"the models fall into {count} groups that never met: {'; '.join(f'[{each}]' for each in groups)}. Judge a "
            f"pair across them, or rate each group alone"
        )


def _components(n: int, tail: Places, head: Places, connection: str) -> tuple[int, NDArray[np.int32]]:
    graph = sparse.coo_matrix((np.ones(len(tail)), (tail, head)), (n, n))
    count, group = connected_components(graph, directed=True, connection=connection)
    return int(count), group


def _unbounded(models: Sequence[str], met: Met) -> dict[str, frozenset[str]]:
    """Of models that never lost to a group outside their own: no upper bound; that never won: no lower; of those in
    between, neither.
    """
    took, gave = met.won > 0, met.won < met.n  # points of the lower; of the higher
    winner = np.concatenate([met.low[took], met.high[gave]])
    loser = np.concatenate([met.high[took], met.low[gave]])
    count, group = _components(len(models), winner, loser, "strong")
    if count == 1:
        return {}
    across = group[winner] != group[loser]
    beaten, beating = set(group[loser[across]]), set(group[winner[across]])
    sides = {each: _open_sides(each in beaten, each in beating) for each in range(count)}
    return {name: sides[of] for name, of in zip(models, group, strict=True)}


def _open_sides(beaten: bool, beating: bool) -> frozenset[str]:
    if beaten == beating:
        return frozenset({"low", "high"})
    return frozenset({"low"}) if beaten else frozenset({"high"})


def maximum(
    met: Met, n: int, won: Array, times: Array, prior: float, start: Array | None = None
) -> tuple[Array, Array]:
    """Newton with halved steps: ratings, and the inverse of the information (N, N), on the plane of sum zero.

    prior: precision of the normal prior. The likelihood is concave, so that there is one maximum.
    """
    level = np.full((n, n), 1 / n)  # takes the direction out in which nothing is said: all ratings moved at once
    ratings = np.zeros(n) if start is None else start
    at = _height(met, won, times, ratings, prior)
    for _ in range(_STEPS):
        p = expit(ratings[met.low] - ratings[met.high])
        slope = _spread(met, won - times * p, n) - prior * ratings
        curve = _laplacian(met, times * p * (1 - p), n) + prior * np.eye(n) + level
        step = np.linalg.solve(curve, slope)
        ratings, at = _uphill(met, won, times, prior, ratings, at, step)
        if np.abs(step).max() < _CLOSE:
            break
    p = expit(ratings[met.low] - ratings[met.high])
    information = _laplacian(met, times * p * (1 - p), n) + prior * (np.eye(n) - level)
    return ratings - ratings.mean(), np.linalg.inv(information + level) - level


def _uphill(
    met: Met, won: Array, times: Array, prior: float, ratings: Array, at: float, step: Array
) -> tuple[Array, float]:
    for _ in range(60):
        there = _height(met, won, times, ratings + step, prior)
        if there >= at - 1e-12 * abs(at):
            return ratings + step, there
        step = step / 2
    return ratings, at


def _height(met: Met, won: Array, times: Array, ratings: Array, prior: float) -> float:
    """Log-likelihood, with the prior."""
    difference = ratings[met.low] - ratings[met.high]
    return float((won * difference - times * np.logaddexp(0, difference)).sum() - prior * (ratings @ ratings) / 2)


def _spread(met: Met, values: Array, n: int) -> Array:
    """Added to the lower of each pair, taken from the higher."""
    return np.asarray(np.bincount(met.low, values, n) - np.bincount(met.high, values, n), np.float64)


def _laplacian(met: Met, weights: Array, n: int) -> Array:
    matrix = np.zeros((n, n))
    matrix[met.low, met.high] = matrix[met.high, met.low] = -weights
    np.fill_diagonal(matrix, -matrix.sum(1))
    return matrix


def _sandwich(battles: Battles, ratings: Array, bread: Array) -> Array:
    """Where a model met fewer than `FEW` prompts, no less than the error that the model of Bradley and Terry implies;
    elsewhere no less than if one verdict more were lost and one more won, as Bonett & Price (2012) have it for a pair.
    Ties alone leave no residual, and are no certainty.
    """
    n, met, prompts = len(battles.models), battles.met, len(battles.samples)
    left = met.mine - expit(ratings[met.low] - ratings[met.high])[met.place]
    cell = battles.sample.astype(np.int64) * n
    scores_SN = np.bincount(cell + met.low[met.place], left, prompts * n)
    scores_SN -= np.bincount(cell + met.high[met.place], left, prompts * n)
    moved_SN = scores_SN.reshape(prompts, n) @ bread
    covariance = np.asarray(moved_SN.T @ moved_SN * prompts / (prompts - 1))
    met_on = np.maximum(battles.prompts_of_models(), 1)
    return _at_least(covariance, bread, np.where(met_on < FEW, 1.0, 2 * met_on / (met_on + 2) ** 2))


def _at_least(covariance: Array, bread: Array, part: Array) -> Array:
    """With as much of the model's own error added as each variance lacks to this part of it."""
    lacking = np.sqrt(np.maximum(part - np.diag(covariance) / np.diag(bread), 0))
    return np.asarray(covariance + lacking[:, None] * bread * lacking[None, :])


def _resampled(battles: Battles, ratings: Array, prior: float, resamples: int, seed: int) -> Array:
    """Ratings of prompts drawn with replacement (B, N). A weak prior where a draw separates what was not separate."""
    met, n, prompts = battles.met, len(battles.models), len(battles.samples)
    draws_BS = np.random.default_rng(seed).multinomial(prompts, np.full(prompts, 1 / prompts), resamples)
    by_pair = (battles.sample, met.place)
    won_SP = sparse.csr_matrix((met.mine, by_pair), (prompts, len(met.n)))
    n_SP = sparse.csr_matrix((np.ones(len(met.mine)), by_pair), (prompts, len(met.n)))
    if won_SP.nnz > won_SP.shape[0] * won_SP.shape[1] / 4:  # dense is faster then
        won_SP, n_SP = won_SP.toarray(), n_SP.toarray()
    found = np.empty((resamples, n))
    for at in range(0, resamples, 200):  # bounds the memory
        weights = draws_BS[at : at + 200].astype(float)
        for row, (won, times) in enumerate(zip(weights @ won_SP, weights @ n_SP, strict=True), start=at):
            found[row], _ = maximum(met, n, won, times, max(prior, 1e-3), ratings)
    return found


def interval(fitted: Fitted, at: int, level: float = 0.95) -> tuple[float | None, float | None]:
    """Of one rating; None where it has no bound."""
    if fitted.replicates is not None:
        low, high = np.quantile(fitted.replicates[:, at], [(1 - level) / 2, (1 + level) / 2])
    else:
        reach = stats.t.ppf((1 + level) / 2, fitted.samples - 1) * np.sqrt(fitted.covariance[at, at])
        low, high = fitted.ratings[at] - reach, fitted.ratings[at] + reach
    open_ = fitted.unbounded.get(fitted.models[at], frozenset())
    return None if "low" in open_ else float(low), None if "high" in open_ else float(high)


def ranks(fitted: Fitted, level: float = 0.95, draws: int = 2000, seed: int = 0) -> list[tuple[int, int]]:
    """Best and worst rank of each model: those that are surely above it, and those surely not below it.

    Each model's set holds its true rank with probability `level` (Mogstad, Romano, Shaikh & Wilhelm 2024): its
    differences from all others are judged at once, by the largest that chance alone would give.
    """
    n = len(fitted.models)
    difference, error = fitted.contrasts()
    values, vectors = np.linalg.eigh(fitted.covariance)
    noise_DN = np.random.default_rng(seed).standard_normal((draws, n)) @ (vectors * np.sqrt(np.maximum(values, 0))).T
    found = []
    for at in range(n):
        others = np.arange(n) != at
        scale = np.where(error[at, others] > 0, error[at, others], np.inf)
        most = np.abs((noise_DN[:, [at]] - noise_DN[:, others]) / scale).max(1)
        reach = np.quantile(most, level) * error[at, others]
        above, below = difference[at, others] < -reach, difference[at, others] > reach
        found.append((1 + int(above.sum()), n - int(below.sum())))
    return found
