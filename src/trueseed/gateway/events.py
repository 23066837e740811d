"""A stream's events, whole: bytes in as they come, the payload of each event out (WHATWG server-sent events)."""

import re
from collections.abc import AsyncIterable, AsyncIterator

DONE = b"[DONE]"
_BLANK = re.compile(rb"\n(?:\r?\n){2,}")  # more empty lines say no more than one: megabytes of them took seconds


async def payloads(pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The data of every event. Comments, names and ids are passed over; so is an event that is cut short."""
    data: list[bytes] = []
    async for line in _lines(pieces):
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif not line and data:
            yield b"\n".join(data)
            data = []


async def _lines(pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for piece in pieces:
        *lines, rest = _BLANK.sub(b"\n\n", rest + piece).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r")


def event(payload: bytes) -> bytes:
    return b"data: " + payload + b"\n\n"
