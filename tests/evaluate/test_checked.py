"""The judge that is no model: a check decides, and says nothing of what has none."""

import json

import pytest

from trueseed.evaluate import judge_card
from trueseed.evaluate.checked import Checked
from trueseed.evaluate.judge_card import GOLD, GOLD_SOURCE, contestants
from trueseed.evaluate.pairwise import judged
from trueseed.evaluate.task import Config, read
from trueseed.teachers.judge import Pair

SUM = {"check": {"scorer": "number", "target": 4}}


@pytest.mark.parametrize(
    ("first", "second", "value", "reason"),
    [
        ("It is 4.", "It is 5.", "first", "only the first holds"),
        ("It is 5.", "It is 4.", "second", "only the second holds"),
        ("It is 4.", "Four: 4", "tie", "both hold"),
        ("It is 3.", "It is 5.", "tie", "neither holds"),
    ],
)
def test_the_check_decides_and_the_reason_says_so(first, second, value, reason):
    ((_, ruling),) = Checked().compare([Pair(question="2 + 2?", first=first, second=second, row=SUM)])
    assert (ruling.value, ruling.reason, ruling.calls) == (value, f"{reason} against the check 'number'", 0)


def test_a_question_without_a_check_has_no_verdict():
    ((_, ruling),) = Checked().compare([Pair(question="?", first="a", second="b")])
    assert (ruling.value, ruling.fault) == (None, "out_of_scope")


def test_it_passes_its_card_on_the_shipped_pairs():
    samples = read(Config(scorer="gold", file=str(GOLD), source=GOLD_SOURCE)).samples
    card = judge_card.of(samples, list(judged(samples, *contestants(samples), Checked())), None)
    assert card.failed == {}
    assert card.figures["agreement"].n == 100
    assert card.cost["calls"] == card.cost["prompt_tokens"] == 0


def test_gold_pairs_have_the_target_of_their_check_as_reference():
    rows = {each.id: each.row for each in read(Config(scorer="gold", file=str(GOLD), source=GOLD_SOURCE)).samples}
    assert rows["eggs"]["reference"] == "180"
    assert rows["gold"]["reference"] == "Au"
    assert rows["empty"]["reference"] == '{"phone": null}'
    assert rows["canada"]["reference"] == "Ottawa"  # which the row names
    assert "reference" not in rows["ps"]
    assert sum("reference" in row for row in rows.values()) == 84


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"check": {"scorer": "choice"}}, "a `scorer` that tells whether"),
        ({"check": {"scorer": "number", "target": "many"}}, "must be a number"),
        ({"reference": 4}, "an answer that is right"),
    ],
)
def test_a_row_whose_check_or_reference_is_none_is_told(tmp_path, row, why):
    path = tmp_path / "task.jsonl"
    path.write_text("".join(json.dumps({"id": str(n), "prompt": "2 + 2?", **row}) + "\n" for n in range(2)))
    with pytest.raises(Exception, match=why):
        read(Config(scorer="open", file=str(path), source="own/ada"))
