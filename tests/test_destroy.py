"""Destroying: with the reviewer's key, a tombstone that verify understands, and never what a case or hold forbids."""

import json
from pathlib import Path

import pytest
from tests.test_workspace import GPT, OWN, SMOL, prompts, put
from typer.testing import CliRunner

from trueseed import case as cases
from trueseed import destroy as destroying
from trueseed import recall as recalling
from trueseed.case import Word
from trueseed.cli import app
from trueseed.core.artifacts import Artifact
from trueseed.core.chat import Answer
from trueseed.core.durable import state_folder
from trueseed.destroy import Because, Wanted, destroy, look
from trueseed.errors import ConfigError, Refused
from trueseed.ledger.destroyed import Destroyed
from trueseed.ledger.statement import DESTRUCTION, subject
from trueseed.report import verify
from trueseed.teachers.account.holds import Holds
from trueseed.teachers.account.state import Account, our_entity
from trueseed.teachers.answers.cache import Cache
from trueseed.terms.model import Effect, Relation, Use
from trueseed.workspace import Workspace

GEMMA = "google/gemma-3-270m-it@weights"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "work", create=True)


@pytest.fixture
def because(tmp_path: Path) -> Because:
    file = tmp_path / "request.txt"
    file.write_text("Please erase what I wrote.")
    return Because(why="asked to erase", evidence=file)


def records(workspace: Workspace) -> Artifact:
    """Of a teacher's answer, which is in the cache too."""
    with workspace.step("generate", inputs=[prompts(workspace)], ask={SMOL: Use.TRAIN}) as step:
        if found := step.earlier("records"):
            return found
        cache = Cache(step, SMOL, {"who": "tiny"})
        answer = Answer(text="secret", finish="stop", prompt_tokens=1, completion_tokens=1)
        cache.keep("a" * 64, answer, "2026-01-01T00:00:00Z")
        return put(step, "records", "secret")


def dataset(workspace: Workspace, made_from: Artifact) -> Artifact:
    with workspace.step("curate", inputs=[made_from]) as step:
        return put(step, "dataset", "a secret kept")


