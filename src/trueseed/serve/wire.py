"""OpenAI's chat completions as they travel: what a client may send, and what it gets.

A parameter that we do not know is refused. One that we know but cannot honour is refused unless it asks for nothing, so
that no one believes a setting had an effect when it had none.
"""

import time
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict
from uuid import uuid4

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from trueseed.core.chat import Answer, Message, Request

_ASKS_NOTHING: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (None, 0),
    "presence_penalty": (None, 0),
    "logit_bias": (None, {}),
    "logprobs": (None, False),  # a ChatModel gives token numbers; this shape wants their spelling
    "top_logprobs": (None, 0),
    "response_format": (None, {"type": "text"}),
    "modalities": (None, ["text"]),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "audio": (None,),
    "prediction": (None,),
    "reasoning_effort": (None, "none"),
    "web_search_options": (None,),
}


_OF_CHATS = tuple(name for name in _ASKS_NOTHING if name not in ("frequency_penalty", "presence_penalty", "logit_bias"))


def _nothing(value: Any, info: ValidationInfo) -> Any:
    if value not in _ASKS_NOTHING[str(info.field_name)]:
        raise PydanticCustomError(
            "unsupported_parameter", "{name} is not supported here; leave it out", {"name": info.field_name}
        )
    return value


def _whole_characters(value: str) -> str:
    """JSON can spell half of a surrogate pair; no tokenizer can read it."""
    try:
        value.encode()
    except UnicodeEncodeError as err:
        raise PydanticCustomError("half_character", "it holds half of a character (a lone surrogate)") from err
    return value


Text = Annotated[str, AfterValidator(_whole_characters)]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Part(_Shape):
    type: Literal["text"]
    text: Text


class Turn(_Shape):
    """One message. The fields after `name` come back from clients that echo our own messages; they hold nothing."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[Part]
    name: Text | None = None
    refusal: None = None
    audio: None = None
    tool_calls: None = None
    function_call: None = None
    annotations: Annotated[list[Any], Field(max_length=0)] | None = None

    def message(self) -> Message:
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return Message("system" if self.role == "developer" else self.role, text)


class Sampling(TypedDict):
    """As `Request` names them."""

    temperature: float
    top_p: float
    seed: int
    stop: tuple[str, ...]


class StreamOptions(_Shape):
    include_usage: bool = False
    include_obfuscation: bool = False


class Asked(_Shape):
    """What every body may say of a model and how it is to speak."""

    model: Text
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    n: Annotated[int, Field(ge=1, le=4)] | None = None
    stop: Text | Annotated[list[Text], Field(max_length=4)] | None = None

    frequency_penalty: Any = None
    presence_penalty: Any = None
    logit_bias: Any = None

    user: Any = None  # concerns the other end's accounts and changes no answer

    @field_validator("frequency_penalty", "presence_penalty", "logit_bias")
    @classmethod
    def _asks_nothing(cls, value: Any, info: ValidationInfo) -> Any:
        return _nothing(value, info)

    @property
    def choices(self) -> int:
        return self.n or 1

    def sampling(self, *, index: int, seed: int) -> Sampling:
        """How the `index`-th answer is sampled; `seed` where the client gave none."""
        first = seed if self.seed is None else self.seed
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return {
            "temperature": 1.0 if self.temperature is None else self.temperature,
            "top_p": 1.0 if self.top_p is None else self.top_p,
            "seed": (first + index) % 2**63,
            "stop": tuple(text for text in stop if text),
        }


class ChatBody(Asked):
    """The body of POST /v1/chat/completions."""

    messages: Annotated[list[Turn], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None

    logprobs: Any = None
    top_logprobs: Any = None
    response_format: Any = None
    modalities: Any = None
    tools: Any = None
    tool_choice: Any = None
    functions: Any = None
    function_call: Any = None
    audio: Any = None
    prediction: Any = None
    reasoning_effort: Any = None
    web_search_options: Any = None

    # These concern the other end's accounts and change no answer.
    metadata: Any = None
    store: Any = None
    service_tier: Any = None
    parallel_tool_calls: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None

    @field_validator(*_OF_CHATS)
    @classmethod
    def _asks_nothing_of_a_chat(cls, value: Any, info: ValidationInfo) -> Any:
        return _nothing(value, info)

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    def requests(self, *, max_tokens: int, seed: int) -> list[Request]:
        """One request for each choice; `max_tokens` and `seed` are used where the client gave none."""
        return [
            Request(
                messages=tuple(turn.message() for turn in self.messages),
                max_tokens=self.max_completion_tokens or self.max_tokens or max_tokens,
                **self.sampling(index=index, seed=seed),
            )
            for index in range(self.choices)
        ]


def usage(answers: list[Answer]) -> dict[str, int]:
    prompt, completion = answers[0].prompt_tokens, sum(answer.completion_tokens for answer in answers)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One completion, whole or in chunks: the same id, time and model on each of them."""

    id: str
    created: int
    model: str

    @classmethod
    def to(cls, body: ChatBody) -> "Reply":
        return cls(id=f"chatcmpl-{uuid4().hex}", created=int(time.time()), model=body.model)

    def whole(self, answers: list[Answer]) -> dict[str, Any]:
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": answer.text, "refusal": None},
                "logprobs": None,
                "finish_reason": answer.finish,
            }
            for index, answer in enumerate(answers)
        ]
        return self._head("chat.completion") | {"choices": choices, "usage": usage(answers)}

    def chunk(self, index: int, delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self._head("chat.completion.chunk") | {"choices": [choice]}

    def usage_chunk(self, answers: list[Answer]) -> dict[str, Any]:
        return self._head("chat.completion.chunk") | {"choices": [], "usage": usage(answers)}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}
