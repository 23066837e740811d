"""Runs of words that a text shares with a set of texts: how leaked evaluation prompts are found."""

from collections.abc import Iterable

from trueseed.similarity.fingerprint import fingerprint, normalise, shingles


class OverlapIndex:
    """Every run of `n` words of the given texts. Texts shorter than that are found when they are contained whole."""

    def __init__(self, texts: Iterable[str], *, n: int = 8) -> None:
        self._n = n
        self._runs: set[str] = set()
        self._short: dict[int, set[str]] = {}
        self._whole: set[str] = set()
        for text in texts:
            self._whole.add(fingerprint(text))
            length = len(normalise(text).split())
            if length >= n:
                self._runs |= shingles(text, n)
            elif length >= n // 2:  # two or three words prove nothing
                self._short.setdefault(length, set()).add(normalise(text))

    def shared(self, text: str) -> str | None:
        """A run of words (normalised) that `text` shares with the set, or None."""
        if fingerprint(text) in self._whole:
            return normalise(text)
        for run in sorted(shingles(text, self._n)):
            if run in self._runs:
                return run
        for length, texts in sorted(self._short.items()):
            for run in sorted(shingles(text, length)):
                if run in texts:
                    return run
        return None
