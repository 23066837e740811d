"""Is it an answer at all? The part of correctness that no constraint states.

An answer that satisfies a constraint by saying nothing (an echo of the instruction, a word over and over) is wrong, in
accepting records and in evaluation alike, so that a student which learned to please the checks shows.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from trueseed.checks.text import bare, lines, settled, settled_lines

MIN_OWN_WORDS = 3  # different words beside those that a constraint dictates
SHINGLE = 6  # words in a row that count as copied
MAX_ECHO = 0.5  # share of an answer's shingles that may stand in the question
MIN_DISTINCT = 0.3  # of the words of a longer answer; English prose of 100 words has about 0.6

# Everyday prompts give no reason to refuse. At the beginning of an answer ("I'm sorry, but I can't come" is a good
# reply to an invitation, so it takes a verb of serving), and anywhere, as small models put it.
_REFUSING = re.compile(
    r"\W*((i['’]?m|i am) ((very|so|truly) )?sorry|sorry|unfortunately|i apologi[sz]e)?"
    r"( for (any|the|your|this) (confusion|misunderstanding|loss)\b"
    r"|,?( but)? ?i( am|['’]?m)? ?(can(no|['’])t|unable to|not able to|not sure (how|if) i can) "
    r"(\w+ )?(help|assist|provide|answer|fulfil|respond|give|offer|generate|create|complete|support|perform|understand)"
    r"|, but as an?\b)",
    re.IGNORECASE,
)
_A_MACHINE = re.compile(
    r"\b(as|i['’]?m|i am) (just |only )?(an?|your) ([\w-]+ ){0,2}(ai|chatbot|language model|virtual assistant)\b"
    r"|\bi (don['’]t|do not) have the (capability|ability|capacity)\b",
    re.IGNORECASE,
)


def unsound(answer: str, question: str = "", dictated: Iterable[Mapping[str, Any]] = ()) -> str:
    """Empty for a sound answer, else what is wrong in one sentence. `dictated`: the arguments of its constraints.

    Sound: at least `MIN_OWN_WORDS` different words beyond the dictated ones; no line of three words occurs thrice
    and no run of four words four times; at least `MIN_DISTINCT` of the words of an answer of 20 or more are
    different; no character is repeated 20 times over; it is not mostly copied from the question, and no refusal.
    """
    found = bare(answer)
    given = {word for args in dictated for value in _texts(args) for word in bare(value)}
    if len(set(found) - given) < MIN_OWN_WORDS:
        return "it says next to nothing"
    if _repeats(answer, found):
        return "it repeats itself"
    asked = set(_shingles(bare(question), SHINGLE))
    said = list(_shingles(found, SHINGLE))
    copied = sum(shingle in asked for shingle in said)
    if (said and copied / len(said) > MAX_ECHO) or (not said and " ".join(found) in " ".join(bare(question))):
        return "it echoes the question"
    return "it refuses" if refuses(answer) else ""


def refuses(answer: str) -> bool:
    """Whether it begins as a refusal does, or speaks of itself as a machine."""
    return bool(_REFUSING.match(answer) or _A_MACHINE.search(answer))


def spoilt(beginning: str) -> bool:
    """Whether every answer that begins so is unsound: it goes round in circles already, or refuses."""
    whole = settled(beginning)
    return _in_circles(settled_lines(beginning), bare(whole), whole) or refuses(whole)


def _repeats(answer: str, found: list[str]) -> bool:
    few = len(found) >= 20 and len(set(found)) / len(found) < MIN_DISTINCT
    return few or _in_circles(lines(answer), found, answer)


def _in_circles(found_lines: list[str], found: list[str], text: str) -> bool:
    said = Counter(line for line in found_lines if len(bare(line)) >= 3)
    runs = Counter(_shingles(found, 4))
    return (
        max(said.values(), default=0) >= 3
        or max(runs.values(), default=0) >= 4
        or re.search(r"([^\s|\-])\1{19}", text) is not None
    )


def _shingles(found: list[str], n: int) -> Iterable[tuple[str, ...]]:
    return zip(*(found[i:] for i in range(n)), strict=False)


def _texts(args: Mapping[str, Any]) -> Iterable[str]:
    for value in args.values():
        yield from (value if isinstance(value, list) else [str(value)])
