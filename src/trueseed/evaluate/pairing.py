"""Which pair is judged next: where one verdict more narrows the ratings most.

    for a, b in next_pairs(models, battles, count=100): ...

A verdict on i and j adds p(1 − p) of information about their difference, so that an even pair tells more than one whose
winner is known, and a pair about which little is known more than one that met often. Chosen is what takes most off the
summed variance of all ratings (A-optimal design, greedy). Whoever asks for many at once gets them as if each had been
judged before the next was chosen.

Among models within `NEAR` of each other the ratings themselves do not count. Choosing by them would drop the pairs that
look uneven by chance, so that nothing corrects them: ratings came out a tenth too far apart, and intervals that should
hold 95 of 100 held 89.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import expit

from trueseed.evaluate.bradley_terry import PRIOR_SD, Array, Battles, maximum

NEAR = 2.0  # log-odds, 350 points
EVEN = 0.2  # p(1 − p) on average within NEAR


def next_pairs(
    models: Sequence[str],
    battles: Battles | None,
    *,
    count: int = 1,
    seed: int = 0,
    room: Mapping[tuple[str, str], int] | None = None,
) -> list[tuple[str, str]]:
    """battles: what was judged so far; None for nothing. Its models must be among `models`. Even choices go by lot.
    room: how often two can still meet, whoever comes first in `models` named first; without an end where it is None.
    Fewer than `count` are chosen when nobody is left to meet.

    Raises `ValueError` for fewer than two models, and for battles of others.
    """
    if len(set(models)) < 2:
        raise ValueError("a pair needs two models")
    ratings, covariance = _known(models, battles)
    apart = ratings[:, None] - ratings[None, :]
    weight = np.where(np.abs(apart) < NEAR, EVEN, expit(apart) * expit(-apart))
    left = np.full_like(weight, np.inf)
    if room is not None:
        left = np.array([[float(room.get((one, other), 0)) for other in models] for one in models])
    return [(models[i], models[j]) for i, j in greedy(covariance, weight, count, seed, left)]


def greedy(covariance: Array, weight: Array, count: int, seed: int, left: Array | None = None) -> list[tuple[int, int]]:
    """Pairs one after the other, each where it tells most. covariance (N, N): of the ratings. weight (N, N):
    information of a verdict on each pair. left (N, N): how often each can still meet.
    """
    lot = np.random.default_rng(seed)
    left = np.full_like(weight, np.inf) if left is None else left.copy()
    chosen = []
    for _ in range(count):
        gain = np.triu(np.where(left > 0, _gain(covariance, weight), 0.0), 1)
        if gain.max() <= 0:
            break
        even = np.argwhere(gain >= gain.max() * (1 - 1e-9))
        i, j = even[lot.integers(len(even))]
        chosen.append((int(i), int(j)))
        covariance = _after(covariance, weight[i, j], i, j)
        left[i, j] -= 1
    return chosen


def _known(models: Sequence[str], battles: Battles | None) -> tuple[Array, Array]:
    """Ratings and covariance under the prior, by which what never met can be compared."""
    n, prior = len(models), 1 / PRIOR_SD**2
    if battles is None or not len(battles):
        return np.zeros(n), np.eye(n) / prior
    at = {name: place for place, name in enumerate(models)}
    if strangers := [name for name in battles.models if name not in at]:
        raise ValueError(f"{strangers[0]!r} was judged, and is not among the models")
    ours = np.array([at[name] for name in battles.models], np.int32)
    met = Battles(
        models=tuple(models),
        samples=battles.samples,
        sample=battles.sample,
        a=ours[battles.a],
        b=ours[battles.b],
        score=battles.score,
    ).met
    ratings, covariance = maximum(met, n, met.won, met.n, prior)
    return ratings, covariance


def _gain(covariance: Array, weight: Array) -> Array:
    """What a verdict on each pair takes off the trace of the covariance (Sherman & Morrison)."""
    twice = covariance @ covariance
    apart, moved = (np.add.outer(np.diag(each), np.diag(each)) - 2 * each for each in (covariance, twice))
    return np.asarray(weight * moved / (1 + weight * apart))


def _after(covariance: Array, weight: float, i: int, j: int) -> Array:
    moved = covariance[:, i] - covariance[:, j]
    return np.asarray(covariance - weight * np.outer(moved, moved) / (1 + weight * (moved[i] - moved[j])))
