"""Ratings from pairs: against a brute-force optimum, a published example, and the truth of simulations."""

from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from trueseed.errors import ConfigError
from trueseed.evaluate.bradley_terry import Battles, Fitted, fit, interval, ranks
from trueseed.evaluate.pairing import greedy, next_pairs
from trueseed.evaluate.verdicts import Verdict

# Home and away wins of seven baseball teams in 1987 (Agresti, Categorical Data Analysis, table 10.10), summed
TEAMS = ("Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore")
WINS = np.array(
    [
        [0, 7, 9, 7, 7, 9, 11],
        [6, 0, 7, 5, 11, 9, 9],
        [4, 6, 0, 7, 7, 8, 12],
        [6, 8, 6, 0, 6, 7, 10],
        [6, 2, 6, 7, 0, 7, 12],
        [4, 4, 5, 6, 6, 0, 6],
        [2, 4, 1, 3, 1, 7, 0],
    ]
)
# Its maximum-likelihood ratings against Baltimore (Agresti, table 10.11)
PUBLISHED = (1.58, 1.44, 1.29, 1.25, 1.11, 0.68, 0.0)


def season() -> Battles:
    rows = [(i, j) for i in range(7) for j in range(7) for _ in range(WINS[i, j])]
    return battles_of(TEAMS, [(i, j, 1.0) for i, j in rows])


def battles_of(names, rows, samples=None) -> Battles:
    """Rows of (a, b, a's score), each on a prompt of its own unless told."""
    samples = range(len(rows)) if samples is None else samples
    known = {str(each): None for each in samples}
    at = {name: n for n, name in enumerate(known)}
    return Battles(
        models=tuple(names),
        samples=tuple(known),
        sample=np.array([at[str(each)] for each in samples], np.int32),
        a=np.array([row[0] for row in rows], np.int32),
        b=np.array([row[1] for row in rows], np.int32),
        score=np.array([row[2] for row in rows]),
    )


def drawn(truth, pairs, rng, ties=0.0) -> Battles:
    """Verdicts of models with this true rating, by Bradley and Terry's own law; some of them ties."""
    rows = []
    for i, j in pairs:
        won = float(rng.random() < 1 / (1 + np.exp(truth[j] - truth[i])))
        rows.append((i, j, 0.5 if rng.random() < ties else won))
    return battles_of([f"m{n}" for n in range(len(truth))], rows)


def test_ratings_are_those_that_were_published_of_a_baseball_season():
    found = fit(season()).relative_to("Baltimore")
    assert found.ratings == pytest.approx(PUBLISHED, abs=0.006)


def test_ratings_and_errors_are_those_of_a_brute_force_optimum():
    battles = season()

    def loss(free):
        full = np.append(free, 0.0)
        apart = full[battles.a] - full[battles.b]
        return -(battles.score * apart - np.logaddexp(0, apart)).sum()

    best = optimize.minimize(loss, np.zeros(6), method="BFGS", options={"gtol": 1e-9}).x
    steps = np.eye(6) * 1e-3
    around = [(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)]
    curve = [[sum(sign * loss(best + u * i + v * j) for u, v, sign in around) for i in steps] for j in steps]
    errors = np.sqrt(np.diag(np.linalg.inv(np.array(curve) / 4e-6)))
    found = fit(battles).relative_to("Baltimore")
    assert found.ratings[:-1] == pytest.approx(best, abs=1e-5)
    assert np.sqrt(np.diag(found.covariance))[:-1] == pytest.approx(errors, rel=0.1)  # the model's


def test_a_tie_is_half_a_win_for_each():
    tie = fit(battles_of("ab", [(0, 1, 0.5)] * 2 + [(0, 1, 1.0), (0, 1, 0.0)] * 3))
    assert tie.ratings == pytest.approx([0.0, 0.0])


def test_about_95_of_100_intervals_hold_the_true_rating():
    rng, held = np.random.default_rng(1), []
    for _ in range(120):
        truth = rng.normal(0, 0.8, 6)
        truth -= truth.mean()
        found = fit(drawn(truth, [rng.choice(6, 2, replace=False) for _ in range(250)], rng))
        bounds = [interval(found, at) for at in range(6)]
        pairs = zip(truth, bounds, strict=True)
        held += [(low is None or low <= t) and (high is None or t <= high) for t, (low, high) in pairs]
    assert 0.93 <= np.mean(held) <= 0.97


