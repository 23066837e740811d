import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueseed.checks import unsound
from trueseed.checks.sound import spoilt

QUESTION = 'How do I keep soup warm until lunch? Include the word "happy".'


@pytest.mark.parametrize(
    "answer",
    [
        "Use a thermos, and warm it with hot water first.",
        "soup, bread, salt",
        "| Soup | Why |\n| --- | --- |\n| tomato | warm |\n| onion | cheap |\n| bean | filling |",
        "To keep soup warm until lunch, fill it into a hot thermos.",
        "Tell the cook: I'm sorry, but my soup is cold.",
        "I'm sorry, but I can't come to your happy lunch.",
    ],
)
def test_an_answer_that_says_something_is_sound(answer: str) -> None:
    assert unsound(answer, QUESTION, [{"word": "happy"}]) == ""


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        ("", "next to nothing"),
        ("!!! ???", "next to nothing"),
        ("happy happy soup", "next to nothing"),
        ("very very very good soup good soup good soup good soup good soup", "repeats"),
        ("Heat it up well.\n" * 3, "repeats"),
        ("Aaaaaaaaaaaaaaaaaaaaaaaaaah that is really good", "repeats"),
        ("How do I keep soup warm until lunch?", "echoes"),
        ('How do I keep soup warm until lunch? Include the word "happy". Yes.', "echoes"),
        ("I'm sorry, but I cannot help you with happy soups.", "refuses"),
        ("I'm sorry for any confusion. Could you tell me more?", "refuses"),
        ("As a helpful AI, my tastes in soup are happy ones.", "refuses"),
        ("Happy soup is nice, but I don't have the capability to cook.", "refuses"),
    ],
)
def test_an_answer_that_only_pleases_the_check_is_not(answer: str, wrong: str) -> None:
    assert wrong in unsound(answer, QUESTION, [{"word": "happy"}])


def test_what_a_constraint_dictates_does_not_count_as_said() -> None:
    phrase = "Let me know how it goes."
    assert unsound(f"Soup. {phrase}", "", [{"phrase": phrase}]) == "it says next to nothing"


def test_a_list_of_words_as_argument_counts_as_dictated() -> None:
    assert unsound('{"name": "why"}', "", [{"keys": ["name", "why"]}]) == "it says next to nothing"


@given(
    st.lists(
        st.sampled_from(["soup ", "is ", "warm", ".", "\n", "I'm sorry, but I can't ", "help", "as an AI ", "!"]),
        max_size=40,
    )
)
def test_what_is_spoilt_is_unsound_whatever_follows(pieces: list[str]) -> None:
    answer = "".join(pieces)
    for end in range(len(pieces) + 1):
        if spoilt("".join(pieces[:end])):
            assert unsound(answer)


@pytest.mark.parametrize(
    "beginning", ["I'm sorry, but I can't help you with", "As an AI language model, I", "so " * 20, "x" * 21 + " "]
)
def test_an_answer_that_is_spoilt_is_known_early(beginning: str) -> None:
    assert spoilt(beginning)
