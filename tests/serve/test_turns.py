import asyncio
import threading
from collections.abc import Iterable, Iterator

import pytest

from trueseed.core.chat import Answer, Request, user
from trueseed.serve.turns import Busy, Floor, InTurn, Talk, Turns


class Counter:
    """Counts to the number it is asked for; `heard` is everything it said, in order. The first word waits for `go`."""

    source = "own/counter"

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.go = threading.Event()

    def answers(self, requests: Iterable[Request | None]) -> Iterator[tuple[int, Answer]]:
        raise NotImplementedError

    def stream(self, request: Request) -> Iterator[str | Answer]:
        name, _, last = request.messages[-1].content.partition(" ")
        for number in range(int(last)):
            assert self.go.wait(20)
            self.heard.append(f"{name}{number}")
            yield self.heard[-1]
        yield Answer(text="", finish="stop", prompt_tokens=1, completion_tokens=int(last))


class Mute:
    source = "own/mute"

    def answers(self, requests: Iterable[Request | None]) -> Iterator[tuple[int, Answer]]:
        raise NotImplementedError

    def stream(self, request: Request) -> Iterator[str | Answer]:
        return iter(())


def request(text: str) -> Request:
    return Request(messages=user(text))


async def listen(talk: Talk) -> list[str]:
    return [item async for _, item in talk if isinstance(item, str)]


def test_open_answers_take_turns():
    async def run() -> list[str]:
        counter, turns = Counter(), Turns(speaking=2, waiting=1)
        talks = [turns.ask(counter, [request(text)]) for text in ("a 50", "b 2", "c 1")]
        counter.go.set()
        await asyncio.gather(*map(listen, talks))
        turns.close()
        return counter.heard

    heard = asyncio.run(run())
    assert heard.index("b1") < heard.index("a9")
    assert heard.index("b1") < heard.index("c0") < heard.index("a19")  # it came in when the second one was done


def test_there_is_room_for_the_speaking_and_the_waiting():
    async def run() -> None:
        counter, turns = Counter(), Turns(speaking=1, waiting=2)
        talk = turns.ask(counter, [request("a 1"), request("b 1")])
        with pytest.raises(Busy):
            turns.ask(counter, [request("c 1"), request("d 1")])
        turns.ask(counter, [request("c 1")]).leave()
        counter.go.set()
        assert sorted(await listen(talk)) == ["a0", "b0"]
        turns.close()

    asyncio.run(run())


def test_one_that_nobody_hears_ends_at_its_next_turn():
    async def run() -> list[str]:
        counter, turns = Counter(), Turns(speaking=2, waiting=0)
        left, heard = turns.ask(counter, [request("a 1000")]), turns.ask(counter, [request("b 100")])
        left.leave()
        counter.go.set()
        await listen(heard)
        turns.close()
        return counter.heard

    assert sum(word.startswith("a") for word in asyncio.run(run())) <= 1


def test_nothing_is_asked_after_the_close():
    async def run() -> None:
        turns = Turns(speaking=1, waiting=0)
        turns.close()
        with pytest.raises(Busy):
            turns.ask(Counter(), [request("a 1")])

    asyncio.run(run())


def test_a_stream_without_an_answer_is_an_error():
    async def run() -> None:
        turns = Turns(speaking=1, waiting=0)
        with pytest.raises(RuntimeError, match="own/mute ended its stream without an answer"):
            await anext(turns.ask(Mute(), [request("a")]))
        turns.close()

    asyncio.run(run())


class Choir:
    """Brings a floor of its own, which fails when it is told to."""

    source = "own/choir"

    def __init__(self, *, broken: str = "") -> None:
        self.broken = broken
        self.floors = 0

    def answers(self, requests: Iterable[Request | None]) -> Iterator[tuple[int, Answer]]:
        raise NotImplementedError

    def stream(self, request: Request) -> Iterator[str | Answer]:
        raise NotImplementedError

    def floor(self, slots: int) -> Floor:
        self.floors += 1
        if self.broken == "floor":
            raise ValueError("no floor")
        counter = Counter()
        counter.go.set()
        floor = InTurn(counter, slots)
        if self.broken == "advance":
            floor.advance = self._fail  # type: ignore[method-assign]
        return floor

    def _fail(self) -> Iterator[tuple[int, str | Answer | Exception]]:
        raise ValueError("out of memory")


def test_a_model_with_a_floor_is_asked_there():
    async def run() -> tuple[list[str], int]:
        choir, turns = Choir(), Turns(speaking=4, waiting=0)
        talk = turns.ask(choir, [request("a 2"), request("b 1")])
        words = await listen(talk)
        turns.close()
        return words, choir.floors

    assert asyncio.run(run()) == (["a0", "b0", "a1"], 1)


@pytest.mark.parametrize("broken", ["floor", "advance"])
def test_a_floor_that_fails_is_told_to_all_and_made_anew(broken):
    async def run() -> None:
        choir, turns = Choir(broken=broken), Turns(speaking=4, waiting=0)
        for talk in [turns.ask(choir, [request("a 2")]), turns.ask(choir, [request("b 2")])]:
            with pytest.raises(ValueError, match=r"no floor|out of memory"):
                await listen(talk)
        choir.broken = ""
        assert await listen(turns.ask(choir, [request("c 2")])) == ["c0", "c1"]
        turns.close()

    asyncio.run(run())