def test_verdicts_on_one_prompt_that_agree_do_not_count_as_many():
    """Nine judges who always say the same are one judge."""
    rng = np.random.default_rng(2)
    rows = [(0, 1, float(rng.random() < 0.6)) for _ in range(100)]
    once = fit(battles_of("ab", rows))
    often = fit(battles_of("ab", rows * 9, samples=[*range(100)] * 9))
    assert np.sqrt(often.covariance[0, 0]) == pytest.approx(np.sqrt(once.covariance[0, 0]), rel=0.01)


def test_two_turns_of_a_conversation_do_not_count_as_two_prompts():
    rng = np.random.default_rng(5)
    once = [
        Verdict(sample=str(n), a="x", b="y", winner=rng.choice(["a", "a", "b"]), order="ab", judge="own/j")
        for n in range(40)
    ]
    again = [replace(each, sample=f"{each.sample}/2") for each in once]
    one, both = (fit(Battles.of_verdicts(said)) for said in (once, [*once, *again]))
    assert one.samples == both.samples == 40
    assert np.diag(both.covariance) == pytest.approx(np.diag(one.covariance))


def test_a_bootstrap_of_prompts_agrees_with_the_sandwich():
    rng = np.random.default_rng(3)
    scores = (rng.random((8, 200)) < np.linspace(0.3, 0.7, 8)[:, None]).astype(float)
    battles = Battles.of_scores([f"m{n}" for n in range(8)], [str(n) for n in range(200)], scores)
    one, two = fit(battles), fit(battles, resamples=400)
    assert np.sqrt(np.diag(two.covariance)) == pytest.approx(np.sqrt(np.diag(one.covariance)), rel=0.15)


def test_who_won_everything_has_no_upper_bound_and_who_lost_everything_no_lower():
    rows = [(0, 1, 1.0), (0, 2, 1.0), (1, 2, 1.0), (2, 1, 1.0), (1, 3, 1.0), (2, 3, 1.0)] * 5
    found = fit(battles_of("abcd", rows))
    assert found.regularised
    assert interval(found, 0)[1] is None and interval(found, 0)[0] is not None
    assert interval(found, 3)[0] is None and interval(found, 3)[1] is not None
    assert interval(found, 1) == (None, None)  # of two who lost to all above and beat all below
    assert np.isfinite(found.ratings).all()
    assert found.ratings.argmax() == 0


def test_models_that_never_met_are_not_rated_together():
    with pytest.raises(ConfigError, match=r"2 groups.*\[a, b\]; \[c, d\]"):
        fit(battles_of("abcd", [(0, 1, 1.0), (1, 0, 1.0), (2, 3, 1.0), (3, 2, 1.0)]))


def test_one_tie_is_no_certainty():
    found = fit(battles_of("abc", [(0, 1, 1.0), (1, 0, 1.0)] * 20 + [(1, 2, 0.5)]))
    low, high = interval(found, 2)
    assert high - low > 4


def test_ties_alone_are_as_uncertain_as_a_pair_of_which_one_more_was_won_and_one_more_lost():
    _, error = fit(battles_of("ab", [(0, 1, 0.5)] * 60)).contrasts()
    of_shares = np.sqrt((1 / 62 + 1 / 62) / 62) / 2  # Bonett & Price, of the share that a wins
    assert error[0, 1] * 0.25 == pytest.approx(of_shares, rel=0.01)


def test_a_score_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="not a number"):
        Battles.of_scores(["a", "b"], ["1", "2"], np.array([[1, np.nan], [0, 1]]))


def test_rank_sets_hold_the_true_ranks_and_shrink_with_verdicts():
    rng, held, widths = np.random.default_rng(4), [], {}
    truth = np.linspace(1, -1, 6)
    for n in (150, 1500):
        for _ in range(15):
            found = ranks(fit(drawn(truth, [rng.choice(6, 2, replace=False) for _ in range(n)], rng)), draws=300)
            held += [best <= at + 1 <= worst for at, (best, worst) in enumerate(found)]
            widths.setdefault(n, []).append(np.mean([worst - best for best, worst in found]))
    assert np.mean(held) >= 0.95
    assert np.mean(widths[1500]) < np.mean(widths[150]) / 2


