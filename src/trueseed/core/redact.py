"""Secrets stay out of what is shown or kept: known ones by their value, others by their shape.

>>> redact("Incorrect API key provided: sk-proj-abcdefgh12345678")
'Incorrect API key provided: [key]'
"""

import re
from collections.abc import Iterable

HIDDEN = "[key]"
SHORTEST = 6  # a shorter "key" is a placeholder such as `none`, and would hide ordinary words

_SHAPES = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|hf|key|ts)[-_][A-Za-z0-9_*.-]{8,}"  # OpenAI, Anthropic, OpenRouter, Groq, Hugging Face
    r"|\bAIza[A-Za-z0-9_-]{10,}"  # Google
    r"|(?<=Bearer )[^\s\"',}]{6,}|(?<=api_key:)[^\s\"',}]{6,}"
    r"|(?<=://)[^/\s@]+(?=@)"  # a user and password within an address
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without the `secrets`, and without anything shaped like a key."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST:
            text = _without_its_beginning(text.replace(secret, HIDDEN), secret)
    return _SHAPES.sub(HIDDEN, text)


def _without_its_beginning(text: str, secret: str) -> str:
    """A text that was cut off amid the secret ends with what there was of it."""
    for shown in range(min(len(secret), len(text)), SHORTEST - 1, -1):
        if text.endswith(secret[:shown]):
            return text[:-shown] + HIDDEN
    return text
