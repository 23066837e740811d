"""How much a server takes on."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """max_tokens: longest answer. speaking: answers in progress at once; waiting: answers queued behind them.
    prompts: texts in one request for plain completions.
    """

    max_tokens: int = 1024
    speaking: int = 8
    waiting: int = 32
    body_bytes: int = 1 << 20
    prompts: int = 256
