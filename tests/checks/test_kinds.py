"""Laws that every kind of constraint keeps, and the edges of single ones."""

import json
import string
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueseed.checks import (
    HELD_OUT_KINDS,
    KINDS,
    TRAIN_KINDS,
    Constraint,
    check,
    doomed,
    fault,
    how,
    kind,
    phrase,
    sample,
    unsound,
)
from trueseed.errors import ConfigError

# Words of the letters a e h i l n o r s t alone, none of which a constraint may ask to avoid.
PLAIN = (
    "his aria tells on stone shores near those roses she sees then another lion there he listens to rain as trains "
    "rest in tents not stairs hens hear a hare so all nests loosen less"
)
SOUP = "Tomato soup warms cold hands quickly"
PARTS = ("tomatoes", "onions", "beans", "leeks")

# One right answer for every kind and whatever arguments it draws.
WITNESSES: dict[str, Callable[..., str]] = {
    "words_at_most": lambda n: " ".join(PLAIN.split()[:n]),
    "words_at_least": lambda n: f"{PLAIN} {PLAIN[::-1]} {SOUP}",
    "sentence_count": lambda n: " ".join(f"Soup with {part} tastes good." for part in PARTS[:n]),
    "line_count": lambda n: "\n".join(f"Soup with {part}" for part in PARTS[:n]),
    "lowercase": lambda: "tomato soup, as i make it in may.",
    "uppercase": lambda: "TOMATO SOUP, AS I MAKE IT IN MAY.",
    "capitalised_words": lambda: "Tomato Soup Is Made Of 3 Things.",
    "shouted_words": lambda n: "Soup is BEST served very HOT.",
    "keyword": lambda word: f"{SOUP}, {word}.",
    "two_keywords": lambda first, second: f"{SOUP}: {second}, {first}.",
    "keyword_times": lambda word, n: f"{SOUP}: {word}, {word} and {word}.",
    "avoided_word": lambda word: "Hot soup warms cold hands quickly.",
    "avoided_letter": lambda letter: " ".join(word for word in PLAIN.split() if len(word) > 3),
    "no_commas": lambda: f"{SOUP}.",
    "first_letter": lambda letter: f"{letter}ll {SOUP}.",
    "digits": lambda n: "Boil 3 tomatoes for 20 minutes.",
    "highlights": lambda n: "Boil *ripe tomatoes* for *twenty minutes* in *salted water*.",
    "placeholders": lambda n: "Dear [name], come to [place] on [date] for soup.",
    "parentheses": lambda: "Boil tomatoes (the ripe ones) for long.",
    "starts_with": lambda phrase: f"{phrase} {SOUP}.",
    "ends_with": lambda phrase: f"{SOUP}. {phrase}",
    "quoted": lambda: f'"{SOUP}."',
    "final_question": lambda: f"{SOUP}. Would you like some?",
    "opening_question": lambda: f"Are you cold? {SOUP}.",
    "final_exclamation": lambda: f"{SOUP}!",
    "postscript": lambda: f"{SOUP}.\n\nP.S. Add some basil.",
    "angle_title": lambda: f"<<Warm Hands>>\n{SOUP}.",
    "heading": lambda: f"# Warm hands\n\n{SOUP}.",
    "signature": lambda name: f"{SOUP}.\n{name}",
    "hashtags": lambda n: f"{SOUP}. {' '.join(['#soup', '#tomato', '#warm'][:n])}",
    "greeting": lambda name: f"Hi {name}, {SOUP.lower()}.",
    "bullets": lambda n: "\n".join(f"- soup with {part}" for part in PARTS[:n]),
    "numbered": lambda n: "\n".join(f"{i}. soup with {part}" for i, part in enumerate(PARTS[:n], 1)),
    "lettered": lambda n: "\n".join(
        f"{letter}) soup with {part}" for letter, part in zip("abcd"[:n], PARTS[:n], strict=True)
    ),
    "comma_list": lambda n: ", ".join((*PARTS, "sweet peppers")[:n]),
    "arrows": lambda n: " -> ".join(("chop tomatoes", "boil everything", "serve hot")[:n]),
    "json_object": lambda keys: json.dumps({key: f"{SOUP} {i}" for i, key in enumerate(keys)}),
    "table": lambda n: "\n".join(["| Soup | Why |", "| --- | :-: |", *[f"| {part} | warm |" for part in PARTS[:n]]]),
    "code_block": lambda: f"```\n{SOUP}.\n```",
    "tagged": lambda tag: f"<{tag}>{SOUP}.</{tag}>",
    "sections": lambda n: "\n".join(f"SECTION {i}\nSoup with {part}." for i, part in enumerate(PARTS[:n], 1)),
    "starred_parts": lambda n: "\n***\n".join(f"Soup with {part}." for part in PARTS[:n]),
    "paragraphs": lambda n: "\n\n".join(f"Soup with {part}." for part in PARTS[:n]),
    "labelled": lambda labels: "\n".join(
        f"{label}: soup with {part}" for label, part in zip(labels, PARTS[:2], strict=True)
    ),
    "verdict": lambda label, choices: f"{SOUP}.\n{label}: {choices[-1]}",
}

