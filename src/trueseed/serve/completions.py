"""`/v1/completions`: text that goes on from text, with log-probabilities of what was given, too.

That is what evaluation harnesses ask a server (`echo` with `logprobs`): how probable a text is after another, token by
token. Only weights that we hold can say so. Answers come whole; a stream is refused.
"""

import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, runtime_checkable
from uuid import uuid4

from fastapi import FastAPI
from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError
from starlette.concurrency import run_in_threadpool

from trueseed.access.faults import Fault
from trueseed.core.chat import Answer, ChatModel, Request
from trueseed.serve.limits import Limits
from trueseed.serve.turns import Busy, Turns
from trueseed.serve.wire import Asked, Text

TOP_LOGPROBS = 20
_ONLY_WHOLE = "answers come whole here; leave stream out"
Ids = list[Annotated[int, Field(ge=0)]]


class Spelling(Protocol):
    """See `lm.format.Format`."""

    def raw(self, text: str) -> list[int]: ...

    def spell(self, ids: Sequence[int]) -> str: ...


class Thought(Protocol):
    """See `lm.forced.Told`."""

    @property
    def logprobs(self) -> list[float]: ...

    @property
    def likely(self) -> list[list[int]]: ...

    @property
    def likely_logprobs(self) -> list[list[float]]: ...


@runtime_checkable
class Telling(Protocol):
    """A model whose weights are here: it can say what it thinks of a text that is given. See `lm.engine.Engine`."""

    @property
    def format(self) -> Spelling: ...

    def told(self, chats: Sequence[tuple[list[int], list[bool]]], k: int) -> Iterator[Thought]: ...


class CompletionBody(Asked):
    """The body of POST /v1/completions. prompt: a text or token ids, or several of them."""

    prompt: Text | Annotated[list[Text] | Ids | list[Ids], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=0)] = 16
    logprobs: Annotated[int, Field(ge=0, le=TOP_LOGPROBS)] | None = None
    echo: bool | None = None
    stream: bool | None = None
    suffix: None = None
    best_of: Annotated[int, Field(ge=1, le=1)] | None = None

    @field_validator("stream")
    @classmethod
    def _comes_whole(cls, value: bool | None) -> bool | None:
        if value:
            raise PydanticCustomError("unsupported_parameter", _ONLY_WHOLE)
        return value

    def request(self, ids: tuple[int, ...], index: int, seed: int) -> Request:
        """To go on from `ids`; with log-probabilities, since those tell which tokens an answer has."""
        return Request(
            messages=(),
            continues=ids,
            max_tokens=self.max_tokens,
            logprobs=True,
            **self.sampling(index=index, seed=seed),
        )

    @property
    def prompts(self) -> list[str | tuple[int, ...]]:
        said: Any = self.prompt
        one = isinstance(said, str) or isinstance(said[0], int)
        return [each if isinstance(each, str) else tuple(each) for each in ([said] if one else said)]


@dataclass(frozen=True, slots=True)
class _Part:
    """A prompt, and what goes on from it. ids: of both; given: how many of them are the prompt's."""

    text: str
    ids: tuple[int, ...]
    given: int
    answer: Answer | None


def install(api: FastAPI, find: Callable[[str], Awaitable[ChatModel]], turns: Turns, limits: Limits) -> None:
    """Adds the endpoint. find: the model of a name, which may speak now."""
    alone = threading.Lock()  # two at once would only take the processor from each other

    @api.post("/v1/completions")
    async def completions(body: CompletionBody) -> dict[str, Any]:
        model = await find(body.model)
        prompts = body.prompts
        if not isinstance(model, Telling):
            raise Fault(400, f"{body.model!r} takes chats only; ask /v1/chat/completions", code="unsupported_model")
        if len(prompts) * body.choices > limits.prompts:
            raise Fault(400, f"at most {limits.prompts} texts at once", code="invalid_value", param="prompt")
        if body.max_tokens > limits.max_tokens:
            raise Fault(400, f"max_tokens is at most {limits.max_tokens}", code="invalid_value", param="max_tokens")
        given = [model.format.raw(each) if isinstance(each, str) else list(each) for each in prompts]
        parts = [
            _Part(each if isinstance(each, str) else model.format.spell(ids), tuple(ids), len(ids), None)
            for each, ids in zip(prompts, given, strict=True)
            for _ in range(body.choices)
        ]
        if _only_the_next(body):
            parts, thoughts = await run_in_threadpool(_next, model, parts, body, alone)
        else:
            parts = await _spoken(turns, model, parts, body) if body.max_tokens else parts
            thoughts = await run_in_threadpool(_thoughts, model, parts, body, alone)
        return _reply(body, model.format, parts, thoughts)


