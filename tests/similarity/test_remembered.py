from collections.abc import Iterator
from pathlib import Path

import pytest

from trueseed.similarity.remembered import Remembered

TIDES = (
    "Tides rise because the moon pulls the nearer ocean harder than the farther one, so the water bulges on both "
    "sides of the planet and every shore turns through two high waters in a little more than a day."
)
SOUP = (
    "To keep soup warm until lunch, heat a steel flask with boiling water for five minutes, pour the water out, and "
    "fill it to the brim with soup that has just stopped boiling."
)


@pytest.fixture
def remembered(tmp_path: Path) -> Iterator[Remembered]:
    made = Remembered(tmp_path / "answers.sqlite")
    made.add(TIDES, "openai/gpt-4@api", "tides")
    made.add(SOUP, "own/cook", "soup")
    yield made
    made.close()


def test_an_answer_is_known_in_other_case_and_punctuation(remembered):
    found = remembered.recognise(TIDES.upper().replace(",", " -"))
    assert (found.about, found.kept) == ("tides", 1.0)


def test_an_answer_is_known_inside_a_longer_text(remembered):
    found = remembered.recognise(f"A friend of mine who sails once told me this at breakfast. {SOUP} I never forgot.")
    assert (found.about, found.kept) == ("soup", 1.0)


def test_an_answer_is_known_with_a_few_words_changed(remembered):
    found = remembered.recognise(TIDES.replace("planet", "earth").replace("little more", "bit more"))
    assert found.about == "tides"
    assert 0.5 <= found.kept < 1


def test_a_text_of_ones_own_is_not_known(remembered):
    assert remembered.recognise("How do I keep soup warm until lunch, and why does the water rise twice a day?") is None


def test_what_everyone_says_is_not_remembered(remembered):
    remembered.add("I'm sorry, but I can't help with that.", "own/polite", "a refusal")
    assert remembered.recognise("I'm sorry, but I can't help with that.") is None


def test_the_first_to_say_it_is_named(remembered):
    remembered.add(SOUP, "own/parrot", "someone later")
    assert remembered.recognise(SOUP).about == "soup"


def test_no_text_is_kept(remembered, tmp_path):
    remembered.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"steel flask" not in stored


def test_answers_are_still_known_by_the_next_process(remembered, tmp_path):
    remembered.close()
    again = Remembered(tmp_path / "answers.sqlite")
    assert again.recognise(TIDES).about == "tides"
    again.close()
