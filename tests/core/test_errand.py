"""An errand goes on in the moment when what it waits for is there, and otherwise does as a task does."""

import asyncio

from trueseed.core.errand import Errand, Word


def run(what):
    return asyncio.run(asyncio.wait_for(what(), 5))


def test_it_goes_on_before_the_word_that_was_given_returns():
    async def check():
        word, seen, over = Word(), [], []

        async def ask():
            seen.append("asked")
            seen.append(await word)

        Errand(ask(), over.append).begin()
        before = list(seen)
        word.give(7)
        return before, seen, len(over)

    assert run(check) == (["asked"], ["asked", 7], 1)


def test_a_word_that_was_given_before_is_not_waited_for():
    async def check():
        word, seen = Word(), []
        word.give(1)

        async def ask():
            seen.append(await word)

        Errand(ask(), lambda _: None).begin()
        return seen, await word

    assert run(check) == ([1], 1)


def test_a_task_waits_for_a_word_as_for_a_future_also_when_an_errand_gives_it():
    async def check():
        word = Word()

        async def wait():
            async with asyncio.timeout(1):
                return await word

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)

        async def give():
            word.give("there")

        Errand(give(), lambda _: None).begin()
        return await task

    assert run(check) == "there"


def test_an_error_is_raised_where_the_word_is_waited_for():
    async def check():
        word, seen = Word(), []

        async def ask():
            try:
                await word
            except ValueError as err:
                seen.append(str(err))

        Errand(ask(), lambda _: None).begin()
        word.fail(ValueError("none"))
        return seen

    assert run(check) == ["none"]


def test_futures_tasks_and_a_bare_turn_of_the_loop_are_awaited_as_ever():
    async def check():
        loop, done, seen = asyncio.get_running_loop(), asyncio.Event(), []

        async def twice(number):
            await asyncio.sleep(0)
            return 2 * number

        async def ask():
            await asyncio.sleep(0)
            seen.append(await loop.run_in_executor(None, abs, -1))
            seen.append(await asyncio.create_task(twice(2)))
            try:
                await loop.run_in_executor(None, int, "no number")
            except ValueError:
                seen.append("an error")

        Errand(ask(), lambda _: done.set()).begin()
        await done.wait()
        return seen

    assert run(check) == [1, 4, "an error"]


def test_one_errand_has_another_go_on_and_goes_on_itself():
    async def check():
        first, second, seen = Word(), Word(), []

        async def ask(word, name, then=None):
            await word
            seen.append(name)
            if then:
                then.give(None)
                seen.append(f"{name} again")
                await asyncio.sleep(0)
                seen.append(f"{name} at last")

        Errand(ask(second, "second"), lambda _: None).begin()
        Errand(ask(first, "first", second), lambda _: None).begin()
        first.give(None)
        await asyncio.sleep(0.01)
        return seen

    assert run(check) == ["first", "second", "first again", "first at last"]


def test_those_that_are_cancelled_end_and_what_comes_later_finds_nobody():
    async def check():
        word, seen, errands = Word(), [], set()

        async def ask():
            try:
                await word
            finally:
                seen.append("tidied")

        for _ in range(2):
            errand = Errand(ask(), errands.discard)
            errands.add(errand)
            errand.begin()
        for errand in errands:  # as uvicorn goes through what is under way when it ends
            errand.cancel(msg="too late")
        await asyncio.sleep(0)
        word.give(1)
        return seen, errands

    assert run(check) == (["tidied"] * 2, set())


def test_what_it_raises_is_told_to_the_loop_and_it_is_over():
    async def check():
        told, over = [], []
        asyncio.get_running_loop().set_exception_handler(lambda _, about: told.append(str(about["exception"])))

        async def fail():
            raise ValueError("broken")

        Errand(fail(), over.append).begin()
        return told, len(over)

    assert run(check) == (["broken"], 1)
