"""The river from end to end on a tiny model: it runs, resumes, is proven, and can be recalled."""

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests import warm
from tests.tiny_run import run_file

from trueseed.core.records import read_parquet
from trueseed.errors import Broken, Refused
from trueseed.report import verify
from trueseed.serve import offer
from trueseed.workspace import Workspace

TASK = [{"prompt": f"After {n} comes", "choices": [str(n + 1), "a sailor"], "target": 0} for n in range(4)]


def trueseed(*words: str | Path, check: int = 0) -> subprocess.CompletedProcess[str]:
    done = warm.trueseed(*words)
    assert done.returncode == check, done.stderr
    return done


@pytest.fixture(scope="module")
def finished(tmp_path_factory, brief_llama, module_state) -> Path:
    """The workspace of a finished tiny run."""
    folder = tmp_path_factory.mktemp("river")
    (folder / "task.jsonl").write_text("".join(json.dumps(row) + "\n" for row in TASK))
    of = ["student", "teacher", "base"]
    tasks = [{"file": "task.jsonl", "scorer": "choice", "source": "own/ada", "of": of}]
    done = trueseed("run", run_file(folder, brief_llama, tasks=tasks), "--workspace", folder / "work", "--json")
    assert set(json.loads(done.stdout)) >= {"teacher", "student", "scores", "records", "timings_s", "ledger"}
    return folder / "work"


@pytest.fixture
def state_of_run(finished, module_state, monkeypatch) -> None:
    monkeypatch.setenv("TRUESEED_STATE", str(module_state))


@pytest.fixture(scope="module")
def module_state(tmp_path_factory):
    state = tmp_path_factory.mktemp("state")
    before = os.environ.get("TRUESEED_STATE")
    os.environ["TRUESEED_STATE"] = str(state)
    yield state
    os.environ.pop("TRUESEED_STATE") if before is None else os.environ.update(TRUESEED_STATE=before)


pytestmark = pytest.mark.xdist_group("tiny-run")


def test_a_run_leaves_a_report_with_the_promised_numbers(finished, state_of_run):
    report = json.loads((finished / "report.json").read_text())
    assert set(report) == {
        "teacher", "student", "scores", "records", "timings_s", "ledger", "sources", "obligations",
        "teachers", "plan", "imports", "said_anew", "flags", "readings", "may_be_published", "tasks", "training",
        "compared", "leaderboards", "targets", "contamination", "looks",
    }  # fmt: skip
    assert report["contamination"]["records"] == report["records"]["kept"]
    assert (report["contamination"]["same"], report["looks"]["students"]) == (0, 1)
    assert "looked at " in (finished / "report.html").read_text()
    assert report["plan"] is None  # nobody planned it
    for side in ("teacher", "student", "difference"):
        for name in ("held_out_prompts", "held_out_kinds", "chat_perplexity"):
            assert set(report["scores"][side][name]) == {"value", "low", "high", "n"}
    assert report["records"]["accepted"] == 12
    assert report["records"]["asked"] == 12 + sum(report["records"]["rejected"].values())
    assert report["records"]["kept"] + sum(report["records"]["dropped"].values()) == 12
    assert set(report["timings_s"]) == {"generate", "curate", "train", "evaluate", "total"}
    assert (finished / "report.html").read_text().startswith("<!doctype html>")


def test_the_tasks_of_a_run_file_are_measured_on_whom_it_names(finished, state_of_run):
    tasks = json.loads((finished / "report.json").read_text())["tasks"]
    assert [task["model"]["source"] for task in tasks] == ["own/tiny", "own/tiny-student"]  # teacher and base are one
    assert all(task["metrics"].keys() == {"acc", "acc_norm"} for task in tasks)


def test_a_finished_run_verifies_and_says_what_it_was_held_against(finished, state_of_run):
    result = verify.workspace(finished)
    assert not result.broken, result.findings
    assert result.artifacts >= 7


def test_the_same_command_does_nothing_twice(finished, state_of_run):
    size = Workspace.open(finished).ledger.size
    trueseed("run", finished.parent / "run.yaml", "--workspace", finished)
    assert Workspace.open(finished).ledger.size == size


def test_every_accepted_record_was_asked_under_its_use_and_terms(finished, state_of_run):
    workspace = Workspace.open(finished)
    records = next(artifact for artifact in workspace.store.all() if artifact.kind == "records")
    found = list(read_parquet(records.path("records.parquet")))
    assert {(record.origin.kind, record.origin.source, record.origin.use) for record in found} == {
        ("teacher", "own/tiny", "train")
    }
    assert all(workspace.catalog.by_digest(record.origin.terms) for record in found)


