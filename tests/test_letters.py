"""A provider's letter in a workspace: kept, signed by the reviewer, relied on by the door, shown to third parties."""

import json
from datetime import date
from pathlib import Path

import pytest
from tests.test_workspace import put
from typer.testing import CliRunner

from trueseed import letters, recall
from trueseed.cli import app
from trueseed.core.artifacts import Artifact
from trueseed.core.durable import state_folder
from trueseed.errors import ConfigError, Refused
from trueseed.ledger.statement import PERMISSION, STEP
from trueseed.report import proof as proving
from trueseed.report import verify
from trueseed.report.verify_proof import proof
from trueseed.terms import check
from trueseed.terms.model import Document, Effect, Facts, Student, Use
from trueseed.why import answer
from trueseed.workspace import Workspace

GPT = "openai/gpt-4@api"
SAYS = "what gpt-4 says may train the student"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace.open(tmp_path / "work", create=True)
    made.declare("seed", Facts(student=Student(name="Sprout")))
    return made


def written(workspace: Workspace, **more) -> Document:
    paper = workspace.folder.parent / "letter.txt"
    paper.write_text("Dear customer, you may.")
    said = {"provider": "OpenAI", "sources": (GPT,), "uses": (Use.TRAIN, Use.PUBLISH), "since": date(2026, 1, 1)}
    return letters.permit(workspace, paper, letters.Wanted(**{**said, "because": SAYS, **more}))


def student(workspace: Workspace) -> Artifact:
    with workspace.step("generate", ask={GPT: Use.TRAIN}) as step:
        records = put(step, "records")
    with workspace.step("train", inputs=[records], effect=Effect.TRAIN) as step:
        return put(step, "weights")


def refused(workspace: Workspace) -> str:
    with pytest.raises(Refused) as caught, workspace.step("generate", ask={GPT: Use.TRAIN}):
        pass
    return str(caught.value)


def test_it_is_nothing_before_the_reviewer_signed_and_the_door_says_whose_it_is_after(workspace):
    made = written(workspace)
    assert f"rely-on {made.id}" in refused(workspace)
    letters.rely_on(workspace, made.id)
    student(workspace)
    done = [
        e.predicate for e in workspace.ledger.entries() if e.predicate_type == STEP and e.predicate["event"] == "done"
    ]
    assert done[-1]["verdicts"][0]["own"] == [f"{made.id}: {made.whose}"]
    assert not verify.workspace(workspace.folder).broken


def test_another_process_finds_it_signed(workspace):
    letters.rely_on(workspace, written(workspace).id)
    student(Workspace.open(workspace.folder))


def test_a_document_that_was_changed_after_it_was_signed_binds_no_more(workspace):
    made = written(workspace)
    letters.rely_on(workspace, made.id)
    path = workspace.folder / "terms" / f"{made.id}.toml"
    path.write_text(path.read_text().replace('"train", "publish"', '"train", "publish", "judge"'))
    assert f"rely-on {made.id}" in refused(Workspace.open(workspace.folder))


def test_whoever_has_no_reviewers_key_cannot_rely_on_it(workspace):
    made = written(workspace)
    (state_folder() / "keys" / "reviewer.pem").unlink()
    with pytest.raises(ConfigError, match="reviewer"):
        letters.rely_on(Workspace.open(workspace.folder), made.id)


def test_it_is_signed_once(workspace):
    made = written(workspace)
    letters.rely_on(workspace, made.id)
    with pytest.raises(ConfigError, match="relied on already"):
        letters.rely_on(workspace, made.id)


def test_a_letter_whose_paper_is_missing_or_changed_is_found_by_check_and_verify(workspace):
    made = written(workspace)
    letters.rely_on(workspace, made.id)
    paper = letters.paper_of(made).kept_in(workspace.folder)
    paper.write_text("You may do anything.")
    assert any("was changed" in each.text for each in check.check(workspace.folder / "terms") if each.level == "error")
    assert any("a provider's letter" in each for each in verify.workspace(workspace.folder).findings)
    paper.unlink()
    assert any("is missing" in each.text for each in check.check(workspace.folder / "terms") if each.level == "error")


