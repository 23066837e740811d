import pytest

from trueseed.checks.text import bare, count, lines, listed, sentences, words


def test_a_word_has_a_letter_or_digit() -> None:
    assert words("- well-known  fact! *** 3") == ["well-known", "fact!", "3"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Mr. Fox met Mrs. Owl at 5 p.m. and left.", ["Mr. Fox met Mrs. Owl at 5 p.m. and left."]),
        ('He said "Stop!" and ran...', ['He said "Stop!"', "and ran..."]),
        ("1. Boil it.\n2. Serve it", ["Boil it.", "Serve it"]),
        ("pi is 3.14 or so", ["pi is 3.14 or so"]),
        ("...", []),
    ],
)
def test_sentences_end_in_a_mark_before_a_space_or_at_the_end_of_a_line(text: str, found: list[str]) -> None:
    assert sentences(text) == found


def test_blank_lines_do_not_count() -> None:
    assert lines(" a \n\n  \nb") == ["a", "b"]


def test_bare_words_lose_their_punctuation() -> None:
    assert bare("Don't PANIC, it's 7_8") == ["don't", "panic", "it's", "7", "8"]


def test_counting_and_listing_read_well() -> None:
    assert (count(1, "word"), count(2, "word")) == ("1 word", "2 words")
    assert listed(["a", "b", "c"]) == '"a", "b" and "c"'
