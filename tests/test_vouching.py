"""The commands of docs/proof.md and docs/keys.md, in the order in which they are told there."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests.ledger.authority import Authority
from typer.testing import CliRunner

from trueseed.cli import app
from trueseed.terms.model import Effect, Facts, Relation
from trueseed.workspace import Workspace

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(autouse=True)
def unsynced(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A workspace with a student, in `work` of the current folder."""
    monkeypatch.chdir(tmp_path)
    workspace = Workspace.open(tmp_path / "work", create=True)
    workspace.declare("seed", Facts())
    with workspace.step("train", brings={"own/mine": Relation.OUTPUT}, effect=Effect.TRAIN) as step:
        step.write("weights", lambda folder: (folder / "w").write_text("1") and None, {})
    return workspace


def told(*args: object) -> dict:
    """What a command prints with `--json`."""
    done = CliRunner().invoke(app, [*map(str, args), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_every_command_of_the_docs_is_one(place):
    for doc in ("proof.md", "keys.md"):
        for line in re.findall(r"(?:^    |`)(trueseed [^`#\n]+)", (DOCS / doc).read_text(), re.M):
            words = shlex.split(line)[1:]
            verbs = words[:1] if words[0] in ("verify", "proof") else words[:2]
            shown = CliRunner().invoke(app, [*verbs, "--help"])
            assert shown.exit_code == 0, line


def test_a_witness_and_a_stranger_by_files_alone(place, tmp_path, monkeypatch):
    key = told("signing", "show")["give"]
    ours = os.environ["TRUESEED_STATE"]
    monkeypatch.setenv("TRUESEED_STATE", str(tmp_path / "the witness"))
    witness = told("witness", "key", "--name", "example.org/w1")["key"]
    monkeypatch.setenv("TRUESEED_STATE", ours)
    assert told("witness", "request", "--key", witness, "-o", "request")["size"] == place.ledger.size
    monkeypatch.setenv("TRUESEED_STATE", str(tmp_path / "the witness"))
    told("witness", "cosign", "request", "--log", key, "-o", "answer")
    monkeypatch.setenv("TRUESEED_STATE", ours)
    assert told("witness", "add", "answer", "--key", witness)["witness"] == "example.org/w1"
    assert any("witness example.org/w1" in said for said in told("verify", "work")["ledger"]["evidence"])
    told("proof", "-o", "proof.zip")
    monkeypatch.setenv("TRUESEED_STATE", str(tmp_path / "a stranger"))
    said = told("verify", "proof.zip", "--key", key, "--key", witness)
    assert said["verdict"] == "whole"
    assert any("witness example.org/w1" in each for each in said["evidence"])


def test_a_time_stamp_by_files(place, tmp_path):
    authority = Authority()
    (tmp_path / "root.pem").write_bytes(authority.root)
    told("timestamp", "request", "-o", "request.tsq")
    (tmp_path / "answer.tsr").write_bytes(authority.answer((tmp_path / "request.tsq").read_bytes()))
    assert told("timestamp", "add", "answer.tsr", "--tsa", "root.pem")["authority"] == "CN=Stamps of a test"
    told("proof", "-o", "proof.zip")
    said = told("verify", "proof.zip", "--key", told("signing", "show")["give"], "--tsa", "root.pem")
    assert any("time stamp of CN=Stamps of a test" in each for each in said["evidence"])
    by_hand(tmp_path / "by hand", told("signing", "show")["give"], root=tmp_path / "root.pem")


def by_hand(folder: Path, key: str, *, root: Path) -> None:
    """The commands of docs/proof.md that need no TrueSeed, as they stand there."""
    with zipfile.ZipFile("proof.zip") as archive:
        archive.extractall(folder)
    (stamp,) = folder.glob("outside/*/*.tsr")
    alone, stamped = re.findall(
        r"(python docs/verify_standalone.py .*|openssl ts -verify [^`]*)", (DOCS / "proof.md").read_text()
    )
    alone = alone.replace("python", sys.executable, 1).replace("docs/", f"{DOCS}/").replace("KEY", key)
    done = subprocess.run(shlex.split(alone), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if shutil.which("openssl"):
        stamped = stamped.replace("X.tsr", stamp.name).replace("root.pem", str(root))
        done = subprocess.run(shlex.split(stamped), cwd=stamp.parent, capture_output=True, text=True, check=False)
        assert "Verification: OK" in done.stdout + done.stderr


def test_a_key_is_renewed_and_shown(place):
    before = told("signing", "show")
    new = told("signing", "renew", "operator", "--because", "stolen", "--note", "since Tuesday")["key"]
    after = told("signing", "show")
    assert after["give"] == before["give"] and after["in_force"]["operator"] == new
    assert len(after["changes"]) == 1
    assert told("verify", "work", "--key", before["give"])["verdict"] == "whole"
