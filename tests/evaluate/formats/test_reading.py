"""Published files of three benchmarks, as they are: which one it is, what it holds, and what is wrong with it."""

import json
from pathlib import Path
from typing import Any

import pytest

from trueseed.errors import ConfigError
from trueseed.evaluate import arena, task
from trueseed.evaluate.bradley_terry import Battles
from trueseed.evaluate.conversation import Conversations
from trueseed.evaluate.formats import reading
from trueseed.evaluate.outputs import Recorded
from trueseed.evaluate.task import Config, References

ORIGIN = Recorded(source="openai/gpt-3.5-turbo-0613@api", maker="own/ada", on="2023-08-01")

MT_QUESTIONS = [
    {"question_id": 81, "category": "writing", "turns": ["Write a line on tea.", "Now without the letter e."]},
    {"question_id": 111, "category": "math", "turns": ["What is 17 * 3?", "And half of that?"]},
]
MT_ANSWERS = [
    {"question_id": n, "answer_id": "x", "model_id": "m", "choices": [{"index": 0, "turns": [f"{n} one", f"{n} two"]}]}
    for n in (81, 111, 160)
]
MT_REFERENCES = [{**MT_ANSWERS[1], "model_id": "gpt-4", "choices": [{"index": 0, "turns": ["51", "25.5"]}]}]
MT_PAIR = {
    "question_id": 81, "model_1": "m", "model_2": "base", "g1_winner": "model_1", "g2_winner": "model_2",
    "judge": ["gpt-4", "pair-v2"], "g1_judgment": "[[A]]", "g2_judgment": "[[A]]", "turn": 2,
}  # fmt: skip
MT_SINGLE = {"question_id": 81, "model": "m", "judge": ["gpt-4", "single-v1"], "score": 7, "turn": 1}
AH_QUESTION = {"uid": "0f1", "category": "hard_prompt", "prompt": "Prove it."}
AH_ANSWER = {
    "uid": "0f1", "model": "m",
    "messages": [{"role": "user", "content": "Prove it."}, {"role": "assistant", "content": {"answer": "Thus."}}],
}  # fmt: skip
AH_GAMES = {
    "uid": "0f1", "category": "hard_prompt", "judge": "gpt-4.1", "model": "m", "baseline": "base",
    "games": [{"score": "B>>A", "judgment": {"answer": "b"}}, {"score": "A>B", "judgment": {"answer": "a"}}],
}  # fmt: skip
AH01_QUESTION = {"question_id": "0f1", "category": "arena-hard-v0.1", "turns": [{"content": "Prove it."}]}
AH01_ANSWER = {
    "question_id": "0f1", "model_id": "m",
    "choices": [{"index": 0, "turns": [{"content": "Thus.", "token_len": 2}]}],
}  # fmt: skip
AE_OUTPUT = {"instruction": "Say 1.", "output": "1", "generator": "m", "dataset": "d"}
AE_ANNOTATION = {
    "instruction": "Say 1.", "output_1": "one", "generator_1": "base", "output_2": "1", "generator_2": "m",
    "annotator": "weighted_gpt4", "preference": 1.75,
}  # fmt: skip
VOTE = {
    "question_id": 81, "model_a": "m", "model_b": "base", "winner": "model_a", "judge": "expert_0", "turn": 1,
    "conversation_a": [{"role": "user", "content": "Tea?"}, {"role": "assistant", "content": "Yes."}],
    "conversation_b": [{"role": "user", "content": "Tea?"}, {"role": "assistant", "content": "No."}],
}  # fmt: skip