def held_words(folder: Path) -> bool:
    return any(b"secret" in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_what_is_destroyed_is_gone_and_verify_says_by_whom(workspace, because):
    made = records(workspace)
    data = dataset(workspace, made)
    assert held_words(workspace.folder)
    doomed = destroy(workspace, look(workspace, Wanted(targets=(SMOL,))), because)
    assert {each.digest for each in doomed.artifacts} == {made.digest, data.digest}
    assert not held_words(workspace.folder)
    told = verify.workspace(workspace.folder)
    assert not told.findings
    assert f"records:{made.digest[:12]} was destroyed by entry" in " ".join(told.notes)
    assert len([note for note in told.notes if "asked to erase" in note]) == 3  # two artifacts, one file of answers
    assert told.artifacts == 1
    stone = Destroyed.read(workspace.ledger).artifacts[made.digest]
    entry = next(each for each in workspace.ledger.entries() if each.index == stone.entry)
    assert workspace.ledger.signed_by(entry, "reviewer")


def test_one_artifact_goes_and_what_was_made_from_it_is_named(workspace, because):
    made = records(workspace)
    data = dataset(workspace, made)
    found = look(workspace, Wanted(targets=(f"records:{made.digest[:12]}",)))
    assert [each.digest for each in found.beyond] == [data.digest]
    assert [each.digest for each in look(workspace, Wanted(targets=(made.digest,), descendants=True)).artifacts][
        -1
    ] == data.digest
    destroy(workspace, found, because)
    assert (made.folder.exists(), data.folder.exists()) == (False, True)


@pytest.mark.parametrize("about", ["huggingfacetb", "own"])
def test_a_case_forbids_it_and_its_end_permits_it(workspace, because, about):
    made = records(workspace)
    doomed = look(workspace, Wanted(targets=(made.digest,)))
    case = cases.open_case(workspace, [about], Word(said="they ask"))  # after looking: asked again under the lock
    with pytest.raises(Refused, match=f"case {case.index} about {about}"):
        destroy(workspace, doomed, because)
    assert made.path("file.txt").exists()
    cases.close(workspace, case.index, Word(said="over", state="terminated"), [because.evidence])
    destroy(workspace, doomed, because)
    assert not made.folder.exists()


def test_a_hold_that_only_the_account_knows_forbids_it(workspace, because):
    made = records(workspace)
    Holds(Account.open(), our_entity()).place("huggingfacetb", "suspended", "e" * 64)
    assert "on hold" in look(workspace, Wanted(targets=(made.digest,))).forbidden
    with pytest.raises(Refused, match="on hold"):
        destroy(workspace, look(workspace, Wanted(targets=(SMOL,))), because)
    assert made.folder.exists()


def test_without_the_reviewers_key_nothing_goes(workspace, because):
    made = records(workspace)
    (state_folder() / "keys" / "reviewer.pem").unlink()
    with pytest.raises(ConfigError, match="reviewer"):
        destroy(Workspace.open(workspace.folder), look(workspace, Wanted(targets=(made.digest,))), because)
    assert made.folder.exists()


def test_a_kill_after_the_tombstone_is_found_and_the_same_command_ends_it(workspace, because, monkeypatch):
    made = records(workspace)
    with monkeypatch.context() as patched:
        patched.setattr(destroying, "_delete", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            destroy(workspace, look(workspace, Wanted(targets=(SMOL,))), because)
    assert [("still here" in each) for each in verify.workspace(workspace.folder).findings] == [True, True]
    with pytest.raises(Refused, match="was destroyed by entry"):
        dataset(workspace, made)
    size = workspace.ledger.size
    destroy(workspace, look(workspace, Wanted(targets=(SMOL,))), because)
    assert workspace.ledger.size == size
    assert not held_words(workspace.folder)


def test_what_was_destroyed_is_not_made_again(workspace, because):
    made = records(workspace)
    destroy(workspace, look(workspace, Wanted(targets=(SMOL,))), because)
    with pytest.raises(Refused, match="Change what the step is made from"):
        records(workspace)
    with (
        pytest.raises(Refused, match="again, which was destroyed"),
        workspace.step("other", ask={SMOL: Use.TRAIN}) as step,
    ):
        put(step, "records", "secret")
    assert not made.folder.exists()
    assert not verify.workspace(workspace.folder).broken


def test_an_insiders_tombstone_over_an_open_case_is_found(workspace):
    made = records(workspace)
    cases.open_case(workspace, ["huggingfacetb"], Word(said="they ask"))
    said = {"artifacts": [{"kind": "records", "digest": made.digest}], "answers": [], "why": "x", "evidence": []}
    about = [subject("records", made.digest)]
    workspace.ledger.append(DESTRUCTION, about, {**said, "at": "2026-01-01T00:00:00Z"}, role="reviewer")
    assert "it destroys what must stay: case" in verify.workspace(workspace.folder).findings[0]


def test_answers_deleted_by_hand_are_a_note_and_a_fault_while_a_case_is_open(workspace):
    records(workspace)
    (file,) = (workspace.folder / "cache").glob("*.jsonl")
    file.unlink()
    assert "was deleted" in " ".join(verify.workspace(workspace.folder).notes)
    cases.open_case(workspace, ["huggingfacetb"], Word(said="they ask"))
    assert "must stay" in verify.workspace(workspace.folder).findings[0]


def test_the_command_line_shows_first_and_wants_reason_and_evidence(workspace, because):
    made = records(workspace)
    where = ["--workspace", str(workspace.folder), "--json"]
    run = CliRunner().invoke
    shown = json.loads(run(app, ["destroy", SMOL, "--dry-run", *where]).stdout)
    assert shown["artifacts"] == [f"records:{made.digest}"]
    assert len(shown["answers"]) == 1
    assert made.folder.exists()
    assert isinstance(run(app, ["destroy", SMOL, *where]).exception, ConfigError)
    demanded = ["--why", because.why, "--evidence", str(because.evidence)]
    assert json.loads(run(app, ["destroy", SMOL, *demanded, *where]).stdout)["dry_run"] is False
    assert not made.folder.exists()


def test_what_is_not_here_is_a_mistake(workspace):
    prompts(workspace)
    for target in (GPT, "records:123456789", "abc", "answers:nobody", f"prompts:{'0' * 64}"):
        with pytest.raises(ConfigError):
            look(workspace, Wanted(targets=(target,)))
    assert look(workspace, Wanted(targets=(OWN,))).artifacts


def test_by_licence_only_what_must_go_goes(workspace, because):
    dataset(workspace, records(workspace))  # Apache-2.0: nothing has to be deleted when it ends
    with pytest.raises(ConfigError, match="must go by its licence"):
        look(workspace, Wanted(targets=(SMOL,), by_licence=True))
    with workspace.step("train", brings={GEMMA: Relation.WEIGHTS}) as step:
        put(step, "weights", "gemma's")
        put(step, "scores", "of gemma")
    doomed = look(workspace, Wanted(targets=(GEMMA,), by_licence=True))
    assert [each.kind for each in doomed.artifacts] == ["weights"]
    said = {ending.document for ending in recalling.reach(workspace, GEMMA).endings}
    assert said == {"gemma-terms-2025-03-24"}
    destroy(workspace, doomed, because)
    assert not verify.workspace(workspace.folder).broken


def test_what_an_unfinished_step_holds_of_a_source_goes_too(workspace, because):
    made = records(workspace)
    with pytest.raises(KeyboardInterrupt), workspace.step("train", inputs=[made], effect=Effect.TRAIN) as step:
        (step.checkpoint("training") / "state").write_text("learned the secret")
        raise KeyboardInterrupt
    doomed = look(workspace, Wanted(targets=(SMOL,)))
    assert [path.parent.name for path in doomed.steps] == ["steps"]
    destroy(workspace, doomed, because)
    assert not held_words(workspace.folder)


def test_a_running_step_is_not_destroyed_under(workspace, because):
    made = records(workspace)
    with workspace.step("train", inputs=[made], effect=Effect.TRAIN):
        other = Workspace.open(workspace.folder)
        with pytest.raises(ConfigError, match="is running"):
            destroy(other, look(other, Wanted(targets=(SMOL,))), because)
        assert made.folder.exists()
