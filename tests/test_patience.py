"""Waiting for room: how long, and what a clock that jumps does to it."""

from datetime import UTC, datetime, timedelta

import pytest

from trueseed.errors import Paused, Refused
from trueseed.patience import LONGEST_NAP_S, Sleep, patiently
from trueseed.teachers.account.clock import Clock

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


def pausing(machine: Machine, *pauses: float | None):
    """Work that pauses so many times, each until so many seconds on."""
    left = list(pauses)

    def work() -> str:
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


def test_a_time_that_has_passed_is_no_busy_loop():
    machine = Machine()
    patiently(pausing(machine, *[-100.0] * 5), quiet, machine.sleep)
    assert sum(machine.naps) >= 5.0


def test_a_pause_without_an_end_is_not_waited_for():
    machine = Machine()
    with pytest.raises(Paused):
        patiently(pausing(machine, None), quiet, machine.sleep)
    assert not machine.naps


def test_a_refusal_after_the_wait_ends_it():
    machine, left = Machine(), [Paused("no room", until=Machine().now), Refused("recalled")]

    def work() -> None:
        raise left.pop(0)

    with pytest.raises(Refused, match="recalled"):
        patiently(work, quiet, machine.sleep)


def test_it_says_how_long_and_why():
    machine, told = Machine(), []
    patiently(pausing(machine, 100.0), lambda *said: told.append(said), machine.sleep)
    assert (told[0][:4], told[-1][:4]) == (("wait", 0, 100, "seconds"), ("wait", 100, 100, "seconds"))
    assert "no room" in told[0][4]
