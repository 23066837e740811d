"""A whole run whose teacher is behind an API: the simulator teaches a tiny model."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_run import run_file

from trueseed import failover, models, pipeline, runfile, screen
from trueseed.core.artifacts import Artifact
from trueseed.core.chat import Request, user
from trueseed.core.records import read_parquet
from trueseed.errors import ConfigError, Refused
from trueseed.ledger.lineage import Lineage
from trueseed.report import verify
from trueseed.teachers.account.allowance import Allowance, Exhausted
from trueseed.teachers.account.state import Account
from trueseed.teachers.simulator import Behaviour, Simulator, simulator
from trueseed.teachers.teacher import Teacher
from trueseed.teachers.voice import BehindAnApi
from trueseed.terms.model import Use
from trueseed.workspace import Workspace

KEY = "sk-run-5up3rs3cr3t-0123456789"


@pytest.fixture
def provider() -> Iterator[Simulator]:
    with simulator(Behaviour(models=("simulated",))) as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, tiny_llama: Path, provider: Simulator, monkeypatch):
    """Reads a run file with a remote teacher; `remote` and `changes` replace parts of it."""
    monkeypatch.setenv("RUN_KEY", KEY)

    def read(remote: dict[str, Any] | None = None, *, contract: str | None = None, **changes: Any) -> runfile.RunFile:
        endpoint = {"source": "own/simulated", "base_url": provider.openai, "key_from": "RUN_KEY", **(remote or {})}
        teacher = {"remote": endpoint, **({"contract": contract} if contract else {})}
        changes = {"generate": {"max_tokens": 60}, **changes}
        return runfile.load(run_file(tmp_path, tiny_llama, teacher=teacher, **changes))

    return read


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "work", create=True)


def test_a_whole_run_with_a_remote_teacher(settings, workspace, provider):
    outcome = pipeline.run(settings(), workspace)
    report = pipeline.write_report(workspace, outcome).to_json()
    assert report["teacher"] == "own/simulated"
    assert report["records"]["accepted"] == 12
    assert report["scores"]["teacher"]["held_out_prompts"]["n"] == 12
    assert [report["scores"][side]["chat_perplexity"] for side in ("teacher", "student", "difference")] == [None] * 3
    assert "Not measured" in (workspace.folder / "report.html").read_text()
    assert screen.scores(report).row_count == 3
    records = list(read_parquet(outcome.records[0].path("records.parquet")))
    assert {(record.origin.source, record.origin.use) for record in records} == {("own/simulated", "train")}
    assert not verify.workspace(workspace.folder).broken
    asked = provider.counts()["billed"]
    assert asked == report["records"]["asked"] + 24  # and the two sets of the baseline
    pipeline.run(settings({"at_once": 2, "patience_s": 1.0}), workspace)  # nothing of this changes an answer
    assert provider.counts()["billed"] == asked


def test_neither_key_nor_authorization_is_in_anything_a_run_writes(settings, workspace, tmp_path, own_state):
    outcome = pipeline.run(settings(), workspace)
    pipeline.write_report(workspace, outcome)
    written = [path for folder in (tmp_path, own_state) for path in folder.rglob("*") if path.is_file()]
    assert len(written) > 20
    for path in written:
        content = path.read_bytes()
        assert KEY.encode() not in content
        assert b"Bearer" not in content


def test_an_edit_that_asks_the_same_asks_nothing_again(settings, workspace, provider, monkeypatch):
    def records(file: runfile.RunFile) -> Artifact:
        workspace.declare(file.project, file.facts)
        voice = models.voice(file.teacher, file.limits, file.engine, workspace)()
        prompts = pipeline.import_prompts(file, workspace)
        (part,) = failover.generate(file, workspace, prompts, [voice])
        return part.records

    first = records(settings())
    billed = provider.counts()["billed"]
    monkeypatch.setattr("trueseed.workspace.opening.code_digest", lambda: "f" * 64)
    again = records(settings())
    assert provider.counts()["billed"] == billed
    assert again.digest == first.digest  # the same days, terms and uses, hence the same records
    counts = Lineage.read(workspace.ledger).maker(again.digest).predicate["counts"]
    assert (counts["cached"], counts["asked"]) == (billed, 0)
    now = datetime.now(UTC)
    used = Allowance(Account.open(), [], "us").used(since=now - timedelta(days=1), until=now + timedelta(days=1))
    assert (sum(each.cached for each in used), sum(each.charged.requests for each in used)) == (billed, billed)
    assert not verify.workspace(workspace.folder).broken
    records(settings(cache=False, generate={"effort": 41}))
    assert provider.counts()["billed"] > billed


def test_what_a_plan_asked_is_found_by_the_run(settings, workspace, provider):
    file = settings()
    voice = BehindAnApi(file.teacher.remote, file.teacher.contract, file.limits)
    prompts = [Request(messages=user(f"row {n}"), max_tokens=20, seed=n) for n in range(3)]
    with workspace.step("plan", ask={voice.source: Use.TRAIN}) as step, voice.speaking(step) as model:
        list(Teacher(model, step, identity=voice.speaks).answers(prompts))
    with workspace.step("generate", ask={voice.source: Use.TRAIN}) as step, voice.speaking(step) as model:
        list(Teacher(model, step, identity=voice.speaks).answers(prompts))
        assert step.counts["cached"] == 3
    assert provider.counts()["billed"] == 3


@pytest.mark.parametrize("source", ["openai/gpt-4o-mini@azure", "openai/gpt-4o-mini@api"])
def test_a_teacher_whose_terms_forbid_training_is_refused_before_any_call(settings, workspace, provider, source):
    with pytest.raises(Refused, match="generate"):
        pipeline.run(settings({"source": source, "model": "simulated"}), workspace)
    assert provider.counts()["arrived"] == 0


def test_the_limits_of_the_run_file_pause_it_and_more_room_resumes_it(settings, workspace, provider):
    with pytest.raises(Exhausted):
        pipeline.run(settings(limits=[{"source": "own/*", "per": "total", "requests": 5}]), workspace)
    assert provider.counts()["billed"] == 5
    outcome = pipeline.run(settings(limits=[{"source": "own/*", "per": "total", "requests": 5000}]), workspace)
    report = pipeline.write_report(workspace, outcome).to_json()
    assert provider.counts()["billed"] == report["records"]["asked"] + 24  # nothing was asked twice


def test_a_contract_that_is_not_in_force_is_refused(settings, workspace, provider):
    remote = {"source": "mistral/mistral-small@api", "model": "simulated", "price": {"input": 0, "output": 0}}
    with pytest.raises(Refused, match="accepted"):
        pipeline.run(settings(remote, contract="mistral-api-2024-02-26"), workspace)
    with pytest.raises(ConfigError, match="no terms document"):
        pipeline.run(settings(remote, contract="mistral-api-2099"), workspace)
    assert provider.counts()["arrived"] == 0


def test_the_run_file_says_what_is_wrong_with_its_teacher_and_shows_no_key(settings):
    with pytest.raises(ConfigError, match="key_from") as caught:
        settings({"key_from": KEY})
    assert KEY not in str(caught.value)
    with pytest.raises(ConfigError, match="base_url") as caught:
        settings({"base_url": f"http://user:{KEY}@host/v1"})
    assert KEY not in str(caught.value)
