"""A recall stops a source, or a part of it, and all that was made from that, until it is released."""

from typing import Any

import pytest

from trueseed.errors import Broken
from trueseed.ledger.entered import Entered
from trueseed.ledger.log import Entry
from trueseed.ledger.statement import RECALL_RELEASE, STEP, WITHDRAWAL
from trueseed.ledger.withdrawals import Asking, Passing, Recalls, Withdrawal

SOURCE, TERMS = "acme/large@api", "a" * 64
FEBRUARY = {"since": "2026-02-01T00:00:00Z", "until": "2026-03-01T00:00:00Z"}


def entry(index: int, kind: str, **said: Any) -> Entry:
    return Entry(index=index, statement={"predicateType": kind, "predicate": said}, envelope={}, leaf=b"")


def done(
    index: int,
    outputs: list[str],
    inputs: tuple[str, ...] | list[str] = (),
    entered: list[Entered] | None = None,
    **said: Any,
) -> Entry:
    label = {"source": SOURCE, "relation": "output", "terms": TERMS}
    told = {} if entered is None else {"entered": [each.to_json() for each in entered]}
    named: dict[str, Any] = {"step": "s", "labels": [label], "asks": [], **told, **said}
    return entry(
        index, STEP, event="done", outputs=[{"kind": "records", "digest": name} for name in outputs],
        inputs=[{"kind": "records", "digest": name} for name in inputs], **named,
    )  # fmt: skip


def heard(on: str = "2026-02-10", use: str = "train", project: str = "seed", terms: str = TERMS) -> Entered:
    at = f"{on}T12:00:00Z"
    return Entered(source=SOURCE, terms=terms, use=use, project=project, first=at, last=at, count=3)


def narrow(**by: Any) -> Withdrawal:
    return Withdrawal(index=9, source=SOURCE, reason="told to", at="2026-04-01T00:00:00Z", **by)


def asking(use: str = "train", project: str = "seed", terms: str = TERMS) -> Asking:
    return Asking(SOURCE, use, terms, project)


def test_a_whole_source_is_recalled_with_everything_that_carries_its_label(river):
    recalls = Recalls.read(river)
    (recall,) = recalls.standing.values()
    assert (recall.source, recall.reason, recall.is_whole) == ("mistral/mistral-large@api", "the terms changed", True)
    assert len(recalls.reached(recall)) == 2  # the dataset that it filtered, and the weights
    named = frozenset({("mistral/mistral-large@api", "filter", "b" * 64)})
    assert recalls.stop(Passing(labels=named))


def test_nothing_is_recalled_in_an_empty_ledger(ledger):
    assert Recalls.read(ledger).stop(Passing(labels=frozenset({(SOURCE, "output", TERMS)}))) is None


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"source": SOURCE, "use": 1},
        {"source": SOURCE, "terms": "x"},
        {"source": SOURCE, "since": "yesterday"},
    ],
)
def test_a_withdrawal_that_does_not_say_of_what_is_broken(said):
    with pytest.raises(Broken, match="entry 4"):
        Recalls.read([entry(4, WITHDRAWAL, **said)])


def test_what_is_not_understood_makes_a_recall_no_narrower():
    (recall,) = Recalls.read([entry(0, WITHDRAWAL, source=SOURCE, use="train", moon="full")]).standing.values()
    assert recall.is_whole


@pytest.mark.parametrize("by", [FEBRUARY, {"use": "train"}, {"project": "seed"}, {"terms": (TERMS,)}])
def test_a_narrow_recall_reaches_what_is_inside_of_it(by):
    assert narrow(**by).reaches(heard())


@pytest.mark.parametrize(
    ("by", "what"),
    [
        (FEBRUARY, heard("2026-01-31")),
        (FEBRUARY, heard("2026-03-01")),
        ({"use": "judge"}, heard()),
        ({"project": "other"}, heard()),
        ({"terms": ("b" * 64,)}, heard()),
        ({"use": "train", **FEBRUARY}, heard("2026-05-01")),
    ],
)
def test_and_nothing_outside(by, what):
    assert not narrow(**by).reaches(what)


