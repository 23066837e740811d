from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueseed.errors import Refused
from trueseed.terms import Obligation, conflict, solve
from trueseed.terms.obligations import smallest, union


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
    solution = solve([begins("Llama"), notice], None)
    assert (solution.begins_with, solution.notice) == ("Llama", ("a sentence",))


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


def otherwise(word: str) -> Obligation:
    return Obligation(kind="name-begins-otherwise", value=word, text=f"not first {word}", document="o")


def licensed(name: str) -> Obligation:
    return Obligation(kind="licensed-as", value=name, text=f"under {name} alone", document=name)


restricted = Obligation(kind="pass-on-restrictions", text="its use policy", document="gemma")

anything = st.one_of(
    st.sampled_from(["Llama", "Llama 3", "Qwen", "L"]).map(begins),
    st.sampled_from(["Llama", "seed", "3"]).map(without),
    st.sampled_from(["Llama", "Q"]).map(otherwise),
    st.sampled_from(["cc-by-sa-4.0", "gpl-3.0"]).map(licensed),
    st.sampled_from([notice, restricted]),
)
ALPHABET = ["", "Llama", "Llama 3", "Llama 3 seed", "Qwen", "Qw", "L", "Lx", "Seed", "Other", "Llama-3"]


def some_student_meets(owed: list[Obligation], names: list[str]) -> bool:
    """By trying names and licences, with nothing in common with the solver."""

    def named(name: str, o: Obligation) -> bool:
        low, word = name.lower(), o.value.lower()
        checks = {"name-begins-with": name.startswith(o.value), "name-begins-otherwise": not low.startswith(word),
                  "name-without": word not in low}  # fmt: skip
        return checks.get(o.kind, True)

    licences = {o.value for o in owed if o.kind == "licensed-as"} or {"any"}
    restrictions = any(o.kind == "pass-on-restrictions" for o in owed)
    fits = len(licences) == 1 and (licences == {"any"} or not restrictions)
    return fits and any(all(named(name, o) for o in owed) for name in names)


@given(
    st.lists(st.lists(anything, max_size=3), max_size=5),
    st.sampled_from([None, "Llama 3 seed", "Seedling", "Qwen-2"]),
)
def test_the_parties_at_odds_are_the_fewest_as_trying_all_of_them_finds(parties, name):
    names = [name] if name is not None else ALPHABET
    found = smallest(dict(enumerate(parties)), name)
    fewest = next(
        (
            size
            for size in range(len(parties) + 1)
            if any(
                not some_student_meets([o for i in chosen for o in parties[i]], names)
                for chosen in combinations(range(len(parties)), size)
            )
        ),
        0,
    )
    assert len(found) == fewest
    assert not found or not some_student_meets([o for i in found for o in parties[i]], names)


def test_a_licence_that_allows_nothing_to_be_added_bears_no_others_restrictions():
    assert conflict([licensed("cc-by-sa-4.0"), notice], None) == ()
    assert set(conflict([licensed("cc-by-sa-4.0"), restricted, notice], None)) == {licensed("cc-by-sa-4.0"), restricted}
    with pytest.raises(Refused, match="no licence meets all of this"):
        solve([licensed("cc-by-sa-4.0"), licensed("gpl-3.0")], None)


def test_a_solution_says_what_to_ship_and_show():
    shown = Obligation(kind="display", value="Built with Llama", text="show it", document="a")
    passed = Obligation(kind="pass-on-terms", value="llama3.1-community", text="a copy", document="a")
    solution = solve([begins("Llama"), begins("Llama-3"), without("Qwen"), notice, shown, passed, restricted], None)
    assert solution.begins_with == "Llama-3"
    assert (solution.without, solution.notice, solution.display) == (("Qwen",), ("a sentence",), ("Built with Llama",))
    assert (solution.terms, solution.restrictions) == (("llama3.1-community",), ("its use policy",))
    assert "in a file named Notice: a sentence" in solution.lines()
