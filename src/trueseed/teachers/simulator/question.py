"""What a client asked, read from the body of a chat completion without more checks than an answer needs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

_MOST_CHOICES, _MOST_LOGPROBS = 128, 20  # OpenAI's reference
# These change how an answer travels or whose it is, and not what it says.
_NOT_ASKED = frozenset(
    ("stream", "stream_options", "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key")
)


class Unreadable(Exception):  # noqa: N818
    """The body is no question. `str` says why; param: the part to change."""

    def __init__(self, why: str, param: str | None = None) -> None:
        super().__init__(why)
        self.param = param


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """identity: digest of all that decides the answer. prompt_tokens: words of all messages. limit: of one answer's
    tokens, None without. logprobs: how many alternatives are wanted with each token, None for no log-probabilities.
    schema: of the JSON to answer with, None for text. tool: (name, schema of the arguments) of the tool to call.
    """

    model: str
    identity: bytes
    prompt: str
    prompt_tokens: int
    choices: int
    limit: int | None
    stops: tuple[str, ...]
    logprobs: int | None
    schema: Mapping[str, Any] | None
    tool: tuple[str, Mapping[str, Any]] | None
    stream: bool
    include_usage: bool


def read(raw: bytes, model: str | None = None) -> Question:
    """The question in `raw`. model: where the path names it. Raises `Unreadable`."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as err:
        raise Unreadable("We could not parse the JSON body of your request.") from err
    if not isinstance(body, dict):
        raise Unreadable("The body of your request must be a JSON object.")
    if model is not None:
        body["model"] = model
    prompt = _prompt(body)
    return Question(
        model=_kind(body, "model", str, required=True),
        identity=_identity(body),
        prompt=prompt,
        prompt_tokens=len(prompt.split()),
        choices=_count(body, "n", _MOST_CHOICES) or 1,
        limit=_count(body, "max_completion_tokens") or _count(body, "max_tokens"),
        stops=_stops(body),
        logprobs=_logprobs(body),
        schema=_schema(body),
        tool=_tool(body),
        stream=bool(_kind(body, "stream", bool)),
        include_usage=bool((_kind(body, "stream_options", dict) or {}).get("include_usage")),
    )


def _identity(body: Mapping[str, Any]) -> bytes:
    asked = {key: value for key, value in body.items() if key not in _NOT_ASKED}
    return blake2b(json.dumps(asked, sort_keys=True).encode(), digest_size=16).digest()


def _kind(body: Mapping[str, Any], name: str, kind: type, *, required: bool = False) -> Any:
    value = body.get(name)
    if value is None and required:
        raise Unreadable(f"Missing required parameter: '{name}'.", name)
    if value is not None and not isinstance(value, kind):
        raise Unreadable(f"Invalid type for '{name}': expected {kind.__name__}, got {type(value).__name__}.", name)
    return value


def _count(body: Mapping[str, Any], name: str, most: int | None = None) -> int | None:
    value = _kind(body, name, int)
    if value is None:
        return None
    if value < 1 or isinstance(value, bool) or (most is not None and value > most):
        bound = "of at least 1" if most is None else f"from 1 to {most}"
        raise Unreadable(f"Invalid '{name}': expected an integer {bound}, got {value}.", name)
    return int(value)


def _prompt(body: Mapping[str, Any]) -> str:
    """The text of all messages."""
    messages = _kind(body, "messages", list, required=True)
    if not messages:
        raise Unreadable("Invalid 'messages': empty array. Expected an array with minimum length 1.", "messages")
    texts = []
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise Unreadable(f"Missing required parameter: 'messages[{index}].role'.", f"messages.[{index}].role")
        content = message.get("content")
        if isinstance(content, str):
            texts.append(content)
        elif isinstance(content, list):
            texts += [str(part["text"]) for part in content if isinstance(part, dict) and "text" in part]
        elif content is not None:
            raise Unreadable(f"Invalid type for 'messages[{index}].content'.", f"messages.[{index}].content")
    return "\n".join(texts)


def _stops(body: Mapping[str, Any]) -> tuple[str, ...]:
    stop = body.get("stop") or []
    texts = [stop] if isinstance(stop, str) else stop
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise Unreadable("Invalid type for 'stop': expected a string or an array of strings.", "stop")
    return tuple(text for text in texts if text)


def _logprobs(body: Mapping[str, Any]) -> int | None:
    most = _kind(body, "top_logprobs", int) or 0
    if not 0 <= most <= _MOST_LOGPROBS:
        raise Unreadable(f"Invalid 'top_logprobs': expected 0 to {_MOST_LOGPROBS}, got {most}.", "top_logprobs")
    return int(most) if _kind(body, "logprobs", bool) else None


def _schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    wanted = _kind(body, "response_format", dict) or {}
    match wanted.get("type"):
        case "json_object":
            return {"properties": {"answer": {"type": "string"}}}
        case "json_schema":
            named = wanted.get("json_schema")
            if not isinstance(named, dict) or not isinstance(named.get("schema"), dict):
                raise Unreadable(
                    "Missing required parameter: 'response_format.json_schema.schema'.",
                    "response_format.json_schema.schema",
                )
            return dict(named["schema"])
    return None


def _tool(body: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    """The tool that `tool_choice` names, else the first; none after a tool has answered."""
    tools, choice = _kind(body, "tools", list), body.get("tool_choice")
    if not tools or choice == "none" or body["messages"][-1]["role"] == "tool":
        return None
    try:
        offered = {tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in tools}
        name = choice["function"]["name"] if isinstance(choice, dict) else next(iter(offered))
        return name, offered[name]
    except (KeyError, TypeError, AttributeError) as err:
        raise Unreadable("Invalid 'tools': expected functions with names, and a choice among them.", "tools") from err
