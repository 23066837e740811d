"""A teacher's words in the form that a constraint wants: always right, and always its own words."""

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueseed.checks import TRAIN_KINDS, Constraint, Task, phrase, sample
from trueseed.checks.text import bare
from trueseed.core.prompts import Prompt
from trueseed.generate.formed import CLOSING_QUESTIONS, FORMS, Sentences, fit, wanted

PROMPT = Prompt("soup", "How do I keep soup warm until lunch?")
WORDS = (
    "Fill a thermos with boiling water, wait five minutes, and pour it out. Then heat your soup until it steams. "
    "Pour the soup into the thermos and close the lid. Wrap a towel, a scarf and a blanket around it."
)

kinds = st.sampled_from(TRAIN_KINDS)
seeds = st.integers(min_value=0, max_value=10**6)


def formed(name: str, words: str, seed: int, two: float = 0.0) -> tuple[Task, str] | None:
    try:
        rng = Random(seed)
        return fit(PROMPT, sample(name, rng), TRAIN_KINDS, words, rng, two=two)
    except ValueError:
        return None


@given(kinds, st.one_of(st.text(), st.just(WORDS), st.just(WORDS[:60])), seeds, st.floats(0, 1))
def test_what_fits_satisfies_its_constraints_and_nothing_else_comes_back(name, words, seed, two):
    found = formed(name, words, seed, two)
    if found:
        task, text = found
        assert set(task.faults(text)) <= {"sound"}
        assert task.kind == name
        assert task.prompt == PROMPT.text


@given(kinds, seeds)
def test_nothing_is_said_but_the_teachers_words_and_what_the_task_dictates(name, seed):
    found = formed(name, WORDS, seed)
    if found:
        task, text = found
        dictated = " ".join(phrase(task.constraints[0], variant) for variant in range(4))
        ours = " ".join(CLOSING_QUESTIONS) + " p s section no note 1 2 3 4 " + " ".join(map(str, _leaves(task)))
        assert set(bare(text)) <= set(bare(f"{WORDS} {dictated} {ours}"))


def _leaves(task: Task) -> list[object]:
    values = task.constraints[0].args.values()
    return [leaf for value in values for leaf in (value if isinstance(value, list) else [value])]


@pytest.mark.parametrize("name", sorted(set(FORMS) & set(TRAIN_KINDS)))
def test_every_form_can_be_given_to_ordinary_words(name):
    assert any(formed(name, WORDS, seed) for seed in range(20))


def test_empty_words_fit_nothing_that_must_say_something():
    assert formed("bullets", "", 0) is None
    assert formed("keyword", " \n ", 0) is None


@given(kinds, seeds)
def test_the_same_seed_gives_the_same_form(name, seed):
    assert formed(name, WORDS, seed, two=0.5) == formed(name, WORDS, seed, two=0.5)


def test_a_second_constraint_is_one_that_the_words_satisfy_already():
    found = [formed("keyword", Sentences(1 + seed % 3).of(WORDS), seed, two=1.0) for seed in range(60)]
    assert sum(len(pair[0].constraints) == 2 for pair in found if pair) >= 10
    assert all(pair[0].correct(pair[1]) for pair in found if pair)


def test_a_sentence_keeps_its_place_in_a_list():
    found = formed("bullets", WORDS, 1)
    assert found
    parts = re.sub(r"(?m)^- ", "", found[1]).splitlines()
    assert WORDS.startswith(" ".join(parts))


@pytest.mark.parametrize(
    ("name", "args", "sentences"),
    [
        ("bullets", {"n": 4}, 4),
        ("json_object", {"keys": ["who", "what", "why"]}, 3),
        ("labelled", {"labels": ["Tip", "Example"]}, 2),
        ("postscript", {}, 2),
        ("quoted", {}, 1),
        ("highlights", {"n": 3}, 1),
    ],
)
def test_as_many_sentences_are_wanted_as_the_form_takes(name, args, sentences):
    assert wanted(Constraint(name, args)) == sentences


def test_the_arguments_that_were_meant_are_kept_when_the_words_fit_them():
    meant = Constraint("bullets", {"n": 3})
    for seed in range(10):
        task, _ = fit(PROMPT, meant, TRAIN_KINDS, WORDS, Random(seed), two=0.0)
        assert task.constraints == (meant,)


def test_enough_was_said_once_the_sentence_after_the_last_wanted_one_has_begun():
    watch = Sentences(2)
    assert not watch.enough("Heat it. Pour it.")
    assert watch.enough("Heat it. Pour it. Cl")
    assert watch.of("Heat it. Pour it. Cl") == "Heat it. Pour it."
