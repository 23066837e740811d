"""What nothing scores, and whether a score is any higher."""

import json

import pytest

from trueseed.evaluate.floor import floor
from trueseed.evaluate.task import Config, read
from trueseed.worth import of_floor

CHOICES = [
    {"prompt": "x", "choices": ["a", "b", "c", "d"], "target": 0},
    {"prompt": "y", "choices": ["a", "b"], "target": 1},
]


@pytest.mark.parametrize(
    ("scorer", "rows", "metric", "value"),
    [
        ("choice", CHOICES, "acc_norm", 3 / 8),
        ("exact", [{"prompt": "x", "target": "1"}] * 2, "accuracy", 0.0),
        ("json", [{"prompt": "x", "target": {"a": 1}}] * 2, "f1", 0.0),
        ("gsm8k", [{"question": "x", "answer": "#### 7"}] * 2, "numeric", 0.0),
    ],
)
def test_chance_and_the_empty_answer_score_so_much(tmp_path, scorer, rows, metric, value):
    path = tmp_path / "task.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert floor(read(Config(scorer=scorer, file=str(path), source="own/ada")))[metric]["value"] == pytest.approx(value)


def test_of_a_text_no_likelihood_is_nobodys(tmp_path):
    path = tmp_path / "task.jsonl"
    path.write_text('{"text": "one"}\n{"text": "two"}\n')
    assert floor(read(Config(scorer="perplexity", file=str(path), source="own/ada"))) == {}


@pytest.mark.parametrize(("low", "told"), [(0.21, True), (0.25, True), (0.26, False)])
def test_a_score_is_on_the_floor_when_it_may_be_no_higher(low, told):
    scores = {"metrics": {"acc": {"low": low}}, "floor": {"acc": {"value": 0.25, "by": "a choice by chance"}}}
    words = ["on the floor: its acc may be 0.250, which a choice by chance gets"]
    assert of_floor(scores, "acc") == (words if told else [])
    assert of_floor({"metrics": {"acc": {"low": low}}}, "acc") == []  # scores of before say nothing of it
