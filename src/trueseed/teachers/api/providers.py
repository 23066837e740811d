"""Known providers: where a source is asked, with which key, and what its models lack. The data is `providers.toml`.

    endpoint = Endpoint(source="openai/gpt-4o-mini@api", price=Price(input=0.15, output=0.60))
    provider(endpoint).lacks("gpt-4o-mini", "logprobs")   # "" when it has them, else why not

The route is part of the source, since terms differ by route. A base URL that is known to be another route than the
source says is refused, and a provider's key goes to its own hosts only.
"""

import os
import tomllib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from trueseed.core.settings import Settings
from trueseed.errors import ConfigError
from trueseed.teachers.account import amounts
from trueseed.terms.model import parse_source

DATA = Path(__file__).with_suffix(".toml")
NO_KEY = "none"  # what servers without keys are sent: the SDK insists on one
VENDORS = {"meta-llama": "meta", "mistralai": "mistral"}  # as aggregators write makers

Capability = Literal["logprobs", "seed", "tools", "json_schema", "stream_usage", "stop", "temperature", "top_p"]
Lacks = Mapping[Capability, str]


class Model(Settings):
    """What is different for models of these names. lacks: the reason for each capability that is missing."""

    model: str
    lacks: Lacks = Field(default={})
    max_tokens: Literal["max_tokens", "max_completion_tokens"] | None = None


