"""Calls that are charged together are judged as if they came one after the other."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trueseed.errors import Paused, Refused
from trueseed.teachers.account.allowance import NOTHING, Allowance, Amount, Exhausted, Limit
from trueseed.teachers.account.charging import Closed, Wanted
from trueseed.teachers.account.holds import Holds
from trueseed.teachers.account.state import Account
from trueseed.terms.model import Use

SOURCES = ["openai/gpt-4@api", "openai/gpt-4@azure", "mistral/mistral-large@api", "held/model@api"]
LIMITS = [
    Limit(source="openai/*", per="total", requests=5, tokens=700),
    Limit(source="*", per="day", micros=900),
    Limit(source="*", use=Use.JUDGE, per="minute", requests=4),
]

calls = st.fixed_dictionaries(
    {
        "source": st.sampled_from(SOURCES),
        "use": st.sampled_from([Use.JUDGE, Use.TRAIN]),
        "project": st.sampled_from(["seed", "other"]),
        "request": st.just("0" * 64),
        "upper": st.builds(Amount, st.just(1), st.integers(0, 300), st.integers(0, 300)),
    }
)


def opened(url):
    account = Account.open(url)
    Holds(account, "us").place("held", "told to stop", "e" * 64)
    return account, Allowance(account, LIMITS, "us")


def take(lot, call):
    """Whether there was room."""
    try:
        lot.take(**call)
    except (Paused, Refused) as err:
        return type(err).__name__
    return "taken"


def sums(account):
    with account.reading() as connection:
        question = (
            "SELECT per, source, use, project, sum(requests), sum(tokens), sum(micros) FROM spent GROUP BY 1, 2, 3, 4"
        )
        return sorted(map(tuple, connection.exec_driver_sql(question)))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lots=st.lists(st.lists(calls, min_size=1, max_size=6), max_size=3))
def test_a_lot_has_the_room_that_its_calls_have_one_by_one(tmp_path_factory, lots):
    folder = tmp_path_factory.mktemp("two")
    (one, alone), (many, together) = (opened(f"sqlite:///{folder / name}.db") for name in ("one", "many"))
    for lot in lots:
        said = []
        for call in lot:
            with one.turn() as driver:
                single = alone.lot(driver)
                said.append(take(single, call))
                single.write()
        with many.turn() as driver:
            joint = together.lot(driver)
            assert [take(joint, call) for call in lot] == said
            assert len(joint.write()) == said.count("taken")
    assert sums(one) == sums(many)


def test_reservations_come_in_the_order_in_which_they_were_taken(account):
    allowance = Allowance(account, (), "us")
    with account.turn() as driver:
        lot = allowance.lot(driver)
        for tokens in (5, 3, 9):
            lot.take(
                source=SOURCES[0], use=Use.JUDGE, project="seed", request="0" * 64, upper=Amount(1, tokens, tokens)
            )
        kept = lot.write()
    assert [call.upper.tokens for call in kept] == [5, 3, 9]
    with account.reading() as connection:
        rows = connection.exec_driver_sql("SELECT id, tokens FROM calls ORDER BY id").all()
    assert [tuple(row) for row in rows] == [(call.id, call.upper.tokens) for call in kept]


def test_calls_settled_together_are_charged_what_each_used(account):
    allowance = Allowance(account, (), "us")
    kept = [
        allowance.reserve(source=SOURCES[0], use=Use.JUDGE, project="seed", request="0" * 64, upper=Amount(1, 100, 200))
        for _ in range(3)
    ]
    ends = [(Amount(1, 10, 20), "answered"), (Amount(1, 0, 0), "failed"), (NOTHING, "released")]
    with account.turn() as driver:
        allowance.settle_all(driver, [Closed(call, *end) for call, end in zip(kept, ends, strict=True)])
    assert {row[4:] for row in sums(account)} == {(2, 10, 20)}


def test_nothing_of_a_lot_is_settled_when_one_of_it_was_before(account):
    allowance = Allowance(account, (), "us")
    upper = Amount(1, 100, 200)
    first, second = (
        allowance.reserve(source=SOURCES[0], use=Use.JUDGE, project="seed", request="0" * 64, upper=upper)
        for _ in range(2)
    )
    allowance.settle(first, upper, "answered")
    with pytest.raises(ValueError, match="settled or released before"), account.turn() as driver:
        allowance.settle_all(driver, [Closed(second, NOTHING, "released"), Closed(first, NOTHING, "released")])
    assert {row[4:] for row in sums(account)} == {(2, 200, 400)}


def wanted(tokens, source=SOURCES[0]):
    return Wanted(source, Use.JUDGE, "seed", "0" * 64, Amount(1, tokens, tokens))


def test_what_is_over_makes_room_for_what_is_wanted_beside_it_and_one_that_has_none_hinders_no_other(account):
    allowance = Allowance(account, [Limit(source="*", per="total", tokens=100)], "us")
    first, full = allowance.together([], [wanted(90), wanted(20)])
    assert isinstance(full, Exhausted)
    second, full, third = allowance.together(
        [Closed(first, Amount(1, 10, 10), "answered")], [wanted(50), wanted(50), wanted(40)]
    )
    assert isinstance(full, Exhausted)
    assert [call.upper.tokens for call in (second, third)] == [50, 40]
    assert {row[5] for row in sums(account)} == {100}


def test_of_a_lot_that_closes_a_call_twice_nothing_stands(account):
    allowance = Allowance(account, (), "us")
    (first,) = allowance.together([], [wanted(90)])
    allowance.together([Closed(first, NOTHING, "released")], [])
    with pytest.raises(ValueError, match="settled or released before"):
        allowance.together([Closed(first, NOTHING, "released")], [wanted(5)])
    assert {row[4:] for row in sums(account)} == {(0, 0, 0)}
