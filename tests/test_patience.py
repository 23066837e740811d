"""Waiting for room: how long, and what a clock that jumps does to it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from trueseed.errors import Paused, Refused
from trueseed.patience import LONGEST_NAP_S, Sleep, patiently
from trueseed.teachers.account.clock import Clock
from trueseed.workspace import Progress

HERE = {"boot": "first", "host": "here"}


class Machine:
    """Clocks in seconds; a nap lets time pass, and `jump` more is added to the wall clock during it."""

    def __init__(self, jump: float = 0.0) -> None:
        self.wall, self.steady, self.jump = 1_800_000_000.0, 50.0, jump
        self.naps: list[float] = []

    def nap(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.wall += seconds + self.jump
        self.steady += seconds

    @property
    def sleep(self) -> Sleep:
        return Sleep(clock=Clock(wall=lambda: self.wall, steady=lambda: self.steady, **HERE), nap=self.nap)

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.wall, UTC)


def quiet(*_: object) -> None:
    pass


def pausing(machine: Machine, *pauses: float | None, records: Sequence[int] = ()):
    """Work that pauses so many times, each until so many seconds on, with so many records."""
    left, made = list(pauses), list(records)

    def work(tell: Progress) -> str:
        if made:
            tell("generate", made.pop(0), 100, "records", "")
        if not left:
            return "done"
        seconds = left.pop(0)
        raise Paused("no room", until=None if seconds is None else machine.now + timedelta(seconds=seconds))

    return work


def test_it_waits_until_there_is_room_and_goes_on_as_often_as_it_takes():
    machine = Machine()
    assert patiently(pausing(machine, 3600.0, 90.0), quiet, machine.sleep) == "done"
    assert sum(machine.naps) == pytest.approx(3690.0)
    assert max(machine.naps) <= LONGEST_NAP_S


@pytest.mark.parametrize("jump", [-5000.0, 5000.0])
def test_a_clock_that_is_set_meanwhile_changes_nothing(jump):
    machine = Machine(jump)
    patiently(pausing(machine, 3600.0), quiet, machine.sleep)
    assert sum(machine.naps) == pytest.approx(3600.0)


@pytest.mark.parametrize("named", [-100.0, 0.0, 0.3])
def test_what_comes_straight_back_is_tried_less_and_less_often(named):
    machine, told = Machine(), []
    patiently(pausing(machine, *[named] * 9), lambda *said: told.append(said), machine.sleep)
    assert [total for _, done, total, *_ in told if done == total] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert sum(machine.naps) == pytest.approx(243.0)


def test_a_try_that_got_further_is_followed_by_a_short_wait_again():
    machine, told = Machine(), []
    work = pausing(machine, *[-1.0] * 6, records=[3, 3, 3, 4, 4, 5])
    patiently(work, lambda *said: told.append(said), machine.sleep)
    assert [total for step, done, total, *_ in told if step == "wait" and done == total] == [1, 2, 4, 1, 2, 1]


def test_a_time_that_is_named_is_waited_for_however_often_it_was_in_vain():
    machine = Machine()
    patiently(pausing(machine, *[-1.0] * 4, 3600.0), quiet, machine.sleep)
    assert sum(machine.naps) == pytest.approx(1 + 2 + 4 + 8 + 3600)


def test_a_pause_without_an_end_is_not_waited_for():
    machine = Machine()
    with pytest.raises(Paused):
        patiently(pausing(machine, None), quiet, machine.sleep)
    assert not machine.naps


def test_a_refusal_after_the_wait_ends_it():
    machine, left = Machine(), [Paused("no room", until=Machine().now), Refused("recalled")]

    def work(_: Progress) -> None:
        raise left.pop(0)

    with pytest.raises(Refused, match="recalled"):
        patiently(work, quiet, machine.sleep)


def test_it_says_how_long_and_why():
    machine, told = Machine(), []
    patiently(pausing(machine, 100.0), lambda *said: told.append(said), machine.sleep)
    assert (told[0][:4], told[-1][:4]) == (("wait", 0, 100, "seconds"), ("wait", 100, 100, "seconds"))
    assert "no room" in told[0][4]
