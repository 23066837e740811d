"""How far the makers' own figures reach is told, and where nobody looked."""

from typing import Any

import pytest

from trueseed.errors import Broken
from trueseed.ledger.log import Entry
from trueseed.ledger.statement import RECONCILIATION, STEP
from trueseed.report.reach import read

LARGE = "acme/large@api"


def entry(index: int, kind: str, **said: Any) -> Entry:
    return Entry(index=index, statement={"predicateType": kind, "predicate": said}, envelope={}, leaf=b"")


def asked(source: str = LARGE, event: str = "done", on: str = "2026-10-31", until: str = "2026-11-01") -> Entry:
    lines = [
        {"source": source, "terms": "", "use": "train", "project": "seed", "count": 1, "first": f"{day}T12:00:00Z",
         "last": f"{day}T12:00:00Z"} for day in (on, until)
    ]  # fmt: skip
    told = {"entered": lines} if event == "done" else {}
    return entry(1, STEP, event=event, at="2026-11-02T09:00:00Z", asks=[{"source": source, "use": "train"}], **told)


def compared(month: str, verdict: str = "agrees", **said: Any) -> Entry:
    known = {"maker": "acme", "sources": "*", "month": month, "through": f"{month}-20", "verdict": verdict}
    return entry(2, RECONCILIATION, **{**known, **said})


def test_months_that_nobody_compared_are_named():
    reach = read([asked()])
    assert reach.evidence == ()
    (note,) = reach.notes
    assert note.startswith("the calls to acme/large@api in 2026-10, 2026-11 were not compared with what acme counted")


def test_a_step_that_failed_may_have_asked_in_the_month_it_ended():
    assert "in 2026-11 were not compared" in read([asked(event="failed")]).notes[0]


def test_what_the_makers_figures_agree_with_is_evidence():
    reach = read([asked(), compared("2026-10"), compared("2026-11")])
    assert reach.notes == ()
    assert reach.evidence[0] == (
        "acme's own figures of 2026-10, through 2026-10-20, for sources '*' (entry 2): they agree"
    )


@pytest.mark.parametrize("beside", [{"maker": "other"}, {"sources": "acme/small*"}, {"through": None}])
def test_figures_of_something_else_leave_the_calls_uncompared(beside):
    reach = read([asked(), compared("2026-10"), compared("2026-11", **beside)])
    assert "in 2026-11 were not compared" in reach.notes[-1]


def test_calls_past_a_stop_are_a_note_and_no_evidence():
    reach = read([asked(), compared("2026-10", "past_stop"), compared("2026-11")])
    assert len(reach.evidence) == 1
    assert "calls past a hold or a recall" in reach.notes[0]


def test_of_two_comparisons_the_later_counts():
    reach = read([asked(), compared("2026-10", "outside"), compared("2026-10"), compared("2026-11")])
    assert reach.notes == ()


def test_weights_that_run_here_are_counted_by_nobody_else():
    assert read([asked("huggingfacetb/smollm2-135m-instruct@weights")]).notes == ()


def test_a_malformed_statement_is_broken():
    with pytest.raises(Broken, match="entry 2"):
        read([entry(2, RECONCILIATION, maker="acme")])
