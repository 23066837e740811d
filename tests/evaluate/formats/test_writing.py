"""What we write is read again as it was, and in the layout and by the fields that the benchmarks' own scripts use."""

import csv
import io
import json
from pathlib import Path

import pytest

from trueseed.errors import ConfigError
from trueseed.evaluate.formats import alpaca_eval, arena_hard, reading
from trueseed.evaluate.formats.row import Mark
from trueseed.evaluate.formats.writing import Sheet, Side, files
from trueseed.evaluate.outputs import Recorded
from trueseed.evaluate.sample import Sample
from trueseed.evaluate.verdicts import Verdict

JUDGES = {"j": {"source": "own/j", "card": True}}


def one_turn(n: int = 3) -> list[Sample]:
    return [Sample(id=str(at), prompt=f"Say {at}.", row={"prompt": f"Say {at}."}) for at in range(n)]


TURNS = [
    Sample(id="81", prompt="Tea?", row={"category": "writing"}),
    Sample(id="81/2", prompt="Sugar?", row={"category": "writing"}, follows="81"),
]


def sheet(samples: list[Sample], verdicts: list[Verdict], marks: tuple[Mark, ...] = ()) -> Sheet:
    sides = [
        Side(name=name, answers={each.id: f"{name} {each.id}" for each in samples}, origin={"source": f"own/{name}"})
        for name in ("m", "base")
    ]
    return Sheet(samples=samples, sides=sides, verdicts=verdicts, marks=marks, judges=JUDGES)


def verdict(sample: str, winner: str, order: str = "ab", **more: object) -> Verdict:
    return Verdict(sample=sample, a="m", b="base", winner=winner, order=order, judge="j", **more)  # type: ignore[arg-type]


def written(folder: Path, made: Sheet, form: str) -> Path:
    for name, content in files(made, form).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def both(said: Verdict) -> tuple[str, str, str, bool]:
    return said.sample, said.winner, said.order, said.much


SAID = [
    verdict("0", "a"),
    verdict("0", "b", "ba"),
    verdict("1", "tie"),
    verdict("1", "a", "ba"),
    verdict("2", "b", "ba"),
]


def test_mt_bench_has_conversations_and_comes_back(tmp_path):
    said = [verdict("81", "a"), verdict("81", "tie", "ba"), verdict("81/2", "b", "ba")]
    marks = (
        Mark(sample="81/2", model="m", judge="j", score=7.0),
        Mark(sample="81/2", model="base", judge="j", score=4),
    )
    folder = written(tmp_path, sheet(TURNS, said, marks), "mt-bench")
    [row] = [json.loads(line) for line in (folder / "model_answer/m.jsonl").read_text().splitlines()]
    assert (row["question_id"], row["choices"][0]["turns"]) == (81, ["m 81", "m 81/2"])
    found = reading.judgments(folder / "model_judgment/j_pair.jsonl")
    assert list(map(both, found.verdicts)) == list(map(both, said))
    assert found.none == 1  # nothing was said of the second turn in the order ab
    assert [each.winner for each in reading.judgments(folder / "model_judgment/j_single.jsonl").verdicts] == ["b"]
    origin = Recorded(source="own/m", maker="own/ada")
    again = reading.outputs(folder / "model_answer/m.jsonl", origin, TURNS)
    assert {each.id: each.output for each in again.rows} == {"81": "m 81", "81/2": "m 81/2"}


def test_arena_hard_comes_back_with_how_much_better(tmp_path):
    said = [verdict("0", "a", much=True), verdict("0", "b", "ba", much=True), *SAID[2:]]
    folder = written(tmp_path, sheet(one_turn(), said), "arena-hard")
    found = reading.judgments(folder / "model_judgment/j/m.jsonl")
    assert sorted(map(both, found.verdicts)) == sorted(map(both, said))
    [row, *_] = [json.loads(line) for line in (folder / "model_judgment/j/m.jsonl").read_text().splitlines()]
    assert [game["score"] for game in row["games"]] == ["A>>B", "A>>B"]  # the baseline is A in the first
    assert (row["baseline"], row["category"]) == ("base", "hard_prompt")


