from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueseed.checks import FREE, TRAIN_KINDS, Constraint, Task, compose, draw, phrase, sample, together
from trueseed.core.prompts import Prompt
from trueseed.errors import ConfigError

PROMPTS = [Prompt(f"p{i}", f"What is good about the number {i}?") for i in range(30)]


def task(*constraints: Constraint, variant: int = 0) -> Task:
    return Task(prompt_id="p", prompt="Name a warm soup.", constraints=constraints, variant=variant)


def test_the_same_seed_composes_the_same_tasks() -> None:
    assert compose(PROMPTS, TRAIN_KINDS, 50, 3) == compose(PROMPTS, TRAIN_KINDS, 50, 3)


def test_another_seed_composes_others() -> None:
    assert compose(PROMPTS, TRAIN_KINDS, 50, 3) != compose(PROMPTS, TRAIN_KINDS, 50, 4)


@given(st.integers(min_value=1, max_value=300), st.integers(min_value=0, max_value=5))
@settings(max_examples=20)
def test_kinds_and_prompts_come_round_evenly(n: int, seed: int) -> None:
    tasks = compose(PROMPTS, TRAIN_KINDS, n, seed)
    kinds = [drawn.kind for drawn in tasks]
    prompts = [drawn.prompt_id for drawn in tasks]
    assert len({drawn.id for drawn in tasks}) == n
    assert max(map(kinds.count, TRAIN_KINDS)) - min(map(kinds.count, TRAIN_KINDS)) <= 2
    assert max(map(prompts.count, set(prompts))) - min(prompts.count(p.id) for p in PROMPTS) <= 2


def test_a_thousand_tasks_can_be_drawn_from_a_few_prompts() -> None:
    assert len(compose(PROMPTS, TRAIN_KINDS, 1000, 0)) == 1000


def test_more_tasks_than_there_are_is_an_error() -> None:
    with pytest.raises(ConfigError, match="different tasks"):
        compose(PROMPTS[:1], ["uppercase"], 5000, 0, two=0)


def test_no_prompts_is_an_error() -> None:
    with pytest.raises(ConfigError, match="at least one prompt"):
        compose([], TRAIN_KINDS, 1, 0)


def test_every_pair_that_is_drawn_can_stand_together() -> None:
    tasks = compose(PROMPTS, TRAIN_KINDS, 600, 1, two=1.0)
    pairs = [drawn.constraints for drawn in tasks if len(drawn.constraints) == 2]
    assert len(pairs) > 400
    assert all(together(*pair) for pair in pairs)


@given(st.sampled_from(TRAIN_KINDS), st.sampled_from(TRAIN_KINDS), st.integers(min_value=0))
def test_standing_together_does_not_depend_on_the_order(one: str, other: str, seed: int) -> None:
    first, second = sample(one, Random(seed)), sample(other, Random(seed + 1))
    assert together(first, second) == together(second, first)
    assert not together(first, first)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Constraint("lowercase", {}), Constraint("starts_with", {"phrase": "In my view"})),
        (Constraint("no_commas", {}), Constraint("comma_list", {"n": 3})),
        (Constraint("avoided_word", {"word": "is"}), Constraint("starts_with", {"phrase": "Here is a thought:"})),
        (Constraint("avoided_word", {"word": "that"}), Constraint("ends_with", {"phrase": "Hope that helps!"})),
        (Constraint("avoided_letter", {"letter": "b"}), Constraint("signature", {"name": "Ben"})),
        (Constraint("bullets", {"n": 3}), Constraint("json_object", {"keys": ["a"]})),
        (Constraint("sentence_count", {"n": 1}), Constraint("postscript", {})),
    ],
)
def test_what_contradicts_is_kept_apart(one: Constraint, other: Constraint) -> None:
    assert not together(one, other)


def test_the_text_holds_the_prompt_and_every_ask() -> None:
    both = (Constraint("keyword", {"word": "hope"}), Constraint("no_commas", {}))
    for variant in range(60):
        drawn = task(*both, variant=variant)
        assert drawn.prompt in drawn.text
        assert all(phrase(constraint, variant) in drawn.text for constraint in both)


def test_faults_are_told_by_kind() -> None:
    drawn = task(Constraint("keyword", {"word": "hope"}), Constraint("no_commas", {}))
    assert drawn.faults("I hope for tomato soup with bread.") == {}
    assert set(drawn.faults("Tomato, onion and bean soup.")) == {"keyword", "no_commas"}


def test_an_answer_that_only_pleases_the_check_is_not_correct() -> None:
    drawn = task(Constraint("keyword", {"word": "hope"}))
    assert drawn.faults("hope hope hope") == {"sound": "it says next to nothing"}
    assert not drawn.correct("hope hope hope")


def test_a_task_survives_json_and_ignores_what_a_recipe_adds() -> None:
    drawn = task(Constraint("keyword", {"word": "hope"}), variant=5)
    assert Task.from_json({**drawn.to_json(), "rung": "plain"}) == drawn


def test_a_free_task_is_the_prompt_alone() -> None:
    drawn = draw(PROMPTS[3], FREE, TRAIN_KINDS, Random(0), two=1.0)
    assert drawn.text == PROMPTS[3].text
    assert drawn.kind == FREE
    assert drawn.correct("It is odd, small and rather lucky.")
    assert Task.from_json(drawn.to_json()) == drawn
