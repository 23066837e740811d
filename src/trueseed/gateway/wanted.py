"""What a client asks for: read once, checked as far as money and terms need it, and otherwise left as it was.

`model` is a source, as `/v1/models` lists them; the wire's own name is put in its place. A request is bounded before it
leaves: no tokenizer makes more tokens than there are bytes, and the answer has a longest length. Refused is what would
be billed by another measure than tokens of text, since its price is not known; and what would have another model answer
than the one that was let in, or lift its bound under another name: routers and servers of many makers know such words.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trueseed.access.faults import Fault
from trueseed.core.canonical import sha256
from trueseed.gateway.features import Seen, seen
from trueseed.teachers.api.forward import Upstream
from trueseed.teachers.api.wire import Usage

MOST_CHOICES = 128  # OpenAI's own bound on `n`
_BILLED_OTHERWISE: Mapping[str, tuple[Any, ...]] = {  # parameter: the values that ask for nothing
    "audio": (None,),
    "prediction": (None,),
    "modalities": (None, ["text"]),
    "service_tier": (None, "default"),
}
_ANSWERED_ELSEWHERE = (
    *("models", "route", "provider"),  # OpenRouter
    *("fallbacks", "api_base", "base_url", "custom_llm_provider"),  # LiteLLM
    *("extra_body", "extra_headers"),  # the same and Gemini, which take any of these out of it
    "providerOptions",  # Vercel
)
_LONGER = ("best_of", "n_predict", "max_new_tokens", "max_output_tokens", "max_tokens_to_sample")
_REFUSED = frozenset((*_BILLED_OTHERWISE, *_ANSWERED_ELSEWHERE, *_LONGER))


@dataclass(slots=True, kw_only=True)
class Wanted:
    """source: whom. request: SHA-256 of the bytes as they came. stream: as events. wants_usage: and the client asked
    for the usage among them. choices: how many answers. most: tokens that it can use at most. options: `stream_options`
    as they came. rest: what to send on as it is, a JSON object. features: of the provider's service, as it shows.
    """

    source: str
    request: str
    stream: bool
    wants_usage: bool
    choices: int
    most: Usage
    longest: int
    options: Mapping[str, Any] | None
    rest: bytes
    features: tuple[Seen, ...] = ()

    def to(self, upstream: Upstream) -> bytes:
        """The request as this upstream gets it."""
        ours: dict[str, Any] = {"model": upstream.model, upstream.bound: self.longest}
        if upstream.stream_usage:
            if self.stream:
                ours["stream_options"] = {**(self.options or {}), "include_usage": True}
            elif self.options is not None:
                ours["stream_options"] = self.options
        return b"%b,%b" % (_written(ours)[:-1], self.rest[1:])


def read(raw: bytes, *, max_tokens: int) -> Wanted:
    """Raises `Fault` naming the parameter to change. max_tokens: longest answer, and the bound where none is given."""
    body, rest = _json(raw)
    source, messages = body.get("model"), body.get("messages")
    if not isinstance(source, str) or not source:
        raise _invalid("model", "give one of the sources that /v1/models lists")
    if not isinstance(messages, list) or not messages or not all(_is_text(message) for message in messages):
        raise _invalid("messages", "give messages of text; what else they may hold is not billed by its length")
    if not _REFUSED.isdisjoint(body):
        _must_ask_for_nothing(body)
    longest = _longest(body, max_tokens)
    choices = _count(body, "n", MOST_CHOICES) or 1
    return Wanted(
        source=source,
        request=sha256(raw),
        stream=_flag(body, "stream"),
        wants_usage=_flag(body.get("stream_options") or {}, "include_usage"),
        choices=choices,
        most=Usage(max(len(raw), len(rest)), longest * choices),  # a number may be longer as we write it
        longest=longest,
        options=body.get("stream_options"),
        rest=rest,
        features=seen(body),
    )


def _must_ask_for_nothing(body: Mapping[str, Any]) -> None:
    """What of `_REFUSED` is there. Raises `Fault`."""
    for name, nothing in _BILLED_OTHERWISE.items():
        if body.get(name) not in nothing:
            raise _invalid(name, "it is not billed by tokens of text, so what it costs is not known here; leave it out")
    for name in _ANSWERED_ELSEWHERE:
        if body.get(name) is not None:
            raise _invalid(
                name, "it may have another model answer, or one at another price, than was let in; leave it out"
            )
    for name in _LONGER:
        if body.get(name) is not None:
            raise _invalid(name, "bound the answer by max_tokens or max_completion_tokens, and their number by n")


def _json(raw: bytes) -> tuple[dict[str, Any], bytes]:
    """The body, and what of it is sent on as it is. Raises `Fault` for what is no JSON object in UTF-8."""
    try:
        body = json.loads(raw.decode())  # strictly, as no provider can be sent half of a surrogate pair
        if not isinstance(body, dict):
            raise Fault(400, "the body is not a JSON object", code="invalid_json")
        for name in _OURS:
            if not isinstance(body.get(name, 0), int):
                _written(body[name])
        return body, _written({name: value for name, value in body.items() if name not in _OURS})
    except (ValueError, RecursionError) as err:
        raise Fault(400, f"the body is not JSON in UTF-8: {type(err).__name__}", code="invalid_json") from err


_OURS = ("model", "max_tokens", "max_completion_tokens", "stream_options")  # written anew for the upstream
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _written(body: Any) -> bytes:
    return _encode(body).encode()


def _is_text(message: Any) -> bool:
    if not isinstance(message, dict):
        return False
    content = message.get("content")
    if message.get("audio") is not None:
        return False
    if isinstance(content, list):
        return all(isinstance(part, dict) and part.get("type") in ("text", "refusal") for part in content)
    return content is None or isinstance(content, str)


def _longest(body: Mapping[str, Any], most: int) -> int:
    given = [_count(body, name, most) for name in ("max_completion_tokens", "max_tokens")]
    return min((bound for bound in given if bound is not None), default=most)


def _count(body: Mapping[str, Any], name: str, most: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= most:
        raise _invalid(name, f"give a whole number from 1 to {most}")
    return value


def _flag(body: Any, name: str) -> bool:
    value = body.get(name) if isinstance(body, dict) else name
    if value not in (None, True, False):
        raise _invalid(name if isinstance(body, dict) else "stream_options", "give true or false")
    return value is True


def _invalid(name: str, what: str) -> Fault:
    return Fault(400, f"{name}: {what}", code="invalid_value", param=name)