def lines(folder: Path, rows: list[Any], name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def opened(folder: Path, rows: list[Any], **said: Any) -> task.Task:
    return task.read(Config(scorer="open", file=str(lines(folder, rows)), source="lmsys/mt-bench@dataset", **said))


# ------------------------------------------------------------------------------------------------------------ questions


def test_a_question_of_two_turns_is_two_samples_the_second_after_the_first(tmp_path):
    found = opened(tmp_path, MT_QUESTIONS)
    assert [(each.id, each.follows) for each in found.samples] == [
        ("81", ""), ("81/2", "81"), ("111", ""), ("111/2", "111"),
    ]  # fmt: skip
    assert (found.samples[1].prompt, found.samples[1].row["category"]) == ("Now without the letter e.", "writing")
    assert found.about["format"] == "MT-bench"


@pytest.mark.parametrize(
    ("row", "format", "prompt"),
    [
        (AH_QUESTION, "arena-hard", "Prove it."),
        (AH01_QUESTION, "arena-hard v0.1", "Prove it."),
        ({"instruction": "Say 1.", "dataset": "d"}, "AlpacaEval", "Say 1."),
        ({"id": "a", "prompt": "Ours."}, "", "Ours."),
    ],
)
def test_the_format_of_questions_is_told_by_their_fields(tmp_path, row, format, prompt):
    other = {**row, **{name: "other" for name in ("uid", "question_id", "instruction", "id") if name in row}}
    found = opened(tmp_path, [row, other])
    assert (found.format, found.samples[0].prompt) == (format, prompt)


def test_references_are_shown_to_judges_where_the_file_has_them(tmp_path):
    references = References(file=str(lines(tmp_path, MT_REFERENCES, "ref.jsonl")), source="openai/gpt-4@api")
    found = opened(tmp_path, MT_QUESTIONS, references=references)
    talk = Conversations.of(found)
    assert [talk.reference(each) for each in found.samples[:3]] == ["", "", "51"]
    assert talk.reference(found.samples[3]) == "[turn 1]\n51\n\n[turn 2]\n25.5"
    assert found.brings.keys() == {"lmsys/mt-bench@dataset", "openai/gpt-4@api"}


def test_references_to_other_questions_are_a_mistake(tmp_path):
    path = lines(tmp_path, [{**MT_REFERENCES[0], "question_id": 7}], "ref.jsonl")
    with pytest.raises(ConfigError, match="answers none of the task's questions"):
        opened(tmp_path, MT_QUESTIONS, references=References(file=str(path), source="openai/gpt-4@api"))


def test_a_question_that_is_not_as_the_first_is_told_with_its_line(tmp_path):
    with pytest.raises(ConfigError, match="line 2: it is not as the first row, MT-bench: MT-bench needs turns"):
        opened(tmp_path, [MT_QUESTIONS[0], {"question_id": 82, "turn": ["x"]}])


def test_turns_are_a_chat_and_no_text(tmp_path):
    with pytest.raises(ConfigError, match="several turns, which are a chat"):
        opened(tmp_path, MT_QUESTIONS, form="text")


# -------------------------------------------------------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("questions", "answers", "format", "said"),
    [
        ([AH_QUESTION, {**AH_QUESTION, "uid": "2"}], [AH_ANSWER], "arena-hard", {"0f1": "Thus."}),
        ([AH01_QUESTION, {**AH01_QUESTION, "question_id": "2"}], [AH01_ANSWER], "arena-hard v0.1", {"0f1": "Thus."}),
        (MT_QUESTIONS, MT_ANSWERS, "MT-bench", {
            "81": "81 one", "81/2": "81 two", "111": "111 one", "111/2": "111 two"}),
    ],
)  # fmt: skip
def test_answers_are_paired_with_the_tasks_questions_by_id(tmp_path, questions, answers, format, said):
    asked = opened(tmp_path, questions).samples
    found = reading.outputs(lines(tmp_path, answers, "m.jsonl"), ORIGIN, asked)
    assert {row.id: row.output for row in found.rows} == said
    assert (found.generator, found.format, found.origin) == ("m", format, ORIGIN)
    assert [message.content for message in found.chat(found.rows[-1])][-1] == asked[len(found.rows) - 1].prompt


def test_alpaca_evals_outputs_hold_their_questions(tmp_path):
    path = tmp_path / "o.json"
    path.write_text(json.dumps([AE_OUTPUT, {**AE_OUTPUT, "instruction": "Say 2."}]))
    found = reading.outputs(path, ORIGIN)
    told = [(row.instruction, row.output, row.dataset) for row in found.rows]
    assert told == [("Say 1.", "1", "d"), ("Say 2.", "1", "d")]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({**AE_OUTPUT, "output": "2"}, "row 2: .*answered before"),
        ({**AE_OUTPUT, "instruction": ""}, "row 2: 'instruction' must be"),
        ({**AE_OUTPUT, "instruction": "x", "output": None}, "row 2: 'output' must be"),
        ([], "row 2: it is not as the first row, AlpacaEval: it is not a JSON object"),
        (MT_ANSWERS[0], "row 2: it is not as the first row, AlpacaEval: AlpacaEval needs instruction, output"),
        ({**AE_OUTPUT, "instruction": "x", "generator": "other"}, "2 generators"),
        ({**AE_OUTPUT, "instruction": "x", "trueseed": {"source": "own/bea"}}, "own/bea spoke, and you that openai/"),
    ],
)
def test_what_is_no_output_is_told(tmp_path, row, told):
    with pytest.raises(ConfigError, match=told):
        reading.outputs(lines(tmp_path, [AE_OUTPUT, row]), ORIGIN)


