"""A case: what is said of it is signed, and what it is about stays until the reviewer ends it."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.test_workspace import GPT, OWN, SMOL, prompts, put
from typer.testing import CliRunner

from trueseed import case as cases
from trueseed.case import Word
from trueseed.cli import app
from trueseed.errors import ConfigError, Refused
from trueseed.ledger.cases import Cases
from trueseed.ledger.hold_files import remember
from trueseed.ledger.retention import Retention, must_stay
from trueseed.ledger.statement import CASE_END, HOLD, RELEASE
from trueseed.report import verify
from trueseed.terms.model import Relation, Use
from trueseed.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "work", create=True)


@pytest.fixture
def letter(tmp_path: Path) -> Path:
    file = tmp_path / "Letter.PDF"
    file.write_bytes(b"%PDF what did you do in December?")
    return file


def test_a_case_goes_from_inquiry_to_reinstatement_on_the_command_line(workspace, letter):
    where = ["--workspace", str(workspace.folder), "--json"]

    def run(*words: str) -> Any:
        said = CliRunner().invoke(app, ["case", *words, *where], catch_exceptions=False)
        return json.loads(said.stdout)

    made = run("open", "huggingfacetb", "--said", "they ask", "--document", str(letter))
    number = str(made["case"])
    run("note", number, "--said", "we answered")
    run("note", number, "--said", "they want less", "--state", "changes-requested")
    ended = run("close", number, "--as", "reinstated", "--said", "done", "--document", str(letter))
    states = [each["state"] for each in ended["statements"]]
    assert states == ["opened", "investigating", "changes requested", "reinstated"]
    assert run("list")["cases"][0]["state"] == run("show", number)["state"] == "reinstated"
    (kept,) = (workspace.folder / "evidence").iterdir()
    assert (kept.read_bytes(), kept.suffix) == (letter.read_bytes(), ".pdf")
    assert not verify.workspace(workspace.folder).broken
    workspace.ledger.refresh()
    last = list(workspace.ledger.entries())[-1]
    assert workspace.ledger.signed_by(last, "reviewer")


def test_what_a_case_is_about_is_quarantined_kept_and_destroyed_only_after_its_end(workspace, letter):
    with workspace.step("generate", inputs=[prompts(workspace)], ask={SMOL: Use.TRAIN}) as step:
        records = put(step, "records")

    def run(*words: str) -> Any:
        said = CliRunner().invoke(app, [*words, "--workspace", str(workspace.folder), "--json"])
        return said.exception if said.exception else json.loads(said.stdout)

    number = str(run("case", "open", "huggingfacetb", "--said", "they ask")["case"])
    assert run("recall", SMOL, "--use", "train", "--why", "meanwhile")["stops"] == [str(records)]
    gone = ("destroy", SMOL, "--why", "tidy", "--evidence", str(letter))
    assert "case" in str(refused := run(*gone))
    assert isinstance(refused, Refused)
    assert any(records.digest[:12] in each for each in run("case", "show", number)["touched"])
    run("case", "close", number, "--as", "terminated", "--said", "it is over", "--document", str(letter))
    run("release", SMOL, "--evidence", str(letter))
    assert run(*gone)["artifacts"]
    assert not records.folder.exists()
    found = run("verify")
    assert (found["verdict"], any("destroyed by entry" in note for note in found["notes"])) == ("whole", True)


def test_only_the_reviewer_ends_a_case(workspace):
    with pytest.raises(ConfigError, match="signed by the reviewer"):
        workspace.ledger.append(CASE_END, [], {})


def test_an_end_needs_a_document_a_known_way_and_an_open_case(workspace, letter):
    case = cases.open_case(workspace, ["openai"], Word(said="x"))
    with pytest.raises(ConfigError, match="--document"):
        cases.close(workspace, case.index, Word(said="x", state="terminated"), [])
    with pytest.raises(ConfigError, match="'reinstated' or 'terminated'"):
        cases.close(workspace, case.index, Word(said="x", state="forgotten"), [letter])
    with pytest.raises(ConfigError, match="no case 7"):
        cases.note(workspace, 7, Word(said="x"))
    cases.close(workspace, case.index, Word(said="x", state="terminated"), [letter])
    with pytest.raises(ConfigError, match="ended"):
        cases.note(workspace, case.index, Word(said="x"))


def test_a_case_about_nothing_or_no_maker_is_a_mistake(workspace):
    for about in ([], ["not a maker"], ["openai/"]):
        with pytest.raises(ConfigError):
            cases.open_case(workspace, about, Word(said="x"))
    assert not Cases.read(workspace.ledger).all


def test_a_case_that_nothing_here_comes_from_says_so_since_its_name_may_be_wrong(workspace):
    with workspace.step("generate", ask={SMOL: Use.TRAIN}) as step:
        put(step, "records")
    where = ["--said", "they ask", "--workspace", str(workspace.folder)]
    told = {
        name: CliRunner().invoke(app, ["case", "open", name, *where], catch_exceptions=False).stdout
        for name in ("huggingfacetb", "hugingfacetb")
    }
    assert [name for name, said in told.items() if "look whether the name is right" in said] == ["hugingfacetb"]


def test_a_document_that_was_changed_is_found(workspace, letter):
    case = cases.open_case(workspace, ["openai"], Word(said="x"), [letter])
    (kept,) = (workspace.folder / "evidence").iterdir()
    kept.write_text("nothing")
    assert "was changed" in cases.standing(workspace, case.index).faults[0]
    assert verify.workspace(workspace.folder).broken


@pytest.mark.parametrize(
    ("about", "stays"),
    [("openai", True), (GPT, True), ("*", True), ("openai/gpt-4@azure", False), ("mistral", False)],
)
def test_a_case_touches_its_makers_sources_and_no_others(workspace, about, stays):
    cases.open_case(workspace, [about], Word(said="x"))
    assert bool(workspace.retained.must_stay([OWN, GPT])) is stays


def test_a_hold_keeps_until_its_release_and_so_does_one_met_elsewhere(workspace):
    said = {"maker": "openai", "entity": "us", "at": "2026-01-01T00:00:00Z"}
    retention = Retention()
    workspace.ledger.append(HOLD, [], {**said, "reason": "r", "evidence": "e"})
    retention.catch_up(workspace.ledger)
    assert "on hold" in retention.forbids([GPT])
    assert not retention.forbids([SMOL])
    workspace.ledger.append(RELEASE, [], {**said, "placed_at": said["at"], "evidence": "e"}, role="reviewer")
    retention.catch_up(workspace.ledger)
    assert not must_stay(retention, [GPT])
    remember({"maker": "openai", "entity": "us", "reason": "r", "evidence": "e", "placed_at": said["at"]})
    assert "on hold for 'us'" in must_stay(retention, [GPT])


def failing(workspace: Workspace) -> None:
    """A step that staged records and failed; then one that is refused at its close, its records being there."""
    with pytest.raises(RuntimeError), workspace.step("generate", ask={SMOL: Use.TRAIN}) as step:
        put(step, "records", "of a teacher")
        raise RuntimeError
    with pytest.raises(Refused), workspace.step("generate", ask={SMOL: Use.TRAIN}) as step:
        put(step, "records", "of a recalled teacher")
        (step.checkpoint("training") / "state").write_text("weights")
        step.look_again = lambda: (_ for _ in ()).throw(Refused("recalled meanwhile"))


def words_in(folder: Path) -> set[str]:
    return {path.read_text() for path in folder.rglob("*") if path.name in ("file.txt", "state")}


def test_what_a_case_touches_is_put_aside_where_it_would_be_deleted(workspace, letter):
    other = cases.open_case(workspace, ["openai"], Word(said="x"))
    failing(workspace)
    assert not (workspace.folder / "retained").exists()
    case = cases.open_case(workspace, ["huggingfacetb"], Word(said="x"))
    failing(workspace)
    retained = workspace.folder / "retained"
    assert words_in(retained) == {"of a teacher", "of a recalled teacher"}
    with workspace.step("generate", ask={SMOL: Use.TRAIN}) as step:
        (step.checkpoint("training") / "state").write_text("later weights")
        put(step, "records", "new")
    assert "later weights" in words_in(retained)
    cases.close(workspace, other.index, Word(said="x", state="terminated"), [letter])
    assert len(words_in(retained)) >= 3
    cases.close(workspace, case.index, Word(said="x", state="reinstated"), [letter])
    assert not list(retained.iterdir())
    assert not verify.workspace(workspace.folder).broken


def test_what_another_source_made_is_deleted_as_ever_while_a_case_is_open(workspace):
    cases.open_case(workspace, ["huggingfacetb"], Word(said="x"))
    with pytest.raises(RuntimeError), workspace.step("prompts", brings={OWN: Relation.OUTPUT}) as step:
        put(step, "prompts")
        raise RuntimeError
    assert not (workspace.folder / "retained").exists()
    assert prompts(workspace).folder.exists()
