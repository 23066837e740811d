"""What a judge looks at, and how its verdict is had: what a run file says of it, apart from what asks it."""

from typing import Literal

from pydantic import Field, model_validator

from trueseed.core.settings import Settings

Method = Literal["words", "likelihood", "reference", "checks"]
"""How a verdict is had: what the judge says, how likely it finds each reply it may give, how likely it finds the
sample's reference after each answer, or the sample's own check, for which there is no model.
"""


MARGIN = 0.02  # about one half, within which a chance is a tie


class Rubric(Settings):
    """criteria: what counts, by name, in words; of a comparison what to look at, of marks one mark each. scale: the
    lowest and the highest mark. max_tokens: bound on a reply. json_schema: hold the reply to a JSON Schema, of a model
    behind an API that can do so. seed: of its replies, which are greedy where the model can be. margin: of a verdict by
    likelihood; a probability nearer to one half than this is a tie.
    """

    criteria: dict[str, str] = Field(default={"overall": "how well the answer does what was asked"}, min_length=1)
    scale: list[int] = Field(default=[1, 10], min_length=2, max_length=2)
    max_tokens: int = Field(default=160, ge=16)
    json_schema: bool = False
    seed: int = 7
    margin: float = Field(default=MARGIN, ge=0.0, lt=0.5)

    @model_validator(mode="after")
    def _low_to_high(self) -> "Rubric":
        if self.scale[0] >= self.scale[1]:
            raise ValueError(f"`scale` goes from the lowest mark to the highest, and {self.scale} does not")
        return self
