"""When a series of students will reach a target, if they go on as they did: a straight line through their gaps.

    found = project([Point(on=date(2023, 8, 1), gap=-0.31), ...], covariance_KK)
    found.on, found.low, found.high       # the day on which the line reaches zero, and the bounds of that day

The line is fitted by generalised least squares with the errors that the scores have, which are correlated: all students
answered the same prompts, and stand beside the same answers of the target. Where they scatter about the line more than
those errors say, the errors are widened by as much (Birge 1932). The bounds are Fieller's (1954): all days on which the
line may be at zero. Where the slope may be zero there is no last day, or no first one, and then none is given.

No line is drawn through fewer than three students.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]

FEWEST = 3
HORIZON = 20 * 365  # days, beyond which a date says nothing
_NO_NEARER = "as they went, they do not come nearer"
_TOO_FAR = "as they went, it takes over 20 years"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A student's score minus the target's, on the day the student was made."""

    on: date
    gap: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """on: the day on which the line reaches zero; None when it does not rise, or not within `HORIZON`. low, high: 95 %
    bounds of that day; None where there is none. slope: gain per 30 days, with its interval. because: why there is no
    day, or no bound, in words.
    """

    points: int
    on: date | None = None
    low: date | None = None
    high: date | None = None
    slope: float | None = None
    slope_low: float | None = None
    slope_high: float | None = None
    because: str = ""

    def to_json(self) -> dict[str, Any]:
        said = asdict(self)
        return {name: value.isoformat() if isinstance(value, date) else value for name, value in said.items()}


def project(points: Sequence[Point], covariance_KK: Array, *, today: date) -> Projection:
    """covariance_KK: of the gaps. Raises `ValueError` for what is not a number, or covariances of other points."""
    gaps, errors = np.array([point.gap for point in points], float), np.asarray(covariance_KK, float)
    if errors.shape != (len(points), len(points)) or not (np.isfinite(gaps).all() and np.isfinite(errors).all()):
        raise ValueError("a gap or its error is not a number")
    days = np.array([(point.on - today).days for point in points], float)
    if len(set(days)) < FEWEST:
        told = f"a line needs students of {FEWEST} days or more, and these are of {len(set(days))}"
        return Projection(points=len(points), because=told)
    (level, slope), spread = _line(days, gaps, errors)
    quantile = float(stats.t.ppf(0.975, len(points) - 2))
    reach = quantile * float(np.sqrt(spread[1, 1])) * 30
    first, last, unsure = _fieller(level, slope, spread, quantile)
    at = -level / slope if slope > 0 else np.inf
    unlikely = _NO_NEARER if slope <= 0 else _TOO_FAR if at >= HORIZON else ""
    return Projection(
        points=len(points),
        on=_day(today, at),
        low=_day(today, first),
        high=_day(today, last),
        slope=slope * 30,
        slope_low=slope * 30 - reach,
        slope_high=slope * 30 + reach,
        because="; ".join(filter(None, (unlikely, unsure))),
    )


def _line(days: Array, gaps: Array, errors: Array) -> tuple[tuple[float, float], Array]:
    """Level at day 0 and slope per day, and their covariance (2, 2)."""
    design = np.stack([np.ones_like(days), days], 1)
    weight = np.linalg.pinv(errors, hermitian=True)
    spread = np.linalg.inv(design.T @ weight @ design)
    found = spread @ design.T @ weight @ gaps
    left = gaps - design @ found
    scatter = max(1.0, float(left @ weight @ left) / (len(days) - 2))
    return (float(found[0]), float(found[1])), spread * scatter


def _fieller(level: float, slope: float, spread: Array, quantile: float) -> tuple[float, float, str]:
    """Days t with (level + slope t)² ≤ quantile² var(level + slope t), and why one bound is infinite, or both are: the
    roots of a t² + 2 b t + c = 0, between which those days lie where the slope is surely not zero (a > 0); else beyond.
    """
    q2 = quantile**2
    a = slope**2 - q2 * spread[1, 1]
    b = level * slope - q2 * spread[0, 1]
    c = level**2 - q2 * spread[0, 0]
    if a > 0 and slope <= 0:
        return -np.inf, np.inf, ""
    if a > 0:
        root = np.sqrt(max(b * b - a * c, 0.0))
        return float((-b - root) / a), float((-b + root) / a), ""
    if c <= 0 or a == 0 or b * b <= a * c:
        return -np.inf, np.inf, "whether they come nearer is not sure, and the gap is not either: the day has no bounds"
    later = max((-b + sign * np.sqrt(b * b - a * c)) / a for sign in (-1, 1))  # today lies between the roots
    return float(later), np.inf, "whether they come nearer is not sure: the day has no last bound"


def _day(today: date, days: float) -> date | None:
    """None for what is further off than `HORIZON`."""
    return today + timedelta(days=round(days)) if abs(days) < HORIZON else None
