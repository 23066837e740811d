"""A maker's usage endpoint, in the shape of OpenAI's `GET /v1/organization/usage/completions`, by model and hour.

It is read with an administrator's key (`OPENAI_ADMIN_KEY`), which goes to OpenAI's own hosts only; for another address
its variable is named. It counts chat completions and responses; embeddings, images and audio have endpoints of their
own, which are not read.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trueseed.core.canonical import digest
from trueseed.core.redact import redact
from trueseed.errors import ConfigError, TeacherError
from trueseed.teachers.api.providers import NO_KEY, Endpoint, known, provider
from trueseed.teachers.supplier.bill import Bill, Figure
from trueseed.teachers.supplier.bill_models import Scope
from trueseed.teachers.supplier.books import Span
from trueseed.teachers.supplier.month import Month
from trueseed.terms.model import parse_source

PATH = "/organization/usage/completions"
KIND = "the usage endpoint"
PAGE = 168  # hours on a page: the most that OpenAI gives
MOST_PAGES = 100
TIMEOUT_S = 60.0


class _Answer(BaseModel):
    """Makers add fields: what is not needed is not looked at."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Result(_Answer):
    model: str | None = None
    num_model_requests: int = Field(ge=0)
    input_tokens: int = Field(ge=0)
    output_tokens: int = Field(ge=0)


class _Bucket(_Answer):
    start_time: int
    end_time: int
    results: list[_Result]


class _Page(_Answer):
    data: list[_Bucket]
    has_more: bool
    next_page: str | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """endpoint: to ask. scope: whose calls its figures are about. models: what our sources are called on its wire."""

    endpoint: Endpoint
    scope: Scope
    models: dict[str, frozenset[str]]


def of_one_account(endpoints: Sequence[Endpoint], scope: Scope) -> Chosen:
    """Of several endpoints, those in scope. Raises `ConfigError` unless they are one account at one provider."""
    inside = [each for each in endpoints if scope.holds(each.source)]
    if not inside:
        there = ", ".join(repr(each.source) for each in endpoints)
        raise ConfigError(f"nothing of {scope.maker!r} that fits {scope.pattern!r} is named there; there is {there}")
    accounts = {(provider(each).name, each.base_url, each.key_from, parse_source(each.source).route) for each in inside}
    if len(accounts) > 1:
        named = ", ".join(repr(each.source) for each in inside)
        raise ConfigError(f"{named} are not one account at one provider; say which with --source")
    models: dict[str, frozenset[str]] = {}
    for each in inside:
        models[each.wire_model] = models.get(each.wire_model, frozenset()) | {each.source}
    route = parse_source(inside[0].source).route
    pattern = scope.pattern if scope.pattern != "*" else f"{scope.maker}/*" + (f"@{route}" if route else "")
    return Chosen(inside[0], Scope(maker=scope.maker, pattern=pattern), models)


def fetch(
    endpoint: Endpoint,
    month: Month,
    *,
    now: datetime,
    key_from: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Bill:
    """What the maker counted in `month` until now. key_from: the variable that holds the administrator's key.

    Raises `ConfigError` when the maker has no such endpoint, or the key is missing or wrong; `TeacherError` when it
    cannot be reached or answers something else.
    """
    try:
        import httpx
    except ImportError as err:
        raise ConfigError("the usage endpoint needs an HTTP client: pip install 'trueseed[remote]'") from err
    address, key = _where(endpoint, key_from, environment)
    wanted: dict[str, Any] = {
        "start_time": int(month.since.timestamp()),
        "end_time": int(min(month.until.timestamp(), now.timestamp() + 1)),
        "bucket_width": "1h",
        "group_by": "model",
        "limit": PAGE,
    }
    pages: list[Any] = []
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(headers=headers, timeout=TIMEOUT_S, follow_redirects=False) as client:
        while len(pages) < MOST_PAGES:
            try:
                reply = client.get(address, params=wanted)
            except httpx.HTTPError as err:
                said = redact(f"{type(err).__name__}: {err}", [key])
                raise TeacherError(f"{address} cannot be reached ({said}); try the same command again") from err
            pages.append(_page(address, key, reply.status_code, reply.content))
            if not pages[-1].has_more:
                return _bill([page.model_dump() for page in pages], pages, month)
            if not pages[-1].next_page or pages[-1].next_page == wanted.get("page"):
                break
            wanted["page"] = pages[-1].next_page
    raise TeacherError(
        f"{address} says that there is more and does not come to an end; export the usage as CSV instead"
    )


def _where(endpoint: Endpoint, key_from: str | None, environment: Mapping[str, str]) -> tuple[str, str]:
    found = provider(endpoint)
    host = urlsplit(endpoint.base_url or found.base_url).hostname or ""
    openai = next(each for each in known() if each.name == "OpenAI")
    theirs = host in openai.hosts
    if not theirs and (not endpoint.base_url or any(fnmatchcase(host, pattern) for pattern in found.hosts)):
        raise ConfigError(f"{found.name} has no usage endpoint that we know; export its usage, and give it with --csv")
    variable = key_from or ("OPENAI_ADMIN_KEY" if theirs else endpoint.key_from)
    key = environment.get(variable, "").strip() if variable else NO_KEY
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"the usage is read with an administrator's key: set the environment variable {variable}")
    return (endpoint.base_url or found.base_url).rstrip("/") + PATH, key


def _page(address: str, key: str, status: int, content: bytes) -> _Page:
    if status in (401, 403):
        raise ConfigError(
            f"{address} refuses the key ({status}); the usage is read with an administrator's key: name its variable "
            f"with --key-from"
        )
    if status != 200:
        said = redact(content[:200].decode("utf-8", "replace"), [key])
        raise TeacherError(f"{address} answered {status} ({' '.join(said.split())}); try again, or give its CSV")
    try:
        return _Page.model_validate_json(content)
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise TeacherError(f"{address} answers something else than OpenAI's usage ({where}: {first['msg']})") from err


def _bill(raw: list[Any], pages: list[_Page], month: Month) -> Bill:
    figures = []
    for bucket in (bucket for page in pages for bucket in page.data):
        span = Span(datetime.fromtimestamp(bucket.start_time, UTC), datetime.fromtimestamp(bucket.end_time, UTC))
        if not Span(month.since, month.until).holds(span) or span.until.timestamp() - span.since.timestamp() > 3600:
            raise TeacherError(
                f"the usage endpoint was asked for hours of {month} and answers {span.since} to {span.until}"
            )
        for result in bucket.results:
            tokens = result.input_tokens + result.output_tokens
            if not result.model and (tokens or result.num_model_requests):
                raise TeacherError("the usage endpoint does not say of which model; export the usage by model as CSV")
            if result.model:
                figures.append(Figure(span=span, model=result.model, calls=result.num_model_requests, tokens=tokens))
    return Bill(kind=KIND, digest=digest(raw), figures=tuple(figures))
