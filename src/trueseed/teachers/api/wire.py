"""Between a `Request` and the OpenAI wire, both ways. Pure: nothing is sent here.

`body` says what to send, `most` what that can cost; `read` makes an answer of a response, `failure` a `Failure` of an
exception, for `actions.decide`.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from trueseed.core.chat import Answer, Finish, Request, TokenLogprob
from trueseed.errors import ConfigError
from trueseed.teachers.api.actions import Failure
from trueseed.teachers.api.providers import Capability, Provider

MOST_BYTES = 16 * 1024 * 1024  # of a response; the longest answers of today are below one
MOST_TOLD = 2000  # characters kept of an error's message
MOST_TOKENS = 1 << 40  # a usage beyond this is no usage
MOST_NAMED = 200  # characters kept of a model's name

_FINISH: Mapping[str, Finish] = {
    "stop": "stop", "eos": "stop", "eos_token": "stop", "stop_sequence": "stop", "end_turn": "stop", "length": "length",
}  # fmt: skip
_NEVER_LEFT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol")  # of the SDK's HTTP client


class Unusable(Exception):  # noqa: N818  named as `Failure.cause` is
    """The server answered, but not with a chat completion as asked. cause: `BadBody` or `NoLogprobs`. code, type: of
    the error that it holds instead, as routers send one with status 200.
    """

    def __init__(self, message: str, cause: str = "BadBody", *, code: str = "", type: str = "") -> None:
        super().__init__(message)
        self.cause, self.code, self.type = cause, code, type


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, as the provider counts them."""

    prompt: int
    completion: int

    @property
    def tokens(self) -> int:
        return self.prompt + self.completion


@dataclass(frozen=True, slots=True)
class Reply:
    """usage: None when the provider did not credibly say."""

    answer: Answer
    usage: Usage | None


# to the wire


def body(request: Request, *, model: str, provider: Provider) -> dict[str, Any]:
    """Arguments of `chat.completions.create`. Raises `ConfigError` when the model cannot do what the request asks.

    A missing seed is left out: without it the request is as good, only not repeatable. A missing `stop` is made up for
    in `read`. Anything else that is missing would be another request than the recipe wants.
    """
    if request.echo is not None:
        return _echoed_body(request, model, provider)
    if request.continues is not None:
        raise ConfigError("a model behind an API is asked by chat; only weights that run here go on from plain text")
    known = provider.of(model)
    wanted: dict[Capability, bool] = {
        "logprobs": request.logprobs or bool(request.top_logprobs),
        "temperature": request.temperature != 1.0,
        "top_p": request.top_p != 1.0,
        "json_schema": request.schema is not None,
        "tools": bool(request.tools),
    }
    for capability, asked in wanted.items():
        if asked and (why := known.lacks.get(capability)):
            raise ConfigError(f"{model!r} at {provider.name} has no {capability}: {why}; change the run file's request")
    if request.temperature > provider.most_temperature:
        raise ConfigError(
            f"{provider.name} takes temperatures up to {provider.most_temperature}, not {request.temperature}"
        )
    asked_for: dict[str, Any] = {
        "model": model,
        "messages": [message.to_json() for message in request.messages],
        known.max_tokens or "max_tokens": request.max_tokens,
    }
    if "temperature" not in known.lacks:
        asked_for["temperature"] = request.temperature
    if "top_p" not in known.lacks and request.top_p != 1.0:
        asked_for["top_p"] = request.top_p
    if "seed" not in known.lacks:
        asked_for["extra_body"] = {provider.seed: request.seed}
    if request.stop and "stop" not in known.lacks:
        asked_for["stop"] = list(request.stop)
    if request.logprobs or request.top_logprobs:
        asked_for["logprobs"] = True
    if request.top_logprobs:
        asked_for["top_logprobs"] = request.top_logprobs
    if request.schema is not None:
        form = {"name": "answer", "schema": dict(request.schema), "strict": True}
        asked_for["response_format"] = {"type": "json_schema", "json_schema": form}
    if request.tools:
        asked_for["tools"] = [dict(tool) for tool in request.tools]
    return asked_for


def _echoed_body(request: Request, model: str, provider: Provider) -> dict[str, Any]:
    """Arguments of `completions.create`. One token is said beside it, as not every server takes none."""
    if not provider.echo:
        raise ConfigError(f"{provider.name} does not tell how probable a given text is (`echo` of /completions)")
    asked = {"model": model, "prompt": request.continues, "max_tokens": 1, "temperature": 0.0}
    return {**asked, "echo": True, "logprobs": 1}


