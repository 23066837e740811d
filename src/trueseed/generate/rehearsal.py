"""A few real questions of a recipe, asked before a run to see what it will take: the same prompts, ladder and checks.

    rows = rehearse(config, prompts, teacher, step, 8)

The first half are the very requests that the run itself asks first; the second half depends on what came of them, so
that the next rungs of the ladder are tried too. With a teacher that succeeds, all are the run's own.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trueseed.core.artifacts import Artifact
from trueseed.core.chat import Answer, ChatModel
from trueseed.core.prompts import PROMPTS_FILE, read_prompts
from trueseed.core.records import Record
from trueseed.generate.in_order import ask_in_order
from trueseed.generate.ladder import Rung
from trueseed.generate.verifiable import Config, Recipe

if TYPE_CHECKING:
    from trueseed.workspace import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One question and what came of it. Tokens are counted by the teacher."""

    kind: str
    rung: Rung
    accepted: bool
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """rows: in the order of asking. records: question and answer of each, with their origin, right or not."""

    rows: tuple[Row, ...]
    records: tuple[Record, ...]


def rehearse(config: Config, prompts: Artifact, teacher: ChatModel, step: "Step", rows: int) -> Rehearsal:
    """Asks at most `rows` questions; fewer when the run itself would be done before. Raises what the teacher raises."""
    few = config.model_copy(update={"asked_at_most": rows, "ahead": -(-rows // 2)})
    recipe = Recipe(few, read_prompts(step.read(prompts) / PROMPTS_FILE), teacher.source, step)
    seen: list[Row] = []

    def take(answer: Answer) -> None:
        (kind, rung), accepted = recipe.oldest, len(recipe.accepted)
        recipe.take(answer)
        seen.append(
            Row(
                kind=kind,
                rung=rung,
                accepted=len(recipe.accepted) > accepted,
                prompt_tokens=answer.prompt_tokens,
                completion_tokens=answer.completion_tokens,
            )
        )

    ask_in_order(teacher, recipe.want, take, ahead=few.ahead)
    return Rehearsal(rows=tuple(seen), records=(*recipe.accepted, *recipe.rejected))
