"""The events of a stream, read as they pass."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueseed.gateway.answer import Garbled, Stream
from trueseed.gateway.events import payloads
from trueseed.gateway.wanted import Wanted, read

ASKED = {"model": "own/x", "messages": [{"role": "user", "content": "hello"}], "stream": True}


def wanted(**options: Any) -> Wanted:
    return read(json.dumps({**ASKED, **options}).encode(), max_tokens=100)


def chunk(text: str | None = None, finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    delta = {} if text is None else {"content": text}
    return json.dumps({"choices": [{"index": index, "delta": delta, "finish_reason": finish}], **more}).encode()


def read_in(pieces: Iterable[bytes]) -> list[bytes]:
    async def coming() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def gather() -> list[bytes]:
        return [payload async for payload in payloads(coming())]

    return asyncio.run(gather())


@given(st.lists(st.integers(0, 60), max_size=8))
def test_events_are_the_same_however_the_bytes_arrive(cuts):
    sent = b": hello\r\n\r\ndata: {}\r\n\r\nevent: x\ndata:[1]\n\ndata: a\ndata: b\n\ndata: torn"
    places = [0, *sorted(cut for cut in cuts if cut < len(sent)), len(sent)]
    pieces = [sent[start:end] for start, end in pairwise(places)]
    assert read_in(pieces) == [b"{}", b"[1]", b"a\nb"]


def test_events_are_let_go_until_the_last_choice_ends():
    stream = Stream(wanted(n=2))
    assert stream.take(chunk("a")) is not None
    assert stream.take(chunk(None, "stop")) is not None
    assert stream.take(chunk("b", index=1)) is not None
    assert stream.take(chunk(None, "stop", index=1)) is None
    assert stream.take(b"[DONE]") is None
    ended = stream.ended()
    assert (ended.end, ended.texts) == ("answered", ("a", "b"))
    assert stream.held[-1] == b"data: [DONE]\n\n"


def test_usage_that_was_not_asked_for_is_taken_out():
    stream = Stream(wanted())
    out = stream.take(chunk("a", usage=None))
    assert out is not None
    assert b"usage" not in out
    stream.take(chunk(None, "stop"))
    assert stream.take(b'{"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}') is None
    assert stream.ended().usage.tokens == 7
    assert not any(b"usage" in event for event in stream.held)


def test_usage_beside_the_last_words_counts():
    stream = Stream(wanted())
    stream.take(chunk("a", "stop", usage={"prompt_tokens": 3, "completion_tokens": 4}))
    assert stream.ended().usage.tokens == 7


def test_a_stream_that_ends_before_its_answer_is_unknown():
    stream = Stream(wanted())
    stream.take(chunk("a"))
    assert stream.ended().end == "unknown"


@pytest.mark.parametrize("payload", [b"{", b"[]", b'{"error": {"message": "overloaded"}}', b'{"choices": [1]}'])
def test_what_is_no_chunk_is_said(payload):
    with pytest.raises(Garbled):
        Stream(wanted()).take(payload)
