"""Numbers that are not known yet, as draws from what is known, and the interval that the draws make.

A mean of n measured values is drawn as Student's t has it (mean + t · s/√n with n − 1 degrees of freedom; W. S. Gosset,
Biometrika 6, 1908): it widens where few were measured. One value alone is taken as half to twice itself, since it says
nothing of its spread. The interval is that between the 2.5th and the 97.5th percentile.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trueseed.report.planned import Range

Floats = NDArray[np.float64]


def mean(
    values: Sequence[float], rng: np.random.Generator, draws: int, *, low: float = 0.0, high: float = math.inf
) -> Floats:
    """Draws of the mean that many such values will have, within bounds that are known. values: at least one."""
    found = np.asarray(values, dtype=float)
    if len(found) == 1:
        drawn = float(found[0]) * between(0.5, 2.0, rng, draws)
    else:
        spread = float(found.std(ddof=1)) / math.sqrt(len(found))
        drawn = float(found.mean()) + spread * rng.standard_t(len(found) - 1, draws)
    clipped: Floats = np.clip(drawn, low, high)
    return clipped


def between(low: float, high: float, rng: np.random.Generator, draws: int) -> Floats:
    """Anything from `low` to `high` (both above 0), where nothing says what is likelier: log-uniform."""
    drawn: Floats = np.exp(rng.uniform(math.log(low), math.log(high), draws))
    return drawn


def interval(drawn: Floats) -> Range:
    low, likely, high = (float(each) for each in np.quantile(drawn, (0.025, 0.5, 0.975)))
    return Range(likely=likely, low=low, high=high)
