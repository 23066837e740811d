"""Estimate beside actual, from ledger entries."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trueseed.core.artifacts import Store
from trueseed.core.canonical import digest
from trueseed.errors import Broken
from trueseed.report.expected import section
from trueseed.report.planned import ESTIMATE, Estimate, Outcome, Planned, Range, outcome
from trueseed.teachers.account.amounts import Price

SETTINGS = {"accept": 100}
COUNTS = {"asked": 150, "prompt_tokens": 3000, "completion_tokens": 6000, "accepted": 100}


def planned(**numbers: Range) -> Planned:
    return Planned(step="generate", settings=digest(SETTINGS), numbers=numbers, unknown={"tokens": "nobody looked"})  # type: ignore[arg-type]


def entry(index: int, step: str, **said: Any) -> Any:
    """A step's closing statement, as far as it is read here."""
    whole = {"event": "done", "step": step, "at": "2026-11-24T12:00:00Z", "outputs": [], "config": SETTINGS,
             "fingerprint": step, "counts": COUNTS, "cost": {"seconds": 30.0}, **said}  # fmt: skip
    return SimpleNamespace(index=index, predicate=whole)


def compared(folder: Path, plan: Planned, *, generated_at: int = 9, **said: Any) -> Outcome | None:
    store = Store(folder / "store")
    estimate = Estimate(rows=8, price=Price(1_000_000, 2_000_000), steps=(plan,))
    with store.staged("report") as staged:
        (staged / ESTIMATE).write_text(json.dumps(estimate.to_json()))
        kept = store.put("report", staged, {})
    made = entry(3, "estimate", outputs=[{"kind": "report", "digest": kept.digest}])
    paused = entry(7, "generate", event="paused", cost={"seconds": 12.0})
    done = entry(generated_at, "generate", **said)
    return outcome([made, paused, done], store, {"generate": done})


def test_an_estimate_is_the_same_after_json():
    made = Estimate(rows=8, price=None, steps=(planned(requests=Range(likely=2, low=1, high=4)),))
    assert Estimate.from_json(json.loads(json.dumps(made.to_json()))) == made


def test_actual_lies_inside_or_outside_and_all_tries_count(tmp_path):
    plan = planned(requests=Range(likely=140, low=120, high=180), seconds=Range(likely=20, low=10, high=40))
    told = compared(tmp_path, plan)
    assert told is not None
    found = {each.quantity: (each.actual, each.inside) for each in told.beside}
    assert found == {"requests": (150, True), "seconds": (42.0, False), "tokens": (9000, None)}
    assert (section(told).inside, section(told).missed) == (1, 1)


def test_money_is_the_tokens_at_the_price_of_the_plan(tmp_path):
    told = compared(tmp_path, planned(micros=Range(likely=15_000, low=14_000, high=16_000)))
    assert told is not None
    assert told.beside[-1].actual == 15_000  # 3000 at 1 USD and 6000 at 2 USD for a million


def test_a_step_done_with_other_settings_is_not_compared(tmp_path):
    told = compared(tmp_path, planned(requests=Range.exactly(150)), config={"accept": 101})
    assert told is not None
    assert (told.beside, told.other_settings) == ((), ("generate",))


def test_a_plan_made_after_the_run_is_no_plan_of_it(tmp_path):
    assert compared(tmp_path, planned(requests=Range.exactly(150)), generated_at=2) is None


def test_a_plan_that_cannot_be_read_is_broken(tmp_path):
    store = Store(tmp_path / "store")
    with store.staged("report") as staged:
        (staged / ESTIMATE).write_text("{}")
        kept = store.put("report", staged, {})
    made = entry(3, "estimate", outputs=[{"kind": "report", "digest": kept.digest}])
    with pytest.raises(Broken, match="restore"):
        outcome([made], store, {"generate": entry(9, "generate")})
