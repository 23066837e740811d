"""A look at a provider that costs nothing: `GET /models`, once, with the key of the run.

    found = probe(endpoint)
    found.models          # names the server offers; None when it lists none

It asks as the run will: the same address, key and trust in certificates, no redirect followed. A failure is read by the
same table as a failed call (`actions`), and the key is in nothing that is returned.
"""

import json
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from trueseed.core.redact import redact
from trueseed.errors import ConfigError
from trueseed.teachers.api import actions, headers, wire
from trueseed.teachers.api.headers import Live
from trueseed.teachers.api.providers import NO_KEY, Endpoint, Provider, Reach, provider, reach

MOST_BYTES = 8 * 1024 * 1024  # of a list of models; the longest of today is below one
LONGEST_S = 15.0  # for a list; a completion may take longer
MOST_SHOWN = 200  # characters of a server's own words
OPEN_LISTS = ("OpenRouter",)  # providers that show their models to anybody, so that an answer says nothing of the key

Trouble = Literal["name", "refused", "slow", "certificate", "broken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """trouble: why no answer came; None when one did. status: of the answer, 0 without one. action: what a failed one
    means. models: None when the answer is no list of models. live: limits, as headers tell them. said: the server's or
    the network's own words, without secrets. proves_key: whether an answer shows that the key is valid.
    """

    address: str
    trouble: Trouble | None = None
    status: int = 0
    action: actions.Action | None = None
    models: tuple[str, ...] | None = None
    live: Mapping[str, Live] = field(default_factory=dict)
    said: str = ""
    proves_key: bool = False


def probe(endpoint: Endpoint, environment: Mapping[str, str] = os.environ, *, now: float) -> Probe:
    """Asks for the list of models. now: seconds since 1970, for headers that give a time.

    Raises `ConfigError` when the address or the key is missing, or the address is known to be another route.
    """
    try:
        import httpx
    except ImportError as err:
        raise ConfigError("remote teachers need the OpenAI SDK: pip install 'trueseed[remote]'") from err
    found, where = provider(endpoint), reach(endpoint, environment)
    url, sent, asked = _wish(endpoint, found, where)
    try:
        with (
            httpx.Client(follow_redirects=False, timeout=min(endpoint.timeout_s, LONGEST_S)) as client,
            client.stream("GET", url, headers=sent, params=asked) as response,
        ):
            raw = _body(response.iter_bytes())
            status, told = response.status_code, {name.lower(): value for name, value in response.headers.items()}
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as err:
        return Probe(address=_place(url), trouble=_trouble(err), said=_clean(str(err), where))
    live = headers.live(told, now)
    if status >= 300:
        failure = wire.told(status, told, raw)
        return Probe(
            address=_place(url), status=status, action=actions.decide(failure, now), live=live,
            said=_clean(failure.message, where),
        )  # fmt: skip
    models = _models(raw)
    return Probe(
        address=_place(url),
        status=status,
        models=models,
        live=live,
        said="" if models is not None else _clean(raw[:MOST_SHOWN].decode("utf-8", "replace"), where),
        proves_key=models is not None and where.key != NO_KEY and found.name not in OPEN_LISTS,
    )


def _wish(endpoint: Endpoint, found: Provider, where: Reach) -> tuple[str, dict[str, str], dict[str, str]]:
    """Address, headers and query. Azure's list is of the models there are, not of our deployments."""
    base = where.base_url.rstrip("/")
    if found.is_azure:
        version = endpoint.api_version or os.environ.get("OPENAI_API_VERSION") or found.api_version
        return f"{base}/openai/models", {"api-key": where.key}, {"api-version": version}
    sent = {"Authorization": f"Bearer {where.key}"}
    if found.name.startswith("Anthropic"):  # its list is of its own wire, not of the compatible endpoint
        sent |= {"x-api-key": where.key, "anthropic-version": "2023-06-01"}
    return f"{base}/models", sent, {}


def _body(pieces: Iterator[bytes]) -> bytes:
    raw = bytearray()
    for piece in pieces:
        raw += piece
        if len(raw) > MOST_BYTES:
            break
    return bytes(raw)


def _models(raw: bytes) -> tuple[str, ...] | None:
    try:
        value: Any = json.loads(raw)
        return tuple(str(card["id"]) for card in value["data"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _trouble(error: BaseException) -> Trouble:
    import httpx

    chain = list(_chain(error))
    if any(isinstance(each, ssl.SSLError) for each in chain) or "CERTIFICATE_VERIFY" in str(error):
        return "certificate"
    if any(isinstance(each, socket.gaierror) for each in chain):
        return "name"
    if any(isinstance(each, httpx.TimeoutException) for each in chain):
        return "slow"
    return "refused" if isinstance(error, httpx.ConnectError) else "broken"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(8):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def _clean(text: str, where: Reach) -> str:
    return redact(" ".join(text.split()), [where.key])[:MOST_SHOWN]
