"""How many calls may be under way, without a clock of its own."""

import pytest

from trueseed.teachers.api.headers import Live
from trueseed.teachers.api.throttle import BREAK_AFTER, FIRST, TRIALS_KNOWN, TRIALS_UNKNOWN, Throttle


def start(throttle: Throttle, now: float) -> int:
    room = throttle.room(now)
    for _ in range(room):
        throttle.started()
    return room


def round_of_answers(throttle: Throttle, now: float) -> int:
    """Starts what may start, and all of it is answered."""
    room = start(throttle, now)
    for _ in range(room):
        throttle.answered({}, now)
    return room


def test_it_doubles_each_round_until_it_is_told_to_slow_down():
    throttle = Throttle(64)
    assert [round_of_answers(throttle, now) for now in range(6)] == [FIRST, 8, 16, 32, 64, 64]


def test_afterwards_it_halves_once_a_round_and_grows_by_one():
    throttle = Throttle(64)
    for now in range(3):
        round_of_answers(throttle, now)
    assert start(throttle, 3.0) == 32
    for _ in range(32):
        throttle.slowed(1.0, {}, started_at=3.0, now=4.0)
    assert throttle.room(4.5) == 0
    assert throttle.next_at(4.5) == 5.0
    assert round_of_answers(throttle, 5.0) == 16
    assert round_of_answers(throttle, 6.0) == 16  # 16.97: the last of the round counts less
    assert round_of_answers(throttle, 7.0) == 17


def test_a_slow_down_without_a_time_doubles_its_pause():
    throttle = Throttle(8, pause_s=1.0)
    pauses = []
    for now in (0.0, 10.0, 20.0):
        throttle.started()
        pauses.append(throttle.slowed(None, {}, started_at=now, now=now + 1))
    assert pauses == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("after", [0.0, 0.001, 0.099])
def test_a_time_as_good_as_none_is_no_leave_to_ask_at_once(after):
    throttle = Throttle(8, pause_s=1.0)
    pauses = []
    for now in (0.0, 10.0, 20.0):
        throttle.started()
        pauses.append(throttle.slowed(after, {}, started_at=now, now=now + 1))
    assert pauses == [1.0, 2.0, 4.0]
    assert (throttle.room(24.9), throttle.room(25.0)) == (0, 1)


@pytest.mark.parametrize(("after", "expected"), [(0.25, [0.25, 0.5, 1.0]), (20.0, [20.0, 20.0, 20.0])])
def test_a_time_that_was_in_vain_is_doubled_up_to_our_own_pause(after, expected):
    throttle = Throttle(8, pause_s=1.0)
    pauses = []
    for now in (0.0, 100.0, 200.0):
        throttle.started()
        pauses.append(throttle.slowed(after, {}, started_at=now, now=now + 1))
    assert pauses == expected


def test_an_answer_with_nothing_left_that_is_back_at_once_changes_nothing():
    throttle = Throttle(64)
    throttle.started()
    at_once = Live(limit=10, remaining=0, resets_in=0.0)
    throttle.answered({"requests": at_once, "tokens": at_once}, 0.0)
    assert throttle.room(0.0) == FIRST + 1


def test_what_the_provider_says_is_left_bounds_what_starts_and_comes_back_evenly():
    throttle = Throttle(64)
    throttle.started()
    throttle.answered({"requests": Live(limit=10, remaining=2, resets_in=4.0)}, 0.0)  # two a second
    assert start(throttle, 0.0) == 2
    assert throttle.room(0.4) == 0
    assert throttle.next_at(0.4) == pytest.approx(0.5, abs=1e-5)
    assert throttle.room(throttle.next_at(0.4)) == 1
    assert throttle.room(1.0) == 2


def test_the_part_of_a_request_that_came_back_is_not_forgotten_when_whole_ones_are_told():
    throttle = Throttle(64)
    for _ in range(2):
        throttle.started()
    none_left = {"requests": Live(limit=60, remaining=0, resets_in=60.0)}  # one a second
    throttle.answered(none_left, 0.0)
    throttle.answered(none_left, 0.75)
    assert (throttle.room(0.9), throttle.room(1.0)) == (0, 1)


def test_another_number_than_expected_is_believed():
    throttle = Throttle(64)
    for _ in range(2):
        throttle.started()
    throttle.answered({"requests": Live(limit=60, remaining=5, resets_in=55.0)}, 0.0)
    throttle.answered({"requests": Live(limit=60, remaining=1, resets_in=59.0)}, 0.5)  # others ask, too
    assert throttle.room(0.5) == 1


def test_used_up_tokens_close_it_until_a_tenth_is_back():
    throttle = Throttle(64)
    throttle.started()
    throttle.answered({"tokens": Live(limit=None, remaining=0, resets_in=30.0)}, 0.0)
    assert (throttle.room(2.9), throttle.room(3.0) > 0) == (0, True)


def test_limits_that_say_nothing_change_nothing():
    throttle = Throttle(64)
    throttle.started()
    throttle.answered({"requests": Live(limit=None, remaining=None, resets_in=0.0)}, 0.0)
    assert throttle.room(0.0) == FIRST + 1


def test_a_broken_server_is_tried_by_one_call_at_a_time_after_growing_pauses():
    throttle = Throttle(64, pause_s=1.0)
    for _ in range(BREAK_AFTER):
        throttle.started()
    for _ in range(BREAK_AFTER):
        throttle.failed(0.0)
    assert (throttle.room(0.5), throttle.room(1.0)) == (0, 1)
    throttle.started()
    assert throttle.failed(1.0) == 2.0
    assert (throttle.room(2.9), throttle.room(3.0)) == (0, 1)
    throttle.started()
    throttle.answered({}, 4.0)
    assert throttle.room(4.0) > 1


@pytest.mark.parametrize(("answered_before", "trials"), [(False, TRIALS_UNKNOWN), (True, TRIALS_KNOWN)])
def test_a_server_that_never_answered_is_given_up_sooner(answered_before, trials):
    throttle = Throttle(64)
    if answered_before:
        throttle.started()
        throttle.answered({}, 0.0)
    failures = 0
    while not throttle.given_up():
        throttle.started()
        throttle.failed(float(failures))
        failures += 1
    assert failures == BREAK_AFTER + trials
