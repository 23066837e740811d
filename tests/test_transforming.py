"""Rewriting and translation ask as generate does: the same door, allowance, cache and account, in a run or by hand."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.tiny_run import run_file
from typer.testing import CliRunner

from trueseed import models, runfile, transforming
from trueseed.cli import app
from trueseed.core.artifacts import Artifact
from trueseed.errors import ConfigError, Paused, Refused
from trueseed.exchange.bring import Config as Import
from trueseed.exchange.bring import bring
from trueseed.generate.rewriting import Config
from trueseed.ledger.lineage import Lineage
from trueseed.teachers.account.allowance import Allowance
from trueseed.teachers.account.state import Account, our_entity
from trueseed.teachers.simulator import Behaviour, Simulator, simulator
from trueseed.workspace import Workspace

pytestmark = pytest.mark.xdist_group("transforming")
SOURCE = "own/simulated"
PLAINER = Config(rewrite="Say it in plainer words.")


@pytest.fixture(scope="module")
def provider() -> Iterator[Simulator]:
    with simulator(Behaviour()) as running:
        yield running


@pytest.fixture
def run(tmp_path: Path, provider: Simulator, monkeypatch: pytest.MonkeyPatch):
    """Writes a run file with a remote teacher; `changes` replace parts of it."""
    monkeypatch.setenv("ANEW_KEY", "sk-anew-5up3rs3cr3t-0123456789")
    provider.reset()

    def written(remote: dict | None = None, **changes: object) -> Path:
        endpoint = {"source": SOURCE, "base_url": provider.openai, "key_from": "ANEW_KEY", **(remote or {})}
        return run_file(tmp_path, tmp_path, teacher={"remote": endpoint}, **changes)

    return written


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "work", create=True)


def brought(workspace: Workspace, n: int = 4, source: str = "own/cook") -> Artifact:
    path = workspace.folder.parent / "rows.jsonl"
    rows = [{"prompt": f"Soup {i}?", "completion": f"Heat soup number {i} slowly and stir it."} for i in range(n)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return bring(workspace, Import(file=str(path), source=source)).records


def used() -> tuple[int, int]:
    """Calls that were charged, and answers that the cache spared."""
    now = datetime.now(UTC)
    lines = Allowance(Account.open(), [], our_entity()).used(
        since=now - timedelta(days=1), until=now + timedelta(days=1)
    )
    return sum(each.charged.requests for each in lines), sum(each.cached for each in lines)


def test_it_is_asked_under_the_account_and_what_was_asked_is_not_asked_again(run, workspace, provider, monkeypatch):
    given = brought(workspace)
    made = transforming.by_hand(PLAINER, given, workspace, run=run(), weights=None)
    assert (made.meta["records"], provider.counts()["billed"], used()) == (4, 4, (4, 0))
    assert transforming.by_hand(PLAINER, given, workspace, run=run(), weights=None) == made
    monkeypatch.setattr(
        "trueseed.workspace.opening.code_digest", lambda: "f" * 64
    )  # the step is another, the questions are not
    again = transforming.by_hand(PLAINER, given, workspace, run=run(), weights=None)
    assert (again.digest, provider.counts()["billed"], used()) == (made.digest, 4, (4, 4))
    counts = Lineage.read(workspace.ledger).maker(made.digest).predicate["counts"]
    assert (counts["asked"], counts["cached"], counts["accepted"]) == (0, 4, 4)


def test_an_allowance_that_is_used_up_pauses_it_and_the_same_command_goes_on(run, workspace, provider):
    given = brought(workspace)
    limit = {"source": SOURCE, "per": "day", "requests": 2}
    with pytest.raises(Paused):
        transforming.by_hand(PLAINER, given, workspace, run=run(limits=[limit]), weights=None)
    assert provider.counts()["billed"] == 2
    made = transforming.by_hand(PLAINER, given, workspace, run=run(), weights=None)
    assert (made.meta["records"], provider.counts()["billed"]) == (4, 4)


def test_a_source_that_was_recalled_is_not_asked_and_its_records_are_not_taken_further(run, workspace, provider):
    from trueseed.recall import recall

    given = brought(workspace)
    recall(workspace, "own/cook", reason="a test")
    with pytest.raises(Refused, match="recalled"):
        transforming.by_hand(PLAINER, given, workspace, run=run(), weights=None)
    assert provider.counts()["arrived"] == 0


def test_terms_that_forbid_either_refuse_it_before_a_call(run, workspace, provider):
    forbidden = run({"source": "openai/gpt-4o-mini@api", "model": "simulated"})
    with pytest.raises(Refused, match="openai/gpt-4o-mini@api may not be used to train"):
        transforming.by_hand(PLAINER, brought(workspace), workspace, run=forbidden, weights=None)
    theirs = brought(workspace, source="openai/gpt-4@api")
    with pytest.raises(Refused, match="openai/gpt-4@api may not be used to train"):
        transforming.by_hand(PLAINER, theirs, workspace, run=run(), weights=None)
    assert provider.counts()["arrived"] == 0


def test_whom_to_ask_must_be_said_once(run, workspace):
    given = brought(workspace)
    for said in ({"run": None, "weights": None}, {"run": run(), "weights": "pypi:x"}):
        with pytest.raises(ConfigError, match="say whom to ask"):
            transforming.by_hand(PLAINER, given, workspace, **said)


def test_the_commands_translate_and_rewrite_one_after_the_other(run, workspace):
    given = brought(workspace, 2)
    here = ["--run", str(run()), "--workspace", str(workspace.folder), "--json"]
    german = CliRunner().invoke(app, ["translate", f"records:{given.digest}", "German", "--keep", *here])
    assert german.exit_code == 0, german.output
    said = json.loads(german.stdout)
    assert set(said["sources"]) >= {"own/cook", SOURCE}
    shorter = CliRunner().invoke(app, ["rewrite", said["artifact"], "Say it shorter.", *here])
    assert shorter.exit_code == 0, shorter.output
    listed = CliRunner().invoke(app, ["records", "list", "--workspace", str(workspace.folder), "--json"])
    rows = {row["artifact"]: row for row in json.loads(listed.stdout)["artifacts"]}
    assert rows[json.loads(shorter.stdout)["artifact"]]["records"] == 4


def test_a_run_may_ask_others_than_its_teacher_and_the_teacher_by_default(run, workspace):
    other = {"remote": {"source": "own/other", "base_url": "http://127.0.0.1:9/v1"}}
    file = runfile.load(run(transform=[{"translate": "German"}, {"translate": "French", "teacher": other}]))
    assert {name: asked.named for name, (_, asked) in file.transforms.items()} == {
        "translate": SOURCE,
        "translate 2": "own/other",
    }
    assert models.voice(file.rewriters[1], file.limits, file.engine, workspace)().source == "own/other"
