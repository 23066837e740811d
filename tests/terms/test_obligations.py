import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueseed.errors import Refused
from trueseed.terms import Obligation, conflict, solve
from trueseed.terms.obligations import union


def begins(word: str, document: str = "a") -> Obligation:
    return Obligation(kind="name-begins-with", value=word, text=f"begins with {word}", document=document)


def without(word: str, document: str = "b") -> Obligation:
    return Obligation(kind="name-without", value=word, text=f"without {word}", document=document)


notice = Obligation(kind="notice-file", value="a sentence", text="ship it", document="c")

obligations = st.lists(
    st.one_of(
        st.sampled_from(["Llama", "Llama-3", "Qwen", "L", ""]).map(begins),
        st.sampled_from(["Llama", "Qwen", "DeepSeek", "q"]).map(without),
        st.just(notice),
    ),
    max_size=5,
)


def test_one_beginning_can_be_met():
    assert solve([begins("Llama"), notice], None) == (begins("Llama"), notice)


def test_a_longer_beginning_meets_a_shorter_one():
    assert conflict([begins("Llama"), begins("Llama-3")], None) == ()


def test_two_different_beginnings_cannot_both_be_met():
    with pytest.raises(Refused, match="no name meets all of this") as caught:
        solve([begins("Llama"), begins("Built", "z"), notice], None)
    assert "begins with Llama" in str(caught.value)
    assert "begins with Built" in str(caught.value)
    assert "ship it" not in str(caught.value)


def test_a_beginning_that_another_source_forbids_is_a_conflict_of_two():
    assert conflict([begins("Llama"), without("llama"), without("Qwen")], None) == (begins("Llama"), without("llama"))


def test_a_given_name_is_judged_as_it_stands():
    assert conflict([begins("Llama")], "Llama-Seed") == ()
    with pytest.raises(Refused, match=r"'Seedling'.*choose another name"):
        solve([begins("Llama")], "Seedling")


def test_the_spelling_of_a_beginning_counts_and_that_of_a_forbidden_word_does_not():
    assert conflict([begins("Llama")], "llama-seed") == (begins("Llama"),)
    assert conflict([without("DeepSeek")], "my-deepseek") == (without("DeepSeek"),)


@given(obligations)
def test_a_conflict_is_smallest(chosen):
    at_odds = conflict(chosen, None)
    for left_out in at_odds:
        assert conflict([o for o in at_odds if o != left_out], None) == ()


@given(obligations, obligations)
def test_more_obligations_never_end_a_conflict(first, more):
    if conflict(first, None):
        assert conflict(first + more, None)


@given(obligations, obligations)
def test_a_union_holds_everything_once(first, second):
    both = union([first, second])
    assert set(both) == set(first) | set(second)
    assert len(both) == len(set(both))
