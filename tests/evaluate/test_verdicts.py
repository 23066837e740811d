"""Verdicts and recorded outputs: read strictly, written as they were."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueseed.core.chat import Message, Request, user
from trueseed.errors import ConfigError
from trueseed.evaluate import outputs, verdicts
from trueseed.evaluate.outputs import Recorded, Replayed
from trueseed.evaluate.verdicts import Verdict

ROW = {"sample": "1", "a": "x", "b": "y", "winner": "a", "order": "ab", "judge": "own/j"}
ORIGIN = Recorded(source="openai/gpt-3.5-turbo-0613@api", maker="own/ada", on="2023-08-01")


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("name", ["verdicts.parquet", "verdicts.jsonl"])
def test_verdicts_come_back_as_they_were_written(tmp_path, name):
    said = [Verdict(**{**ROW, "sample": str(n), "reason": "shörter", "length_a": n}) for n in range(5)]
    said += [Verdict(**{**ROW, "sample": "5", "order": "", "much": True, "share": 0.9})]
    verdicts.write(tmp_path / name, said)
    assert verdicts.read(tmp_path / name) == said


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({**ROW, "winner": "x"}, "'winner' must be"),
        ({**ROW, "b": "x"}, "compared with itself"),
        ({**ROW, "length_a": -1}, "number of characters"),
        ({**ROW, "share": "0.7"}, "'share' must be"),
        ({**ROW, "share": math.nan}, "'share' must be"),
        ({**ROW, "share": True}, "'share' must be"),
        ({**ROW, "score": 1}, "unknown members"),
        ({name: said for name, said in ROW.items() if name != "judge"}, "'judge' missing"),
        ("a", "not a JSON object"),
        (ROW, "before"),
    ],
)
def test_what_is_no_verdict_is_told_with_its_line(tmp_path, row, told):
    with pytest.raises(ConfigError, match=f"line 2: .*{told}"):
        verdicts.read(lines(tmp_path / "v.jsonl", [ROW, row]))


def test_the_same_question_is_the_same_whoever_is_called_a(tmp_path):
    turned = {**ROW, "a": "y", "b": "x", "winner": "b", "order": "ba"}
    with pytest.raises(ConfigError, match="line 2"):
        verdicts.read(lines(tmp_path / "v.jsonl", [ROW, turned]))


def test_the_other_order_is_another_verdict(tmp_path):
    assert len(verdicts.read(lines(tmp_path / "v.jsonl", [ROW, {**ROW, "order": "ba"}]))) == 2


def test_an_empty_file_and_none_are_mistakes(tmp_path):
    for path in (lines(tmp_path / "v.jsonl", []), tmp_path / "nothing.jsonl", tmp_path / "nothing.parquet"):
        with pytest.raises(ConfigError):
            verdicts.read(path)


@given(st.sampled_from(["a", "b", "tie"]), st.sampled_from(["ab", "ba", ""]))
def test_who_was_shown_first_follows_from_winner_and_order(winner, order):
    won = Verdict(**{**ROW, "winner": winner, "order": order}).first_won
    assert won == (None if winner == "tie" or not order else order.startswith(winner))


def test_a_recording_says_nothing_to_what_it_was_not_asked():
    found = outputs.Outputs(
        generator="gpt", origin=ORIGIN, rows=(outputs.Output(id="1", instruction="Say 1.", output="1"),)
    )
    said = [answer.text for _, answer in Replayed(found).answers([Request(messages=user("Say 1."))])]
    assert said == ["1"]
    with pytest.raises(ConfigError, match="did not answer 1 of 2 prompts"):
        list(Replayed(found).answers([Request(messages=user(text)) for text in ("Say 1.", "Say 2.")]))


def test_two_answers_to_one_prompt_are_no_recording():
    def rows(*answers: str) -> outputs.Outputs:
        said = (outputs.Output(id=str(n), instruction="Say 1.", output=each) for n, each in enumerate(answers))
        return outputs.Outputs(generator="gpt", origin=ORIGIN, rows=tuple(said))

    assert Replayed(rows("1", "1")).source == ORIGIN.source
    with pytest.raises(ConfigError, match=r"gpt answered 'Say 1\.' in two ways, the second time as '1'"):
        Replayed(rows("1", "2"))


def test_a_recording_answers_a_second_turn_after_its_own_first_answer_alone():
    turns = (
        outputs.Output(id="81", instruction="Name a king.", output="Alfred."),
        outputs.Output(id="81/2", instruction="Another?", output="Cnut.", follows="81"),
    )
    replayed = Replayed(outputs.Outputs(generator="gpt", origin=ORIGIN, rows=turns))
    second = (*user("Name a king."), Message("assistant", "Alfred."), *user("Another?"))
    assert [answer.text for _, answer in replayed.answers([Request(messages=second)])] == ["Cnut."]
    with pytest.raises(ConfigError, match="did not answer"):
        list(replayed.answers([Request(messages=user("Another?"))]))


def test_a_share_is_on_the_winners_side_and_counts_in_the_place_of_the_win():
    assert Verdict(**ROW, share=0.75).worth == 0.75
    assert Verdict(**{**ROW, "winner": "tie"}, share=0.55).worth == 0.55  # within a judge's margin
    for wrong in ({"share": 0.2}, {"share": 1.5}, {"winner": "tie", "much": True}):
        with pytest.raises(ValueError, match=r"share|much"):
            Verdict(**{**ROW, **wrong})


def test_a_recording_needs_sources():
    with pytest.raises(ConfigError, match="is not a source"):
        Recorded(source="GPT 3.5", maker="own/ada")