def test_a_file_of_no_format_is_told_what_each_would_need(tmp_path):
    with pytest.raises(ConfigError, match="AlpacaEval needs instruction, output; arena-hard needs uid"):
        reading.outputs(lines(tmp_path, [{"text": "x"}]), ORIGIN)
    with pytest.raises(ConfigError, match="no row at all"):
        reading.outputs(lines(tmp_path, []), ORIGIN)
    with pytest.raises(ConfigError, match="holds no questions; name the task"):
        reading.outputs(lines(tmp_path, MT_ANSWERS), ORIGIN)


# ------------------------------------------------------------------------------------------------------------- verdicts


def judged(folder: Path, *rows: Any, **said: Any) -> reading.Judgments:
    return reading.judgments(lines(folder, list(rows), "judged.jsonl"), **said)


def test_mt_benchs_pairs_are_two_games_with_the_sides_swapped(tmp_path):
    found = judged(tmp_path, MT_PAIR, {**MT_PAIR, "turn": 1, "g1_winner": "error"})
    assert [(each.sample, each.winner, each.order) for each in found.verdicts] == [
        ("81/2", "a", "ab"), ("81/2", "b", "ba"), ("81", "b", "ba"),
    ]  # fmt: skip
    assert (found.format, found.none, found.verdicts[0].judge) == ("MT-bench", 1, "gpt-4")
    assert found.verdicts[0].reason == "[[A]]"


def test_marks_are_verdicts_of_each_two_models(tmp_path):
    marks = [{**MT_SINGLE, "model": name, "score": score} for name, score in (("m", 7), ("n", 7.05), ("o", 3))]
    found = judged(tmp_path, *marks, {**MT_SINGLE, "turn": 2, "score": -1})
    assert [(each.a, each.b, each.winner, each.order) for each in found.verdicts] == [
        ("m", "n", "tie", ""), ("m", "o", "a", ""), ("n", "o", "a", ""),
    ]  # fmt: skip
    assert found.none == 1
    with pytest.raises(ConfigError, match="marked m on '81' before"):
        judged(tmp_path, MT_SINGLE, MT_SINGLE)


def test_arena_hards_grades_keep_how_much_better(tmp_path):
    found = judged(tmp_path, AH_GAMES, {**AH_GAMES, "uid": "2", "games": [{"score": "A=B"}, {"score": None}]})
    assert [(each.sample, each.winner, each.order, each.much) for each in found.verdicts] == [
        ("0f1", "a", "ba", True), ("0f1", "a", "ab", False), ("2", "tie", "ba", False),
    ]  # fmt: skip
    assert (found.none, found.verdicts[0].b, found.verdicts[0].reason) == (1, "base", "b")


def test_the_old_arena_hard_needs_its_baseline_named(tmp_path):
    old = {name: said for name, said in AH_GAMES.items() if name not in ("uid", "baseline")} | {"question_id": "q"}
    with pytest.raises(ConfigError, match=r"--baseline; of arena-hard v0.1 it is gpt-4-0314"):
        judged(tmp_path, old)
    assert judged(tmp_path, old, baseline="gpt-4-0314").verdicts[0].b == "gpt-4-0314"


