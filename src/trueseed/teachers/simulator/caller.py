"""One HTTP request and the way back, over ASGI."""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from trueseed.teachers.simulator.dialects import ANTHROPIC, AZURE, Dialect, Headers

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Caller:
    """Needs the connection in `scope["state"]["transport"]`, see `running`."""

    scope: Scope
    receive: Receive
    send: Send
    dialect: Dialect

    @property
    def path(self) -> str:
        return str(self.scope["path"])

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(self.scope["query_string"].decode("latin-1"))

    @property
    def key(self) -> str:
        """Empty when none was sent."""
        bearer = ""
        for name, value in self.scope["headers"]:
            if (name == b"api-key" and self.dialect is AZURE) or (name == b"x-api-key" and self.dialect is ANTHROPIC):
                return str(value.decode("latin-1"))
            if name == b"authorization":
                bearer = value.decode("latin-1").removeprefix("Bearer ").strip()
        return bearer

    async def body(self) -> bytes:
        message = await self.receive()
        if not message.get("more_body"):
            return bytes(message.get("body", b""))
        parts = [message.get("body", b"")]
        while message.get("more_body"):
            message = await self.receive()
            parts.append(message.get("body", b""))
        return b"".join(parts)

    async def reply(self, status: int, body: bytes, headers: Headers) -> None:
        await self.start(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self.more(body, last=True)

    async def start(self, status: int, headers: Headers) -> None:
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def more(self, body: bytes, *, last: bool = False) -> None:
        await self.send({"type": "http.response.body", "body": body, "more_body": not last})

    async def hang_up(self, *, unsent: bool) -> None:
        """Ends the connection. unsent: also what was not sent yet is lost, and the client sees a reset."""
        transport = self.scope["state"]["transport"]
        transport.abort() if unsent else transport.close()
        while (await self.receive())["type"] != "http.disconnect":
            pass
