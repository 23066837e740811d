"""How long an answer is: words, sentences, lines."""

import re

from trueseed.checks.kind import Kind
from trueseed.checks.text import count, lines, sentences, words


def words_at_most(answer: str, n: int) -> str:
    """No more than n words."""
    found = len(words(answer))
    return "" if found <= n else f"it has {count(found, 'word')}, and may have at most {n}"


def words_at_least(answer: str, n: int) -> str:
    """No fewer than n words."""
    found = len(words(answer))
    return "" if found >= n else f"it has {count(found, 'word')}, and needs at least {n}"


def sentence_count(answer: str, n: int) -> str:
    """Exactly n sentences."""
    found = len(sentences(answer))
    return "" if found == n else f"it has {count(found, 'sentence')}, and must have exactly {n}"


def _whole_sentences(beginning: str) -> list[str]:
    """Those that are there for sure. The marker of a numbered line is none once the line goes on."""
    found = sentences(beginning)
    return found[:-1] if found and re.fullmatch(r"\d+[.)]", found[-1]) else found


def line_count(answer: str, n: int) -> str:
    """Exactly n lines that are not blank, each with a word in it."""
    found = lines(answer)
    if len(found) != n:
        return f"it has {count(len(found), 'line')}, and must have exactly {n}"
    return "" if all(words(line) for line in found) else "one of its lines holds no word"


KINDS = (
    Kind(
        name="words_at_most",
        family="length",
        fault=words_at_most,
        doomed=lambda beginning, n: len(words(beginning)) > n,
        draw=lambda rng: {"n": rng.choice((10, 12, 15, 18, 20, 25, 30))},
        wordings=(
            "Use at most {n} words.",
            "Answer in {n} words or fewer.",
            "Keep your answer to no more than {n} words.",
            "Do not go over {n} words.",
        ),
        how="Write one short, complete sentence of fewer than {n} words, then stop.",
    ),
    Kind(
        name="words_at_least",
        family="length",
        fault=words_at_least,
        draw=lambda rng: {"n": rng.choice((20, 25, 30, 35, 40))},
        wordings=(
            "Use at least {n} words.",
            "Write no fewer than {n} words.",
            "Your answer needs {n} words or more.",
            "Make it at least {n} words long.",
        ),
        how="Write three or four full sentences, so that there are more than {n} words in all, then stop.",
    ),
    Kind(
        name="sentence_count",
        family="count",
        fault=sentence_count,
        doomed=lambda beginning, n: len(_whole_sentences(beginning)) > n,
        draw=lambda rng: {"n": rng.choice((1, 2, 2, 3, 3, 4))},
        say=lambda args: {"n": count(args["n"], "sentence")},
        wordings=(
            "Answer in exactly {n}.",
            "Write {n}, no more and no fewer.",
            "Your answer should have exactly {n}.",
            "Use exactly {n} for your answer.",
        ),
        how="Write exactly {n}, each ending with a full stop. Then stop. No list and no heading.",
    ),
    Kind(
        name="line_count",
        family="count",
        fault=line_count,
        doomed=lambda beginning, n: len(lines(beginning)) > n,
        draw=lambda rng: {"n": rng.choice((2, 3, 4))},
        wordings=(
            "Write exactly {n} lines.",
            "Your answer must have exactly {n} lines, one below the other.",
            "Split the answer over {n} lines, no more and no fewer.",
            "Give the answer as {n} separate lines.",
        ),
        how="Write a short line, press Enter, write the next, until there are exactly {n} lines. No introduction.",
    ),
)
