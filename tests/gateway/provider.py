"""A provider that does what no honest one does: a function writes its answer to the socket."""

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from trueseed.gateway.events import DONE, event

Say = Callable[[bytes], Any]
USAGE = {"prompt_tokens": 3, "completion_tokens": 4}
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
ERROR = {"error": {"message": "Your account was deactivated. Key: KEY", "code": "account_deactivated"}}


def chunked(*payloads: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(event(payload)), event(payload)) for payload in payloads)


def chunk(text: str | None = None, finish: str | None = None, **more: Any) -> bytes:
    delta = {} if text is None else {"content": text}
    return json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}).encode()


def completion(text: str = "Warm.", **more: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json.dumps({"object": "chat.completion", "choices": [choice], "usage": USAGE, **more}).encode()


def sized(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


@contextmanager
def provider(says: Callable[[Say], Any]) -> Iterator[str]:
    """The base URL of a server that, for each request that has come whole, lets `says` say its answer."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(ConnectionError):
                while line := self.rfile.readline():
                    length = 0
                    while line.strip():
                        if line.lower().startswith(b"content-length:"):
                            length = int(line.partition(b":")[2])
                        line = self.rfile.readline()
                    self.rfile.read(length)
                    says(self.wfile.write)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads, block_on_close = True, False

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()


__all__ = ["DONE", "ERROR", "STREAM", "USAGE", "chunk", "chunked", "completion", "provider", "sized"]
