"""The calendar: pure arithmetic of limits and days."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trueseed.plan.calendar import Finish, Work, finish
from trueseed.plan.schedule import Calendar, sentence
from trueseed.teachers.account.amounts import NOTHING, Amount
from trueseed.teachers.account.limits import Limit
from trueseed.teachers.account.rooms import Room
from trueseed.terms.model import Use

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)  # a Tuesday, at noon
SOURCE = "deepseek/deepseek-chat@api"


def work(requests: float, *, use: Use = Use.TRAIN, seconds: float = 0.0) -> Work:
    """Questions of 100 tokens that reserve up to 400, at a tenth of a cent."""
    return Work(
        source=SOURCE,
        use=use,
        requests=requests,
        tokens=100.0 * requests,
        micros=1000.0 * requests,
        seconds=seconds,
        upper=Amount(1, 400, 4000),
    )


def room(used: Amount = NOTHING, **limit: Any) -> Room:
    return Room(limit=Limit(**{"source": "deepseek/*", **limit}), used=used)


def done(*rooms: Room, works: tuple[Work, ...] = (work(1200),)) -> Finish:
    return finish(works, rooms, project="seed", now=NOW)


def test_without_limits_it_takes_as_long_as_it_takes():
    assert done(works=(work(1200, seconds=600),)).at == NOW + timedelta(seconds=600)


def test_a_limit_a_day_spreads_it_over_days():
    found = done(room(per="day", requests=500))
    assert found.at is not None
    assert found.at.date().isoformat() == "2026-11-26"  # 500 today, 500 on Wednesday, 200 on Thursday
    assert found.held_up_by == Limit(source="deepseek/*", per="day", requests=500)


def test_what_was_used_today_is_not_there_today():
    assert done(room(Amount(400), per="day", requests=500)).at == datetime(2026, 11, 27, tzinfo=UTC)


def test_a_limit_a_month_waits_for_the_first():
    assert done(room(per="month", tokens=100_000)).at == datetime(2026, 12, 1, tzinfo=UTC)


def test_a_total_that_is_too_small_never_ends_and_says_by_how_much():
    found = done(room(Amount(100), per="total", requests=1000))
    assert (found.at, found.short, found.dimension) == (None, 300, "requests")


def test_steps_after_the_one_that_runs_out_are_in_what_is_lacking():
    works = (work(1200), work(100, use=Use.BENCHMARK_TEACHER))
    assert done(room(per="total", requests=1000), works=works).short == 300
    assert done(room(per="total", requests=1000, use=Use.TRAIN), works=works).short == 200


def test_a_limit_that_one_call_does_not_fit_never_ends():
    found = done(room(per="day", tokens=300))
    assert (found.at, found.short) == (None, 100)
    assert "one call" in found.because


def test_a_limit_a_minute_slows_it_down():
    found = done(room(per="minute", requests=60))
    assert found.at is not None
    assert timedelta(minutes=20) <= found.at - NOW <= timedelta(minutes=21)


def test_a_limit_for_another_use_or_maker_does_not_hold_it_up():
    assert (
        done(room(per="total", requests=0, use=Use.JUDGE), room(source="openai/*", per="total", requests=0)).at == NOW
    )


def test_money_is_a_limit_too():
    assert done(room(per="total", micros=1_100_000)).short == 103_000  # the last call must fit with all it may cost


def test_it_does_not_count_beyond_ten_years():
    found = done(room(per="day", requests=1), works=(work(10_000),))
    assert found.at is None
    assert "10 years" in found.because


limits = st.builds(
    lambda per, n: room(per=per, requests=n),
    st.sampled_from(["day", "month"]),
    st.integers(min_value=50, max_value=500),
)
FAR = datetime.max.replace(tzinfo=UTC)


def end(n: int, *rooms: Room) -> datetime:
    return done(*rooms, works=(work(n),)).at or FAR


@given(st.integers(1, 1000), limits, limits)
def test_another_limit_never_makes_it_earlier(n, first, second):
    assert end(n, first, second) >= end(n, first)


@given(st.integers(1, 1000), st.integers(1, 500), limits)
def test_more_to_ask_is_never_done_earlier(n, more, limit):
    assert end(n + more, limit) >= end(n, limit)


def test_it_is_said_as_a_person_would():
    thursday = done(room(per="day", requests=500))
    said = sentence(Calendar(earliest=thursday, likely=thursday, latest=thursday))
    assert said.startswith("done on Thursday 26 November 2026, at 500 requests a day")
    never = done(room(per="total", requests=1000))
    assert sentence(Calendar(earliest=never, likely=never, latest=never)) == (
        "never: the limit in total is too small (1,000 requests in total): it lacks 200 requests"
    )