class Provider(Settings):
    """One entry of `providers.toml`, which explains the fields. max_tokens, seed: how the wire calls them. echo:
    whether it may tell how probable a given text is.
    """

    name: str
    source: str
    base_url: str = ""
    endpoint: str = ""
    hosts: tuple[str, ...] = Field(default=(), strict=False)
    key: str = ""
    api_version: str = ""
    max_tokens: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    seed: str = "seed"
    most_temperature: float = 2.0
    echo: bool = False
    lacks: Lacks = Field(default={})
    models: tuple[Model, ...] = Field(default=(), strict=False)

    @property
    def is_azure(self) -> bool:
        return bool(self.endpoint)

    def of(self, model: str) -> Model:
        """What holds for one model."""
        found = next((each for each in self.models if fnmatchcase(model, each.model)), Model(model=model))
        return Model(model=model, lacks=found.lacks or self.lacks, max_tokens=found.max_tokens or self.max_tokens)


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("give an address such as http://127.0.0.1:8080/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("an address holds no user, key or query: it is written into the ledger; see `key_from`")
    return url


class Prices(Settings):
    """US dollars for a million tokens, as the provider publishes them. 0 for a server of your own."""

    input: float = Field(ge=0, strict=False)
    output: float = Field(ge=0, strict=False)

    @property
    def exact(self) -> amounts.Price:
        return amounts.Price(round(self.input * 1_000_000), round(self.output * 1_000_000))


class Endpoint(Settings):
    """A teacher behind an API, as a run file names it.

    source: `maker/model@route`. model: its name on the wire, by default as in the source. base_url: of a server that
    providers.toml does not know. key_from: the environment variable that holds the key, when it is not the provider's
    usual one. price: without one nothing is asked, unless the route is a server of your own. at_once: most calls under
    way. timeout_s: for one call. patience_s: a longer wait that the provider demands ends the run as a pause.
    """

    source: str
    model: str | None = None
    base_url: Annotated[str, AfterValidator(_address)] | None = None
    key_from: str | None = Field(default=None, pattern=r"^[A-Z][A-Z0-9_]*$")
    api_version: str | None = None
    price: Prices | None = None
    at_once: int = Field(default=64, gt=0)
    timeout_s: float = Field(default=120.0, gt=0, strict=False)
    patience_s: float = Field(default=300.0, ge=0, strict=False)

    @property
    def wire_model(self) -> str:
        return self.model or parse_source(self.source).model

    def known_price(self) -> amounts.Price:
        """Raises `Refused` when it is not known: then nothing is spent."""
        return amounts.price_of(self.source, {self.source: self.price.exact} if self.price else {})


class Reach(Settings):
    """Where to call, and with what key. is_usual: the provider's own address, its own key."""

    base_url: str
    key: str = Field(repr=False)
    is_usual: bool = False


@cache
def known() -> tuple[Provider, ...]:
    with DATA.open("rb") as file:
        return tuple(Provider.model_validate(entry) for entry in tomllib.load(file)["providers"])


def provider(endpoint: Endpoint) -> Provider:
    """Who answers for the source. Raises `ConfigError` when the base URL is known to be another route."""
    found = next(each for each in known() if fnmatchcase(str(parse_source(endpoint.source)), each.source))
    host = _host(endpoint.base_url or "")
    there = next((each for each in known() if any(fnmatchcase(host, pattern) for pattern in each.hosts)), found)
    if there is not found:
        raise ConfigError(
            f"{host} is {there.name}, but the source is {endpoint.source!r}, which is {found.name}; the route decides "
            f"which terms hold, so write the source as this route is called ({there.source})"
        )
    _must_be_its_makers(endpoint)
    return found


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").rstrip(".")  # with the dot at its end it is the same host


def _must_be_its_makers(endpoint: Endpoint) -> None:
    """Raises `ConfigError` when the name on the wire, as aggregators write it, is another maker's than the source's."""
    maker = parse_source(endpoint.source).maker
    vendor, slash, _ = endpoint.wire_model.lower().partition("/")
    named = VENDORS.get(vendor, vendor)
    makers = {each.source.partition("/")[0] for each in known()} | set(VENDORS.values())
    if slash and named in makers and named != maker:
        raise ConfigError(
            f"the model {endpoint.wire_model!r} is {named!r}'s by its name, but the source is {endpoint.source!r}; "
            f"whose model it is decides which terms and holds bind, so write {named!r} as the maker, or serve weights "
            f"of your own under a name of your own"
        )


def reach(endpoint: Endpoint, environment: Mapping[str, str] = os.environ) -> Reach:
    """Address and key. Raises `ConfigError` naming the variable or setting that is missing."""
    found = provider(endpoint)
    base_url = endpoint.base_url or found.base_url or environment.get(found.endpoint or "-", "")
    if not base_url:
        where = f"set {found.endpoint}, or" if found.endpoint else f"{endpoint.source!r} is at no address we know:"
        raise ConfigError(f"{where} give `base_url` in the run file, for example http://127.0.0.1:8080/v1")
    host = _host(base_url)
    is_theirs = not endpoint.base_url or any(fnmatchcase(host, pattern) for pattern in found.hosts)
    variable = endpoint.key_from or (found.key if is_theirs else "")
    if not variable:
        return Reach(base_url=base_url, key=NO_KEY)
    key = environment.get(variable, "").strip()
    if not key:
        raise ConfigError(f"{endpoint.source!r} needs a key: set the environment variable {variable}")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"the environment variable {variable} does not hold a key: it has spaces or other characters")
    return Reach(base_url=base_url, key=key, is_usual=is_theirs and variable == found.key)


def spoken_to(endpoint: Endpoint, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """All that decides what goes over the wire for a request, and where to: what the cache goes by. No secret.

    Raises `ConfigError` as `provider`.
    """
    found = provider(endpoint)
    known = found.of(endpoint.wire_model)
    address = endpoint.base_url or found.base_url or environment.get(found.endpoint or "-", "")
    version = endpoint.api_version or environment.get("OPENAI_API_VERSION") or found.api_version
    return {
        "source": endpoint.source,
        "wire_model": endpoint.wire_model,
        "base_url": address.rstrip("/"),
        "api_version": version if found.is_azure else "",
        "names": {"max_tokens": known.max_tokens or "max_tokens", "seed": found.seed},
        "lacks": sorted(known.lacks),
    }
