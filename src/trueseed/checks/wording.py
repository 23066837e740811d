"""Which words, letters and marks an answer uses."""

import re
from random import Random

from trueseed.checks.kind import Args, Kind, nothing
from trueseed.checks.text import bare, count, settled, words

# Words that fit into an answer to nearly any everyday question.
WORDS = (
    "always", "better", "bright", "calm", "careful", "change", "choice", "clear", "clever", "comfort", "cozy",
    "curious", "daily", "easy", "energy", "enjoy", "explore", "family", "favorite", "fresh", "friend", "friendly",
    "fun", "gentle", "gift", "good", "happy", "health", "helpful", "home", "honest", "hope", "idea", "important",
    "interesting", "joy", "kind", "learn", "little", "love", "lucky", "memory", "moment", "morning", "music",
    "new", "often", "patience", "peaceful", "people", "place", "plan", "practice", "quick", "quiet", "ready",
    "remember", "safe", "share", "simple", "smart", "smile", "special", "start", "story", "strong", "sunny",
    "surprise", "time", "today", "together", "try", "useful", "warm", "welcome", "wonderful", "world",
)  # fmt: skip
# Common enough that leaving them out takes care.
AVOIDED = ("a", "also", "and", "are", "can", "for", "good", "in", "is", "it", "make", "of", "or", "that", "the", "they",
           "this", "to", "very", "with", "you", "your")  # fmt: skip
LETTERS = "bcdfgkmpuvwxyzjq"
INITIALS = "ABCDEFGHILMNOPRSTWY"


def keyword(answer: str, word: str) -> str:
    """The word stands in the answer, in any case, as a whole word."""
    return "" if word in bare(answer) else f"the word {word!r} is missing"


def two_keywords(answer: str, first: str, second: str) -> str:
    """Both words stand in the answer, in any case, as whole words."""
    return keyword(answer, first) or keyword(answer, second)


def keyword_times(answer: str, word: str, n: int) -> str:
    """The word stands in the answer at least n times, in any case, as a whole word."""
    found = bare(answer).count(word)
    return "" if found >= n else f"the word {word!r} stands there {found} times, and must at least {n} times"


def avoided_word(answer: str, word: str) -> str:
    """The word does not stand in the answer, in any case, as a whole word."""
    return f"it uses the word {word!r}" if word in bare(answer) else ""


def avoided_letter(answer: str, letter: str) -> str:
    """The letter, small or capital, does not occur."""
    found = next((word for word in answer.split() if letter in word.lower()), None)
    return "" if found is None else f"the letter {letter!r} is in {found!r}"


def no_commas(answer: str) -> str:
    """No comma occurs."""
    return "it uses a comma" if "," in answer else ""


def first_letter(answer: str, letter: str) -> str:
    """The first letter or digit of the answer is this letter, small or capital."""
    found = _initial(answer)
    if found.lower() == letter.lower():
        return ""
    return f"its first letter is {found!r}, and must be {letter!r}" if found else "it has no letters"


def _initial(answer: str) -> str:
    found = re.search(r"[^\W_]", answer)
    return found[0] if found else ""


def digits(answer: str, n: int) -> str:
    """At least n different numbers written in digits; markers of a numbered list do not count."""
    text = re.sub(r"(?m)^\s*\d+[.)]\s", "", answer)
    found = len(set(re.findall(r"\d+", text)))
    return "" if found >= n else f"it has {count(found, 'number')} in digits, and needs at least {n}"


def highlights(answer: str, n: int) -> str:
    """At least n different passages between single asterisks on one line, each with a word in it."""
    found = {match.strip() for match in re.findall(r"(?<![*\w])\*(?![*\s])([^*\n]+?)(?<!\s)\*(?!\*)", answer)}
    found = {passage for passage in found if words(passage)}
    return "" if len(found) >= n else f"{len(found)} parts are between *asterisks*, and at least {n} must be"


def placeholders(answer: str, n: int) -> str:
    """At least n different placeholders: one to four words between square brackets."""
    found = {match.strip().lower() for match in re.findall(r"\[([^\[\]\n]+)\]", answer)}
    found = {match for match in found if 1 <= len(words(match)) <= 4}
    return "" if len(found) >= n else f"it has {len(found)} placeholders in [square brackets], and needs at least {n}"


def parentheses(answer: str) -> str:
    """At least one remark in round brackets with a word in it, and at least three words outside."""
    inside = [match for match in re.findall(r"\(([^()]*)\)", answer) if re.search(r"[^\W\d_]{2}", match)]
    if not inside:
        return "nothing in it stands in (parentheses)"
    return "" if len(words(re.sub(r"\([^()]*\)", " ", answer))) >= 3 else "nearly all of it stands in parentheses"


def _two_words(rng: Random) -> Args:
    first, second = rng.sample(WORDS, 2)
    return {"first": first, "second": second}


