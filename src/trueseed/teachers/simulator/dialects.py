"""How each provider says things: the paths it answers at, its errors word for word, its headers.

Bodies and codes are those the providers document or were seen to send (2024 to 2026): OpenAI's guide to error codes and
to rate limits; Azure's and Anthropic's references; for what no reference shows, the reports of users that are named.
Anthropic's compatible endpoint puts its own error types and messages into OpenAI's shape.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from trueseed.teachers.simulator.limits import Room

Situation = Literal[
    "no_key",
    "wrong_key",
    "suspended",
    "region",
    "quota",
    "requests",
    "tokens",
    "no_model",
    "no_path",
    "context",
    "filtered",
    "invalid",
    "server_error",
    "overloaded",
]
Name = Literal["openai", "azure", "anthropic"]
Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Saying:
    """One error. message: filled in with what the situation gives. short: only code and message, as Azure's gateway."""

    status: int
    message: str
    code: str | None = None
    type: str | None = None
    param: str | None = None
    short: bool = False

    def body(self, **given: object) -> dict[str, Any]:
        message = self.message.format_map(_Given(given))
        if self.short:
            return {"error": {"code": self.code, "message": message}}
        param = given.get("param", self.param)
        return {"error": {"message": message, "type": self.type, "param": param, "code": self.code}}


class _Given(dict[str, object]):
    def __missing__(self, name: str) -> str:
        return f"({name})"


_INVALID = "invalid_request_error"

_OPENAI: Mapping[Situation, Saying] = {
    "no_key": Saying(
        401,
        "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
        "(i.e. Authorization: Bearer YOUR_KEY).",
        None,
        _INVALID,
    ),
    "wrong_key": Saying(
        401,
        "Incorrect API key provided: {key}. You can find your API key at https://platform.openai.com/account/api-keys.",
        "invalid_api_key",
        _INVALID,
    ),
    "suspended": Saying(
        401,
        "The OpenAI account associated with this API key has been deactivated. If you are a developer, check your "
        "email for more information. If you are seeing this error while using another app or site, please reach out to "
        "them for more help.",
        "account_deactivated",
        _INVALID,
    ),
    "region": Saying(
        403,
        "Country, region, or territory not supported",
        "unsupported_country_region_territory",
        "request_forbidden",
    ),
    "quota": Saying(
        429,
        "You exceeded your current quota, please check your plan and billing details. For more information on this "
        "error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
        "insufficient_quota",
        "insufficient_quota",
    ),
    "requests": Saying(
        429,
        "Rate limit reached for {model} in organization org-simulated on requests per min (RPM): Limit {limit}, Used "
        "{limit}, Requested 1. Please try again in {wait}.",
        "rate_limit_exceeded",
        "requests",
    ),
    "tokens": Saying(
        429,
        "Rate limit reached for {model} in organization org-simulated on tokens per min (TPM): Limit {limit}, Used "
        "{used}, Requested {wanted}. Please try again in {wait}.",
        "rate_limit_exceeded",
        "tokens",
    ),
    "no_model": Saying(
        404, "The model `{model}` does not exist or you do not have access to it.", "model_not_found", _INVALID
    ),
    "no_path": Saying(404, "Invalid URL ({method} {path})", None, _INVALID),
    "context": Saying(
        400,
        "This model's maximum context length is {limit} tokens. However, you requested {wanted} tokens. Please reduce "
        "the length of the messages or completion.",
        "context_length_exceeded",
        _INVALID,
        "messages",
    ),
    "filtered": Saying(
        400,
        "Invalid prompt: your prompt was flagged as potentially violating our usage policy. Please try again with a "
        "different prompt.",
        "invalid_prompt",
        _INVALID,
    ),
    "invalid": Saying(400, "{why}", None, _INVALID),
    "server_error": Saying(
        500,
        "The server had an error while processing your request. Sorry about that!",
        None,
        "server_error",
    ),
    "overloaded": Saying(
        503,
        "The engine is currently overloaded, please try again later.",
        None,
        "service_unavailable_error",
    ),
}

_ACCESS_DENIED = Saying(
    401,
    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an "
    "active subscription and use a correct regional API endpoint for your resource.",
    "401",
    short=True,
)
_AZURE: Mapping[Situation, Saying] = {
    **_OPENAI,  # what the model behind the gateway says, it says as OpenAI does
    "no_key": _ACCESS_DENIED,
    "wrong_key": _ACCESS_DENIED,
    # pollinations#9707 and #6720
    "suspended": Saying(
        403,
        "Your resource has been temporarily blocked because we detected behavior that may violate our content policy. "
        "For more details on Azure OpenAI service content policy, please visit https://aka.ms/aoaicodeofconduct",
        "Forbidden",
        short=True,
    ),
    # The nearest that Azure has: it knows no countries here, only networks.
    "region": Saying(403, "Access denied due to Virtual Network/Firewall rules.", "403", short=True),
    # TinyLLM#17
    "requests": Saying(
        429,
        "Requests to the ChatCompletions_Create Operation under Azure OpenAI API have exceeded call rate limit of your "
        "current OpenAI S0 pricing tier. Please retry after {seconds} seconds.",
        "429",
        short=True,
    ),
    "tokens": Saying(
        429,
        "Requests to the ChatCompletions_Create Operation under Azure OpenAI API have exceeded token rate limit of "
        "your current OpenAI S0 pricing tier. Please retry after {seconds} seconds.",
        "429",
        short=True,
    ),
    "no_model": Saying(
        404,
        "The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, "
        "please wait a moment and try again.",
        "DeploymentNotFound",
        short=True,
    ),
    "no_path": Saying(404, "Resource not found", "404", short=True),
    "filtered": Saying(
        400,
        "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please "
        "modify your prompt and retry.",
        "content_filter",
        None,
        "prompt",
    ),
}

