"""Requests that others wrote, carried to a provider as they are: connections, address and key; nothing is read here.

    async with Forward() as forward:
        async with forward.ask(upstream, body) as reply:
            async for piece in reply.pieces(): ...

`remote` asks for ourselves, over the SDK. What comes through the gateway is another program's request, and must arrive
with every parameter that it has, also those that no SDK of today knows.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import chain

from trueseed.errors import ConfigError
from trueseed.teachers import wire
from trueseed.teachers.amounts import Price, price_of
from trueseed.teachers.providers import Endpoint, provider, reach
from trueseed.teachers.way import Way

try:
    import httpx
except ImportError as err:
    raise ConfigError("the gateway needs an HTTP client; pip install 'trueseed[gateway]'") from err

CONNECT_S = 10.0


class NeverLeft(Exception):  # noqa: N818
    """No byte of the request can have reached the provider."""


class BrokenOff(Exception):  # noqa: N818
    """The connection failed after the request may have arrived, so nobody knows whether it is billed."""


class TooLong(BrokenOff):
    """The answer is longer than any that we take in."""


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
            price=price_of(endpoint.source, {endpoint.source: endpoint.price.exact} if endpoint.price else {}),
            bound=of_model.max_tokens or "max_tokens",
            stream_usage="stream_usage" not in of_model.lacks,
            timeout_s=endpoint.timeout_s,
            headers={**auth, "content-type": "application/json", "accept-encoding": "identity"},
            key=there.key,
        )


class Reply:
    """A response whose head has come. Names of headers are in lower case."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
        self._response = response

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises `BrokenOff` when it does not come whole, `TooLong`."""
        taken = 0
        try:
            async for piece in self._response.aiter_bytes():
                taken += len(piece)
                if taken > wire.MOST_BYTES:
                    raise TooLong(f"the answer is longer than {wire.MOST_BYTES} bytes")
                yield piece
        except httpx.HTTPError as err:
            raise BrokenOff(_said(err)) from err

    async def whole(self) -> bytes:
        return b"".join([piece async for piece in self.pieces()])


class Forward:
    """Connections to all upstreams, kept open between calls.

    Each call has one to itself, the last one used first. The HTTP client's own pool looks at all connections against
    all others whenever a call begins or ends: with 64 of them that took 13 ms of processor time a call.

    Redirects are not followed, since a key goes to the address it was given for, and proxies in the environment are not
    used, since a region that a provider does not serve is not asked from another.
    """

    def __init__(self) -> None:
        self._trusted = httpx.create_ssl_context()
        self._idle: defaultdict[str, list[httpx.AsyncHTTPTransport]] = defaultdict(list)

    async def __aenter__(self) -> "Forward":
        return self

    async def __aexit__(self, *error: object) -> None:
        for connection in chain.from_iterable(self._idle.values()):
            await connection.aclose()
        self._idle.clear()

    @asynccontextmanager
    async def ask(self, upstream: Upstream, body: bytes) -> AsyncIterator[Reply]:
        """Sends `body`; the reply is open until the block ends. Raises `NeverLeft`, `BrokenOff`."""
        idle = self._idle[upstream.url]
        connection = idle.pop() if idle else httpx.AsyncHTTPTransport(verify=self._trusted, limits=_ONE)
        try:
            response = await _sent(connection, upstream, body)
            try:
                yield Reply(response)
            finally:
                await response.aclose()
        finally:
            idle.append(connection)


_ONE = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=60)


async def _sent(connection: httpx.AsyncHTTPTransport, upstream: Upstream, body: bytes) -> httpx.Response:
    patience = httpx.Timeout(upstream.timeout_s, connect=min(CONNECT_S, upstream.timeout_s)).as_dict()
    request = httpx.Request(
        "POST", upstream.url, content=body, headers=dict(upstream.headers), extensions={"timeout": patience}
    )
    try:
        response = await connection.handle_async_request(request)
    except httpx.HTTPError as err:
        raise (NeverLeft if wire.never_left(err) else BrokenOff)(_said(err)) from err
    response.request = request
    return response


def _said(err: Exception) -> str:
    """Without the request, whose headers hold the key."""
    return f"{type(err).__name__}: {err}" if str(err) else type(err).__name__