@pytest.mark.parametrize("seed", range(3))
def test_the_pair_that_is_chosen_takes_most_off_the_variances_by_brute_force(seed):
    rng, n = np.random.default_rng(seed), 6
    root = rng.normal(size=(n, n))
    covariance, weight = root @ root.T + np.eye(n), rng.uniform(0.05, 0.25, (n, n))
    weight = (weight + weight.T) / 2

    def after(i: int, j: int) -> float:
        apart = np.eye(n)[i] - np.eye(n)[j]
        return float(np.trace(np.linalg.inv(np.linalg.inv(covariance) + weight[i, j] * np.outer(apart, apart))))

    best = min(combinations(range(n), 2), key=lambda pair: after(*pair))
    assert greedy(covariance, weight, 1, seed) == [best]


def test_chosen_pairs_take_fewer_verdicts_than_random_ones_to_the_same_interval():
    chosen, random = (np.median([verdicts_to(0.3, how, seed) for seed in range(3)]) for how in ("chosen", "random"))
    assert chosen <= 0.75 * random


@given(st.lists(st.integers(0, 3), min_size=6, max_size=6), st.integers(1, 12), st.integers(0, 5))
def test_nobody_meets_more_often_than_there_is_room_and_all_room_is_used(free, count, seed):
    names = ["x", "y", "z", "w"]
    room = dict(zip(combinations(names, 2), free, strict=True))
    chosen = Counter(next_pairs(names, None, count=count, seed=seed, room=room))
    assert chosen.total() == min(count, sum(free))
    assert all(n <= room[pair] for pair, n in chosen.items())


def test_intervals_hold_as_often_where_pairs_were_chosen():
    rng, held, names = np.random.default_rng(2), [], [f"m{n}" for n in range(8)]
    for seed in range(80):
        truth, rows = rng.normal(0, 1.5, 8), []
        truth -= truth.mean()
        for _ in range(8):
            asked = next_pairs(names, battles_of(names, rows) if rows else None, count=40, seed=seed)
            pairs = [(names.index(a), names.index(b)) for a, b in asked]
            rows += [(i, j, float(rng.random() < 1 / (1 + np.exp(truth[j] - truth[i])))) for i, j in pairs]
        found = fit(battles_of(names, rows))
        bounds = [interval(found, at) for at in range(8)]
        held += [
            (low is None or low <= t) and (high is None or t <= high)
            for t, (low, high) in zip(truth, bounds, strict=True)
        ]
    assert 0.925 <= np.mean(held) <= 0.975


def verdicts_to(error: float, how: str, seed: int, models: int = 14, batch: int = 40) -> int:
    """How many it takes until the ratings have this standard error on average."""
    rng = np.random.default_rng(seed)
    truth, names, rows = rng.normal(0, 2.5, models), [f"m{n}" for n in range(models)], []
    for n in range(200):
        if how == "chosen":
            asked = next_pairs(names, battles_of(names, rows) if rows else None, count=batch, seed=n)
            pairs = [(names.index(a), names.index(b)) for a, b in asked]
        else:
            pairs = [tuple(rng.choice(models, 2, replace=False)) for _ in range(batch)]
        rows += [(i, j, float(rng.random() < 1 / (1 + np.exp(truth[j] - truth[i])))) for i, j in pairs]
        if n > 5 and _error(battles_of(names, rows)) < error:
            return len(rows)
    raise AssertionError("too many")


def _error(battles: Battles) -> float:
    try:
        found: Fitted = fit(battles)
    except ConfigError:
        return np.inf
    return np.inf if found.regularised else float(np.mean(np.sqrt(np.diag(found.covariance))))


def test_the_first_pairs_reach_every_model():
    names = [f"m{n}" for n in range(9)]
    assert {name for pair in next_pairs(names, None, count=9) for name in pair} == set(names)


def test_battles_are_the_verdicts_whoever_was_called_a():
    said = [
        Verdict(sample="1", a="x", b="y", winner="a", order="ab", judge="own/j"),
        Verdict(sample="1", a="y", b="x", winner="tie", order="ab", judge="own/j"),
        Verdict(sample="2", a="y", b="x", winner="b", order="ba", judge="own/j"),
    ]
    met = Battles.of_verdicts(said).met
    assert (met.won.tolist(), met.n.tolist()) == ([2.5], [3.0])
