"""What a concern says of a record: nothing, or why it should go."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trueseed.core.records import Record


@dataclass(frozen=True, slots=True)
class Drop:
    """reason: counted and shown. detail: for whoever looks at this one record."""

    reason: str
    detail: str = ""


# Looks at records in order, gives as many answers.
Concern = Callable[[Sequence[Record]], Sequence[Drop | None]]
