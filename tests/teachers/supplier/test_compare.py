"""Our calls beside the maker's figures: nobody is accused for a call near midnight, and no more is found than is."""

import itertools
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from trueseed.teachers.account.allowance import Reservation
from trueseed.teachers.account.amounts import NOTHING, Amount, split
from trueseed.teachers.supplier.bill import Bill, Figure
from trueseed.teachers.supplier.bill_models import Group
from trueseed.teachers.supplier.books import Books, Doubtful, Span, Sum
from trueseed.teachers.supplier.compare import Count, cells, explain, settlement
from trueseed.terms.model import Use

GPT = "openai/gpt-4@api"
GROUP = Group(("gpt-4",), (GPT,))
DAYS = [date(2026, 11, 1), date(2026, 11, 2), date(2026, 11, 3)]


@dataclass
class Truth:
    """What really happened on a day: surely billed calls, some of them late and billed a day later; doubtful ones that
    were or were not billed; calls that somebody made outside.
    """

    sure: int
    late: int
    slipped: int
    doubtful: int
    really: int
    outside: int


@st.composite
def truths(draw, outside=True):
    sure = draw(st.integers(0, 6))
    late = draw(st.integers(0, sure))
    doubtful = draw(st.integers(0, 3))
    return Truth(
        sure=sure,
        late=late,
        slipped=draw(st.integers(0, late)),
        doubtful=doubtful,
        really=draw(st.integers(0, doubtful)),
        outside=draw(st.integers(0, 4)) if outside else 0,
    )


def counts(days):
    into = [0, *(day.slipped for day in days)]
    return [
        Count(
            least=day.sure,
            most=day.sure + day.doubtful,
            said=day.sure - day.slipped + into[index] + day.really + day.outside,
            late=day.late,
        )
        for index, day in enumerate(days)
    ]


@settings(max_examples=60)
@given(st.lists(truths(), min_size=1, max_size=6))
def test_no_more_is_found_outside_or_missing_than_there_is(days):
    found = explain(counts(days))
    assert sum(each.outside + each.missing for each in found) <= sum(day.outside for day in days)


@settings(max_examples=60)
@given(st.lists(truths(outside=False), min_size=1, max_size=6))
def test_who_asked_only_through_us_is_never_accused(days):
    found = explain(counts(days))
    assert [(each.outside, each.missing) for each in found] == [(0, 0)] * len(days)
    assert sum(each.doubtful for each in found) <= sum(day.doubtful for day in days)


@settings(max_examples=60)
@given(st.data())
def test_what_is_left_over_is_the_least_there_can_be(data):
    small = st.integers(0, 3)
    days = []
    for _ in range(data.draw(st.integers(1, 3))):
        least = data.draw(small)
        most = least + data.draw(st.integers(0, 2))
        late, early = data.draw(st.integers(0, min(2, least))), data.draw(st.integers(0, min(2, most)))
        days.append(Count(least=least, most=most, said=data.draw(st.integers(0, 6)), late=late, early=early))
    before, after = data.draw(small), data.draw(small)

    def left(moves):
        total = 0
        for day, (into, on) in zip(days, itertools.pairwise(moves), strict=True):
            low, high = day.least + into - on, day.most + into - on
            total += max(0, day.said - high, low - day.said)
        return total

    bounds = zip([*(day.early for day in days), after], [before, *(day.late for day in days)], strict=True)
    every = itertools.product(*(range(-early, late + 1) for early, late in bounds))
    found = explain(days, late_before=before, early_after=after)
    assert sum(each.outside + each.missing for each in found) == min(left(moves) for moves in every)


def test_a_call_just_before_the_month_may_be_billed_in_it_and_one_at_its_end_after_it():
    first, last = Count(least=0, most=0, said=1), Count(least=1, most=1, said=0, late=1)
    assert [(each.outside, each.missing) for each in explain([first, last], late_before=1)] == [(0, 0)] * 2
    assert explain([first, last])[0].outside == 1


@settings(max_examples=60)
@given(st.integers(0, 500), st.lists(st.integers(0, 100), max_size=8))
def test_what_is_split_is_whole_and_nowhere_more_than_was_reserved(total, most):
    parts = split(total, most)
    assert sum(parts) == min(total, sum(most))
    assert all(part <= each for part, each in zip(parts, most, strict=True))


# -- cells and what they settle


