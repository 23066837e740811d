"""A sample: what a model is asked once, and the row of the file that it was made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """prompt: what the model is asked, whole; of a perplexity, the text. row: as the file has it. follows: the sample
    whose answer comes before this question; '' where it is the first.
    """

    id: str
    prompt: str
    row: Mapping[str, Any]
    follows: str = ""

    def to_json(self) -> dict[str, Any]:
        found = {"id": self.id, "prompt": self.prompt, "row": dict(self.row)}
        return {**found, "follows": self.follows} if self.follows else found