constraints = st.builds(
    lambda name, seed: sample(name, Random(seed)), st.sampled_from(sorted(KINDS)), st.integers(min_value=0)
)
# Texts that come near the forms: marks and short words rather than random letters.
fragments = st.sampled_from(
    ["\n", "\n\n", " ", "- ", "* ", "1. ", "a) ", "```", "***", "SECTION 1", '"', "“", "<<", ">>", "[", "]", "(", ")",
     "|", "---", "{", "}", ":", ",", ".", "!", "?", "#", "->", "P.S.", "word", "Soup", "I", "é", "ſ", "²", "１"]
)  # fmt: skip
answers = st.one_of(st.text(), st.lists(fragments, max_size=40).map("".join))


@given(constraints, answers, st.data())
def test_what_is_doomed_has_a_fault_whatever_follows(constraint: Constraint, rest: str, data: st.DataObject) -> None:
    witness = WITNESSES[constraint.kind](**constraint.args)
    answer = data.draw(st.sampled_from([rest, witness + rest, witness[: len(witness) // 2] + rest]))
    for end in range(len(answer) + 1):
        if doomed(constraint, answer[:end]):
            assert fault(constraint, answer)
            assert fault(constraint, answer[:end])


@given(constraints)
def test_no_beginning_of_a_right_answer_is_doomed(constraint: Constraint) -> None:
    answer = WITNESSES[constraint.kind](**constraint.args)
    assert not any(doomed(constraint, answer[:end]) for end in range(len(answer) + 1))


DOOMED: list[tuple[str, dict[str, Any], str]] = [
    ("words_at_most", {"n": 2}, "one two thr"),
    ("sentence_count", {"n": 1}, "One. Two and"),
    ("line_count", {"n": 1}, "one\nt"),
    ("lowercase", {}, "S"),
    ("uppercase", {}, "So"),
    ("capitalised_words", {}, "Hot s"),
    ("avoided_word", {"word": "the"}, "in the sun"),
    ("avoided_letter", {"letter": "b"}, "Ab"),
    ("no_commas", {}, "one,"),
    ("first_letter", {"letter": "S"}, "A"),
    ("starts_with", {"phrase": "In my view"}, "In the"),
    ("quoted", {}, "So"),
    ("quoted", {}, '"So" I'),
    ("opening_question", {}, "I see. Is"),
    ("final_exclamation", {}, "Yes! But"),
    ("angle_title", {}, "The"),
    ("heading", {}, "The"),
    ("hashtags", {"n": 1}, "#a #b"),
    ("greeting", {"name": "Ada"}, "Hello B"),
    ("bullets", {"n": 1}, "- one\n- two"),
    ("numbered", {"n": 2}, "2. two"),
    ("lettered", {"n": 2}, "b) two"),
    ("comma_list", {"n": 2}, "a, b, c"),
    ("arrows", {"n": 2}, "a -> b -> c"),
    ("json_object", {"keys": ["a"]}, "Sure"),
    ("json_object", {"keys": ["a"]}, '{"b": 1}'),
    ("json_object", {"keys": ["a"]}, '{"a": 1} is'),
    ("table", {"n": 1}, "| a | b |\n| - | - |\n| c | d |\n| e | f |\n"),
    ("code_block", {}, "So"),
    ("code_block", {}, "```\nsoup\n``` is"),
    ("tagged", {"tag": "tip"}, "So"),
    ("tagged", {"tag": "tip"}, "<tip>soup</tip> is"),
    ("sections", {"n": 2}, "SECTION 2 "),
    ("starred_parts", {"n": 2}, "a\n***\nb\n***\n"),
    ("paragraphs", {"n": 1}, "a\n\nb"),
    ("labelled", {"labels": ["Idea", "Why"]}, "Th"),
    ("labelled", {"labels": ["Idea", "Why"]}, "Idea: tea\nSo"),
    ("labelled", {"labels": ["Idea", "Why"]}, "**Tea**: tea\n"),
]


@pytest.mark.parametrize(("name", "args", "beginning"), DOOMED)
def test_a_lost_answer_is_known_early(name: str, args: dict[str, Any], beginning: str) -> None:
    assert doomed(Constraint(name, args), beginning)


@given(constraints, answers)
def test_a_check_reads_any_answer_and_never_raises(constraint: Constraint, answer: str) -> None:
    found = fault(constraint, answer)
    assert isinstance(found, str)
    assert check(constraint, answer) is (found == "")


@given(constraints)
def test_every_kind_can_be_satisfied_by_a_sound_answer(constraint: Constraint) -> None:
    answer = WITNESSES[constraint.kind](**constraint.args)
    assert fault(constraint, answer) == ""
    assert unsound(answer, "What do you cook tonight?", [constraint.args]) == ""


@given(constraints)
def test_space_around_an_answer_does_not_matter(constraint: Constraint) -> None:
    answer = WITNESSES[constraint.kind](**constraint.args)
    assert check(constraint, f"\n  {answer} \n\n")


@given(constraints)
def test_an_empty_answer_satisfies_at_most_what_it_avoids(constraint: Constraint) -> None:
    if check(constraint, ""):
        assert constraint.kind in {"words_at_most", "avoided_word", "avoided_letter", "no_commas"}
    assert unsound("")


@given(constraints, st.integers(min_value=0, max_value=20))
def test_a_phrase_mentions_its_arguments(constraint: Constraint, variant: int) -> None:
    said = phrase(constraint, variant)
    for value in _leaves(constraint.args):
        assert str(value) in said


@given(constraints)
def test_the_spelt_form_fills_its_places(constraint: Constraint) -> None:
    assert how(constraint)
    if constraint.kind != "json_object":
        assert "{" not in how(constraint)


@given(constraints)
def test_a_constraint_survives_json(constraint: Constraint) -> None:
    assert Constraint.from_json(json.loads(json.dumps(constraint.to_json()))) == constraint


@given(st.sampled_from(sorted(KINDS)), st.integers(min_value=0))
def test_the_same_seed_draws_the_same_arguments(name: str, seed: int) -> None:
    assert sample(name, Random(seed)) == sample(name, Random(seed))


def test_there_are_enough_kinds_and_none_is_on_both_sides() -> None:
    assert len(TRAIN_KINDS) >= 20
    assert len(HELD_OUT_KINDS) >= 6
    assert set(TRAIN_KINDS) | set(HELD_OUT_KINDS) == set(KINDS)
    assert not set(TRAIN_KINDS) & set(HELD_OUT_KINDS)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_kind_has_three_wordings_and_says_what_it_means(name: str) -> None:
    assert len(set(KINDS[name].wordings)) >= 3
    assert KINDS[name].fault.__doc__


def test_an_unknown_kind_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="'haiku'"):
        kind("haiku")


def _leaves(args: Mapping[str, Any]) -> list[Any]:
    """The arguments as a phrase shows them; of a lettered list it may show the last letter in place of the number."""
    return [leaf for value in args.values() for leaf in (value if isinstance(value, list) else [value])]


# What single kinds mean, at their edges: (kind, arguments, answer, whether it holds).
EDGES: list[tuple[str, dict[str, Any], str, bool]] = [
    ("words_at_most", {"n": 3}, "one two - three", True),
    ("words_at_most", {"n": 3}, "one two three four", False),
    ("words_at_least", {"n": 3}, "one two !!", False),
    ("sentence_count", {"n": 1}, 'Dr. Lee said "Go!" Then she left.', False),
    ("sentence_count", {"n": 2}, 'Dr. Lee left at noon, e.g. by bus. "Go!"', True),
    ("sentence_count", {"n": 1}, "It costs 3.50 today.", True),
    ("line_count", {"n": 2}, "one\n\n\ntwo\n", True),
    ("lowercase", {}, "i know paris.", True),
    ("lowercase", {}, "I know paris.", False),
    ("lowercase", {}, "123", False),
    ("uppercase", {}, "ALL 3 OF THEM", True),
    ("uppercase", {}, "ALL OF them", False),
    ("capitalised_words", {}, "Bread And butter", False),
    ("shouted_words", {"n": 1}, "I like it", False),
    ("shouted_words", {"n": 1}, "ALL IN CAPITALS", False),
    ("keyword", {"word": "cat"}, "Concatenate", False),
    ("keyword", {"word": "cat"}, "A CAT.", True),
    ("keyword_times", {"word": "tea", "n": 2}, "Tea and more tea", True),
    ("keyword_times", {"word": "tea", "n": 2}, "Tea and more teas", False),
    ("avoided_word", {"word": "the"}, "Then we go", True),
    ("avoided_word", {"word": "the"}, "THE end", False),
    ("avoided_letter", {"letter": "b"}, "A Big one", False),
    ("no_commas", {}, "one, two", False),
    ("first_letter", {"letter": "S"}, '"soup is good"', True),
    ("first_letter", {"letter": "S"}, "A soup", False),
    ("digits", {"n": 2}, "1. boil\n2. serve", False),
    ("digits", {"n": 2}, "12 eggs and 3 cups", True),
    ("digits", {"n": 2}, "12 eggs and 12 cups", False),
    ("highlights", {"n": 1}, "this is **bold**", False),
    ("highlights", {"n": 1}, "* a bullet\n* another", False),
    ("highlights", {"n": 2}, "*this* and *this*", False),
    ("placeholders", {"n": 1}, "a list [this has far too many words inside]", False),
    ("parentheses", {}, "(all of it here)", False),
    ("parentheses", {}, "a list: 1) one 2) two", False),
    ("starts_with", {"phrase": "In my view"}, "in my view it works", False),
    ("starts_with", {"phrase": "In my view"}, "In my view", False),
    ("ends_with", {"phrase": "Enjoy!"}, "Enjoy!", False),
    ("ends_with", {"phrase": "Enjoy!"}, "Eat it hot. Enjoy! Bye", False),
    ("quoted", {}, "“Curly ones count”", True),
    ("quoted", {}, '"one" and "two"', False),
    ("final_question", {}, "Is it? Yes.", False),
    ("opening_question", {}, "Cold?", False),
    ("final_exclamation", {}, "Great! Go!", False),
    ("postscript", {}, "P.S. only this", False),
    ("postscript", {}, "Soup.\nP. S. with basil", True),
    ("postscript", {}, "I like a P.S. at the end", False),
    ("angle_title", {}, "<<Only A Title>>", False),
    ("angle_title", {}, "Soup <<Title>>\nmore", False),
    ("heading", {}, "# One\ntext\n# Two", False),
    ("heading", {}, "#hashtag\ntext", False),
    ("signature", {"name": "Ada"}, "Soup.\n- Ada", True),
    ("signature", {"name": "Ada"}, "Soup, says Ada", False),
    ("hashtags", {"n": 2}, "Soup is a good thing #a #b #c", False),
    ("hashtags", {"n": 1}, "#soup", False),
    ("greeting", {"name": "Ben"}, "Hello there, Ben! Soup.", True),
    ("greeting", {"name": "Ben"}, "Hello Benjamin, soup.", False),
    ("bullets", {"n": 2}, "Here:\n- one\n* two\nDone.", True),
    ("bullets", {"n": 2}, "-one\n-two", False),
    ("bullets", {"n": 2}, "**one**\n**two**", False),
    ("numbered", {"n": 2}, "1) one\n2) two", True),
    ("numbered", {"n": 2}, "1. one\n1. two", False),
    ("lettered", {"n": 2}, "a) one\nc) two", False),
    ("comma_list", {"n": 3}, "one, two, three.", True),
    ("comma_list", {"n": 3}, "Sure, here are my very own favourite ones, a, b", False),
    ("arrows", {"n": 2}, "one → two", True),
    ("arrows", {"n": 2}, "one ->", False),
    ("json_object", {"keys": ["a"]}, '```json\n{"a": "soup"}\n```', True),
    ("json_object", {"keys": ["a"]}, 'Sure: {"a": "soup"}', False),
    ("json_object", {"keys": ["a"]}, '{"a": "soup", "b": 1}', False),
    ("json_object", {"keys": ["a"]}, '{"a": ""}', False),
    ("table", {"n": 1}, "| a | b |\n|---|---|\n| c | d |", True),
    ("table", {"n": 1}, "| a | b |\n|---|---|\n| c |", False),
    ("code_block", {}, "Here:\n```\nsoup\n```", False),
    ("tagged", {"tag": "note"}, "<note>soup</note> bye", False),
    ("sections", {"n": 2}, "SECTION 1: soup\nSECTION 2: bread", True),
    ("sections", {"n": 2}, "SECTION 1\nSECTION 2: bread", False),
    ("starred_parts", {"n": 2}, "soup\n***\nbread\n***", False),
    ("paragraphs", {"n": 2}, "soup\nbread", False),
    ("labelled", {"labels": ["Tip", "Example"]}, "**Tip:** boil\n**Example:** soup", True),
    ("labelled", {"labels": ["Tip", "Example"]}, "Tip: boil\nExample:", False),
    ("verdict", {"label": "Cost", "choices": ["cheap", "fair"]}, "Soup.\nCost: Fair.", True),
    ("verdict", {"label": "Cost", "choices": ["cheap", "fair"]}, "Soup.\nCost: cheap or fair", False),
]


@pytest.mark.parametrize(("name", "args", "answer", "holds"), [edge for edge in EDGES if edge[0] in KINDS])
def test_a_definition_holds_at_its_edges(name: str, args: dict[str, Any], answer: str, holds: bool) -> None:
    assert check(Constraint(name, args), answer) is holds


def test_the_words_to_avoid_leave_a_language() -> None:
    letters = set("".join(PLAIN.split()))
    avoidable = {sample("avoided_letter", Random(seed)).args["letter"] for seed in range(300)}
    assert avoidable <= set(string.ascii_lowercase)
    assert not {word for word in PLAIN.split() if len(word) > 3 and avoidable & set(word)}, letters
