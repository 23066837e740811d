"""The steps under which the gateway asks."""

from datetime import date, timedelta
from pathlib import Path

import pytest

from trueseed.gateway.door import Door, Wish
from trueseed.ledger.calls import CALLS, prove
from trueseed.ledger.statement import STEP
from trueseed.terms.model import Use
from trueseed.workspace import Workspace

DEEPSEEK = "deepseek/deepseek-chat@api"
DAY = date(2026, 11, 20)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "work", create=True)


def events(workspace: Workspace) -> list[str]:
    return [entry.predicate["event"] for entry in workspace.ledger.entries() if entry.predicate_type == STEP]


def test_one_step_stands_open_for_each_source_and_use(workspace):
    door = Door(workspace)
    first = door.passage(Wish(DEEPSEEK, Use.JUDGE))
    assert door.passage(Wish(DEEPSEEK, Use.JUDGE)) is first
    assert door.passage(Wish(DEEPSEEK, Use.TRAIN)) is not first
    door.close()
    assert events(workspace) == ["opened", "opened", "done", "done"]


def test_the_terms_are_asked_anew_every_day(workspace):
    today = [DAY]
    door = Door(workspace, today=lambda: today[0])
    first = door.passage(Wish(DEEPSEEK, Use.JUDGE))
    today[0] += timedelta(days=1)
    assert door.passage(Wish(DEEPSEEK, Use.JUDGE)) is not first
    door.close()
    assert events(workspace) == ["opened", "done", "opened", "done"]


def test_a_call_in_flight_over_midnight_is_settled_under_the_step_that_admitted_it(workspace):
    today = [DAY]
    door = Door(workspace, today=lambda: today[0])
    first = door.passage(Wish(DEEPSEEK, Use.JUDGE))
    first.in_flight += 1
    today[0] += timedelta(days=1)
    door.passage(Wish(DEEPSEEK, Use.JUDGE))
    first.calls.append({"call": "late"})
    door.done(first)
    assert events(workspace) == ["opened", "opened", "done"]
    assert prove(workspace.ledger, workspace.folder / CALLS, "late").index == 0
    door.close()


def test_a_step_that_cannot_be_closed_costs_the_call_nothing_and_is_closed_later(workspace):
    today = [DAY]
    door = Door(workspace, today=lambda: today[0])
    first = door.passage(Wish(DEEPSEEK, Use.JUDGE))
    first.in_flight += 1
    today[0] += timedelta(days=1)
    door.passage(Wish(DEEPSEEK, Use.JUDGE))
    first.calls.append({"call": "late"})
    entries = workspace.ledger.folder / "entries.jsonl"
    entries.rename(entries.with_suffix(".away"))
    door.done(first)
    entries.with_suffix(".away").rename(entries)
    assert events(workspace) == ["opened", "opened"]
    door.close()
    assert events(workspace) == ["opened", "opened", "done", "done"]
    assert prove(workspace.ledger, workspace.folder / CALLS, "late").index == 0


def test_what_a_killed_gateway_left_is_sealed_by_the_next(workspace):
    left = Door(workspace)
    passage = left.passage(Wish(DEEPSEEK, Use.JUDGE))
    passage.calls.append({"call": "lost"})
    passage.calls.close()  # what a kill does to its lock
    Door(workspace)
    proof = prove(workspace.ledger, workspace.folder / CALLS, "lost")
    assert proof.verifies(workspace.ledger.entry(proof.entry).predicate["calls"]["root"])
    passage.closing.pop_all()
