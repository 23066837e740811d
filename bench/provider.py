"""A provider that costs next to nothing, so that what stands before it is measured and not it.

    python -m bench.provider PORT LATENCY_S

Answers every POST after the latency with a chat completion whose words no other answer has. 16 µs of processor time a
call; the simulator, which counts, limits and fails as it is told, takes 250.
"""

import asyncio
import json
import sys
from itertools import count
from typing import cast

import httptools
import uvloop

WORDS = [
    "heron",
    "otter",
    "willow",
    "marsh",
    "reed",
    "current",
    "ferry",
    "anchor",
    "lantern",
    "harbour",
    "gull",
    "tide",
]
_numbers = count()


def answer(number: int) -> bytes:
    """A response, head and body."""
    said = " ".join(f"{word}{number}" for word in WORDS)
    message = {"role": "assistant", "content": said}
    body = json.dumps(
        {
            "id": f"chatcmpl-{number}",
            "object": "chat.completion",
            "created": 1,
            "model": "simulated",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 60, "completion_tokens": len(WORDS), "total_tokens": 60 + len(WORDS)},
        }
    ).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


class Provider(asyncio.Protocol):
    def __init__(self, latency_s: float) -> None:
        self._latency_s = latency_s

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self._latency_s:
            asyncio.get_running_loop().call_later(self._latency_s, self._reply)
        else:
            self._reply()

    def _reply(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer(next(_numbers)))


async def serve(port: int, latency_s: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Provider(latency_s), "127.0.0.1", port, backlog=2048)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2])))
