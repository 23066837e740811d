"""What a provider's headers say of its limits, in seconds and counts. What they do not credibly say is unknown: None.

    Retry-After: 20 | Wed, 21 Oct 2026 07:28:00 GMT      RFC 9110 §10.2.3
    retry-after-ms: 250                                  OpenAI, Azure
    x-ratelimit-{limit,remaining,reset}-requests: 6m0s   OpenAI, Azure, Mistral, DeepSeek and most others
    anthropic-ratelimit-requests-{limit,remaining,reset} Anthropic; reset as RFC 3339

Azure is known to answer -1 for its limits, so a negative value says nothing, and neither does a time that has passed or
one further off than a monthly limit can be. Nor does "slow down" with a time of zero: what asks for quiet does not mean
at once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MONTH_S = 32 * 86400.0  # no limit that we know of is longer than a month
EPOCH_FROM = 1e9  # a bare number this large counts from 1970, not from now
EPOCH_MS_FROM = 1e12
RESOURCES = ("requests", "tokens", "input-tokens", "output-tokens")

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = r"(\d+(?:\.\d+)?)\s*(ms|d|h|m|s)"
_DURATION = re.compile(rf"(?:{_PART}\s*)+")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_IN_WORDS = re.compile(rf"(?:try again|retry|wait|reset)\D{{0,24}}?((?:{_PART}\s*)+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """One limit as the provider counts it. resets_in: seconds."""

    limit: int | None
    remaining: int | None
    resets_in: float | None


def live(headers: Mapping[str, str], now: float) -> dict[str, Live]:
    """Limits by resource (`requests`, `tokens`, …), as far as the headers say. now: seconds since 1970."""
    found = {}
    for resource in RESOURCES:
        limit, remaining, reset = (
            headers.get(f"x-ratelimit-{part}-{resource}") or headers.get(f"anthropic-ratelimit-{resource}-{part}")
            for part in ("limit", "remaining", "reset")
        )
        if any((limit, remaining, reset)):
            found[resource] = Live(
                limit=_count(limit), remaining=_count(remaining), resets_in=seconds(reset or "", now)
            )
    return found


def retry_after(headers: Mapping[str, str], message: str, now: float) -> float | None:
    """Seconds until it may be asked again, never 0: by header, else by the limit that is used up, else by message."""
    if milliseconds := seconds(headers.get("retry-after-ms", ""), now):
        return milliseconds / 1000
    if told := seconds(headers.get("retry-after", ""), now):
        return told
    used_up = [each.resets_in for each in live(headers, now).values() if each.remaining == 0 and each.resets_in]
    if used_up:
        return max(used_up)
    in_words = _IN_WORDS.search(message)
    return (seconds(in_words[1].strip(), now) or None) if in_words else None


def seconds(text: str, now: float) -> float | None:
    """Seconds from `now` (since 1970) that `text` means: a duration (`1s`, `6m0s`, `200ms`), a number of seconds, a
    time since 1970 in s or ms, an ISO 8601 time or an HTTP date. None when it is none of these, negative or absurd.
    """
    found = _seconds(text.strip(), now)
    return found if found is not None and 0 <= found <= MONTH_S else None


def _seconds(text: str, now: float) -> float | None:
    if _NUMBER.fullmatch(text):
        number = float(text)
        if number >= EPOCH_MS_FROM:
            return number / 1000 - now
        return number - now if number >= EPOCH_FROM else number
    if _DURATION.fullmatch(text):
        return sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, text))
    at = _time(text)
    return at.timestamp() - now if at else None


def _time(text: str) -> datetime | None:
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            at = read(text)
        except (ValueError, TypeError):
            continue
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    return None


def _count(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"\d{1,15}", text.strip()) else None
