"""Recalling a part of a source: exactly that part, until it is released."""

import json
from pathlib import Path

import pytest
from tests.test_workspace import GPT, SMOL, prompts, put
from typer.testing import CliRunner

from trueseed import recall as recalling
from trueseed.cli import app
from trueseed.core.artifacts import Artifact
from trueseed.core.canonical import now
from trueseed.errors import ConfigError, Refused
from trueseed.ledger.withdrawals import Recalls
from trueseed.outgoing import TO, seen_from
from trueseed.recall import Part
from trueseed.report import verify
from trueseed.terms.model import Facts, Use
from trueseed.workspace import Told, Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace.open(tmp_path / "work", create=True)
    made.declare("seed", Facts())
    return made


def asked(workspace: Workspace, at: str) -> Artifact:
    """Records of an answer that was asked then."""
    with workspace.step("generate", inputs=[prompts(workspace)], ask={SMOL: Use.TRAIN}, config={"at": at}) as step:
        step.heard(SMOL, Told(at=at, terms=step.terms_of(SMOL), use=Use.TRAIN, project="seed"))
        return put(step, "records", at)


FEBRUARY = Part(asked=("2026-02-01", "2026-02-28"))


def test_a_recall_by_days_stops_what_was_asked_then_and_nothing_else(workspace):
    before, inside = asked(workspace, "2026-01-31T23:59:59Z"), asked(workspace, "2026-02-28T23:59:59Z")
    reached = recalling.recall(workspace, SMOL, "a wrong contract", FEBRUARY)
    assert (reached.stops, before in reached.stands) == ((inside,), True)
    with workspace.step("curate", inputs=[before]) as step:
        put(step, "dataset")
    with pytest.raises(Refused, match=r"a wrong contract.*quarantined"), workspace.step("curate", inputs=[inside]):
        pass
    assert inside.path("file.txt").exists()
    assert not verify.workspace(workspace.folder).broken


def test_an_order_to_stop_a_use_refuses_that_use_and_leaves_the_others(workspace):
    records = asked(workspace, "2026-01-10T00:00:00Z")
    recalling.recall(workspace, SMOL, "told to stop", Part(use="judge"))
    with pytest.raises(Refused, match="told to stop"), workspace.step("judge", ask={SMOL: Use.JUDGE}):
        pass
    with workspace.step("curate", inputs=[records], ask={SMOL: Use.TRAIN}):
        pass


def test_a_recall_that_comes_while_a_step_asks_stops_its_close(workspace):
    with pytest.raises(Refused, match="among it"), workspace.step("generate", ask={SMOL: Use.TRAIN}) as step:
        step.heard(SMOL, Told(at=now(), terms=step.terms_of(SMOL), use=Use.TRAIN, project="seed"))
        put(step, "records")
        asked(workspace, "2026-01-10T00:00:00Z")
        other = Workspace.open(workspace.folder)
        recalling.recall(other, SMOL, "x", Part(asked=("2026-01-01", now()[:10]), asking_goes_on=True))


def test_a_release_over_evidence_ends_the_quarantine_and_keeps_the_recall(workspace, tmp_path):
    inside = asked(workspace, "2026-02-10T00:00:00Z")
    where = ["--workspace", str(workspace.folder), "--json"]
    run = CliRunner().invoke
    said = run(app, ["recall", SMOL, "--asked-between", "2026-02-01", "-", "--why", "unsure", *where])
    assert json.loads(said.stdout)["stops"] == [str(inside)]
    (tmp_path / "letter").write_text("It was in order.")
    said = run(app, ["release", SMOL, "--evidence", str(tmp_path / "letter"), *where])
    assert json.loads(said.stdout)["released"][0]["reason"] == "unsure"
    with workspace.step("curate", inputs=[inside]) as step:
        put(step, "dataset")
    assert len(list((workspace.folder / "evidence").iterdir())) == 1
    assert not verify.workspace(workspace.folder).broken
    with pytest.raises(ConfigError, match="nothing to release"):
        recalling.release(workspace, SMOL, tmp_path / "letter")


def test_of_two_recalls_the_one_whose_cause_ended_is_released(workspace, tmp_path):
    asked(workspace, "2026-02-10T00:00:00Z")
    for use in ("judge", "train"):
        recalling.recall(workspace, SMOL, f"no {use}", Part(use=use))
    first, second = Recalls.read(workspace.ledger).standing
    (tmp_path / "letter").write_text("Judging is in order.")
    with pytest.raises(ConfigError, match=rf"2 recalls.*--entry {first}.*no judge.*--entry {second}"):
        recalling.release(workspace, SMOL, tmp_path / "letter")
    words = ["release", SMOL, "--evidence", str(tmp_path / "letter"), "--workspace", str(workspace.folder)]
    assert isinstance(CliRunner().invoke(app, [*words, "--entry", "0"]).exception, ConfigError)
    assert f"released entry {first}" in CliRunner().invoke(app, [*words, "--entry", str(first)]).stdout
    workspace.ledger.refresh()
    assert [each.use for each in Recalls.read(workspace.ledger).standing.values()] == ["train"]
    assert not verify.workspace(workspace.folder).broken


def test_servers_that_run_and_what_left_are_named(workspace, tmp_path):
    records = asked(workspace, "2026-02-10T00:00:00Z")
    place = tmp_path / "out.jsonl"
    place.write_text("words")
    with workspace.step("export", inputs=[records], config={TO: seen_from(workspace.folder, place)}) as step:
        step.hands_out({place.name: "0" * 64})
    with workspace.step("serve", inputs=[records], config={"where": "http:8000", "process": 7}):
        reached = recalling.reach(workspace, SMOL, FEBRUARY)
        assert [str(server).partition(", since")[0] for server in reached.servers] == ["serve at http:8000, process 7"]
        assert not recalling.reach(workspace, SMOL, Part(use="judge")).servers
    reached = recalling.reach(workspace, SMOL, FEBRUARY)
    assert reached.servers == ()
    (left,) = reached.exports
    assert (left.place, left.files, left.still_there) == (place, 1, True)
    place.unlink()
    said = CliRunner().invoke(app, ["recall", SMOL, "--dry-run", "--workspace", str(workspace.folder)]).stdout
    assert f"by hand: {place} (1 file" in said
    assert "not there any more" in said


@pytest.mark.parametrize("part", [Part(asked=("x", "-")), Part(asked=("2026-02-02", "2026-02-01")), Part(use="trian")])
def test_a_part_that_is_none_is_a_mistake(workspace, part):
    asked(workspace, "2026-02-10T00:00:00Z")
    with pytest.raises(ConfigError):
        recalling.recall(workspace, SMOL, "", part)


def test_a_document_that_nobody_knows_is_a_mistake(workspace):
    asked(workspace, "2026-02-10T00:00:00Z")
    with pytest.raises(ConfigError, match="no terms document"):
        recalling.reach(workspace, SMOL, Part(terms="apache-3.0"))
    assert recalling.reach(workspace, SMOL, Part(terms="apache-2.0-weights")).stops
    assert GPT not in str(recalling.reach(workspace, SMOL))