KINDS = (
    Kind(
        name="keyword",
        family="words",
        fault=keyword,
        draw=lambda rng: {"word": rng.choice(WORDS)},
        wordings=(
            'Include the word "{word}".',
            'Use the word "{word}" somewhere in your answer.',
            'Your answer must contain the word "{word}".',
            'Make sure the word "{word}" appears.',
        ),
        how='One of your sentences must have the word "{word}" in it, spelt exactly so.',
    ),
    Kind(
        name="two_keywords",
        family="words",
        fault=two_keywords,
        draw=_two_words,
        wordings=(
            'Include the words "{first}" and "{second}".',
            'Use both "{first}" and "{second}" in your answer.',
            'The words "{first}" and "{second}" must both appear.',
            'Work in the word "{first}" and the word "{second}".',
        ),
        how='Write one sentence with the word "{first}" in it, and another with the word "{second}" in it.',
    ),
    Kind(
        name="keyword_times",
        family="words",
        fault=keyword_times,
        draw=lambda rng: {"word": rng.choice(WORDS), "n": rng.choice((2, 2, 3))},
        wordings=(
            'Use the word "{word}" at least {n} times.',
            'The word "{word}" should appear {n} times or more.',
            'Mention "{word}" at least {n} times.',
        ),
        how='Write {n} sentences, and put the word "{word}" into each of them.',
    ),
    Kind(
        name="avoided_word",
        family="words",
        fault=avoided_word,
        doomed=lambda beginning, word: word in bare(settled(beginning)),
        draw=lambda rng: {"word": rng.choice(AVOIDED)},
        wordings=(
            'Do not use the word "{word}".',
            'Avoid the word "{word}" completely.',
            'Leave out the word "{word}".',
            'Answer without using the word "{word}".',
        ),
        how='Keep it to one short sentence, and choose other words so that "{word}" is never written.',
    ),
    Kind(
        name="avoided_letter",
        family="words",
        fault=avoided_letter,
        doomed=lambda beginning, letter: letter in beginning.lower(),
        draw=lambda rng: {"letter": rng.choice(LETTERS)},
        wordings=(
            'Do not use the letter "{letter}".',
            'Avoid every word with the letter "{letter}" in it.',
            'The letter "{letter}" must not appear in your answer.',
        ),
        how='Write only a few short words, and check each of them: none may contain the letter "{letter}".',
    ),
    Kind(
        name="no_commas",
        family="words",
        fault=no_commas,
        doomed=lambda beginning: "," in beginning,
        draw=nothing,
        wordings=(
            "Do not use any commas.",
            "Write without commas.",
            "Avoid commas completely.",
            "No commas, please.",
        ),
        how='Write short sentences. Where a comma would come, write "and" or begin a new sentence.',
    ),
    Kind(
        name="first_letter",
        family="opening",
        fault=first_letter,
        doomed=lambda beginning, letter: bool(_initial(beginning)) and bool(first_letter(beginning, letter)),
        draw=lambda rng: {"letter": rng.choice(INITIALS)},
        wordings=(
            'Begin your answer with the letter "{letter}".',
            'The first word must start with "{letter}".',
            'Start with a word that begins with the letter "{letter}".',
        ),
        how='Choose a first word that begins with "{letter}", and go on from there.',
    ),
    Kind(
        name="digits",
        family="inline",
        fault=digits,
        draw=lambda rng: {"n": rng.choice((1, 1, 2))},
        say=lambda args: {"n": count(args["n"], "number")},
        wordings=(
            "Mention at least {n}, written in digits.",
            "Include {n} or more in figures (like 7 or 30).",
            "Use at least {n} in your answer, in digits.",
        ),
        how="Say how many, how long or when, and write it in digits, such as 3 or 45: at least {n}.",
    ),
    Kind(
        name="highlights",
        family="inline",
        fault=highlights,
        draw=lambda rng: {"n": rng.choice((1, 2, 2, 3))},
        say=lambda args: {"n": count(args["n"], "part")},
        wordings=(
            "Highlight at least {n} of your answer with asterisks, like *this*.",
            "Put at least {n} of it between single asterisks, *like this*.",
            "Mark at least {n} of the answer as important, using *asterisks*.",
        ),
        how="Write normally, but put one asterisk before and one after the *important words*, for at least {n}.",
    ),
    Kind(
        name="placeholders",
        family="inline",
        fault=placeholders,
        draw=lambda rng: {"n": rng.choice((1, 2, 2))},
        say=lambda args: {"n": count(args["n"], "placeholder")},
        wordings=(
            "Include at least {n} in square brackets, such as [name].",
            "Leave at least {n} in square brackets to fill in later, like [date].",
            "Use {n} or more written in square brackets, for example [place].",
        ),
        how="Instead of a name, a place or a date write [name], [place] or [date]: at least {n} in square brackets.",
    ),
    Kind(
        name="parentheses",
        family="inline",
        fault=parentheses,
        draw=nothing,
        wordings=(
            "Add a remark in parentheses.",
            "Include at least one comment in (round brackets).",
            "Somewhere in the answer, put a short aside in parentheses.",
        ),
        how="After one of the words add a short remark in round brackets (like this one).",
    ),
)
