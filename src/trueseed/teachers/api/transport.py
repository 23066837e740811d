"""A connection for each call under way, the one used last first.

The HTTP client's own pool looks at all its connections against all others whenever a call begins or ends: with 64 of
them that is more processor time than all the rest of a call. Here each has a transport to itself.

No proxy in the environment is asked: a region that a provider does not serve is not asked from another.
"""

import sys
from collections.abc import AsyncIterator
from typing import Any

KEPT_S = 60  # an idle connection, for the next call


def client() -> Any:
    """An HTTP client for the OpenAI SDK. It follows nobody to another address: prompts go where the source says."""
    import openai

    return openai.DefaultAsyncHttpxClient(follow_redirects=False, trust_env=False, transport=_transport())


def _transport() -> Any:
    """Over the HTTP library that this version of the SDK is built on: httpx, or its successor."""
    import openai

    http: Any = sys.modules[openai.DefaultAsyncHttpxClient.__base__.__module__]
    trusted = http.create_ssl_context()
    limits = http.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEPT_S)

    class Body(http.AsyncByteStream):  # type: ignore[misc]  # its base is known only now
        """The bytes of a response; when they are done with, the connection is free again."""

        def __init__(self, stream: Any, connection: Any) -> None:
            self._stream, self._connection = stream, connection

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for piece in self._stream:
                yield piece

        async def aclose(self) -> None:
            try:
                await self._stream.aclose()
            finally:
                if self._connection is not None:
                    idle.append(self._connection)
                self._connection = None

    class Each(http.AsyncBaseTransport):  # type: ignore[misc]
        async def handle_async_request(self, request: Any) -> Any:
            connection = idle.pop() if idle else http.AsyncHTTPTransport(verify=trusted, limits=limits)
            try:
                response = await connection.handle_async_request(request)
            except BaseException:
                idle.append(connection)  # it opens anew when it is used again
                raise
            response.stream = Body(response.stream, connection)
            return response

        async def aclose(self) -> None:
            while idle:
                await idle.pop().aclose()

    idle: list[Any] = []
    return Each()
