"""What a plan says of every teacher that a run file names, beside what the run does with the same file."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_run import run_file
from typer.testing import CliRunner

from trueseed import pipeline, runfile
from trueseed.cli import app
from trueseed.core.canonical import now
from trueseed.core.durable import state_folder
from trueseed.errors import Refused
from trueseed.ledger.statement import WITHDRAWAL
from trueseed.plan import making, words
from trueseed.runfile import RunFile
from trueseed.teachers.account.holds import Holds, hold
from trueseed.teachers.account.quotas import Refusal, meet
from trueseed.teachers.account.state import Account, our_entity
from trueseed.teachers.account.way import Way
from trueseed.teachers.simulator import Behaviour, Simulator, simulator
from trueseed.terms.catalog import SHIPPED
from trueseed.workspace import Workspace

FIRST, SECOND, THIRD = "own/first", "deepseek/deepseek-chat@api", "mistral/mistral-small@api"
KEY = "sk-standing-5up3rs3cr3t-0123456789"
pytestmark = pytest.mark.xdist_group("plan")


@pytest.fixture(scope="module")
def provider() -> Iterator[Simulator]:
    with simulator(Behaviour()) as running:
        yield running


Read = Callable[..., RunFile]


@pytest.fixture
def read(tmp_path: Path, tiny_llama: Path, provider: Simulator, monkeypatch: pytest.MonkeyPatch) -> Read:
    """A run file with teachers of these sources behind one API; `changes` replace members of the last one."""
    monkeypatch.setenv("PLAN_KEY", KEY)
    provider.reset()

    def written(*sources: str, contract: str | None = None, **changes: Any) -> RunFile:
        asked = [
            {"remote": {"source": source, "model": "simulated", "base_url": provider.openai, "key_from": "PLAN_KEY",
                        "price": {"input": 0, "output": 0}}}
            for source in sources
        ]  # fmt: skip
        asked[-1]["remote"] |= changes
        if contract:
            asked[-1]["contract"] = contract  # type: ignore[assignment]
        given = {"teacher": asked[0], "failover": asked[1:], "generate": {"max_tokens": 60}}
        return runfile.load(run_file(tmp_path, tiny_llama, **given))  # type: ignore[arg-type]

    return written


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "work", create=True)


def place(maker: str, way: Way | None = None) -> None:
    Holds(Account.open(), our_entity()).place(maker, "told to stop", "0" * 64, way)


def told(made: making.Plan) -> dict[str, str]:
    """By teacher: `permit`, `refuse` or `left`."""
    return {each["of"]: each["verdict"] for each in made.to_json()["teachers"]}


def refused_as_the_run_is(file: RunFile, workspace: Workspace, provider: Simulator) -> making.Plan:
    """The plan, which must end with the very words and exit code of the run, and without asking anybody."""
    made = making.make(file, workspace, rows=6)
    assert provider.counts()["arrived"] == 0
    with pytest.raises(Refused) as ending:
        pipeline.run(file, workspace)
    assert (made.exit_code, str(made.failure)) == (ending.value.exit_code, str(ending.value))
    return made


def test_a_failover_teacher_that_the_terms_refuse_is_refused_in_the_words_of_the_run(read, workspace, provider):
    made = refused_as_the_run_is(read(FIRST, "openai/gpt-4o-mini@api"), workspace, provider)
    assert told(made) == {"teacher": "permit", "failover 1": "refuse"}
    assert any(line.startswith("failover 1 openai/gpt-4o-mini@api: `failover` names") for line in words.teachers(made))
    refused = [row for row in words.verdicts(made) if not row.permitted]
    assert any(row.source == "openai/gpt-4o-mini@api" and "generate" in row.steps for row in refused)


def test_a_failover_teacher_under_another_contract_than_its_account_accepted(read, workspace, provider):
    file = read(FIRST, SECOND, THIRD, contract="mistral-api-2024-02-26")
    made = refused_as_the_run_is(file, workspace, provider)
    assert told(made) == {"teacher": "permit", "failover 1": "permit", "failover 2": "refuse"}


def test_a_contract_that_nobody_knows_is_the_users_to_mend(read, workspace):
    made = making.make(read(FIRST, SECOND, contract="no-such-contract"), workspace, rows=0)
    assert (told(made)["failover 1"], made.exit_code) == ("refuse", 2)
    assert "no-such-contract" in str(made.failure)


def test_a_failover_teacher_that_lacks_a_price(read, workspace, provider):
    made = making.make(read(FIRST, SECOND, price=None), workspace, rows=6)
    assert (told(made), made.exit_code) == ({"teacher": "permit", "failover 1": "refuse"}, 3)
    assert f"the price of {SECOND!r} is not known" in made.barred[0]
    assert provider.counts()["arrived"] == 0


def test_the_first_teacher_without_a_price_is_refused_although_no_row_is_asked(read, workspace):
    assert making.make(read(SECOND, price=None), workspace, rows=0).exit_code == 3


def test_a_failover_teacher_that_was_recalled(read, workspace):
    workspace.ledger.append(WITHDRAWAL, [], {"source": SECOND, "reason": "told to stop", "at": now()})
    made = making.make(read(FIRST, SECOND), workspace, rows=0)
    assert (told(made)["failover 1"], made.exit_code) == ("refuse", 3)
    assert "was recalled" in made.barred[0]


def test_the_last_teacher_on_hold_has_nobody_after_it(read, workspace, provider):
    place("deepseek")
    made = making.make(read(FIRST, SECOND), workspace, rows=6)
    assert (told(made), made.exit_code) == ({"teacher": "permit", "failover 1": "refuse"}, 3)
    assert "on hold" in made.barred[0]
    assert provider.counts()["arrived"] == 0


def test_a_teacher_on_hold_before_another_is_left_and_the_plan_is_of_the_next(read, workspace, provider):
    place("deepseek")
    made = making.make(read(SECOND, FIRST), workspace, rows=2)
    assert (told(made), made.exit_code) == ({"teacher": "left", "failover 1": "permit"}, 0)
    assert (made.sources.teacher, len(made.answered.rows)) == (FIRST, 2)
    assert provider.counts()["billed"] == 2
    assert any("left for the next one" in line and "on hold" in line for line in words.teachers(made))


def test_another_name_at_the_address_of_a_maker_on_hold_is_barred_as_at_the_door(read, workspace, provider):
    place("deepseek", Way.to(SECOND, base_url=provider.openai, key=KEY))
    made = refused_as_the_run_is(read(FIRST), workspace, provider)
    assert "'deepseek' suspended" in made.barred[0]


def test_a_quota_that_was_met_by_another_way_is_told_and_the_next_maker_takes_over(read, workspace, provider):
    way = Way.to(SECOND, base_url="https://elsewhere.test/v1", key="another-key-0123456789")
    with Account.open().turn() as driver:
        meet(driver, our_entity(), SECOND, way, Refusal("the quota of the account is used up", "429"), 1)
    alone = making.make(read(SECOND), workspace, rows=2)
    assert (told(alone), alone.exit_code) == ({"teacher": "refuse"}, 6)
    assert "no way past it" in str(alone.failure)
    assert provider.counts()["arrived"] == 0
    made = making.make(read(SECOND, FIRST), workspace, rows=0)
    assert (told(made), made.exit_code) == ({"teacher": "left", "failover 1": "permit"}, 0)


def test_a_hold_that_only_the_ledger_has_still_stands(read, workspace, provider, tmp_path):
    lost = Account.open(f"sqlite:///{tmp_path / 'lost.db'}")
    hold(workspace.ledger, Holds(lost, our_entity()), maker="deepseek", reason="told to stop", evidence="0" * 64)
    for kept in (state_folder() / "holds").glob("*.json"):
        kept.unlink()
    made = refused_as_the_run_is(read(SECOND), workspace, provider)
    assert "on hold" in made.barred[0]


def test_the_command_says_which_teacher_and_why_and_ends_as_the_run(read, tmp_path):
    read(FIRST, "openai/gpt-4o-mini@api")
    file, work = str(tmp_path / "run.yaml"), str(tmp_path / "work")
    done = CliRunner().invoke(app, ["plan", file, "-w", work])
    ran = CliRunner().invoke(app, ["run", file, "-w", work])
    assert isinstance(ran.exception, Refused)
    assert done.exit_code == ran.exception.exit_code == 3
    assert " ".join(f"Refused: {ran.exception}".split()) in " ".join(done.stderr.split())
    assert "failover 1 openai/gpt-4o-mini@api" in done.stdout
    said = json.loads(CliRunner().invoke(app, ["plan", file, "-w", work, "--json"]).stdout)
    assert [(each["of"], each["verdict"]) for each in said["teachers"]] == [
        ("teacher", "permit"),
        ("failover 1", "refuse"),
    ]
    assert said["failure"] == str(ran.exception)


def test_what_sources_are_declared_to_have_learned_from_is_always_said(read, workspace):
    taught = (SHIPPED / "own/own-work.toml").read_text("utf-8")
    (workspace.folder / "terms").mkdir()
    (workspace.folder / "terms" / "own.toml").write_text(
        f'{taught}\n[[upstream]]\nsource = "{FIRST}"\nteacher = "GPT-4 of OpenAI"\n', "utf-8"
    )
    workspace.read_terms()
    lines = list(words.teachers(making.make(read(FIRST), workspace, rows=0)))
    declared = f"upstream   {FIRST} is declared to have learned from GPT-4 of OpenAI (shown, and not refused)"
    assert declared in lines
    told_of = [row.text for row in words.verdicts(making.make(read(FIRST), workspace, rows=0)) if row.source == FIRST]
    assert all("own-work: the operator's own reading" in text for text in told_of)
