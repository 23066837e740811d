"""Pair after pair before a judge, through the door: what is chosen, what it costs, and how it goes on."""

import json
from collections import Counter
from typing import Any

import pytest
from tests.test_judging import (
    PROMPTS,
    SMOL,
    Voice,
    fewer_pairs,
    longest,
    provider,
    remote,
    said,
    seat,
    shown,
    steps,
    task,
    wise,
    workspace,
)
from typer.testing import CliRunner

from trueseed import judging, recall, scoreboard, scoring
from trueseed.cli import app
from trueseed.core.chat import Request
from trueseed.errors import ConfigError, Refused
from trueseed.evaluate.task import Config
from trueseed.teachers.account.allowance import Exhausted

__all__ = ["fewer_pairs", "provider", "task", "workspace"]  # fixtures
NAMES = ("own/none", "own/one", "own/two", "own/three")
BOUTS = 6 * len(PROMPTS)  # of four models


def enter(workspace, task, *names: str) -> None:
    """own/two marks its answers with two stars, and so on."""
    for name in names:
        stars = "*" * NAMES.index(name)
        outputs = said(name, name, f"{{}} {stars} by {name}".format)
        scoring.on(scoring.recorded(scoring.bring_outputs(workspace, outputs)), Config(scorer="open"), task, workspace)


@pytest.fixture
def four(workspace, task):
    enter(workspace, task, *NAMES)


def counts_stars(request: Request) -> str:
    """More is better, but for the answers to two prompts."""
    if "<answer A " not in request.messages[0].content or not any("*" in text for text in shown(request)):
        return wise(request)
    first, second = (text.count("*") for text in shown(request))
    odd = "Say 4." in request.messages[0].content or "Say 5." in request.messages[0].content
    return f'{{"reason": "stars", "winner": "{"A" if (first > second) != odd else "B"}"}}'


def compete(workspace, one, verdicts: int = 24, **said: Any):
    return scoreboard.compete("task", one, workspace, **{"verdicts": verdicts, "checked": False, **said})


def bouts(rounds):
    return [bout for each in rounds for bout in each.met]


def test_pairs_are_judged_one_after_the_other_until_the_verdicts_are_spent(workspace, task, four):
    one = seat(counts_stars)
    rounds = compete(workspace, one, 48)
    assert sum(each.about["counts"]["asked"] for each in rounds) == 48 and len(rounds) == 3
    assert len(set(bouts(rounds))) == 24  # nobody met anybody on a sample twice
    assert {name for pair, _ in bouts(rounds) for name in pair} == set(NAMES)
    for each in rounds:
        assert Counter((v.a, v.b, v.sample) for v in each.verdicts) == dict.fromkeys(
            ((*pair, sample) for pair, sample in each.met), 2
        )
        assert {v.order for v in each.verdicts} == {"ab", "ba"}
    asked = [each for each in steps(workspace, "judge") if each.get("event") == "done"]
    assert [each["asks"] for each in asked] == [[{"source": SMOL, "use": "judge"}]] * 3
    board = scoreboard.arena([each.scores for each in rounds])
    assert len(board.battles) == 48
    assert any("was not checked" in doubt for doubt in board.doubts)


def test_the_same_call_asks_nothing_and_a_larger_one_goes_on(workspace, task, four):
    one = seat(counts_stars)
    first = compete(workspace, one, 24)
    asked = len(one.model.voice.asked)
    assert [each.scores for each in compete(workspace, one, 24)] == [each.scores for each in first]
    assert len(one.model.voice.asked) == asked == 24
    more = compete(workspace, one, 40)
    assert [each.scores for each in more][: len(first)] == [each.scores for each in first]
    assert len(one.model.voice.asked) == 40 and len(set(bouts(more))) == 20


def test_it_ends_when_everybody_met_everybody_on_every_sample(workspace, task, four):
    rounds = compete(workspace, seat(counts_stars), 10_000)
    assert len(bouts(rounds)) == len(set(bouts(rounds))) == BOUTS
    kept = scoreboard.arena(scoreboard.competing([], workspace, task="task"))
    assert len(kept.battles) == 2 * BOUTS
    wins = Counter[str]()
    for verdict in (each for some in rounds for each in some.verdicts):
        wins[verdict.a if verdict.winner == "a" else verdict.b] += 1
    assert [name for name, _ in wins.most_common()] == ["own/three", "own/two", "own/one", "own/none"]


