"""What the checks mean by a word, a sentence and a line. The one home of these three definitions."""

import re

# A full stop after one of these does not end a sentence.
_SHORT = "".join(
    rf"(?<!\b{re.escape(it)})" for it in ("Mr", "Mrs", "Ms", "Dr", "St", "vs", "e.g", "i.e", "P", "P.S", "a.m", "p.m")
)
_ENDING = re.compile(_SHORT + r"[.!?…]+[\"'”’)\]*_]*(?=\s|$)")


def words(text: str) -> list[str]:
    """Runs of non-space characters that hold at least one letter or digit: "- well-known  fact!" has two."""
    return [word for word in text.split() if any(map(str.isalnum, word))]


def bare(text: str) -> list[str]:
    """Lower-case runs of letters, digits and apostrophes, for comparing words without their punctuation."""
    return re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.lower())


def sentences(text: str) -> list[str]:
    """Pieces that end in . ! ? or … (and closing quotes or brackets) before a space, or at the end of a line.

    Only pieces with a word count; the marker of a numbered line is no sentence; "Dr.", "e.g." and their like end none.
    """
    pieces = []
    for line in lines(text):
        line = re.sub(r"^(\d+[.)]|[-*•])\s+", "", line)
        start = 0
        for end in _ENDING.finditer(line):
            pieces.append(line[start : end.end()])
            start = end.end()
        pieces.append(line[start:])
    return [piece.strip() for piece in pieces if words(piece)]


def lines(text: str) -> list[str]:
    """Lines that are not blank, stripped."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def settled(beginning: str) -> str:
    """What of it stays as it is whatever follows: all but the last word, which may still grow."""
    return re.sub(r"\S+\Z", "", beginning)


def settled_lines(beginning: str) -> list[str]:
    """Its lines that have ended and are not blank, stripped."""
    pieces = beginning.splitlines(keepends=True)
    return lines("".join(pieces if pieces and pieces[-1].splitlines() != [pieces[-1]] else pieces[:-1]))


def count(n: int, noun: str) -> str:
    """`1 word`, `3 words`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def listed(items: list[str]) -> str:
    """`"a"`, `"a" and "b"`, `"a", "b" and "c"`."""
    quoted = [f'"{item}"' for item in items]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