def _only_the_next(body: CompletionBody) -> bool:
    """Whether one look at what is given tells everything, as when a harness asks for log-probabilities."""
    return bool(body.echo) and body.logprobs is not None and body.max_tokens == 1 and body.temperature == 0


def _thoughts(model: Telling, parts: list[_Part], body: CompletionBody, alone: threading.Lock) -> list[Thought]:
    if body.logprobs is None:
        return []
    if not all(part.ids for part in parts):
        raise Fault(400, "an empty text has no token", code="invalid_value", param="prompt")
    any_token = 0  # stands where the next one would, so that what is thought of that place is told too
    chats = [([*part.ids, any_token], [True] * (len(part.ids) + 1)) for part in parts]
    with alone:
        return list(model.told(chats, max(1, body.logprobs)))


def _next(
    model: Telling, parts: list[_Part], body: CompletionBody, alone: threading.Lock
) -> tuple[list[_Part], list[Thought]]:
    """The most probable next token, from the same look as the log-probabilities."""
    thoughts = _thoughts(model, parts, body, alone)
    spoken = []
    for part, thought in zip(parts, thoughts, strict=True):
        best, logprob = thought.likely[-1][0], thought.likely_logprobs[-1][0]
        thought.logprobs[-1] = logprob
        text = model.format.spell([best])
        answer = Answer(text=text, finish="length", prompt_tokens=part.given, completion_tokens=1)
        spoken.append(_Part(part.text, (*part.ids, best), part.given, answer))
    return spoken, thoughts


async def _spoken(turns: Turns, model: Any, parts: list[_Part], body: CompletionBody) -> list[_Part]:
    seed = secrets.randbits(63)
    requests = [body.request(part.ids, index % body.choices, seed) for index, part in enumerate(parts)]
    try:
        talk = turns.ask(model, requests)
    except Busy as err:
        raise Fault(429, "too many are talking; try again shortly, or with fewer texts", code="busy") from err
    try:
        answers = {index: item async for index, item in talk if isinstance(item, Answer)}
    finally:
        talk.leave()
    spoken = []
    for index, part in enumerate(parts):
        answer = answers[index]
        ids = (int(said.token) for said in answer.logprobs)
        spoken.append(_Part(part.text, (*part.ids, *ids), part.given, answer))
    return spoken


def _reply(body: CompletionBody, spelling: Spelling, parts: list[_Part], thoughts: list[Thought]) -> dict[str, Any]:
    choices = []
    for index, part in enumerate(parts):
        said = part.answer.text if part.answer else ""
        choices.append(
            {
                "index": index,
                "text": part.text + said if body.echo else said,
                "logprobs": _logprobs(body, spelling, part, thoughts[index]) if thoughts else None,
                "finish_reason": part.answer.finish if part.answer else "length",
            }
        )
    prompt = sum(part.given for part in parts[:: body.choices])
    completion = sum(part.answer.completion_tokens for part in parts if part.answer)
    used = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    head = {"id": f"cmpl-{uuid4().hex}", "object": "text_completion", "created": int(time.time()), "model": body.model}
    return head | {"choices": choices, "usage": used}


def _logprobs(body: CompletionBody, spelling: Spelling, part: _Part, thought: Thought) -> dict[str, Any]:
    """OpenAI's four lists. The first token of a text has nothing before it, hence no log-probability.

    Two tokens may be spelt alike (parts of one character); of those the more probable stands in `top_logprobs`.
    """
    words = [spelling.spell([token]) for token in part.ids]
    said: list[float | None] = [None, *thought.logprobs]  # longer than `part.ids` by the place after the end
    top: list[dict[str, float] | None] = [None]
    for tokens, logprobs in zip(thought.likely, thought.likely_logprobs, strict=True):
        best: dict[str, float] = {}
        for token, logprob in zip(tokens, logprobs, strict=True):
            best.setdefault(spelling.spell([token]), logprob)
        top.append(best)
    offsets, at = [], 0
    for word in words:
        offsets.append(at)
        at += len(word)
    start = 0 if body.echo else part.given
    cut = slice(start, len(part.ids))
    return {
        "tokens": words[cut],
        "token_logprobs": said[cut],
        "top_logprobs": top[cut] if body.logprobs else None,
        "text_offset": offsets[cut],
    }
