"""The arena: any number of models, rated by how they did in pairs, as a table.

    board = leaderboard(Battles.of_verdicts(verdicts))
    board.rows[0].model, board.rows[0].rating, board.rows[0].rank_best, board.rows[0].rank_worst

Ratings are in points, 400 for a tenfold advantage in odds, as in chess; the average is 1000, or one model that is
named. Without verdicts, models that were scored on the same samples meet on each of them, and the better score wins.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import log
from types import MappingProxyType
from typing import Any

import numpy as np

from trueseed import worth
from trueseed.errors import ConfigError
from trueseed.evaluate import stats
from trueseed.evaluate.bradley_terry import PRIOR_SD, Battles, fit, interval, ranks
from trueseed.evaluate.scored import Scored
from trueseed.evaluate.stats import Measured
from trueseed.evaluate.verdicts import Verdict

POINTS = 400 / log(10)  # of one log-odds
AVERAGE = 1000.0
NOTHING_KNOWN: Mapping[str, Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """rating: points; low, high: its 95 % interval, None where it has no bound. rank: by rating. rank_best, rank_worst:
    ranks that it may truly have, at 95 %. wins: share of its meetings, ties half. met: how often. samples: on how many
    prompts. contaminated: share of them that stand in what it was trained on; None where nothing of that is known.
    """

    model: str
    rating: float
    low: float | None
    high: float | None
    rank: int
    rank_best: int
    rank_worst: int
    wins: float
    met: int
    samples: int
    contaminated: float | None = None


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """rows: best first. anchor: the model at 1000, '' for their average. first: share of decided verdicts that went to
    the answer shown first, where orders are known. notes: what to know before believing it. held: how often the samples
    were looked at, and of each model what of them it was trained on, in words.
    """

    rows: tuple[Row, ...]
    verdicts: int
    samples: int
    anchor: str
    method: str
    first: Measured | None
    notes: tuple[str, ...]
    held: tuple[str, ...] = ()

    @property
    def comparisons(self) -> int:
        """Pairs of models that a reader of the table compares."""
        return len(self.rows) * (len(self.rows) - 1) // 2

    def to_json(self) -> dict[str, Any]:
        return {
            "comparisons": self.comparisons,
            "rows": [asdict(row) for row in self.rows],
            "verdicts": self.verdicts,
            "samples": self.samples,
            "anchor": self.anchor,
            "method": self.method,
            "first": self.first.to_json() if self.first else None,
            "notes": list(self.notes),
            "held": list(self.held),
        }


def of_scores(scores: Sequence[Scored], metric: str | None = None) -> Battles:
    """Everybody meets everybody on every sample. Raises `ConfigError` for scores on other samples, or of one model
    twice.
    """
    names = [each.model for each in scores]
    if len(names) < 2:
        raise ConfigError("an arena needs the scores of at least two models")
    if twice := [name for name, n in Counter(names).items() if n > 1]:
        raise ConfigError(f"{twice[0]} is there {names.count(twice[0])} times; give each model's scores once")
    ids = list(scores[0].lines)
    rows = []
    for each in scores:
        if each.task != scores[0].task or each.lines.keys() != scores[0].lines.keys():
            raise ConfigError(f"{each.model} was not measured on the samples of {scores[0].model}; measure it on them")
        worth = dict(zip(each.lines, each.values(metric or scores[0].metric), strict=True))
        rows.append([worth[sample] for sample in ids])
    return Battles.of_scores(names, ids, np.array(rows))


def shown_first(verdicts: Sequence[Verdict]) -> Measured | None:
    """How often the answer that was shown first won, of verdicts that are no ties; None of fewer than two."""
    decided = [each.first_won for each in verdicts if each.first_won is not None]
    return stats.proportion(sum(decided), len(decided)) if len(decided) > 1 else None


def leaderboard(
    battles: Battles,
    *,
    anchor: str = "",
    resamples: int = 0,
    seed: int = 7,
    first: Measured | None = None,
    about: Mapping[str, Mapping[str, Any]] = NOTHING_KNOWN,
    doubts: Sequence[str] = (),
) -> Leaderboard:
    """anchor: who has 1000 points. resamples: bootstrap draws, 0 for the sandwich. about: by model what its scores say
    of contamination and looks; of verdicts from a file nothing is known. doubts: what speaks against whoever judged.
    Raises `ConfigError` for an anchor that is not there, and as `bradley_terry.fit`.
    """
    if anchor and anchor not in battles.models:
        raise ConfigError(f"{anchor!r} is not in the arena; there are {', '.join(battles.models)}")
    fitted = fit(battles, resamples=resamples, seed=seed)
    fitted = fitted.relative_to(anchor) if anchor else fitted
    places, possible = _places(fitted.ratings), ranks(fitted, seed=seed)
    n = len(battles.models)
    met = np.bincount(battles.a, minlength=n) + np.bincount(battles.b, minlength=n)
    won = np.bincount(battles.a, battles.score, n) + np.bincount(battles.b, 1 - battles.score, n)
    seen = battles.prompts_of_models()
    rows = []
    for at, model in enumerate(battles.models):
        low, high = (None if bound is None else AVERAGE + POINTS * bound for bound in interval(fitted, at))
        rows.append(
            Row(
                model=model,
                rating=AVERAGE + POINTS * float(fitted.ratings[at]),
                low=low,
                high=high,
                rank=places[at],
                rank_best=possible[at][0],
                rank_worst=possible[at][1],
                wins=float(won[at] / met[at]),
                met=int(met[at]),
                samples=int(seen[at]),
                contaminated=worth.share(about.get(model, {})),
            )
        )
    return Leaderboard(
        rows=tuple(sorted(rows, key=lambda row: (row.rank, row.model))),
        verdicts=len(battles),
        samples=len(battles.samples),
        anchor=anchor,
        method=f"bootstrap of prompts, {resamples} draws" if resamples else "sandwich, clustered by prompt",
        first=first,
        notes=(*doubts, *_notes(fitted.unbounded, first)),
        held=tuple(_held(battles.models, about)),
    )


def _held(models: Sequence[str], about: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield from worth.of_looks(about.values())
    for model in models:
        known = worth.of_training(about[model]) if model in about else ["training data unknown"]
        yield from (f"{model}: {line}" for line in known)


def _places(ratings: Any) -> list[int]:
    """1 for the highest; equal ratings share the better place."""
    return [1 + int((ratings > each + 1e-9).sum()) for each in ratings]


def _notes(unbounded: Any, first: Measured | None) -> list[str]:
    notes = []
    if unbounded:
        who = [name for name, sides in unbounded.items() if sides]
        told = f"{', '.join(who[:5])}{' and others' if len(who) > 5 else ''}"
        notes.append(
            f"verdicts alone leave {told} without a bound (all won, or all lost): all ratings "
            f"were drawn to the average, by a normal prior of {PRIOR_SD * POINTS:.0f} points; open bounds stay open"
        )
    if first and not first.low <= 0.5 <= first.high:
        notes.append(
            f"who was shown first won {first.value:.1%} [{first.low:.1%}, {first.high:.1%}] of the decided verdicts; "
            f"believe ratings only where both orders were asked"
        )
    return notes