def test_both_versions_of_arena_hard_find_their_members(tmp_path):
    folder = written(tmp_path, sheet(one_turn(), SAID), "arena-hard")
    row = json.loads((folder / "model_answer/m.jsonl").read_text().splitlines()[0])
    assert row["messages"][-1]["content"]["answer"] == row["choices"][0]["turns"][0]["content"] == "m 0"
    assert (row["uid"], row["question_id"], row["model"], row["model_id"]) == ("0", "0", "m", "m")


def test_alpaca_eval_comes_back_with_a_tie_where_the_orders_differ(tmp_path):
    folder = written(tmp_path, sheet(one_turn(4), [*SAID, verdict("3", "a"), verdict("3", "a", "ba")]), "alpaca-eval")
    found = reading.judgments(folder / "m/j/annotations.json")
    shares = {each.sample: each.share for each in found.verdicts}
    assert shares == {"0": 0.5, "1": 0.5, "3": 1.0}  # of 2 one order is missing
    again = reading.outputs(folder / "m/model_outputs.json", Recorded(source="own/m", maker="own/ada"))
    assert [(each.id, each.output) for each in again.rows] == [(str(n), f"m {n}") for n in range(4)]
    [board] = csv.DictReader(io.StringIO((folder / "m/j/leaderboard.csv").read_text()))
    assert (board[""], round(float(board["win_rate"]), 3), board["n_draws"]) == ("m", 66.667, "2")


def test_a_judges_odds_become_a_preference(tmp_path):
    said = [
        verdict("0", "a", share=0.9),
        verdict("0", "b", "ba", share=0.4),
        verdict("1", "a"),
        verdict("1", "a", "ba"),
    ]
    folder = written(tmp_path, sheet(one_turn(2), said), "alpaca-eval")
    found = [row["preference"] for row in json.loads((folder / "m/j/annotations.json").read_text())]
    assert found == pytest.approx([1.65, 2.0])


def test_origins_are_not_lost(tmp_path):
    for form in ("mt-bench", "arena-hard", "alpaca-eval"):
        folder = written(tmp_path / form, sheet(one_turn(), SAID), form)
        said = json.loads((folder / "origins.json").read_text())
        assert said == {"models": {"m": {"source": "own/m"}, "base": {"source": "own/base"}}, "judges": JUDGES}
    with pytest.raises(ConfigError, match="says that own/m spoke"):
        reading.outputs(folder / "m/model_outputs.json", Recorded(source="own/bea", maker="own/ada"))


def test_what_a_format_cannot_hold_is_refused():
    marks = (Mark(sample="0", model="m", judge="j", score=7.0),)
    for form in ("arena-hard", "alpaca-eval"):
        with pytest.raises(ConfigError, match="no questions of several turns"):
            files(sheet(TURNS, []), form)
        with pytest.raises(ConfigError, match="and no marks"):
            files(sheet(one_turn(), [], marks), form)
    with pytest.raises(ConfigError, match="there is no format 'helm'"):
        files(sheet(TURNS, []), "helm")


def test_alpaca_evals_figures_are_as_its_package_counts_them():
    """By alpaca_eval 0.6.6's `get_winrate` of these preferences."""
    found = alpaca_eval.leaderboard_row([1, 2, 1.5, 1.25, 2, 1.5, 1.75], ["four"])
    assert found["win_rate"] == pytest.approx(57.142857142857146)
    assert found["standard_error"] == pytest.approx(14.136121532187996)
    assert [found[name] for name in ("n_wins", "n_wins_base", "n_draws", "n_total")] == [3, 2, 2, 7]
    assert found["discrete_win_rate"] == pytest.approx(57.142857142857146)


def test_style_is_counted_outside_code():
    found = arena_hard.style("# Title\n\n1. one\n- two **bold**\n```\n# no title\n- no list\n```")
    assert (found["header_count"]["h1"], found["list_count"], found["bold_count"]["**"]) == (
        1, {"ordered": 1, "unordered": 1}, 1,
    )  # fmt: skip


def test_an_id_that_looks_like_a_turn_is_none():
    samples = [Sample(id=f"HumanEval/{n}", prompt=f"Say {n}.", row={}) for n in (1, 2)]
    rows = [json.loads(line) for line in files(sheet(samples, []), "mt-bench")["question.jsonl"].splitlines()]
    assert [row["turns"] for row in rows] == [["Say 1."], ["Say 2."]]
    assert [row["question_id"] for row in rows] == ["HumanEval/1", "HumanEval/2"]