def test_any_flipped_bit_of_an_artifact_is_found(finished, state_of_run):
    rng = random.Random(0)
    files = [path for path in sorted((finished / "store").rglob("*")) if path.is_file()]
    for _ in range(120):
        path = rng.choice(files)
        before = path.read_bytes()
        if not before:
            continue
        changed, place = bytearray(before), rng.randrange(len(before))
        changed[place] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        assert verify.workspace(finished).broken, path
        path.write_bytes(before)
    assert not verify.workspace(finished).broken


def test_any_flipped_bit_of_the_ledger_is_found(finished, state_of_run):
    rng = random.Random(1)
    names = ("entries.jsonl", "checkpoint", "keys")
    for _ in range(120):
        path = finished / "ledger" / rng.choice(names)
        before = path.read_bytes()
        changed, place = bytearray(before), rng.randrange(len(before))
        changed[place] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        with contextlib.suppress(Broken):
            assert verify.workspace(finished).broken, path
        path.write_bytes(before)
    assert not verify.workspace(finished).broken


def test_a_missing_artifact_is_found(finished, state_of_run):
    artifact = next(Workspace.open(finished).store.all())
    away = artifact.folder.with_name("away")
    artifact.folder.rename(away)
    try:
        assert any(artifact.digest[:12] in finding for finding in verify.workspace(finished).findings)
    finally:
        away.rename(artifact.folder)


def test_a_recalled_source_is_offered_no_longer(tmp_path, brief_llama):
    work = tmp_path / "work"
    path = run_file(tmp_path, brief_llama)
    trueseed("run", path, "--workspace", work)
    dry = json.loads(trueseed("recall", "own/tiny", "--dry-run", "--json", "--workspace", work).stdout)
    assert any(name.startswith("weights:") for name in dry["stops"])
    with pytest.raises(Refused, match="recalled"), offer.student(Workspace.open(work), "test") as offered:
        trueseed("recall", "own/tiny", "--workspace", work)
        offered.step.look_again()
    assert trueseed("chat", "--workspace", work, check=3).stderr
    assert trueseed("run", path, "--workspace", work, check=3).stderr
    assert json.loads(trueseed("verify", work, "--json").stdout)["verdict"] == "whole"
    assert "compared with: the checkpoint in the user's state" in trueseed("verify", work).stdout


def test_killed_at_twenty_random_moments_runs_still_end_whole(tmp_path, brief_llama):
    path, rng = run_file(tmp_path, brief_llama), random.Random(3)
    whole = warm.Command("run", path, "--workspace", tmp_path / "undisturbed")
    took = 0.0  # seconds of processor time; all in the steps, as what is loaded before the first writes nothing
    while whole.reaches(took):
        took += 0.1
    assert whole.done().returncode == 0
    kills = runs = 0
    while kills < 20 or runs == 0:
        work = tmp_path / f"work-{runs}"
        seen = _journaled(work)
        command = warm.Command("run", path, "--workspace", work)
        if kills < 20 and command.reaches(rng.uniform(0, took)):
            command.send(signal.SIGKILL)
        done = command.done()
        if done.returncode == -signal.SIGKILL:
            kills += 1
            now = _journaled(work)
            assert all(now[name][: len(lines)] == lines for name, lines in seen.items())
            continue
        assert done.returncode == 0, done.stderr
        assert json.loads((work / "report.json").read_text())["records"]["accepted"] == 12
        assert json.loads(trueseed("verify", work, "--json").stdout)["verdict"] == "whole"
        runs += 1
    trueseed("run", path, "--workspace", work)
    assert json.loads(trueseed("verify", work, "--json").stdout)["verdict"] == "whole"


def _journaled(work: Path) -> dict[str, list[bytes]]:
    """Whole lines of every file of answers, by its name."""
    found = {}
    for path in work.glob("cache/*.jsonl"):
        whole = path.read_bytes()
        found[path.name] = whole[: whole.rfind(b"\n") + 1].splitlines()
    return found


def test_ctrl_c_pauses_with_exit_code_6_and_the_same_command_goes_on(tmp_path, brief_llama):
    work, path = tmp_path / "work", run_file(tmp_path, brief_llama, generate={"accept": 60})
    command = warm.Command("run", path, "--workspace", work)
    while command.is_running and not any(_journaled(work).values()):
        time.sleep(0.02)
    command.send(signal.SIGINT)
    paused = command.done()
    assert paused.returncode == 6, paused.stderr
    assert "same command" in paused.stderr
    assert "Traceback" not in paused.stderr
    trueseed("run", path, "--workspace", work)
