"""What a plan says of tasks, judges and targets: how much is asked of whom, at whose price, and by when."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_run import run_file

from trueseed import judging, pipeline, runfile, scoring
from trueseed.errors import Refused
from trueseed.evaluate import judge_card
from trueseed.evaluate.task import Config
from trueseed.plan import making, words
from trueseed.plan.calendar import Finish
from trueseed.plan.deadlines import deadlines
from trueseed.plan.history import tempos
from trueseed.plan.schedule import Calendar
from trueseed.runfile import RunFile
from trueseed.teachers.simulator import Behaviour, Simulator, simulator
from trueseed.workspace import Workspace

KEY = "sk-plan-5up3rs3cr3t-0123456789"
TODAY = datetime.now(UTC).date()
PROMPTS = [{"id": str(n), "prompt": f"Tell me of number {n}, at some length."} for n in range(5)]
pytestmark = pytest.mark.xdist_group("plan")


@pytest.fixture(scope="module")
def provider() -> Iterator[Simulator]:
    with simulator(Behaviour()) as running:
        yield running


def remote(provider: Simulator, source: str, price: dict[str, float] | None) -> dict[str, Any]:
    said = {"source": source, "model": "simulated", "base_url": provider.openai, "key_from": "PLAN_KEY"}
    return {"remote": {**said, **({"price": price} if price else {})}}


@pytest.fixture
def read(
    tmp_path: Path, tiny_llama: Path, provider: Simulator, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., RunFile]:
    """A run file with a judge for an open task of five prompts, and a target on another; `changes` replace parts."""
    monkeypatch.setenv("PLAN_KEY", KEY)
    provider.reset()
    (tmp_path / "talk.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PROMPTS))
    (tmp_path / "facts.jsonl").write_text("".join(json.dumps({**row, "target": "7"}) + "\n" for row in PROMPTS))

    def written(judge_price: dict[str, float] | None = None, source: str = "own/judge", **changes: Any) -> RunFile:
        task = {"file": "talk.jsonl", "scorer": "open", "source": "own/ada", "of": ["student", "teacher", "base"],
                "max_tokens": 100}  # fmt: skip
        goal = {"name": "gpt", "task": "facts", "by": TODAY + timedelta(days=40), "on": TODAY,
                "teacher": remote(provider, "own/gpt", {"input": 0, "output": 0})}  # fmt: skip
        return runfile.load(
            run_file(
                tmp_path, tiny_llama,
                **{
                    "teacher": remote(provider, "own/first", {"input": 1.0, "output": 2.0}),
                    "generate": {"max_tokens": 60, "effort": 12},
                    "tasks": [task, {"file": "facts.jsonl", "scorer": "contains", "source": "own/ada"}],
                    "judges": [remote(provider, source, judge_price or {"input": 10.0, "output": 30.0})],
                    "targets": [goal],
                    **changes,
                },
            )
        )  # fmt: skip

    return written


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "work", create=True)


def numbers(made: making.Plan, step: str) -> Any:
    return next(each.numbers for each in made.estimate.steps if each.step == step)


def test_answers_and_verdicts_are_counted_and_paid_at_the_price_of_whoever_gives_them(read, workspace, provider):
    made = making.make(read(), workspace, rows=4)
    assert (made.exit_code, provider.counts()["billed"]) == (0, 4)  # and nobody but the teacher was asked
    assert numbers(made, "target gpt")["requests"].likely == 5
    assert numbers(made, "talk: teacher")["requests"].likely == 5
    assert numbers(made, "talk: student")["requests"].likely == 0
    verdicts = numbers(made, "judge 1")
    assert 20 <= verdicts["requests"].low <= verdicts["requests"].high <= 40  # five pairs, two rivals, both orders
    assert numbers(made, "judge 1: its card")["requests"].low >= 120
    # at least: the words of a comparison at 6 characters a token, and a reply of one token
    assert verdicts["micros"].low > 20 * (700 / 6 * 10 + 30)
    assert verdicts["micros"].high < 40 * ((2000 + 40 + 200) * 10 + 160 * 30)
    assert numbers(made, "target gpt")["micros"].high == 0
    assert "seconds" in numbers(made, "talk: teacher")  # at the pace of the rows that were asked
    told = "\n".join(words.measures(made))
    assert "measures   judge 1: own/judge 20 verdicts, in 20 to 40 calls, for judge" in told
    assert "measures   talk: teacher: own/first 5 answers, for benchmark_teacher" in told
    assert "measures   talk: student: 5 answers of our own" in told
    assert "target     gpt" in told
    assert "measures   facts: teacher: own/first 5 answers, for benchmark_teacher" in told  # a rung, by default
    assert "measures   facts: base: own/tiny 5 answers, for benchmark_teacher" in told
    assert made.to_json()["deadlines"][0]["time"] == "before"
    uses = {(row.source, use) for row in words.verdicts(made) for use in row.uses.split(", ") if row.permitted}
    assert {("own/judge", "judge"), ("own/gpt", "benchmark_teacher")} <= uses


def test_a_card_that_is_kept_is_not_counted_and_is_said_to_be(read, workspace, provider, tmp_path, monkeypatch):
    gold = judge_card.GOLD.read_text().splitlines()[20:28]
    (tmp_path / "gold.jsonl").write_text("".join(f"{line}\n" for line in gold))
    monkeypatch.setattr(judge_card, "GOLD", tmp_path / "gold.jsonl")
    file = read()
    workspace.declare(file.project, file.facts)
    seat = judging.seat_of(file.judges[0], file, workspace)
    judging.check(seat, workspace)
    asked = provider.counts()["arrived"]
    judging.check(seat, workspace)
    made = making.make(file, workspace, rows=0)
    assert provider.counts()["arrived"] == asked
    assert {each.step for each in made.estimate.steps if each.step.startswith("judge")} == {"judge 1"}
    assert made.measures[0] == f"judge 1: its card of {TODAY} is kept (failed): nothing is asked for it"
    stricter = {**remote(provider, "own/judge", {"input": 1.0, "output": 1.0}), "rubric": {"seed": 8}}
    anew = making.make(read(judges=[stricter]), workspace, rows=0)
    assert "judge 1: its card" in {each.step for each in anew.estimate.steps}
    assert not any("is kept" in line for line in anew.measures)


def test_a_judge_whose_price_nobody_knows_ends_plan_and_run_alike_before_any_call(read, workspace, provider):
    file = read(judges=[remote(provider, "deepseek/deepseek-chat@api", None)], operator={"region": "US"})
    made = making.make(file, workspace, rows=4)
    assert (made.exit_code, provider.counts()["arrived"]) == (3, 0)
    with pytest.raises(Refused) as ending:
        pipeline.run(file, workspace)
    assert str(ending.value) == str(made.failure) or "judge" in str(ending.value)
    assert provider.counts()["arrived"] == 0


def test_a_judge_that_its_terms_deny_is_named_with_the_clause_and_nobody_is_asked(read, workspace, provider):
    made = making.make(read(source="nobody/judge@api"), workspace, rows=4)
    assert (made.exit_code, provider.counts()["arrived"]) == (3, 0)
    refused = [row for row in words.verdicts(made) if not row.permitted]
    assert [(row.steps, row.source, row.uses) for row in refused] == [("judge", "nobody/judge@api", "judge")]


def test_a_target_that_may_not_be_measured_ends_it_too(read, workspace, provider):
    goal = {"name": "gpt", "task": "facts", "by": TODAY, "on": TODAY,
            "teacher": remote(provider, "openai/gpt-4o-mini@api", {"input": 1, "output": 1})}  # fmt: skip
    file = read(targets=[goal])
    made = making.make(file, workspace, rows=4)
    assert made.exit_code == 3
    with pytest.raises(Refused, match="step 'score' refused: openai/gpt-4o-mini@api"):
        pipeline.run(file, workspace)
    assert provider.counts()["arrived"] == 0


def test_a_limit_that_is_too_small_for_the_verdicts_is_told_beforehand(read, workspace):
    made = making.make(read(limits=[{"source": "own/judge", "per": "total", "requests": 50}]), workspace, rows=0)
    said = made.calendar.to_json()["words"]
    assert said.startswith("never: the limit in total is too small (50 requests in total): it lacks")
    assert "never done under its limits" in "\n".join(words.measures(made))


def test_a_days_limit_of_the_judge_moves_the_end_of_the_run(read, workspace):
    made = making.make(read(limits=[{"source": "own/judge", "per": "day", "requests": 100}]), workspace, rows=4)
    assert made.calendar.likely is not None
    assert made.calendar.likely.at is not None
    assert made.calendar.likely.at.date() > TODAY


def test_a_task_that_cannot_be_read_ends_it_with_its_line(read, workspace, provider, tmp_path):
    file = read()
    (tmp_path / "talk.jsonl").write_text('{"prompt": "one"}\n{"question": "two"}\n')
    made = making.make(file, workspace, rows=4)
    assert (made.exit_code, provider.counts()["arrived"]) == (2, 0)
    assert "line 2" in str(made.failure)


@pytest.mark.parametrize(
    ("by", "likely", "latest", "words"),
    [
        (date(2026, 1, 5), None, None, "26 days past"),
        (date(2026, 2, 10), date(2026, 2, 3), date(2026, 2, 10), "done 7 days before"),
        (date(2026, 2, 10), date(2026, 2, 3), date(2026, 2, 11), "not at the high end"),
        (date(2026, 2, 10), date(2026, 2, 11), date(2026, 2, 11), "likely done 1 day after"),
    ],
)
def test_what_a_deadline_means_for_a_run(read, by, likely, latest, words):
    def at(day: date | None) -> Finish | None:
        return Finish(at=datetime(day.year, day.month, day.day, 23, tzinfo=UTC)) if day else None

    file = read()
    file = file.model_copy(update={"targets": [file.targets[0].model_copy(update={"by": by})]})
    calendar = Calendar(earliest=at(likely), likely=at(likely), latest=at(latest))
    [found] = deadlines(file, calendar, date(2026, 1, 31))
    assert words in str(found)


def test_without_an_end_a_deadline_says_that_none_is_known(read):
    file = read()
    calendar = Calendar(earliest=None, likely=None, latest=None, unknown="seconds: nothing was measured")
    assert "when the run is done is not known" in str(deadlines(file, calendar, TODAY)[0])


def test_the_pace_of_a_task_is_known_once_it_was_measured(read, workspace, tmp_path):
    file = read()
    workspace.declare(file.project, file.facts)
    config = Config(file=str(tmp_path / "facts.jsonl"), scorer="contains", source="own/ada")
    model = scoring.of_run(file, "target gpt", workspace)
    scoring.on(model, config, scoring.bring_task(workspace, config), workspace)
    assert list(tempos(workspace.ledger.entries()).found) == ["score contains own/gpt"]
    made = making.make(file, workspace, rows=0)
    assert "seconds" in numbers(made, "target gpt")
