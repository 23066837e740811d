"""Requests that others wrote, carried to a provider as they are: connections, address and key; nothing is read here.

    async with Forward() as forward:
        async with forward.ask(upstream, body) as reply:
            async for piece in reply.pieces(): ...

`remote` asks for ourselves, over the SDK. What comes through the gateway is another program's request, and must arrive
with every parameter that it has, also those that no SDK of today knows.
"""

import asyncio
import os
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import chain
from urllib.parse import urlsplit

import certifi

from trueseed.errors import ConfigError
from trueseed.teachers.account.amounts import Price
from trueseed.teachers.account.way import Way
from trueseed.teachers.api.connection import CONNECT_S, BrokenOff, Connection, NeverLeft, Reply, TooLong
from trueseed.teachers.api.providers import Endpoint, provider, reach

__all__ = ["BrokenOff", "Forward", "NeverLeft", "Reply", "TooLong", "Upstream"]

IDLE_S = 60.0  # a connection that rested longer may be gone without our knowing


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """One source, reachable. model: its name on the wire. bound: how its wire calls the longest answer.
    stream_usage: whether a stream can be asked for its usage. headers hold the key, and are shown nowhere.
    """

    source: str
    model: str
    url: str
    price: Price
    bound: str
    stream_usage: bool
    timeout_s: float
    headers: Mapping[str, str] = field(repr=False)
    key: str = field(repr=False)
    address: "Address" = field(init=False)
    head: bytes = field(init=False, repr=False)  # of every request, up to the length of its body

    def __post_init__(self) -> None:
        object.__setattr__(self, "address", Address.of(self.url))
        object.__setattr__(self, "head", self.address.head(self.headers))

    @property
    def way(self) -> Way:
        return Way.to(self.source, base_url=self.url, key=self.key)

    @classmethod
    def of(cls, endpoint: Endpoint) -> "Upstream":
        """Raises `ConfigError` when the address or the key is missing, `Refused` when the price is not known."""
        known, there = provider(endpoint), reach(endpoint)
        of_model = known.of(endpoint.wire_model)
        url = there.base_url.rstrip("/") + "/chat/completions"
        if known.is_azure:
            base = there.base_url.rstrip("/").removesuffix("/openai")
            version = endpoint.api_version or known.api_version
            url = f"{base}/openai/deployments/{endpoint.wire_model}/chat/completions?api-version={version}"
        auth = {"api-key": there.key} if known.is_azure else {"authorization": f"Bearer {there.key}"}
        return cls(
            source=endpoint.source,
            model=endpoint.wire_model,
            url=url,
            price=endpoint.known_price(),
            bound=of_model.max_tokens or "max_tokens",
            stream_usage="stream_usage" not in of_model.lacks,
            timeout_s=endpoint.timeout_s,
            headers={**auth, "content-type": "application/json", "accept-encoding": "identity"},
            key=there.key,
        )


@dataclass(frozen=True, slots=True)
class Address:
    """Where a URL leads. target: path and query."""

    host: str
    port: int
    target: str
    secure: bool
    authority: str

    @classmethod
    def of(cls, url: str) -> "Address":
        """Raises `ConfigError` for what is no address of a web server."""
        try:
            parts = urlsplit(url)
            secure = parts.scheme == "https"
            port = parts.port or (443 if secure else 80)
            host = parts.hostname or ""
            host = host if ":" in host else host.encode("idna").decode()
        except ValueError as err:
            raise ConfigError(f"{url!r} is not an address: {err}") from err
        if parts.scheme not in ("http", "https") or not host:
            raise ConfigError(f"{url!r} is not an address; give one that begins with https:// or http://")
        name = f"[{host}]" if ":" in host else host
        authority = name if port == (443 if secure else 80) else f"{name}:{port}"
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(host, port, target, secure, authority)

    def head(self, headers: Mapping[str, str]) -> bytes:
        """Raises `ConfigError` when a header cannot be sent, without showing it: it may be the key."""
        lines = [f"POST {self.target} HTTP/1.1", f"host: {self.authority}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if not all(line.isascii() and line.isprintable() for line in lines) or " " in self.target:
            raise ConfigError(f"the address or the key for {self.authority} holds characters that no header can carry")
        return "\r\n".join([*lines, "content-length: "]).encode("ascii")


def _request(upstream: Upstream, body: bytes) -> bytes:
    return b"%b%d\r\n\r\n%b" % (upstream.head, len(body), body)


class Forward:
    """Connections to all upstreams, kept open between calls, the last one used first.

    Redirects are not followed, since a key goes to the address it was given for, and proxies in the environment are not
    used, since a region that a provider does not serve is not asked from another.
    """

    def __init__(self) -> None:
        self._idle: defaultdict[Address, list[Connection]] = defaultdict(list)
        self._trusted: ssl.SSLContext | None = None

    async def __aenter__(self) -> "Forward":
        return self

    async def __aexit__(self, *error: object) -> None:
        for connection in chain.from_iterable(self._idle.values()):
            connection.close()
        self._idle.clear()

    @asynccontextmanager
    async def ask(self, upstream: Upstream, body: bytes) -> AsyncIterator[Reply]:
        """Sends `body`; the reply is open until the block ends. Raises `NeverLeft`, `BrokenOff`."""
        connection = await self._connection(upstream)
        try:
            yield await connection.ask(_request(upstream, body), upstream.timeout_s)
        finally:
            self._back(upstream, connection)

    async def whole(self, upstream: Upstream, body: bytes) -> tuple[Reply, bytes]:
        """As `ask`, with all that the reply holds."""
        connection = await self._connection(upstream)
        try:
            reply = await connection.ask(_request(upstream, body), upstream.timeout_s)
            return reply, await reply.whole()
        finally:
            self._back(upstream, connection)

    async def _connection(self, upstream: Upstream) -> Connection:
        address = upstream.address
        return self._rested(address) or await self._connected(address, min(CONNECT_S, upstream.timeout_s))

    def _back(self, upstream: Upstream, connection: Connection) -> None:
        if connection.is_free:
            self._idle[upstream.address].append(connection)
        else:
            connection.close()

    def _rested(self, address: Address) -> Connection | None:
        idle, now = self._idle[address], asyncio.get_running_loop().time()
        while idle:
            connection = idle.pop()
            if connection.is_free and now - connection.idle_since < IDLE_S:
                return connection
            connection.close()
        return None

    async def _connected(self, address: Address, within_s: float) -> Connection:
        if address.secure and self._trusted is None:
            # certifi's list, as the other clients here use it, since slim systems have none; or the user's own.
            self._trusted = ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE") or certifi.where())
        trusted = self._trusted if address.secure else None
        # In a task of its own, since its timeout asks for one, which an errand is not.
        return await asyncio.ensure_future(Connection.to(address.host, address.port, trusted, within_s=within_s))
