"""Prompts that are read while others are spoken to, through the floor and the batch that take them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trueseed.core.chat import Answer, Request, user
from trueseed.lm.batch import Batch
from trueseed.lm.engine import Engine
from trueseed.lm.floor import Floor
from trueseed.lm.memory import Memory
from trueseed.lm.prompts import AT_ONCE, BESIDE
from trueseed.lm.talk import Talk

LONG = "sea fox dog " * 100  # some 830 tokens
ALIKE = st.sampled_from(["the sea", "the sea", "a fox and a dog " * 3, "three things " * 9])


@pytest.fixture(scope="module")
def engine(tiny_llama: Path) -> Engine:
    return Engine(tiny_llama, "own/tiny", dtype="float32", slots=4)


@pytest.fixture
def fed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, dict[int, int]]]:
    """Of each pass: how many talks were fed a token, and how long the pieces were that went to other rows."""
    network, passes = engine._network(torch.float32), list[tuple[int, dict[int, int]]]()
    step = network.step

    def noted(
        cache: object, tokens: Sequence[int], pieces: dict[int, Sequence[int]], *, fixed: bool = False
    ) -> torch.Tensor:
        passes.append((len(tokens), {row: len(piece) for row, piece in pieces.items()}))
        return step(cache, tokens, pieces, fixed=fixed)  # type: ignore[arg-type]

    engine.forget()
    list(engine.answers([request("warm up", 1)]))  # what every chat begins with is read by now
    monkeypatch.setattr(network, "step", noted)
    return passes


def request(text: str, max_tokens: int = 12, **changes: object) -> Request:
    return Request(**{"messages": user(text), "max_tokens": max_tokens, "temperature": 0.0, **changes})  # type: ignore[arg-type]


def alone(engine: Engine, one: Request) -> Answer:
    engine.forget()
    [(_, answer)] = engine.answers([one])
    return answer


def rest(floor: Floor) -> Iterator[tuple[int, str | Answer]]:
    while floor.busy:
        yield from floor.advance()


def test_a_chat_that_runs_gets_a_token_in_every_pass_that_reads_a_long_prompt(
    engine: Engine, fed: list[tuple[int, dict[int, int]]]
) -> None:
    floor = engine.floor(3)
    floor.admit(request("the sea", 40))
    list(floor.advance())
    newcomer = request(LONG)
    length = len(engine.format.prompt(newcomer.messages)) - len(engine._memory._beginning)
    floor.admit(newcomer)
    fed.clear()
    [running] = floor._batch._talks
    while len(floor._talks) == 2 and not floor._talks[1].ids:
        spoken = len(running.ids)
        list(floor.advance())
        assert len(running.ids) == spoken + 1
    assert [talks for talks, _ in fed] == [1] * -(-length // BESIDE)
    assert all(sum(pieces.values()) <= BESIDE for _, pieces in fed)
    assert sum(sum(pieces.values()) for _, pieces in fed) == length > 5 * BESIDE


def test_where_nobody_listens_much_is_read_at_once_and_never_more_than_bounds_memory(
    engine: Engine, fed: list[tuple[int, dict[int, int]]]
) -> None:
    list(engine.answers([request(LONG + str(n)) for n in range(4)]))
    sizes = [sum(pieces.values()) for _, pieces in fed]
    assert sizes[0] == AT_ONCE
    assert max(sizes) == AT_ONCE < sum(sizes)


def test_one_prompt_for_many_samples_is_read_once(engine: Engine, fed: list[tuple[int, dict[int, int]]]) -> None:
    found = dict(engine.answers([request("Tell me", temperature=0.9, seed=seed) for seed in range(4)]))
    assert [(talks, len(pieces)) for talks, pieces in fed if pieces] == [(0, 1)]
    assert len({answer.text for answer in found.values()}) > 1


@settings(max_examples=40, deadline=None)
@given(
    asked=st.lists(st.tuples(ALIKE, st.integers(1, 9), st.integers(0, 6)), min_size=3, max_size=7),
    beside=st.sampled_from([3, 17, 64]),
    deterministic=st.booleans(),
)
def test_an_answer_is_the_same_whoever_comes_and_goes_while_it_is_read_and_spoken(
    engine: Engine, asked: list[tuple[str, int, int]], beside: int, deterministic: bool
) -> None:
    """asked: each text, how long its answer is at most, and how many passes later the next one comes."""
    network, form = engine._network(torch.float32), engine.format
    waiting = [
        (pause, Talk(at, request(text, most), form, network.context)) for at, (text, most, pause) in enumerate(asked)
    ]
    memory = Memory(network, form.beginning)
    batch, talks = Batch(network, memory, 3, deterministic=deterministic, beside=beside), list[Talk]()
    pause = 0
    while waiting or batch.busy:
        if waiting and batch.free and pause <= 0:
            pause, talk = waiting.pop(0)
            batch.admit(talk)
            talks.append(talk)
        batch.advance()
        pause -= 1
    once = {(text, most): alone(engine, request(text, most)) for text, most, _ in asked}
    assert [talk.answer() for talk in talks] == [once[text, most] for text, most, _ in asked]


def test_who_leaves_while_being_read_frees_the_slot_and_disturbs_nobody(engine: Engine) -> None:
    stays, comes = request("a fox and a dog", 30), request("three things", 10)
    floor = engine.floor(2)
    first = floor.admit(stays)
    heard = list(floor.advance())
    left = floor.admit(request(LONG))
    heard += [*floor.advance(), *floor.advance()]  # a part of it is read
    floor.drop(left)
    heard += floor.advance()
    assert floor.free == 1
    last = floor.admit(comes)
    heard += rest(floor)
    answers = {key: item for key, item in heard if isinstance(item, Answer)}
    assert answers == {first: alone(engine, stays), last: alone(engine, comes)}


def test_who_ends_while_another_is_being_read_disturbs_nobody(engine: Engine) -> None:
    asked = [request("the sea", 3), request("a fox and a dog", 25), request(LONG, 10)]
    floor = engine.floor(3)
    for one in asked[:2]:
        floor.admit(one)
    heard = list(floor.advance())
    floor.admit(asked[2])  # the first ends meanwhile, so that two rows move
    heard += rest(floor)
    answers = {key: item for key, item in heard if isinstance(item, Answer)}
    assert answers == {at: alone(engine, one) for at, one in enumerate(asked)}


def test_deterministic_bits_do_not_depend_on_whether_others_speak_while_a_prompt_is_read(tiny_llama: Path) -> None:
    fixed = Engine(tiny_llama, "own/tiny", dtype="float32", slots=3, deterministic=True)
    one = request(LONG, 12, temperature=0.9, logprobs=True)
    expected = alone(fixed, one)
    fixed.forget()
    floor = fixed.floor(3)
    floor.admit(request("the sea", 40))
    list(floor.advance())
    key = floor.admit(one)
    floor.admit(request("a fox and a dog", 20))
    assert dict(item for item in rest(floor) if isinstance(item[1], Answer))[key] == expected