def test_it_ends_when_the_ratings_are_sure_enough(workspace, task, four):
    sure = compete(workspace, seat(counts_stars), 10_000, until=200.0)
    assert 8 <= len(bouts(sure)) < BOUTS
    assert len(bouts(compete(workspace, seat(counts_stars), 10_000, until=0.1))) == BOUTS


def test_a_model_that_joins_meets_the_others_and_what_was_said_before_counts(workspace, task):
    enter(workspace, task, *NAMES[:3])
    one = seat(counts_stars)
    before = compete(workspace, one, 24)
    enter(workspace, task, NAMES[3])
    after = compete(workspace, one, 40)
    assert [each.scores for each in after][: len(before)] == [each.scores for each in before]
    assert len(one.model.voice.asked) == 40
    assert sum("own/three" in pair for pair, _ in bouts(after[len(before) :])) >= 6  # of eight: nothing was known of it


def test_a_round_that_was_killed_asks_only_what_is_left(workspace, task, four):
    left = 11

    def dies(request: Request) -> str:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return counts_stars(request)

    one = seat(dies, "own/j", asked=False)  # a judge of ours, whose answers no cache keeps
    with pytest.raises(KeyboardInterrupt):
        compete(workspace, one, 32)
    first, left = len(one.model.voice.asked), 1000
    rounds = compete(workspace, one, 32)
    assert len(set(bouts(rounds))) == 16
    assert 32 <= len(one.model.voice.asked) <= 32 + 4 and first < 32  # what was under way is asked again
    untouched = seat(counts_stars, "own/untouched", asked=False)
    assert bouts(compete(workspace, untouched, 32)) == bouts(rounds)


def test_a_judge_that_is_recalled_meanwhile_is_asked_no_more(workspace, task, four):
    one = seat(counts_stars)
    first = compete(workspace, one, 16)
    asked = len(one.model.voice.asked)

    def told(request: Request) -> str:
        if len(one.model.voice.asked) == asked + 3:
            recall.recall(workspace, SMOL, "its maker asked for it")
        return counts_stars(request)

    one.model.voice._script = told
    with pytest.raises(Refused, match="recall"):
        compete(workspace, one, 200)
    assert len(one.model.voice.asked) <= asked + 16  # of the round that was under way
    spent = len(one.model.voice.asked)
    with pytest.raises(Refused, match="recall"):
        compete(workspace, one, 200)
    assert len(one.model.voice.asked) == spent
    assert len(first) == 1


def test_a_budget_that_is_used_up_stops_it_and_a_larger_one_goes_on(workspace, task, four, provider, monkeypatch):
    def judge(requests: int) -> judging.Seat:
        limit = {"source": "own/*", "per": "total", "use": "judge", "requests": requests}
        return remote(provider, monkeypatch, [limit], json_schema=True)

    with pytest.raises(Exhausted):
        compete(workspace, judge(20), 48)
    rounds = compete(workspace, judge(48), 48)
    assert len(bouts(rounds)) == len(set(bouts(rounds))) == 24  # and the 20 calls were not spent again
    with pytest.raises(ConfigError, match="on 24 of 24 pairs of answers that it decided"):  # it always says A
        scoreboard.arena([each.scores for each in rounds])


def test_a_judge_whose_terms_are_not_established_is_asked_nothing(workspace, task, four):
    nobody = seat(counts_stars, "nobody/knows@api")
    with pytest.raises(Refused, match="judge"):
        compete(workspace, nobody)
    assert nobody.model.voice.asked == []


def test_who_failed_its_card_has_no_voice_beside_one_that_passed_though_they_never_sat_together(workspace, task, four):
    weak, strong = seat(longest, "own/weak", asked=False), seat(wise)
    of_weak = compete(workspace, weak, 16, checked=True)
    alone = scoreboard.arena(scoreboard.competing([], workspace, task="task"))
    assert len(alone.battles) == 16 and "own/weak failed its card: " in alone.doubts[0]
    compete(workspace, strong, 16, checked=True)
    both = scoreboard.competing([], workspace, task="task")
    assert {each.digest for each in both} > {each.scores.digest for each in of_weak}
    together = scoreboard.arena(both)
    assert len(together.battles) == 16
    assert "own/weak failed its card, and has no voice here" in together.doubts[0]
    assert len(scoreboard.arena(both, judge="own/weak").battles) == 16


