from pathlib import Path

import pytest

from trueseed.core.chat import Answer, Request, user
from trueseed.errors import ConfigError
from trueseed.lm.engine import Engine
from trueseed.lm.floor import Floor


@pytest.fixture(scope="module")
def engine(tiny_llama: Path) -> Engine:
    return Engine(tiny_llama, "own/tiny", dtype="float32", slots=4)


def request(text: str, max_tokens: int = 12) -> Request:
    return Request(messages=user(text), max_tokens=max_tokens, temperature=0.0)


def hear(floor: Floor, until: int | None = None) -> tuple[dict[int, str], dict[int, Answer]]:
    """What is said in `until` rounds, or to the end: pieces joined, and answers, by key."""
    said: dict[int, str] = {}
    ended: dict[int, Answer] = {}
    while floor.busy and until != 0:
        for key, item in floor.advance():
            if isinstance(item, Answer):
                ended[key] = item
            else:
                said[key] = said.get(key, "") + item
        until = None if until is None else until - 1
    return said, ended


def test_pieces_add_up_to_the_answer(engine):
    floor = engine.floor(3)
    keys = [floor.admit(request(text)) for text in ("the sea", "a fox and a dog")]
    said, ended = hear(floor)
    assert sorted(ended) == keys
    assert all(said.get(key, "") == ended[key].text for key in keys)


def test_who_comes_later_is_answered_as_if_alone(engine):
    texts = ("the sea", "a fox and a dog", "three things")
    alone = [answer for _, answer in sorted(engine.answers([request(text) for text in texts]))]
    floor = engine.floor(3)
    floor.admit(request(texts[0]))
    _, first = hear(floor, until=3)
    floor.admit(request(texts[1]))
    _, second = hear(floor, until=3)
    floor.admit(request(texts[2]))
    ended = first | second | hear(floor)[1]
    assert [ended[key].text for key in sorted(ended)] == [answer.text for answer in alone]


def test_a_dropped_answer_frees_its_slot_and_disturbs_nobody(engine):
    (_, alone), *_ = engine.answers([request("a fox and a dog", 30)])
    floor = engine.floor(2)
    left, stays = floor.admit(request("the sea", 200)), floor.admit(request("a fox and a dog", 30))
    _, ended = hear(floor, until=2)
    assert floor.free == 0
    floor.drop(left)
    next(iter(floor.advance()), None)
    assert floor.free == 1
    floor.admit(request("three things"))
    more, last = hear(floor)
    assert left not in more
    assert (ended | last)[stays].text == alone.text


def test_a_chat_that_is_too_long_is_refused_alone(engine):
    floor = engine.floor(2)
    with pytest.raises(ConfigError, match="shorten the chat"):
        floor.admit(request("the sea " * 1000))
    assert (floor.free, floor.busy) == (2, False)
