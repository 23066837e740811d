"""`torchrun` itself, as a user starts it: two processes make the student that one makes, and mistakes are sentences."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_run import run_file

from trueseed import pipeline, runfile
from trueseed.ledger.lineage import Lineage
from trueseed.workspace import Workspace

TRAIN: dict[str, Any] = {"max_steps": 3, "tokens_per_batch": 400, "learning_rate": 1e-3}


def torchrun(file: Path, workspace: Path) -> subprocess.CompletedProcess[str]:
    """Of two processes, started as docs/run-file.md says."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*start, "-m", "trueseed", "run", str(file), "--workspace", str(workspace)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
        text=True,
        timeout=240,
    )


def curve(workspace: Workspace) -> dict[str, Any]:
    made = Lineage.read(workspace.ledger).newest("weights", step="train")
    assert made is not None
    student = workspace.store.get(f"{made.kind}:{made.digest}")
    found: dict[str, Any] = json.loads(student.path("curve.json").read_text())
    return found


@pytest.mark.slow
def test_a_run_under_torchrun_makes_the_student_that_one_process_makes(tmp_path: Path, brief_llama: Path) -> None:
    file = run_file(tmp_path, brief_llama, train=TRAIN)
    done = torchrun(file, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("report  ") == 1
    alone = Workspace.open(tmp_path / "one", create=True)
    pipeline.run(runfile.load(file), alone)
    one, two = curve(alone), curve(Workspace.open(tmp_path / "two"))
    assert [point["tokens"] for point in two["curve"]] == [point["tokens"] for point in one["curve"]]
    for near in ("loss", "grad_norm"):
        assert [p[near] for p in two["curve"]] == pytest.approx([p[near] for p in one["curve"]], rel=1e-3)


@pytest.mark.parametrize(
    ("train", "sentence"),
    [
        pytest.param({"max_stepz": 3}, "max_stepz", id="in the file", marks=pytest.mark.slow),
        pytest.param({"max_length": 3}, "no record remains to train on", id="in training"),
    ],
)
def test_a_users_mistake_is_told_once_and_without_a_traceback_of_ours(
    tmp_path: Path, brief_llama: Path, train: dict[str, Any], sentence: str
) -> None:
    """That the command ends with 1, and a report of torchrun's own stands behind the sentence, is torchrun's doing."""
    done = torchrun(run_file(tmp_path, brief_llama, train=train), tmp_path / "work")
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert said.count(sentence) == 1, said
    assert said.count("ConfigError") == 1, said
    assert not [line for line in said.splitlines() if "trueseed/" in line and "line " in line], said
    assert "exitcode  : 2" in said
