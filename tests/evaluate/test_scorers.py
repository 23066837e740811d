"""What a sample counts for."""

import json
import math
import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueseed.checks import Constraint, Task
from trueseed.evaluate import score
from trueseed.evaluate.sample import Sample
from trueseed.evaluate.score import Line
from trueseed.evaluate.scorers import named


@dataclass
class Likely:
    nll: float
    tokens: int


def counts(scorer: str, row: dict, *said: object) -> dict:
    found = named(scorer)
    return dict(found.score(found.fit(row), said).counts)


@pytest.mark.parametrize(
    ("answer", "right"), [("paris.", 1), (" Paris ", 1), ("PARIS", 1), ("It is Paris", 0), ("", 0)]
)
def test_an_exact_answer_is_all_of_it(answer: str, right: int) -> None:
    assert counts("exact", {"prompt": "?", "target": ["Paris", "Lutetia"]}, answer) == {"accuracy": (right, 1)}


def test_several_draws_are_a_share() -> None:
    assert counts("contains", {"prompt": "?", "target": "Rome"}, "It is Rome.", "Milan", "rome") == {"accuracy": (2, 3)}


@pytest.mark.parametrize(("answer", "right"), [("so 1,000 in all", 1), ("#### 1000 not 3", 1), ("999", 0), ("none", 0)])
def test_a_number_is_right_by_value(answer: str, right: int) -> None:
    assert counts("number", {"prompt": "?", "target": 1000.0}, answer) == {"accuracy": (right, 1)}


def test_gsm8k_is_counted_by_value_and_as_lm_eval_does() -> None:
    row = {"question": "?", "answer": "a\n#### 18"}
    assert counts("gsm8k", row, "It is 18.0") == {"numeric": (1, 1), "strict_match": (0, 1), "flexible_extract": (0, 1)}
    assert counts("gsm8k", row, "#### 18") == {"numeric": (1, 1), "strict_match": (1, 1), "flexible_extract": (1, 1)}


def test_ifeval_counts_prompts_and_instructions_strictly_and_loosely() -> None:
    row = {
        "prompt": "?",
        "instruction_id_list": ["punctuation:no_comma", "startend:quotation"],
        "kwargs": [{}, {}],
    }
    assert counts("ifeval", row, 'Sure,\n"a"') == {
        "prompt_strict": (0, 1),
        "instruction_strict": (0, 2),
        "prompt_loose": (1, 1),
        "instruction_loose": (2, 2),
    }


def test_json_is_counted_by_leaves() -> None:
    row = {"prompt": "?", "target": {"name": "Ada", "age": 36}}
    assert counts("json", row, json.dumps({"name": "Ada", "born": 1815, "age": 37})) == {
        "f1": (2, 5),
        "exact": (0, 1),
        "precision": (1, 3),
        "recall": (1, 2),
        "valid": (1, 1),
        "schema_valid": (0, 0),
    }
    assert counts("json", row, "no idea")["valid"] == (0, 1)


def test_a_schema_is_counted_apart_from_the_values() -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["name", "age"]}
    row = {"prompt": "?", "target": {"name": "Ada", "age": 36}, "schema": schema}
    said = ['{"name": "Bob", "age": 7}', '{"name": "Ada", "age": "36"}', "no idea"]
    found = [counts("json", row, each) for each in said]
    assert [each["schema_valid"] for each in found] == [(1, 1), (0, 1), (0, 1)]
    assert [each["f1"] for each in found] == [(0, 4), (2, 4), (0, 2)]


def test_our_own_constraints_are_checked_as_in_training() -> None:
    task = Task(prompt_id="a", prompt="Soup?", constraints=(Constraint("no_commas", {}),), variant=0)
    assert counts("instructions", task.to_json(), "Heat it slowly and stir it well") == {"accuracy": (1, 1)}
    assert counts("instructions", task.to_json(), "Heat it slowly, and stir it well") == {"accuracy": (0, 1)}


def test_a_choice_is_the_likeliest_and_the_likeliest_per_character() -> None:
    row = {"prompt": "?", "choices": ["a", "abcdefgh"], "target": 1}
    assert counts("choice", row, Likely(4, 1), Likely(8, 4)) == {"acc": (0, 1), "acc_norm": (1, 1)}


def test_of_equal_choices_the_first_is_taken() -> None:
    row = {"prompt": "?", "choices": ["a", "b"], "target": 1}
    assert counts("choice", row, Likely(4, 1), Likely(4, 1)) == {"acc": (0, 1), "acc_norm": (0, 1)}


@given(st.lists(st.floats(0.01, 50), min_size=2, max_size=5, unique=True), st.integers(0, 4))
@settings(max_examples=40, deadline=None)
def test_a_constant_added_to_every_choice_changes_no_raw_choice(nlls: list[float], target: int) -> None:
    row = {"prompt": "?", "choices": [str(n) for n in range(len(nlls))], "target": target % len(nlls)}
    one = counts("choice", row, *[Likely(nll, 1) for nll in nlls])
    assert one["acc"] == counts("choice", row, *[Likely(nll + 7, 1) for nll in nlls])["acc"]


def test_a_text_is_counted_by_token_and_by_byte() -> None:
    found = counts("perplexity", {"text": "é"}, Likely(2.0, 1))
    assert found["perplexity"] == (2.0, 1)
    assert found["bits_per_byte"] == (pytest.approx(2 / math.log(2)), 2)


def test_pass_at_k_is_of_as_many_as_were_drawn() -> None:
    row = {"prompt": "def f():\n", "test": "def check(f):\n    assert f() == 1\n", "entry_point": "f"}
    right, wrong = "    return 1", "    return 2"
    found = counts("humaneval", row, right, wrong, wrong, wrong, wrong)
    assert found == {"pass@1": (pytest.approx(0.2), 1.0), "pass@5": (1.0, 1.0)}


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 40), st.integers(1, 3), st.integers(0, 99))
def test_a_student_that_seldom_gives_json_has_numbers_all_the_same(n, gives, seed):
    """Half right of what it gives: precision is out of what was given, which often is nothing."""
    rng, row = random.Random(seed), {"prompt": "?", "target": {"a": 1, "b": 2}}
    scorer, some = named("json"), set(rng.sample(range(n), min(gives, n)))
    said = [('{"a": 1, "b": 3}' if at in some else "I cannot.") for at in range(n)]
    lines = [Line(id=str(at), asked=(), said=(), verdict=scorer.score(row, [it])) for at, it in enumerate(said)]
    samples = tuple(Sample(id=str(at), prompt="?", row=row) for at in range(n))
    task = score.Task(name="t", source="own/ada", scorer=scorer, template="{prompt}", samples=samples)
    found = score.summarise(task, lines)
    assert list(found) == ["f1", "exact", "precision", "recall", "valid"]
    assert found["precision"].value == 0.5
    for each in found.values():
        json.dumps(each.to_json(), allow_nan=False)
        assert 0 <= each.low <= each.value <= each.high <= 1
        assert each.high - each.low > 0
