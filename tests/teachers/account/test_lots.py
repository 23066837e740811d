"""What comes together is worked on together, and nothing that was brought is lost."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from trueseed.teachers.account.lots import Lots


@pytest.fixture
def thread():
    with ThreadPoolExecutor(1) as pool:
        yield pool


def never(_lot):
    return None


def test_what_comes_in_one_turn_of_the_loop_is_one_lot(thread):
    worked = []

    def at_once(lot):
        worked.append(list(lot))
        return [each * 10 for each in lot]

    async def five():
        lots = Lots(at_once, at_once, thread)
        return await asyncio.gather(*(lots.verdict(n) for n in range(5)))

    assert asyncio.run(five()) == [0, 10, 20, 30, 40]
    assert worked == [[0, 1, 2, 3, 4]]


def test_what_would_have_to_wait_is_worked_on_in_the_thread(thread):
    async def one():
        return await Lots(lambda lot: [each + 1 for each in lot], never, thread).verdict(1)

    assert asyncio.run(one()) == 2


def test_a_verdict_that_is_an_error_is_raised_for_its_own_call_alone(thread):
    def work(lot):
        return [ValueError("no room") if each == 1 else each for each in lot]

    async def three():
        lots = Lots(work, never, thread)
        return await asyncio.gather(*(lots.verdict(n) for n in range(3)), return_exceptions=True)

    first, second, third = asyncio.run(three())
    assert (first, str(second), third) == (0, "no room", 2)


def test_a_call_that_is_broken_off_is_written_all_the_same(thread):
    worked = []

    async def broken_off():
        lots = Lots(lambda lot: worked.extend(lot) or [None] * len(lot), never, thread)
        calls = [asyncio.ensure_future(lots.verdict(n)) for n in range(3)]
        await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await lots.written()

    asyncio.run(broken_off())
    assert worked == [0, 1, 2]