def test_what_is_not_known_is_reached():
    unknown = Entered(source=SOURCE, terms=TERMS, use=None, project=None, first=None, last=None)
    assert narrow(use="judge", project="x", **FEBRUARY).reaches(unknown)
    older = done(0, ["r"], asks=[{"source": SOURCE, "use": "train"}])  # a statement without the member
    recalls = Recalls.read([older, entry(1, WITHDRAWAL, source=SOURCE, use="judge")])
    assert recalls.reached(recalls.standing[1]) == {"r"}


def test_an_order_forbids_asking_for_that_use_whatever_the_dates():
    order = narrow(use="judge", **FEBRUARY)
    assert order.forbids(asking("judge"))
    assert not order.forbids(asking("train"))
    assert not narrow(use="judge", asking_goes_on=True, **FEBRUARY).forbids(asking("judge"))


def test_the_reach_is_everything_made_from_it_and_nothing_else():
    story = [
        done(0, ["before"], entered=[heard("2026-01-10")]),
        done(1, ["inside"], entered=[heard()]),
        done(2, ["dataset"], ["before", "inside"], entered=[]),
        done(3, ["clean"], ["before"], entered=[]),
        entry(4, WITHDRAWAL, source=SOURCE, **FEBRUARY),
        done(5, ["student"], ["dataset"], entered=[]),
    ]
    recalls = Recalls.read(story)
    assert recalls.reached(recalls.standing[4]) == {"inside", "dataset", "student"}
    stop = recalls.stop(Passing(inputs=("student",)))
    assert stop and "quarantined" in stop.because
    assert recalls.stop(Passing(inputs=("clean",))) is None


def test_a_step_that_takes_the_records_out_ends_the_reach():
    story = [
        done(0, ["mixed"], entered=[heard("2026-01-10"), heard()]),
        entry(1, WITHDRAWAL, source=SOURCE, **FEBRUARY),
        done(2, ["rest"], ["mixed"], entered=[], step="leave_out", config={"without": [1]}),
        done(3, ["student"], ["rest"], entered=[]),
    ]
    recalls = Recalls.read(story)
    assert recalls.reached(recalls.standing[1]) == {"mixed"}
    assert recalls.stop(Passing(inputs=("mixed",), taken_out=frozenset({1}))) is None


def test_the_same_bytes_made_from_what_was_recalled_are_reached_with_what_came_of_them():
    story = [
        done(0, ["r"], entered=[heard("2026-01-10")]),
        done(1, ["d"], ["r"], entered=[]),
        entry(2, WITHDRAWAL, source=SOURCE, **FEBRUARY),
        done(3, ["r"], entered=[heard()]),
    ]
    recalls = Recalls.read(story)
    assert recalls.reached(recalls.standing[2]) == {"r", "d"}


def test_a_released_recall_reaches_nothing_and_stays_known():
    story = [
        done(0, ["r"], entered=[heard()]),
        entry(1, WITHDRAWAL, source=SOURCE, use="train", reason="why"),
        entry(2, RECALL_RELEASE, withdrawal=1, source=SOURCE, evidence="e" * 64),
    ]
    recalls = Recalls.read(story)
    assert not recalls.standing
    assert recalls.released[1][0].reason == "why"
    assert recalls.stop(Passing(inputs=("r",), asks=(asking(),))) is None
    with pytest.raises(Broken, match="no recall that stands"):
        recalls.see(entry(3, RECALL_RELEASE, withdrawal=1, source=SOURCE, evidence="e" * 64))


def test_a_release_needs_the_reviewer(river):
    from trueseed.errors import ConfigError

    with pytest.raises(ConfigError, match="reviewer"):
        river.append(RECALL_RELEASE, [], {"withdrawal": river.size - 1})
