"""Samples that stand in other texts."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueseed.similarity.leaks import COMMON, COMMON_SHARE, IN_A_ROW, NEAR, Leaks, Sample, words_of

LONG = "the miller of the old valley keeps nine grey geese and a bell that nobody has rung since the great flood"
WORDS = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=12).map(" ".join)


def how(index: Leaks, text: str) -> dict[str, str]:
    return {leak.sample: leak.how for leak in index.found([("prompt", text)])}


def shingles(text: str) -> set[tuple[str, ...]]:
    words = words_of(text)
    return {words[at : at + 3] for at in range(max(1, len(words) - 2))}


@given(st.lists(WORDS, min_size=1, max_size=12), WORDS)
def test_the_search_finds_what_comparing_everything_finds(texts, text):
    samples = [Sample(str(n), (each,)) for n, each in enumerate(texts)]
    stands = Counter(shingle for each in texts for shingle in shingles(each))
    wording = {each for each, n in stands.items() if n > COMMON and n > COMMON_SHARE * len(texts)}
    own = shingles(text) - wording
    found = {str(n) for n, each in enumerate(texts) if words_of(each) == words_of(text)}
    for n, each in enumerate(texts):
        other = shingles(each) - wording
        if own & other and len(own & other) / len(own | other) >= NEAR:
            found.add(str(n))
    assert how(Leaks(samples, runs=False), text).keys() == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (LONG.upper() + "!", "same"),
        (LONG.replace("nine", "ten"), "run"),
        (LONG.removesuffix(" flood"), "near"),
        ("Once more: " + " ".join(LONG.split()[:IN_A_ROW]) + " of gold.", "run"),
        ("Once more: " + " ".join(LONG.split()[: IN_A_ROW - 1]) + " made of gold.", None),
        ("Who keeps geese in the valley?", None),
    ],
)
def test_a_text_is_the_same_or_near_or_shares_thirteen_words_in_a_row(text, found):
    assert how(Leaks([Sample("s", (LONG,))]), text).get("s") == found


def test_signs_of_arithmetic_make_another_question():
    index = Leaks([Sample("s", ("What is 12 * 3 - 4?",))])
    assert how(index, "what is 12 * 3 - 4") == {"s": "same"}
    assert how(index, "What is 12 / 3 - 4?") == {}


def test_the_wording_that_all_samples_share_proves_nothing_and_short_answers_are_anybodys():
    template = "read the following carefully and then answer in one short sentence with nothing else"
    shared = [Sample(str(n), (f"{template} question {n} about {'xyz'[n % 3] * n}",), ("Paris",)) for n in range(14)]
    assert len(shared) > COMMON
    assert how(Leaks(shared), f"Now, {template}, my friend: whose boat is that?") == {}
    assert how(Leaks(shared[:COMMON]), f"Now, {template}, my friend: whose boat is that?").keys() == {
        each.id for each in shared[:COMMON]
    }
    assert Leaks(shared).found([("answer", "Paris")]) == []


def test_questions_of_one_wording_are_alike_in_what_they_ask_about_and_nothing_else():
    cities = ("France", "Japan", "Peru", "Kenya", "Norway")
    index = Leaks(
        [Sample(each, (f"Which city is the capital of the country that is called {each}?",)) for each in cities]
    )
    assert how(index, "which city is the capital of the country that is called peru") == {"Peru": "same"}


def test_the_strongest_way_is_told_with_where_it_was_found():
    index = Leaks([Sample("s", (LONG,), (LONG + " of that year",))])
    (leak,) = index.found([("prompt", f"Say: {LONG}, would you?"), ("answer", LONG)])
    assert (leak.how, leak.where, leak.part) == ("same", "answer", "prompt")
