"""What is left of a text when case, accents' encoding, punctuation and spacing do not count; and what is left when
look-alike letters and everything that redaction takes out do not count either.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources

from trueseed.core.canonical import sha256

# What a redactor leaves in brackets. Whatever holds a digit, an address or a link goes as well: redactors take it out.
_MARK = re.compile(
    r"<[A-Za-z][\w:#.-]*>|<[A-Z][A-Z0-9_ ]*>|\[[A-Za-z][\w:#.-]*\]|\[[A-Z][A-Z0-9_ ]*\]|\{\{?[A-Za-z][\w ]*\}?\}"
)
_LATIN_AT_LEAST = 1 / 3  # of the letters: in a text of another script nothing is written to look like Latin
_LATIN, _OTHER = re.compile(r"[A-Za-z]"), re.compile(r"[^\W\d_A-Za-z]")


def normalise(text: str) -> str:
    """Lower-case words of letters and digits joined by one space, after Unicode NFKC.

    >>> normalise("  Don't   PANIC—ever. ")
    'don t panic ever'
    """
    return " ".join(re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).lower()))


def bare(text: str) -> str:
    """As `normalise`, of the letters alone: without numbers, addresses and links, and without the marks that redaction
    puts in their place; look-alikes (Unicode TR39), accents and invisible characters folded.

    >>> bare("Write to Jo@example.com, or call 030 1234!") == bare("writе to <EMAIL_ADDRESS_3f2a>, or call [PHONE]")
    True
    """
    if not text.isascii():
        text = _folded(text)
    if "@" in text or "://" in text or "www." in text:
        text = " ".join(word for word in text.split() if not _reachable(word))
    if "<" in text or "[" in text or "{" in text:
        text = _MARK.sub(" ", text)
    words = re.findall(r"[^\W_]+", text.lower())
    return " ".join([word for word in words if word.isalpha() and word.strip("x")])


def fingerprint(text: str) -> str:
    """SHA-256 of the normalised text: equal for texts that differ in case, punctuation or spacing only."""
    return sha256(normalise(text).encode())


def shingles(text: str, n: int) -> set[str]:
    """Runs of `n` words of the normalised text; the whole text when it has fewer."""
    return runs(normalise(text), n)


def runs(words: str, n: int) -> set[str]:
    """Runs of `n` of the words, which stand with one space between; all of them when there are fewer."""
    each = words.split()
    return {" ".join(each[i : i + n]) for i in range(max(1, len(each) - n + 1))} if each else set()


def _reachable(word: str) -> bool:
    return "@" in word or "://" in word or word.lower().startswith("www.")


def _folded(text: str) -> str:
    text = unicodedata.normalize("NFKD", text)
    latin, other = len(_LATIN.findall(text)), len(_OTHER.findall(text))
    return text.translate(_LOOKING_LATIN if latin >= (latin + other) * _LATIN_AT_LEAST else _VISIBLE)


class _Folding(dict[int, str]):
    """For `str.translate`: drops accents and what is invisible, and replaces what stands in `alike`."""

    def __init__(self, alike: Callable[[], Mapping[int, str]]) -> None:
        self._alike = alike

    def __missing__(self, code: int) -> str:
        each = chr(code)
        dropped = not each.isascii() and unicodedata.category(each) in ("Cf", "Mn")
        self[code] = "" if dropped else self._alike().get(code, each)
        return self[code]


@cache
def _alike() -> dict[int, str]:
    """Letters that look like a Latin one, from the Unicode confusables as `confusable-homoglyphs` ships them."""
    shipped = resources.files("confusable_homoglyphs").joinpath("confusables.json").read_text(encoding="utf-8")
    found: dict[int, str] = {}
    for letter, alike in json.loads(shipped).items():
        latin = [each["c"] for each in alike if len(each["c"]) == 1 and each["c"].isascii() and each["c"].isalpha()]
        if len(letter) == 1 and not letter.isascii() and latin:
            found[ord(letter)] = latin[0]
    return found


_VISIBLE = _Folding(dict)
_LOOKING_LATIN = _Folding(_alike)
