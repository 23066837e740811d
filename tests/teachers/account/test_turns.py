"""How what waits for the desk is brought to it: a few at a time, each once, and nobody is left behind."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trueseed.core.errand import Errand
from trueseed.teachers.account.lots import TRIES, Lots, Shortly

Verdicts = Sequence[Any] | None
FEW = 4
SOON = 20


class Desk:
    """Gives back what it is brought, and writes down in which lots. at_once: what becomes of each try."""

    def __init__(self, *at_once: str) -> None:
        self.lots: list[list[Any]] = []
        self.tries = 0
        self._says = list(at_once)

    def work(self, lot: Sequence[Any]) -> Sequence[Any]:
        self.lots.append(list(lot))
        return lot

    def at_once(self, lot: Sequence[Any]) -> Verdicts:
        self.tries += 1
        match self._says.pop(0) if self._says else "now":
            case "shortly":
                raise Shortly
            case "thread":
                return None
        return self.work(lot)


def brought(desk: Desk, ask: Callable[[Lots], Any]) -> Any:
    async def all_of_it() -> Any:
        return await asyncio.wait_for(ask(Lots(desk.work, desk.at_once, thread, most=FEW)), SOON)

    with ThreadPoolExecutor(1) as thread:
        return asyncio.run(all_of_it())


async def burst(lots: Lots, many: int) -> list[Any]:
    """Verdicts on `many` that come in one turn of the loop, in the order in which each went on."""
    left: list[Any] = []
    all_left = asyncio.Event()

    async def one(number: int) -> None:
        left.append(await lots.verdict(number))

    def over(_: Errand) -> None:
        if len(left) == many:
            all_left.set()

    for number in range(many):
        Errand(one(number), over).begin()
    if many:
        await all_left.wait()
    return left


def test_the_first_of_a_burst_leave_before_the_next_are_taken_in():
    async def three_times_few(lots: Lots) -> list[int]:
        left: list[int] = []
        seen = []

        async def one(number: int) -> None:
            left.append(await lots.verdict(number))

        for number in range(3 * FEW):
            seen.append(len(left))
            Errand(one(number), lambda _: None).begin()
        return seen

    desk = Desk()
    assert brought(desk, three_times_few) == [0] * FEW + [FEW] * FEW + [2 * FEW] * FEW
    assert [len(lot) for lot in desk.lots] == [FEW] * 3


def test_fewer_wait_for_what_else_the_turn_of_the_loop_takes_in():
    desk = Desk()
    assert brought(desk, lambda lots: burst(lots, FEW + 2)) == list(range(FEW + 2))
    assert [len(lot) for lot in desk.lots] == [FEW, 2]


def test_while_the_desk_waits_in_its_thread_all_are_read():
    desk = Desk("thread")
    assert brought(desk, lambda lots: burst(lots, 5 * FEW)) == list(range(5 * FEW))
    assert [len(lot) for lot in desk.lots] == [FEW, 4 * FEW]


@given(st.integers(0, 6 * FEW), st.lists(st.sampled_from(["now", "shortly", "thread"]), max_size=8))
def test_each_is_brought_once_and_in_its_order_whatever_the_others_are(many, says):
    desk = Desk(*says)
    assert brought(desk, lambda lots: burst(lots, many)) == list(range(many))
    assert [number for lot in desk.lots for number in lot] == list(range(many))


def test_another_process_that_keeps_its_turn_is_waited_for_in_the_thread():
    desk = Desk(*["shortly"] * (TRIES + 1))
    assert brought(desk, lambda lots: burst(lots, 1)) == [0]
    assert (desk.tries, desk.lots) == (TRIES + 1, [[0]])


def test_one_that_is_cancelled_while_it_waits_holds_up_nobody():
    async def some_leave(lots: Lots) -> list[Any]:
        tasks = [asyncio.create_task(lots.verdict(number)) for number in range(3 * FEW)]
        await asyncio.sleep(0)
        for task in tasks[FEW : 2 * FEW]:
            task.cancel()
        done = []
        for task in tasks:
            with suppress(asyncio.CancelledError):
                done.append(await task)
        return done

    desk = Desk("thread")
    assert brought(desk, some_leave) == [*range(FEW), *range(2 * FEW, 3 * FEW)]
    assert [number for lot in desk.lots for number in lot] == list(range(3 * FEW))