def test_a_provider_whose_texts_do_not_govern_the_source_permits_nothing(workspace):
    with pytest.raises(ConfigError, match="the texts are of OpenAI"):
        written(workspace, provider="Open AI")


def test_the_proof_shows_it_and_its_verdicts_are_derived_again(workspace, tmp_path):
    made = written(workspace)
    letters.rely_on(workspace, made.id)
    student(workspace)
    (tmp_path / "p.zip").write_bytes(proving.make(workspace)[1])
    found = proof(tmp_path / "p.zip", [workspace.ledger.identity.operator])
    assert (found.findings, found.differs) == ((), ())
    assert any(f"relied on {made.id}" in note and made.text_sha256 in note for note in found.notes)
    assert any(made.whose in note for note in found.notes)


def test_a_proof_in_which_the_signature_is_left_out_is_broken(workspace, tmp_path, monkeypatch):
    """As somebody would make it who holds the operator's key and never showed the letter to a reviewer."""
    letters.rely_on(workspace, written(workspace).id)
    student(workspace)
    concerning = proving.concerning
    monkeypatch.setattr(
        proving, "concerning", lambda *a: (each for each in concerning(*a) if each.predicate_type != PERMISSION)
    )
    (tmp_path / "p.zip").write_bytes(proving.make(workspace)[1])
    findings = proof(tmp_path / "p.zip", [workspace.ledger.identity.operator]).findings
    assert any("verdict was 'permit' and is 'refuse'" in each for each in findings)


def test_why_tells_the_letter_and_a_recall_reaches_what_was_asked_under_it(workspace):
    made = written(workspace)
    letters.rely_on(workspace, made.id)
    made_here = student(workspace)
    told = "\n".join(answer(workspace, "student", Use.PUBLISH, date(2026, 11, 30)).lines())
    assert f"whose text: {made.id}: {made.whose}" in told
    assert made_here in recall.reach(Workspace.open(workspace.folder), GPT, recall.Part(terms=made.id)).stops


def test_a_server_that_stands_open_past_its_last_day_is_told_so(workspace, monkeypatch):
    made = written(workspace, uses=(Use.TRAIN, Use.SERVE), last=date(2029, 12, 31))
    letters.rely_on(workspace, made.id)
    weights = student(workspace)
    with workspace.step("serve", inputs=[weights], effect=Effect.SERVE) as step:
        step.look_on_a_new_day()
        monkeypatch.setattr("trueseed.workspace.place._today", lambda: date(2030, 1, 1))
        with pytest.raises(Refused, match=r"may not go on today.*until 2030-01-01"):
            step.look_on_a_new_day()


def test_from_the_command_line_it_is_one_command(workspace):
    paper = workspace.folder.parent / "letter.txt"
    paper.write_text("You may.")
    where = ["--workspace", str(workspace.folder), "--json"]
    said = ["--from", "OpenAI", "--source", GPT, "--use", "train", "--because", SAYS, "--until", "2026-12-31"]
    done = CliRunner().invoke(app, ["terms", "permit", str(paper), *said, "--since", "2026-01-01", *where])
    found = json.loads(done.stdout)
    assert (done.exit_code, found["effective_until"], found["relied_on"]["provider"]) == (0, "2027-01-01", "OpenAI")
    asked = CliRunner().invoke(app, ["may", "train", GPT, "--at", "2026-11-21", *where])
    assert json.loads(asked.stdout)["document"] == found["document"]
    lapsed = CliRunner().invoke(app, ["may", "train", GPT, "--at", "2027-01-01", *where])
    assert lapsed.exit_code == 3


def test_and_two_where_the_reviewer_sits_elsewhere(workspace):
    paper = workspace.folder.parent / "letter.txt"
    paper.write_text("You may.")
    where = ["--workspace", str(workspace.folder)]
    said = ["--from", "OpenAI", "--source", GPT, "--use", "train", "--because", SAYS, "--id", "theirs", "--unsigned"]
    written_down = CliRunner().invoke(app, ["terms", "permit", str(paper), *said, *where])
    assert "signed by no reviewer" in written_down.stdout
    assert "signed by the reviewer" in CliRunner().invoke(app, ["terms", "rely-on", "theirs", *where]).stdout