def test_a_judge_that_is_tried_later_is_believed_for_what_it_said_before(workspace, task, four):
    unchecked = compete(workspace, seat(wise), 16)
    assert "was not checked" in scoreboard.arena([each.scores for each in unchecked]).doubts[0]
    both = compete(workspace, seat(wise), 32, checked=True)
    board = scoreboard.arena([each.scores for each in both])
    assert (len(board.battles), board.doubts) == (32, ())


def test_only_samples_that_a_judge_can_judge_are_drawn(workspace, task, four):
    with pytest.raises(ConfigError, match="no sample of task has a `check`"):
        compete(workspace, judging.by_checks())


def test_prose_is_no_verdict_and_ends_like_any_other(workspace, task, four):
    rounds = compete(workspace, seat(lambda _: "Both are fine.", "own/prose", asked=False), 16)
    assert rounds[0].about["counts"] == {"asked": 16, "verdicts": 0} and rounds[0].faults == {"prose": 16}
    with pytest.raises(ConfigError, match="there is no verdict; judges are own/prose"):
        scoreboard.arena([each.scores for each in rounds])


# ------------------------------------------------------------------------------------------------ from the command line


def arena(workspace, *words: object) -> Any:
    arguments = ["arena", *map(str, words), "--workspace", str(workspace.folder)]
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


@pytest.fixture
def from_scripts(monkeypatch):
    found = {"wise": counts_stars, "longest": longest}
    monkeypatch.setattr(scoring, "ours", lambda workspace, spec, speed=None: seat(found[spec]).model)


def test_from_the_command_line_a_judge_is_tried_asked_and_rated(workspace, task, four, from_scripts):
    done = arena(workspace, "--task", "task", "--judge", "wise", "--verdicts", 48)
    assert done.exit_code == 0 and "48 verdicts on 6 prompts" in done.stdout
    assert all(name in done.stdout for name in NAMES) and "note: the judge" not in done.stdout
    assert "asked 48 times in 3 rounds: 48 verdicts" in done.stderr
    again = arena(workspace, "--task", "task")  # what was said stands there without a judge
    assert again.stdout == done.stdout
    failed = arena(workspace, "--task", "task", "--judge", "longest", "--verdicts", 24, "--json")
    notes = json.loads(failed.stdout)["notes"]
    assert any("failed its card" in note for note in notes)


def test_a_round_is_not_written_as_another_benchmark_has_its_judgments(workspace, task, four, tmp_path):
    (one,) = compete(workspace, seat(counts_stars), 8)
    words = ["scores", "export", f"scores:{one.scores.digest}", "--as", "mt-bench", "--to", str(tmp_path / "out")]
    with pytest.raises(ConfigError, match="is a round of an arena"):
        CliRunner().invoke(app, [*words, "--workspace", str(workspace.folder)], catch_exceptions=False)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--judge", "wise", "--verdicts", 10], "with --task, --judge and --verdicts"),
        (["--task", "task", "--until", 10], "with --task, --judge and --verdicts"),
        (["--task", "other", "--judge", "wise", "--verdicts", 10], "0 tasks that were measured here"),
        (["--task", "task"], "let a judge compare two of them"),
    ],
)
def test_mistakes_are_told(workspace, task, four, from_scripts, words, why):
    with pytest.raises(ConfigError, match=why):
        arena(workspace, *words)


def test_a_task_that_a_check_decides_needs_no_judge(workspace, tmp_path):
    path = tmp_path / "checked.jsonl"
    path.write_text("".join(json.dumps({**row, "target": "1"}) + "\n" for row in PROMPTS))
    config = Config(scorer="contains", file=str(path), source="own/ada", name="checked")
    model = scoring.Model(voice=Voice("own/echo", lambda _: "so"), weights=None, asked=False)
    scoring.on(model, config, scoring.bring_task(workspace, config), workspace)
    with pytest.raises(ConfigError, match="is scored by 'contains', so nobody judges"):
        scoreboard.compete("checked", seat(counts_stars), workspace, verdicts=10)
