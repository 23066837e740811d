"""How the models we hold are run, as a run file says it. Apart from the engine, so that it is read without torch."""

from typing import Any

from trueseed.core.settings import Settings
from trueseed.lm.arithmetic import Arithmetic, Weights, named


class Speed(Settings):
    """How the models we hold are run. deterministic: a text depends on its own seed and prompt alone, at a cost.
    dtype: what is computed in (see `lm.arithmetic`). weights: int8 rounds them to eight bits: faster, at a small loss.
    """

    slots: int = 64
    deterministic: bool = False
    dtype: Arithmetic = "auto"
    weights: Weights = "exact"

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the answers beside the weights: `auto` is told as what it means on this machine."""
        said = self.model_dump(exclude={"weights"} if self.weights == "exact" else None)  # as before there was a choice
        return {**said, "dtype": str(named(self.dtype)).removeprefix("torch.")}