_ANTHROPIC: Mapping[Situation, Saying] = {
    "no_key": Saying(401, "x-api-key header is required", "authentication_error", "authentication_error"),
    "wrong_key": Saying(401, "invalid x-api-key", "authentication_error", "authentication_error"),
    "suspended": Saying(400, "This organization has been disabled.", _INVALID, _INVALID),
    "region": Saying(403, "Request not allowed", "forbidden", "forbidden"),
    # claude-code#66314
    "quota": Saying(
        400,
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or "
        "purchase credits.",
        _INVALID,
        _INVALID,
    ),
    "requests": Saying(
        429,
        "This request would exceed your organization's rate limit of {limit} requests per minute.",
        "rate_limit_error",
        "rate_limit_error",
    ),
    "tokens": Saying(
        429,
        "This request would exceed your organization's rate limit of {limit} tokens per minute.",
        "rate_limit_error",
        "rate_limit_error",
    ),
    "no_model": Saying(404, "model: {model}", "not_found_error", "not_found_error"),
    "no_path": Saying(404, "Not Found", "not_found_error", "not_found_error"),
    "context": Saying(400, "prompt is too long: {wanted} tokens > {limit} maximum", _INVALID, _INVALID),
    "filtered": Saying(400, "Output blocked by content filtering policy", _INVALID, _INVALID),
    "invalid": Saying(400, "{why}", _INVALID, _INVALID),
    "server_error": Saying(500, "Internal server error", "api_error", "api_error"),
    "overloaded": Saying(529, "Overloaded", "overloaded_error", "overloaded_error"),
}


@dataclass(frozen=True, slots=True)
class Dialect:
    """One provider's way of speaking. request_id: the header in which it names a call."""

    name: Name
    sayings: Mapping[Situation, Saying]
    request_id: bytes

    def rate_headers(self, rooms: Mapping[str, Room], now: float) -> Headers:
        """Of each limit: how much, how much is left, when it is full again. now: Unix time, in seconds."""
        said: Headers = []
        for kind, room in rooms.items():
            limit, left = b"%d" % room.limit, b"%d" % room.left
            reset = str(math.ceil(room.full_in_s)) if self.name == "azure" else duration(room.full_in_s)
            said += _three(f"x-ratelimit-{{}}-{kind}", limit, left, reset.encode())
            if self.name == "anthropic":
                full_at = datetime.fromtimestamp(math.ceil(now + room.full_in_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                said += _three(f"anthropic-ratelimit-{kind}-{{}}", limit, left, full_at.encode())
        return said

    def absurd_headers(self, kinds: Mapping[str, Room]) -> Headers:
        return [header for kind in kinds for header in _three(f"x-ratelimit-{{}}-{kind}", b"-1", b"-1", b"0")]

    def retry_headers(self, wait_s: float) -> Headers:
        """`Retry-After` in whole seconds; OpenAI and Azure say it in milliseconds too."""
        said: Headers = [(b"retry-after", b"%d" % whole_seconds(wait_s))]
        if self.name != "anthropic":
            said.append((b"retry-after-ms", b"%d" % math.ceil(wait_s * 1000)))
        return said


def _three(pattern: str, limit: bytes, left: bytes, reset: bytes) -> Headers:
    return [
        (pattern.format("limit").encode(), limit),
        (pattern.format("remaining").encode(), left),
        (pattern.format("reset").encode(), reset),
    ]


def whole_seconds(wait_s: float) -> int:
    """For people and `Retry-After`: rounded up, at least 1."""
    return max(1, math.ceil(wait_s))


def duration(seconds: float) -> str:
    """As OpenAI writes it: `120ms`, `8.64s`, `6m0s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds * 1000) / 1000, 60)
    return f"{minutes:.0f}m{rest:g}s" if minutes else f"{rest:g}s"


OPENAI = Dialect("openai", _OPENAI, b"x-request-id")
AZURE = Dialect("azure", _AZURE, b"apim-request-id")
ANTHROPIC = Dialect("anthropic", _ANTHROPIC, b"request-id")