def most(request: Request) -> Usage:
    """The most tokens that this request can use: no tokenizer makes more tokens than there are bytes on the wire."""
    whole = request.to_json()
    said = [[message.to_json() for message in request.messages], whole.get("tools"), request.schema]
    said += [whole["continues"]] if "continues" in whole else []
    return Usage(len(json.dumps(said, ensure_ascii=False).encode()), request.max_tokens)


# from the wire


def read(raw: bytes, request: Request) -> Reply:
    """The answer in a response's body. Raises `Unusable`."""
    value = None
    try:
        value = json.loads(raw)
        choice = value["choices"][0]
        if request.echo is not None:
            reply = _echoed(choice, usage_of(value.get("usage")), request)
            return replace(reply, answer=replace(reply.answer, model=_model(value)))
        message = choice["message"]
        said, finish = message.get("content"), choice.get("finish_reason")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as err:
        code, kind = _named(_inner(value))
        raise Unusable(f"{type(err).__name__}: {raw[:200].decode('utf-8', 'replace')}", code=code, type=kind) from None
    if not isinstance(said, str | None):
        raise Unusable(f"the content is {type(said).__name__}, not text")
    usage = usage_of(value.get("usage"))
    calls = _tool_calls(message.get("tool_calls"), request)
    answer = finished(said or "", "stop" if calls else finish, request, usage)
    answer = replace(answer, tool_calls=calls, model=_model(value))
    if answer.finish != "skipped" and not said and (refusal := message.get("refusal")):
        answer = replace(answer, finish="skipped", because=f"the model declined: {str(refusal)[:200]}")
    if request.schema is not None and answer.finish == "stop" and not calls and not _is_json(answer.text):
        answer = replace(answer, text="", finish="skipped", because="the answer is not JSON, though a schema was given")
    if (request.logprobs or request.top_logprobs) and answer.finish != "skipped":
        answer = replace(answer, logprobs=_logprobs(choice.get("logprobs"), answer, request.top_logprobs))
    return Reply(answer, usage)


def _model(value: Mapping[str, Any]) -> str:
    """By which name it says that it answered; '' for what is none."""
    name = value.get("model")
    return name[:MOST_NAMED] if isinstance(name, str) and name.isprintable() else ""


def _echoed(choice: Mapping[str, Any], usage: Usage | None, request: Request) -> Reply:
    """How probable the tokens of the given text are from the wanted character on. Raises `Unusable` where the server
    tells none of it, or its tokens do not divide there.
    """
    told, text = choice.get("logprobs") or {}, str(request.continues)
    try:
        words, logprobs = list(map(str, told["tokens"])), list(told["token_logprobs"])
    except (TypeError, KeyError):
        raise Unusable("it does not tell how probable a given text is", "NoLogprobs") from None
    given = len(words) - (usage.completion if usage else 1)
    start = _divided(words[:given], text[: request.echo], text[request.echo :])
    if start is None:
        raise Unusable(f"its tokens do not divide after {text[: request.echo][-40:]!r}", "NoLogprobs")
    wanted = list(zip(words[start:given], logprobs[start:given], strict=True))
    if not wanted or not all(_is_logprob(logprob) for _, logprob in wanted):
        which = "the first token of a text" if wanted and wanted[0][1] is None else "some of its tokens"
        raise Unusable(f"it does not tell how probable {which} is", "NoLogprobs")
    count = usage or most(request)
    return Reply(
        Answer(
            text="",
            finish="stop",
            prompt_tokens=count.prompt,
            completion_tokens=count.completion,
            logprobs=tuple(TokenLogprob(word, float(logprob)) for word, logprob in wanted),
        ),
        usage,
    )


def _divided(words: Sequence[str], before: str, after: str) -> int | None:
    """The place in `words` from which they spell `after`, whatever a server puts before a text."""
    return next(
        (
            place
            for place in range(len(words))
            if "".join(words[place:]) == after or (before and "".join(words[:place]) == before)
        ),
        None,
    )


