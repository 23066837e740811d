"""Each of IFEval's 25 instructions at its edges, by the published definitions."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueseed.checks.ifeval import INSTRUCTIONS, follows, follows_loosely, instruction
from trueseed.errors import ConfigError

AT_LEAST, LESS = "at least", "less than"

EDGES = [
    ("keywords:existence", {"keywords": ["sun", "moon"]}, ("Sunny MOONS", "moon, sun"), ("sun", "so on")),
    ("keywords:frequency", {"keyword": "sun", "frequency": 2, "relation": AT_LEAST}, ("Sun sunny",), ("sun",)),
    ("keywords:frequency", {"keyword": "sun", "frequency": 2, "relation": LESS}, ("sun", "none"), ("sun sun",)),
    ("keywords:forbidden_words", {"forbidden_words": ["sun"]}, ("sunny", "moon"), ("The Sun!", "sun")),
    ("keywords:letter_frequency", {"letter": "e", "let_frequency": 2, "let_relation": AT_LEAST}, ("Eel",), ("end",)),
    ("keywords:letter_frequency", {"letter": "E", "let_frequency": 2, "let_relation": LESS}, ("end",), ("eel",)),
    ("keywords:letter_frequency", {"letter": "!", "let_frequency": 1, "let_relation": AT_LEAST}, ("a!",), ("a",)),
    ("language:response_language", {"language": "de"}, ("Das ist ein sehr schöner Tag, oder?", "123"),
     ("This is a lovely day, is it not?",)),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": LESS},
     ("Ask Dr. Smith at 3.15 p.m. today.", "One"), ("One. Two.",)),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": AT_LEAST}, ("One! Two?",), ("One, two",)),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, ("a\n***\nb", "***a***b***", "a***b"),
     ("a\n\nb", "a***b***c", "a***\n***b")),
    ("length_constraints:number_words", {"num_words": 3, "relation": AT_LEAST}, ("it's so", "a b c"), ("a-b", "... !")),
    ("length_constraints:number_words", {"num_words": 3, "relation": LESS}, ("a b",), ("a b c",)),
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "so"},
     ("a\n\nSo it is", "a\n\n\"So, it", "a\n\nso's"), ("so\n\na", "a\n\nso\n\nb", "a\nso", "a\n\nsofa")),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, ("[a] [b] [c]", "[][]"), ("[a\nb] [c]",)),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, ("a\nP. S. b", "a p.s."), ("PS: a", "p.s")),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, ("P. p. s b",), ("P.S. a",)),
    ("detectable_content:postscript", {"postscript_marker": "NB"}, ("a\nnb b",), ("n b",)),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, ("* a\n  - b", "-a\n*b"),
     ("* a", "* a\n* b\n* c", "** a\n* b")),
    ("detectable_format:constrained_response", {}, ("Well: My answer is maybe.",),
     ("My answer is yes", "my answer is no.")),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, ("*a* *b*", "*a* **b**"),
     ("*a*", "*a\nb* *c*", "* * *a*")),
    ("detectable_format:multiple_sections", {"section_spliter": "Part", "num_sections": 2}, ("Part 1\na\nPart2 b",),
     ("Part 1", "Part one Part two", "part 1 part 2")),
    ("detectable_format:json_format", {}, ('{"a": 1}', '```json\n{"a": [1]}\n```', "3"), ("{a: 1}", 'Here: {"a": 1}')),
    ("detectable_format:title", {}, ("<<A day>>\ntext", "so <<<x>>>"), ("<< >>", "<<a\nb>>", "<a>")),
    ("combination:two_responses", {}, ("a\n******\nb", "******a******b"),
     ("a******a", "a", "a******b******c", "a************b")),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say hi."}, ("say HI. Hi!", " Say hi."),
     ("Hi! Say hi.", "Say hi")),
    ("startend:end_checker", {"end_phrase": "The end."}, ("so the END.", '"So. The end."\n'),
     ("The end", "The end. ok")),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": AT_LEAST},
     ("NASA and COVID-19", "I am A", "(NASA), \"ESA\""), ("NASA", "Nasa Esa")),
    ("change_case:capital_word_frequency", {"capital_frequency": 1, "capital_relation": LESS}, ("nothing",), ("ONE",)),
    ("change_case:english_capital", {}, ("THIS IS A LOVELY DAY FOR ALL OF US",),
     ("THIS is", "DAS IST EIN SEHR SCHÖNER TAG FÜR UNS ALLE", "123")),
    ("change_case:english_lowercase", {}, ("this is a lovely day for all of us",),
     ("This is", "das ist ein sehr schöner tag für uns alle", "123")),
    ("punctuation:no_comma", {}, ("a; b",), ("a, b",)),
    ("startend:quotation", {}, ('"a"', ' "a "b" c"\n', '""'), ('"a', 'a"', '"', "“a”", "'a'")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "right", "wrong"), EDGES, ids=[edge[0] for edge in EDGES])
def test_an_instruction_is_followed_or_not(
    name: str, args: dict, right: tuple[str, ...], wrong: tuple[str, ...]
) -> None:
    told = instruction(name, args)
    assert [answer for answer in right if not follows(told, answer)] == []
    assert [answer for answer in wrong if follows(told, answer)] == []


def test_all_25_are_tested() -> None:
    assert {edge[0] for edge in EDGES} == set(INSTRUCTIONS)
    assert len(INSTRUCTIONS) == 25


def test_an_empty_answer_follows_nothing() -> None:
    assert not follows(instruction("punctuation:no_comma", {}), " \n")
    assert not follows_loosely(instruction("punctuation:no_comma", {}), "\n \n")


@pytest.mark.parametrize(
    "answer", ["Sure, here it is:\nno commas", "no commas\nBye, then", "Sure,\nno commas\nBye, then", "no commas"]
)
def test_loosely_a_first_or_a_last_line_is_left_off(answer: str) -> None:
    assert follows_loosely(instruction("punctuation:no_comma", {}), answer)


def test_loosely_asterisks_are_left_off() -> None:
    quoted = instruction("startend:quotation", {})
    assert not follows(quoted, '**"a"**')
    assert follows_loosely(quoted, '**"a"**')


def test_loosely_a_line_in_the_middle_stays() -> None:
    assert not follows_loosely(instruction("punctuation:no_comma", {}), "a\nb, c\nd")


@given(st.sampled_from(EDGES), st.text(alphabet='ab,.*\n" <>-[]', max_size=40))
@settings(max_examples=60, deadline=None)
def test_what_is_followed_strictly_is_followed_loosely(edge: tuple, answer: str) -> None:
    told = instruction(edge[0], edge[1])
    assert follows_loosely(told, answer) or not follows(told, answer)


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("length:words", {}, "no IFEval instruction 'length:words'"),
        ("punctuation:no_comma", {"n": 1}, "takes no 'n'; it takes nothing"),
        ("keywords:existence", {}, "needs 'keywords', a list, and was given None"),
        ("keywords:existence", {"keywords": "sun"}, "was given 'sun'"),
        ("length_constraints:number_words", {"num_words": 2, "relation": "exactly"}, "must be one of 'less than'"),
        ("length_constraints:number_words", {"num_words": True, "relation": AT_LEAST}, "was given True"),
        ("punctuation:no_comma", None, "needs its arguments as an object"),
        ("keywords:existence", {"keywords": [3]}, "keywords must be strings, and holds 3"),
        (
            "keywords:existence",
            {"keywords": ["sun", ":)"]},
            r"is a regular expression, which it is not .* write ':\\\\\)'",
        ),
        ("keywords:frequency", {"keyword": "(", "frequency": 1, "relation": AT_LEAST}, "a regular expression"),
        ("keywords:forbidden_words", {"forbidden_words": ["*"]}, "a regular expression"),
        ("detectable_format:multiple_sections", {"section_spliter": "[", "num_sections": 2}, "a regular expression"),
        ("detectable_content:postscript", {"postscript_marker": "P.S. \\P"}, "a regular expression"),
    ],
)
def test_a_malformed_instruction_is_a_mistake_of_the_file(name: str, args: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        instruction(name, args)


def test_null_arguments_and_whole_numbers_of_tables_are_read() -> None:
    told = instruction("length_constraints:number_words", {"num_words": 3.0, "relation": AT_LEAST, "keywords": None})
    assert told.args == {"num_words": 3, "relation": AT_LEAST}
