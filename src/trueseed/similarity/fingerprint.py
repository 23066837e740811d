"""What is left of a text when case, accents' encoding, punctuation and spacing do not count."""

import re
import unicodedata

from trueseed.core.canonical import sha256


def normalise(text: str) -> str:
    """Lower-case words of letters and digits joined by one space, after Unicode NFKC.

    >>> normalise("  Don't   PANIC—ever. ")
    'don t panic ever'
    """
    return " ".join(re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).lower()))


def fingerprint(text: str) -> str:
    """SHA-256 of the normalised text: equal for texts that differ in case, punctuation or spacing only."""
    return sha256(normalise(text).encode())


def shingles(text: str, n: int) -> set[str]:
    """Runs of `n` words of the normalised text; the whole text when it has fewer."""
    words = normalise(text).split()
    return {" ".join(words[i : i + n]) for i in range(max(1, len(words) - n + 1))} if words else set()
