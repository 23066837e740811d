"""How far students are from a target by the verdicts of a judge: who answers better is the score, and one half the
goal.

    standing = by_verdicts(config, target, [Contest(on=…, student=…, about=…, lines=…)], judge, today=today)

Of a task of which no check tells what is right, each student's answers were compared with the target's in both orders
(`pairwise`). The gap is the rate less one half: below zero the target is preferred. What a judge said that did not
pass its card is shown as what it said; it makes no target met, and has no trend.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from trueseed.evaluate import stats
from trueseed.evaluate.stats import Measured
from trueseed.evaluate.targets import RATES, Config, Standing, Step, stands, status, together
from trueseed.worth import of_training, share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trueseed.evaluate.scored import Scored

EVEN = 0.5


@dataclass(frozen=True, kw_only=True)
class Contest:
    """A student against the target. on: the day on which it was trained. about, lines: scores.json and samples.jsonl,
    by id, of the judge's comparison.
    """

    on: date
    student: str
    about: Mapping[str, Any]
    lines: Mapping[str, Mapping[str, Any]]

    @property
    def rates(self) -> dict[str, Measured]:
        metrics = self.about["metrics"]
        return {name: Measured(**metrics[name]) for name in RATES if name in metrics}

    def influences(self, metric: str) -> "NDArray[Any]":
        """How far each sample moves the rate (N), in the order of the lines; what was not decided moves nothing."""
        import numpy as np

        from trueseed.evaluate import length_control

        points = [
            line["won"] if metric == RATES[0] or line["chance"] is None else line["chance"] for line in self._each
        ]
        decided = np.array([point is not None for point in points])
        given = np.array([point for point in points if point is not None], float)
        found = np.zeros(len(points))
        if metric == RATES[2]:
            longer = [len(line["a"]) - len(line["b"]) for line in self._each if line["won"] is not None]
            moves = length_control.influences(given.tolist(), longer)
        else:
            moves = given - given.mean()
        found[decided] = moves * len(points) / len(given)
        return found

    @property
    def held(self) -> Mapping[str, Any]:
        """What its scores say of contamination, which its answers have from them."""
        found: Mapping[str, Any] = self.about.get("contestants", {}).get("a", {})
        return found

    @property
    def _each(self) -> list[Mapping[str, Any]]:
        return list(self.lines.values())


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Whose verdicts decide. believed: whether it passed its card; None before it judged anybody. warnings: what speaks
    against it, in words.
    """

    name: str
    source: str
    method: str
    believed: bool | None
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "source": self.source,
            "method": self.method,
            "believed": self.believed,
            "warnings": list(self.warnings),
        }


def by_verdicts(
    config: Config, target: "Scored", contests: Sequence[Contest], judge: Judge, *, today: date
) -> Standing:
    """contests: against this target, on its task. One that came to no such rate is left out, and told of."""
    import numpy as np

    metric = config.metric or RATES[0]
    made = sorted((each for each in contests if metric in each.rates), key=lambda each: each.on)
    untold = [f"{each.student}: its verdicts come to no {metric}" for each in contests if metric not in each.rates]
    steps = tuple(_step(each, metric, config.margin, place) for place, each in enumerate(made, start=1))
    moves_KN = np.array([each.influences(metric) for each in made]).reshape(-1, len(target.lines))
    n = len(target.lines)
    goal = Measured(value=EVEN, se=0.0, low=EVEN, high=EVEN, n=n, method="as good as the target")
    found = stands(config, target, goal, metric, steps, together(moves_KN), today)
    return replace(found, judge=replace(judge, warnings=(*judge.warnings, *untold)).to_json())


def _step(made: Contest, metric: str, margin: float, place: int) -> Step:
    score, error = made.rates[metric], stats.spent(place)
    gap = replace(score, value=score.value - EVEN, low=score.low - EVEN, high=score.high - EVEN)
    surely = stats.widened(gap, error)
    return Step(
        student=made.student,
        on=made.on,
        score=score,
        gap=gap,
        wins=made.rates[RATES[0]].value,
        surely=surely,
        error=error,
        status=status(surely, margin) if made.about["believed"] else None,
        rates=made.rates,
        undecided=made.about["counts"]["no_verdict"],
        contaminated=share(made.held),
        contamination=tuple(of_training(made.held)),
    )