def _is_logprob(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value < 1e-3


def finished(text: str, reason: Any, request: Request, usage: Usage | None) -> Answer:
    """The answer that `text` is, given why the provider says that it ended. Unknown reasons are skipped: nobody can
    tell whether such a text is whole.
    """
    count = usage or most(request)
    finish = _FINISH.get(reason, "skipped") if isinstance(reason, str) else "skipped"
    because = ""
    if finish == "skipped":
        filtered = reason == "content_filter"
        because = "the provider's content filter cut the answer" if filtered else f"it ended for the reason {reason!r}"
    try:
        text.encode()
    except UnicodeEncodeError:
        text, finish, because = "", "skipped", "the answer is not valid Unicode"
    for stop in request.stop:  # servers end there themselves; some know no stop strings
        if stop in text:
            text, finish = text.partition(stop)[0], "stop" if finish == "length" else finish
    return Answer(
        text=text if finish != "skipped" else "",
        finish=finish,
        prompt_tokens=count.prompt,
        completion_tokens=count.completion,
        because=because,
    )


def usage_of(value: Any) -> Usage | None:
    """None when it is missing, or cannot be true. A total beyond the sum is reasoning that is billed as completion."""
    if not isinstance(value, Mapping):
        return None
    prompt, completion = value.get("prompt_tokens"), value.get("completion_tokens")
    if not _is_count(prompt) or not _is_count(completion) or prompt == 0:
        return None
    total = value.get("total_tokens") or prompt + completion
    return Usage(prompt, total - prompt) if _is_count(total) and total >= prompt + completion else None


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < MOST_TOKENS


def _tool_calls(value: Any, request: Request) -> tuple[Mapping[str, Any], ...]:
    """Calls of the tools that were offered. Raises `Unusable` for any other."""
    offered = {tool.get("function", {}).get("name") for tool in request.tools}
    calls = tuple(value or ())
    for call in calls:
        if not isinstance(call, Mapping) or call.get("function", {}).get("name") not in offered:
            raise Unusable(f"the model calls a tool that it was not offered: {str(call)[:200]}")
    return calls


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _logprobs(value: Any, answer: Answer, most: int) -> tuple[TokenLogprob, ...]:
    """most: how many of the most probable tokens were asked for at each place."""
    try:
        steps = tuple(_step(step, most) for step in value["content"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Unusable("the answer has no log-probabilities", "NoLogprobs") from None
    told = [each for step in steps for each in (step, *step.top)]
    if (answer.text and not steps) or not all(math.isfinite(each.logprob) and each.logprob < 1e-3 for each in told):
        raise Unusable("the log-probabilities are missing or are none", "NoLogprobs")
    if most and not all(step.top for step in steps):
        raise Unusable("the most probable tokens were asked for and are missing", "NoLogprobs")
    return steps


def _step(said: Any, most: int) -> TokenLogprob:
    """Ids and bytes are kept with the most probable tokens only: an answer that was asked without stays as it is."""
    if not most:
        return TokenLogprob(said["token"], float(said["logprob"]))
    top = tuple(_told(each) for each in said["top_logprobs"])
    return replace(_told(said), top=top)


def _told(said: Any) -> TokenLogprob:
    """llama.cpp tells a token's id beside its text."""
    token = int(said["id"]) if "id" in said else str(said["token"])
    return TokenLogprob(token, float(said["logprob"]), bytes(said.get("bytes") or ()))


# failures


def failure(error: Exception) -> Failure:
    """What the SDK's exception says. No key is in it: headers of the request are not read."""
    if isinstance(error, Unusable):
        text = str(error)[:MOST_TOLD]
        return Failure(status=200, code=error.code, type=error.type, message=text, cause=error.cause)
    response = getattr(error, "response", None)
    said = getattr(error, "body", None)
    inner, cause = _inner(said), type(error).__name__
    code, kind = _named(inner)
    if response is None:
        chain = " < ".join(f"{type(each).__name__}: {each}" for each in _chain(error))
        return Failure(code=code, type=kind, message=chain[:MOST_TOLD], cause=cause)
    message = inner.get("message") or (said if said is not None else error)
    return Failure(
        status=response.status_code,
        code=code,
        type=kind,
        message=str(message)[:MOST_TOLD],
        headers={name.lower(): value for name, value in response.headers.items()},
        cause=cause,
    )


def told(status: int | None, headers: Mapping[str, str], raw: bytes) -> Failure:
    """What a response says that came to us without the SDK. status: None for an error within an answer that had begun
    well. headers: names in lower case.
    """
    try:
        inner = _inner(json.loads(raw))
    except (ValueError, RecursionError):
        inner = {}
    code, kind = _named(inner)
    message = str(inner.get("message") or raw[:MOST_TOLD].decode("utf-8", "replace"))
    return Failure(status=status, code=code, type=kind, message=message[:MOST_TOLD], headers=headers)


def never_left(error: Exception) -> bool:
    """Whether no byte of the request can have reached the provider."""
    return any(type(each).__name__ in _NEVER_LEFT for each in _chain(error))


def _inner(said: Any) -> Mapping[str, Any]:
    """The error itself: Google wraps it in a list, others once more in `error`."""
    if isinstance(said, list) and said:
        said = said[0]
    if isinstance(said, Mapping) and isinstance(said.get("error"), Mapping):
        said = said["error"]
    return said if isinstance(said, Mapping) else {}


def _named(inner: Mapping[str, Any]) -> tuple[str, str]:
    """Code and type of an error."""
    code, kind = (str(inner[name]) if inner.get(name) is not None else "" for name in ("code", "type"))
    return code, kind


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and len(found) < 8:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
