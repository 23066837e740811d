"""What each concern says, by itself."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueseed.checks import Constraint, Task
from trueseed.core.chat import Message
from trueseed.core.records import Origin, Record
from trueseed.curate import quality
from trueseed.curate.balance import balance
from trueseed.curate.duplicates import duplicates
from trueseed.curate.identity import names_its_maker
from trueseed.curate.overlap import overlap
from trueseed.curate.split import split

ORIGIN = Origin(kind="teacher", source="own/test", project="t", use="train", terms="", asked_at="2026-01-01T00:00:00Z")


def record(answer: str, prompt: str = "What do you cook tonight?", constraint: Constraint | None = None) -> Record:
    task = Task(prompt_id="p", prompt=prompt, constraints=(constraint,), variant=0) if constraint else None
    return Record(
        messages=(Message("user", task.text if task else prompt), Message("assistant", answer)),
        origin=ORIGIN,
        task=task.to_json() if task else {},
    )


def verdict(answer: str, constraint: Constraint | None = None) -> str:
    (drop,) = quality.quality(quality.Config(max_words=40), [record(answer, constraint=constraint)])
    return drop.reason if drop else ""


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("Tomato soup with bread and cheese.", ""),
        ("Soup.", "too short"),
        ("One more word, " * 20, "too long"),
        ("I'm sorry, but I cannot help with that.", "refusal"),
        ("As an AI language model, I do not cook.", "refusal"),
        ("I am unable to provide a dinner tonight.", "refusal"),
        ("Say: I'm sorry, but I burned the soup.", ""),
        ("Tomato soup with bread and", "cut off"),
        ("First tomatoes, then onions,", "cut off"),
        ("```\nsoup with bread", "cut off"),
        ("What do you cook tonight?", "unsound"),
        ("Soup and bread tonight. " * 4, "unsound"),
    ],
)
def test_quality_says_why(answer, reason):
    assert verdict(answer) == reason


def test_an_answer_that_is_wrong_by_its_own_constraint_goes():
    lowercase = Constraint("lowercase", {})
    assert verdict("tomato soup with bread.", lowercase) == ""
    assert verdict("Tomato soup with bread.", lowercase) == "wrong"


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ("I am ChatGPT, trained by OpenAI.", "ChatGPT"),
        ("My name is SmolLM and I like soup.", "SmolLM"),
        ("I'm an AI assistant made by Hugging Face.", "Hugging Face"),
        ("Claude Monet painted water lilies.", ""),
        ("Gemma is a fine name for a kitten.", ""),
        ("I am your friend and I like soup.", ""),
    ],
)
def test_a_name_counts_beside_words_of_oneself_or_of_models(answer, name):
    assert names_its_maker(answer) == name


def test_of_equal_answers_the_first_stays():
    found = duplicates(0.8, [record("Soup with bread, warm."), record("Soup with BREAD warm"), record("A cold salad")])
    assert [drop.reason if drop else "" for drop in found] == ["", "duplicate", ""]


def test_a_nearly_equal_answer_goes():
    text = "Fill a thermos with boiling water, wait five minutes, pour it out and fill in the soup as hot as you can."
    found = duplicates(0.7, [record(text), record(text.replace("you can", "possible"))])
    assert [drop.reason if drop else "" for drop in found] == ["", "near duplicate"]


HELD_OUT = ["How do I keep pancakes from sticking to the pan?"]


@pytest.mark.parametrize(
    ("prompt", "answer", "goes"),
    [
        ("How do I keep pancakes from sticking to the pan?", "Use more butter.", True),
        ("How do I keep my pancakes from sticking to the pan?", "Use more butter.", True),
        ("Tell me a question.", "How do I keep pancakes from sticking to the pan?", True),
        ("How do I keep a cat from scratching?", "Use more toys.", False),
    ],
)
def test_what_was_held_out_goes_whether_asked_or_answered(prompt, answer, goes):
    (drop,) = overlap(HELD_OUT, 8, [record(answer, prompt)])
    assert (drop is not None) is goes


def of_kind(name: str, n: int) -> list[Record]:
    return [record(f"soup {name} {i}", constraint=Constraint(name, {})) for i in range(n)]


def test_a_kind_that_crowds_out_the_others_is_cut_to_a_multiple_of_the_median():
    records = of_kind("lowercase", 10) + of_kind("uppercase", 3) + of_kind("no_commas", 2)
    left = [r for r, drop in zip(records, balance(2.0, 0, records), strict=True) if drop is None]
    assert Counter(Task.from_json(r.task).kind for r in left) == {"lowercase": 6, "uppercase": 3, "no_commas": 2}


def test_balance_draws_the_same_with_the_same_seed():
    records = of_kind("lowercase", 10) + of_kind("uppercase", 3)
    assert balance(1.0, 5, records) == balance(1.0, 5, records)
    assert balance(1.0, 5, records) != balance(1.0, 6, records)


def test_records_without_constraints_are_not_balanced():
    assert balance(1.0, 0, [record(f"soup number {i}") for i in range(5)]) == [None] * 5


@given(st.lists(st.integers(0, 8), min_size=1, max_size=40), st.floats(0, 0.9), st.integers(0, 9))
def test_a_split_keeps_everything_and_no_prompt_is_on_both_sides(prompts, share, seed):
    records = [record(f"answer {i}", f"prompt {p}") for i, p in enumerate(prompts)]
    train, validation = split(share, seed, records)
    assert sorted(r.id for r in (*train, *validation)) == sorted(r.id for r in records)
    assert not {r.messages[0].content for r in train} & {r.messages[0].content for r in validation}
    assert train
    if share == 0:
        assert validation == []
    elif len(set(prompts)) > 1:
        assert validation
