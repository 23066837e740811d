import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueseed.similarity import NearIndex, OverlapIndex, fingerprint, normalise, shingles

LONG = (
    "Fill a thermos with boiling water, wait five minutes, pour it out, and then fill in the soup as hot as you can. "
    "Close the lid at once and wrap a towel around it; until lunch the soup will stay warm enough to enjoy."
)
KITCHEN = ("soup", "bread", "tea", "rain", "sun", "cat", "dog", "home", "road", "sea")
words = st.lists(st.sampled_from(KITCHEN), max_size=30).map(" ".join)


@given(st.text())
def test_normalising_twice_changes_nothing(text):
    assert normalise(normalise(text)) == normalise(text)


def test_a_fingerprint_ignores_case_punctuation_and_spacing():
    assert fingerprint("Hello,\n  WORLD!") == fingerprint("hello world")
    assert fingerprint("hello world") != fingerprint("hello word")


def test_a_short_text_is_one_shingle():
    assert shingles("One, two.", 5) == {"one two"}
    assert shingles("!!", 5) == set()


def test_a_near_duplicate_is_found_and_its_resemblance_told():
    index = NearIndex(0.7)
    index.add("other", "Cats sleep up to sixteen hours a day because hunting takes a lot of energy.")
    index.add("soup", LONG)
    found = index.nearest(LONG.replace("five minutes", "ten minutes"))
    assert found is not None
    assert found[0] == "soup"
    assert 0.7 <= found[1] < 1


def test_what_only_shares_some_words_is_not_a_duplicate():
    index = NearIndex(0.7)
    index.add("soup", LONG)
    assert index.nearest("Fill a thermos with boiling water, and then make yourself a cup of tea.") is None


@given(words)
@settings(max_examples=30, deadline=None)
def test_a_text_is_its_own_duplicate(text):
    index = NearIndex(1.0)
    index.add("it", text)
    assert index.nearest(text) == ("it", 1.0)


@given(st.lists(words, max_size=8, unique=True), words)
@settings(max_examples=30, deadline=None)
def test_nothing_below_the_threshold_is_ever_reported(texts, asked):
    index = NearIndex(0.6)
    for number, text in enumerate(texts):
        index.add(str(number), text)
    found = index.nearest(asked)
    if found:
        own, other = shingles(asked, 3), shingles(texts[int(found[0])], 3)
        assert len(own | other) == 0 or len(own & other) / len(own | other) >= 0.6


def test_a_key_is_added_once():
    index = NearIndex(0.5)
    index.add("a", LONG)
    with pytest.raises(ValueError, match="already"):
        index.add("a", "another text")


def test_a_shared_run_of_words_is_found_inside_a_longer_text():
    index = OverlapIndex([LONG], n=8)
    shared = index.shared("As they say: wait five minutes; pour it out, and then FILL in the soup slowly.")
    assert shared is not None
    assert shared in normalise(LONG)
    assert len(shared.split()) == 8


def test_seven_shared_words_are_not_eight():
    index = OverlapIndex([LONG], n=8)
    assert index.shared("Better wait five minutes, pour it out and go.") is None


def test_a_short_text_counts_when_it_is_contained_whole():
    index = OverlapIndex(["What is a good soup?"], n=8)
    assert index.shared("Tell me: what is a good soup for today?") == "what is a good soup"
    assert index.shared("What is a good salad?") is None


def test_a_text_of_two_words_must_be_equal():
    index = OverlapIndex(["Good soup?"], n=8)
    assert index.shared("good soup") == "good soup"
    assert index.shared("A good soup is warm.") is None


@given(words, words, words)
@settings(max_examples=50, deadline=None)
def test_whatever_contains_a_long_text_overlaps_with_it(before, text, after):
    if len(text.split()) >= 8:
        assert OverlapIndex([text], n=8).shared(f"{before} {text} {after}") is not None
