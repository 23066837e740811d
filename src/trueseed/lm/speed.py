"""How the models we hold are run, as a run file says it. Apart from the engine, so that it is read without torch."""

from typing import Any

from trueseed.core.settings import Settings
from trueseed.lm.arithmetic import Arithmetic, named


class Speed(Settings):
    """How the models we hold are run. deterministic: a text depends on its own seed and prompt alone, at a cost.
    dtype: what is computed in (see `lm.arithmetic`).
    """

    slots: int = 64
    deterministic: bool = False
    dtype: Arithmetic = "auto"

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the answers beside the weights: `auto` is told as what it means on this machine."""
        return {**self.model_dump(), "dtype": str(named(self.dtype)).removeprefix("torch.")}