def test_alpaca_evals_preference_is_a_share_of_the_win(tmp_path):
    rows = [{**AE_ANNOTATION, "id": n, "preference": found} for n, found in enumerate((1.75, 1.5, 0, 1, None, 2))]
    found = judged(tmp_path, *rows)
    assert [(each.winner, each.share) for each in found.verdicts] == [
        ("a", 0.75), ("tie", 0.5), ("tie", 0.5), ("b", 0.0), ("a", 1.0),
    ]  # fmt: skip
    assert (found.verdicts[0].a, found.verdicts[0].b, found.none) == ("m", "base", 1)
    assert (found.verdicts[0].length_a, found.verdicts[0].length_b) == (1, 3)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({**MT_PAIR, "g1_winner": "m"}, "'g1_winner' must be model_1, model_2, tie or error, and not 'm'"),
        ({**MT_PAIR, "turn": 0}, "'turn' must be a number from 1"),
        ({**MT_SINGLE, "score": 11}, "'score' must be from 1 to 10"),
        ({**AH_GAMES, "games": [{"score": "A"}]}, "must be one of A>>B, A>B, A=B, B>A and B>>A, and not 'A'"),
        ({**AE_ANNOTATION, "preference": 2.5}, "'preference' must be from 1 to 2"),
        ({**AE_ANNOTATION, "preference": "2"}, "'preference' must be from 1 to 2"),
        ({"winner": "a"}, "holds no verdicts: MT-bench needs .*; our own needs sample, a, b, winner"),
    ],
)
def test_what_is_no_judgment_is_told(tmp_path, row, told):
    with pytest.raises(ConfigError, match=told):
        judged(tmp_path, row)


def test_a_much_better_answer_weighs_as_arena_hard_has_it(tmp_path):
    """Their rating of one model beside a baseline is the log-odds of its weighted share; ours is the same."""
    rows = [{**AH_GAMES, "uid": str(n), "games": games(n)} for n in range(40)]
    verdicts = judged(tmp_path, *rows).verdicts
    board = arena.leaderboard(Battles.of_verdicts(verdicts, much=3), anchor="base")
    points = {"A>>B": [1] * 3, "A>B": [1], "A=B": [0.5], "B>A": [0], "B>>A": [0] * 3}
    share = [s for row in rows for s in (
        *points[row["games"][1]["score"]], *(1 - each for each in points[row["games"][0]["score"]]))]  # fmt: skip
    wins = sum(share) / len(share)
    assert next(row.wins for row in board.rows if row.model == "m") == pytest.approx(wins)
    odds = 10 ** ((next(row.rating for row in board.rows if row.model == "m") - 1000) / 400)
    assert odds == pytest.approx(wins / (1 - wins), rel=1e-6)


def games(n: int) -> list[dict[str, str]]:
    grades = ["A>>B", "A>B", "A=B", "B>A", "B>>A"]
    return [{"score": grades[n % 5]}, {"score": grades[(n * n + 1) % 5]}]


# ----------------------------------------------------------------------------------------------------------------- gold


def gold(folder: Path, rows: list[Any]) -> list[tuple[str, str, str]]:
    found = task.read(Config(scorer="gold", file=str(lines(folder, rows)), source="lmsys/votes@dataset"))
    return [(each.prompt, each.row["right"], each.row["wrong"]) for each in found.samples]


def test_peoples_votes_on_mt_bench_are_gold_by_their_majority(tmp_path):
    against = {**VOTE, "winner": "model_b"}
    second = {**VOTE, "question_id": 82, "turn": 2, "winner": "model_b"}
    for side in ("conversation_a", "conversation_b"):
        second[side] = [*VOTE[side], {"role": "user", "content": "Sugar?"}, {"role": "assistant", "content": side[-1]}]
    tied = {**VOTE, "question_id": 83, "winner": "tie (bothbad)"}
    found = gold(tmp_path, [VOTE, against, {**VOTE, "judge": "expert_1"}, second, tied])
    assert found == [
        ("Tea?", "Yes.", "No."),
        ("[turn 1]\nTea?\n\n[turn 2]\nSugar?", "[turn 1]\nNo.\n\n[turn 2]\nb", "[turn 1]\nYes.\n\n[turn 2]\na"),
    ]


def test_peoples_annotations_of_alpaca_eval_are_gold(tmp_path):
    rows = [{**AE_ANNOTATION, "preference": found} for found in (1, 2, 2)]
    rows += [{**AE_ANNOTATION, "instruction": "Say 2.", "preference": 1}]
    rows += [{**AE_ANNOTATION, "instruction": "Say 3.", "preference": found} for found in (1, 2)]
    assert gold(tmp_path, rows) == [("Say 1.", "1", "one"), ("Say 2.", "one", "1")]
