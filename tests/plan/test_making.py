"""A plan, the run after it, and what the report then says of the plan: against a provider on loopback."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_run import run_file
from typer.testing import CliRunner

from trueseed import pipeline, runfile
from trueseed.cli import app
from trueseed.ledger.statement import STEP
from trueseed.plan import making, words
from trueseed.report import verify
from trueseed.runfile import RunFile
from trueseed.teachers.account.allowance import Allowance
from trueseed.teachers.account.holds import Holds
from trueseed.teachers.account.limits import Limit
from trueseed.teachers.account.shared import Shared
from trueseed.teachers.account.state import Account, our_entity
from trueseed.teachers.simulator import Behaviour, Simulator, simulator
from trueseed.workspace import Workspace

KEY = "sk-plan-5up3rs3cr3t-0123456789"
PRICE = {"input": 1.0, "output": 2.0}
pytestmark = pytest.mark.xdist_group("plan")


@pytest.fixture(scope="module")
def provider() -> Iterator[Simulator]:
    with simulator(Behaviour()) as running:
        yield running


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch, provider: Simulator) -> None:
    monkeypatch.setenv("PLAN_KEY", KEY)
    provider.reset()


@pytest.fixture
def settings(tmp_path: Path, tiny_llama: Path, provider: Simulator) -> Callable[..., RunFile]:
    """A run file with a remote teacher; `remote` and `changes` replace parts of it."""

    def read(remote: dict[str, Any] | None = None, **changes: Any) -> RunFile:
        return runfile.load(written(tmp_path, tiny_llama, provider, remote, **changes))

    return read


def written(
    folder: Path, model: Path, provider: Simulator, remote: dict[str, Any] | None = None, **changes: Any
) -> Path:
    endpoint = {"source": "own/simulated", "base_url": provider.openai, "key_from": "PLAN_KEY", "price": PRICE}
    return run_file(
        folder,
        model,
        **{
            "teacher": {"remote": {**endpoint, **(remote or {})}},
            "generate": {"max_tokens": 60, "effort": 12},
            **changes,
        },
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "work", create=True)


def plan(file: RunFile, workspace: Workspace, rows: int = 6) -> making.Plan:
    return making.make(file, workspace, rows=rows)


def step(made: making.Plan, name: str) -> Any:
    return next(each for each in made.estimate.steps if each.step == name)


def charged() -> int:
    now = datetime.now(UTC)
    used = Allowance(Account.open(), [], our_entity()).used(
        since=now - timedelta(days=1), until=now + timedelta(days=1)
    )
    return sum(each.charged.requests for each in used)


def test_a_plan_asks_a_few_rows_and_the_report_sets_what_it_said_beside_what_came(settings, workspace, provider):
    file = settings()
    made = plan(file, workspace)
    assert provider.counts()["billed"] == charged() == len(made.answered.rows) == 6
    assert made.exit_code == 0
    plan(file, workspace)
    assert provider.counts()["billed"] == 6  # a second plan of the same asks nothing
    requests = step(made, "generate").numbers["requests"]
    assert requests.low < requests.likely < requests.high
    assert {row[0] for row in words.steps(made)} == {"generate", "curate", "baseline", "train", "evaluate", "together"}

    report = pipeline.write_report(workspace, pipeline.run(file, workspace)).to_json()
    beside = {(each["step"], each["quantity"]): each for each in report["plan"]["beside"]}
    assert report["plan"]["rows"] == 6
    counts = report["records"]
    assert beside["generate", "requests"]["actual"] == counts["asked"] - counts["cached"]
    assert counts["cached"] > 0  # the plan's rows are not asked for again
    assert beside["generate", "accepted"] == {
        "step": "generate", "quantity": "accepted", "expected": {"likely": 12, "low": 12, "high": 12}, "actual": 12,
        "inside": True, "unknown": "",
    }  # fmt: skip
    assert beside["baseline", "requests"]["inside"]
    assert beside["generate", "micros"]["actual"] > 0
    assert {("train", "tokens"), ("train", "seconds"), ("evaluate", "seconds")} <= set(beside)
    page = (workspace.folder / "report.html").read_text()
    assert "What was expected" in page
    assert "Came to" in page
    assert not verify.workspace(workspace.folder).broken

    said = {ruling.step: sorted(map(str, ruling.verdicts)) for ruling in made.rulings}
    for entry in workspace.ledger.entries():  # the door said what the plan said
        if entry.predicate_type == STEP and entry.predicate["event"] == "done" and entry.predicate["step"] in said:
            told = [(v["source"], v["use"], v["verdict"]) for v in entry.predicate["verdicts"]]
            planned = next(ruling for ruling in made.rulings if ruling.step == entry.predicate["step"])
            assert sorted(told) == sorted(
                (v["source"], v["use"], v["verdict"]) for v in (each.to_json() for each in planned.verdicts)
            )
    again = plan(file, workspace)
    assert "seconds" in step(again, "evaluate").numbers  # of which nothing was known before the first run
    assert any(other.ability for other in again.others)


def test_zero_rows_ask_nothing_and_say_what_is_unknown(settings, workspace, provider):
    made = plan(settings(), workspace, rows=0)
    assert provider.counts()["arrived"] == 0
    assert step(made, "generate").unknown["tokens"] == step(made, "generate").unknown["seconds"]
    assert "no question was answered" in step(made, "generate").unknown["micros"]
    assert step(made, "generate").numbers["requests"].high > step(made, "generate").numbers["requests"].low
    assert made.calendar.to_json()["words"].startswith("not known: seconds: no question was answered")


def test_an_unknown_price_is_no_money_known_and_nothing_is_asked(settings, workspace, provider):
    remote = {"source": "deepseek/deepseek-chat@api", "model": "simulated", "price": None}
    made = plan(settings(remote), workspace)
    assert provider.counts()["arrived"] == 0
    assert "give a price" in step(made, "generate").unknown["micros"]
    assert made.exit_code == 3  # as the run would be refused


def test_a_teacher_whose_terms_refuse_is_not_asked_and_the_plan_names_clause_and_others(settings, workspace, provider):
    made = plan(settings({"source": "openai/gpt-4o-mini@api", "model": "simulated"}), workspace)
    assert provider.counts()["arrived"] == 0
    assert made.exit_code == 3
    refused = [told for told in words.verdicts(made) if not told.permitted]
    assert any("openai-sa-2026-01-01" in told.text and "generate" in told.steps for told in refused)
    assert any("smollm2" in line and "may teach" in line for line in words.others(made))


def test_a_maker_on_hold_is_not_asked(settings, workspace, provider):
    Holds(Account.open(), our_entity()).place("deepseek", "account suspended", "0" * 64)
    made = plan(settings({"source": "deepseek/deepseek-chat@api", "model": "simulated"}), workspace)
    assert provider.counts()["arrived"] == 0
    assert made.exit_code == 3
    assert "on hold" in made.barred[0]


def test_the_providers_own_limits_are_read_from_its_answers(settings, workspace, provider):
    provider.behave(Behaviour(requests_per_minute=600))
    try:
        made = plan(settings(), workspace, rows=2)
    finally:
        provider.behave(Behaviour())
    assert made.answered.allowed_per_s is not None
    assert 5 < made.answered.allowed_per_s < 20


def test_a_limit_that_is_too_small_is_told_before_the_run(settings, workspace):
    made = plan(settings(limits=[{"source": "own/*", "per": "total", "requests": 20}]), workspace, rows=0)
    assert "it lacks" in made.calendar.to_json()["words"]
    assert made.calendar.likely is not None
    assert made.calendar.likely.at is None


def test_a_limit_of_the_account_is_told_of_a_file_without_limits(settings, workspace):
    limit = Shared(Account.open(), our_entity()).set(Limit(source="own/*", per="total", requests=20))
    told = plan(settings(), workspace, rows=0).calendar.to_json()
    assert f"20 requests in total (limit {limit.id} of the account)): it lacks" in told["words"]
    assert [each["id"] for each in told["limits"]] == [limit.id]


def test_a_teacher_that_fails_does_not_hide_the_rest_of_the_plan(tmp_path, tiny_llama, provider):
    file = written(tmp_path, tiny_llama, provider, {"model": "no-such-model"})
    done = CliRunner().invoke(app, ["plan", str(file), "-w", str(tmp_path / "work"), "--rows", "1", "--json"])
    said = json.loads(done.stdout)
    assert done.exit_code == said["exit_code"] == 2
    assert said["rulings"]
    assert said["failure"]
    assert json.loads((tmp_path / "work" / "plan.json").read_text())["exit_code"] == 2


def test_the_plan_is_printed_without_the_key(tmp_path, tiny_llama, provider):
    file = written(tmp_path, tiny_llama, provider)
    done = CliRunner().invoke(app, ["plan", str(file), "-w", str(tmp_path / "work"), "--rows", "2"])
    assert done.exit_code == 0, done.output
    assert "calendar   done on" in done.stdout
    for path in (tmp_path / "work").rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes()
