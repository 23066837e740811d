"""What is turned away before any route sees it.

A page from elsewhere, open in the same browser, can send requests to loopback. It cannot name our host when its own
name was rebound to 127.0.0.1 (Host is checked), and it cannot send `application/json` without asking us first, which we
never grant (any other body is refused).
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trueseed.access.faults import Fault

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class Guard:
    """ASGI middleware. hosts: names without port that may stand in the Host header; body_bytes: longest body."""

    def __init__(self, app: ASGIApp, *, hosts: tuple[str, ...], body_bytes: int) -> None:
        self._app, self._hosts, self._body_bytes = app, hosts, body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        fault = self.fault(scope)
        if fault is not None:
            await fault.response()(scope, receive, send)
            return
        await self._app(scope, self._bounded(receive), send)

    def fault(self, scope: Scope) -> Fault | None:
        """What is against a request, by its head."""
        host = _header(scope, b"host")
        if _name(host) not in self._hosts:
            return Fault(400, f"this server does not answer for host {host!r}; use http://localhost", code="wrong_host")
        if scope["method"] != "POST":
            return None
        if _header(scope, b"content-type").partition(";")[0].strip().lower() != "application/json":
            return Fault(415, "send the body as application/json", code="unsupported_media_type")
        length = _header(scope, b"content-length") or "0"
        if not length.isdecimal() or int(length) > self._body_bytes:
            return self._too_long()
        return None

    def _bounded(self, receive: Receive) -> Receive:
        """Counts, because a chunked body does not say its length."""
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._body_bytes:
                raise self._too_long()
            return message

        return counted

    def _too_long(self) -> Fault:
        return Fault(413, f"the body is longer than {self._body_bytes} bytes", code="body_too_long")


def _header(scope: Scope, wanted: bytes) -> str:
    """The first of this name; '' without one."""
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), "")


def _name(host: str) -> str:
    """`[::1]:8000` → `[::1]`, `localhost:8000` → `localhost`."""
    end = host.find("]")
    return (host[: end + 1] if end >= 0 else host.partition(":")[0]).lower()
