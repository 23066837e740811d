"""Small letters and capitals."""

import re

from trueseed.checks.kind import Kind, nothing
from trueseed.checks.text import count, words


def lowercase(answer: str) -> str:
    """At least one letter, and no capital."""
    capital = next((word for word in answer.split() if any(map(str.isupper, word))), None)
    if capital is not None:
        return f"it has a capital letter, in {capital!r}"
    return "" if any(map(str.islower, answer)) else "it has no small letters"


def uppercase(answer: str) -> str:
    """At least one capital, and no small letter."""
    small = next((word for word in answer.split() if any(map(str.islower, word))), None)
    if small is not None:
        return f"it has small letters, in {small!r}"
    return "" if any(map(str.isupper, answer)) else "it has no capital letters"


def capitalised_words(answer: str) -> str:
    """Every word that begins with a letter begins with a capital; at least two words."""
    if (plain := _plain(answer)) is not None:
        return f"the word {plain!r} does not begin with a capital letter"
    return "" if len(words(answer)) >= 2 else "it has fewer than two words"


def _plain(answer: str) -> str | None:
    """The first word that begins with a small letter."""
    return next((word for word in words(answer) if (first := re.search(r"\w", word)) and first[0].islower()), None)


def shouted_words(answer: str, n: int) -> str:
    """At least n words of two letters or more in capitals only, and at least one word with a small letter."""
    found = [word for word in words(answer) if sum(map(str.isalpha, word)) >= 2 and word.isupper()]
    if len(found) < n:
        return f"it has {count(len(found), 'word')} in capital letters, and needs at least {n}"
    return "" if any(map(str.islower, answer)) else "all of it is in capital letters"


KINDS = (
    Kind(
        name="lowercase",
        family="case",
        fault=lowercase,
        doomed=lambda beginning: any(map(str.isupper, beginning)),
        draw=nothing,
        wordings=(
            "Write everything in lowercase letters.",
            "Use only small letters, no capitals at all.",
            "Your whole answer must be in lowercase.",
            "No capital letters, please.",
        ),
        how="Every letter must be small, also the first letter of a sentence, the word i, and all names.",
    ),
    Kind(
        name="uppercase",
        family="case",
        fault=uppercase,
        doomed=lambda beginning: any(map(str.islower, beginning)),
        draw=nothing,
        wordings=(
            "Write everything in capital letters.",
            "USE ONLY CAPITAL LETTERS.",
            "Your whole answer must be in uppercase.",
            "Answer in all caps.",
        ),
        how="Type as if CAPS LOCK were on: EVERY WORD IN CAPITAL LETTERS, LIKE THIS.",
    ),
    Kind(
        name="capitalised_words",
        family="case",
        fault=capitalised_words,
        doomed=lambda beginning: _plain(beginning) is not None,
        draw=nothing,
        wordings=(
            "Begin every word with a capital letter.",
            "Write it in title case, with each word capitalised.",
            "Capitalise the First Letter of every single word.",
        ),
        how="Every Word Must Begin With A Capital Letter, Like In This Sentence, Also Small Words Such As And Or The.",
    ),
    Kind(
        name="shouted_words",
        family="case",
        fault=shouted_words,
        draw=lambda rng: {"n": rng.choice((1, 2, 2))},
        say=lambda args: {"n": count(args["n"], "word")},
        wordings=(
            "Put at least {n} in ALL CAPS.",
            "Write at least {n} entirely in capital letters.",
            "Stress at least {n} by writing it in CAPITALS.",
        ),
        how="Write normally, but put the most IMPORTANT words (at least {n}) in capital letters, LIKE THIS.",
    ),
)
