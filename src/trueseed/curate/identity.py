"""Answers that give away a model's or a maker's name.

They go only when the run declares it (`identity_filter: true`), and the declaration is written on the dataset, from
where it shows on everything that is made of it. Taking such answers out in silence would be laundering: who reads a
student's words should be able to learn that its teacher's name was removed from them.
"""

import re
from collections.abc import Sequence

from trueseed.core.records import Record
from trueseed.curate.drop import Drop

_NAMES = re.compile(
    r"\b(smol ?lm\w*|hugging ?face|open ?ai|chat ?gpt|gpt-?[2345]\w*|anthropic|claude|deepseek|mistral( ai)?"
    r"|mixtral|qwen|alibaba cloud|llama[ -]?\d?|meta ai|gemma|gemini|google (ai|deepmind)|bard|copilot)\b",
    re.IGNORECASE,
)
# A woman may be called Gemma and a poet a bard: a name counts beside words that speak of oneself or of models.
_SPEAKER = re.compile(
    r"\b(i am|i['’]m|my name is|call me|trained by|developed by|created by|made by|built by|language model|ai model"
    r"|ai assistant|chatbot)\b",
    re.IGNORECASE,
)


def names_its_maker(answer: str) -> str:
    """The name that is given away, or nothing."""
    name = _NAMES.search(answer)
    return name[0] if name and _SPEAKER.search(answer) else ""


def identity(records: Sequence[Record]) -> list[Drop | None]:
    found = [names_its_maker(record.answer) for record in records]
    return [Drop("identity", name) if name else None for name in found]