def at(day, hour=12, minute=0):
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


def figure(day, calls, tokens, micros=None):
    span = Span(at(day, 0), at(day + 1, 0))
    return Figure(span=span, model="gpt-4", calls=calls, tokens=tokens, micros=micros)


def sums(day, kind, n, tokens):
    return Sum(at=at(day), source=GPT, kind=kind, amount=Amount(n, tokens, 10 * tokens))


def lost(n, day=1, tokens=100, garbled=False):
    upper = Amount(1, tokens, 10 * tokens)
    moment = round(at(day).timestamp() * 1000)
    return [Doubtful(Reservation(i, GPT, Use.JUDGE, "seed", "0" * 64, upper, moment), garbled) for i in range(n)]


def cell(said, *kept, doubtful=(), through=DAYS[-1]):
    more = [sums(1, "doubtful", len(doubtful), sum(each.call.upper.tokens for each in doubtful))] if doubtful else []
    bill = Bill(kind="a bill", digest="0" * 64, figures=(said,) if said else ())
    return cells(bill, Books((*kept, *more), tuple(doubtful)), [GROUP], DAYS[:1], through)[0]


def test_doubtful_calls_that_the_maker_counts_are_charged_its_tokens_and_the_others_nothing():
    doubtful = lost(3)
    found = settlement(cell(figure(1, 4, 330), sums(1, "billed", 2, 200), doubtful=doubtful), doubtful)
    assert [amount for _, amount in found] == [Amount(1, 65, 650), Amount(1, 65, 650), None]


def test_what_the_maker_says_of_money_stands_over_our_price():
    doubtful = lost(2)
    found = settlement(cell(figure(1, 2, 150, micros=999), doubtful=doubtful), doubtful)
    assert sum((amount or NOTHING for _, amount in found), NOTHING) == Amount(2, 150, 999)


def test_figures_that_miss_what_was_answered_settle_nothing():
    doubtful = lost(2)
    found = cell(figure(1, 1, 100), sums(1, "billed", 2, 200), doubtful=doubtful)
    assert found.missing == 1
    assert settlement(found, doubtful) == []


def test_a_day_that_the_figures_do_not_hold_whole_settles_nothing_and_misses_nothing_but_shows_what_is_too_much():
    doubtful = lost(1)
    late = cell(figure(1, 0, 0), sums(1, "billed", 2, 200), doubtful=doubtful, through=date(2026, 10, 31))
    assert (late.missing, settlement(late, doubtful)) == (0, [])
    assert cell(figure(1, 9, 900), sums(1, "billed", 2, 200), through=date(2026, 10, 31)).outside == 7


def test_calls_under_way_that_may_be_the_ones_billed_leave_the_doubtful_ones_open():
    doubtful = lost(2)
    kept = sums(1, "in_flight", 1, 100)
    assert settlement(cell(figure(1, 1, 80), kept, doubtful=doubtful), doubtful) == []
    assert len(settlement(cell(figure(1, 3, 240), kept, doubtful=doubtful), doubtful)) == 2
    assert [amount for _, amount in settlement(cell(figure(1, 0, 0), kept, doubtful=doubtful), doubtful)] == [None] * 2


def test_a_maker_that_counts_tokens_alone_is_compared_in_tokens():
    doubtful = lost(2)
    found = cell(figure(1, None, 250), sums(1, "billed", 2, 200), doubtful=doubtful)
    assert (found.counted, found.outside) == (False, 0)
    assert [amount for _, amount in settlement(found, doubtful)] == [Amount(1, 25, 250)] * 2
    assert cell(figure(1, None, 900), sums(1, "billed", 2, 200), doubtful=doubtful).outside == 500
    none = cell(figure(1, None, 200), sums(1, "billed", 2, 200), doubtful=doubtful)
    assert [amount for _, amount in settlement(none, doubtful)] == [None, None]


def test_calls_of_two_names_for_one_source_are_counted_together():
    group = Group(("gpt-4-a", "gpt-4-b"), (GPT,))
    figures = tuple(replace(figure(1, 2, 200), model=name) for name in group.models)
    bill = Bill(kind="a bill", digest="0" * 64, figures=figures)
    found = cells(bill, Books((sums(1, "billed", 4, 400),), ()), [group], DAYS[:1], DAYS[0])[0]
    assert (found.outside, found.missing) == (0, 0)
