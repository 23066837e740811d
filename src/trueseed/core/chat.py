"""What every model that talks looks like: teacher, judge, student and served model are one `ChatModel`.

    for position, answer in model.answers(requests):
        ...

`answers` takes requests lazily and gives answers as they finish, in any order, each with the position of its request.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Role = Literal["system", "user", "assistant", "tool"]
Finish = Literal["stop", "length", "enough", "skipped"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat, in the OpenAI shape."""

    role: Role
    content: str

    def to_json(self) -> dict[str, str]:
        return {"role": self.role, "content": self.content}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Message":
        return cls(value["role"], value["content"])


def user(content: str) -> tuple[Message, ...]:
    """The shortest chat: one question."""
    return (Message("user", content),)


class Watch(Protocol):
    """Looks on while an answer is spoken, and says when its asker has heard enough."""

    def enough(self, beginning: str) -> bool:
        """Whether nothing that may follow matters to the asker."""
        ...

    def to_json(self) -> Any:
        """What decides it; it stands in the digest of the request."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to a model.

    temperature: 0 is greedy. top_p: the exact nucleus, 1 is everything. seed: this request's own random stream.
    stop: the answer ends before the first of these strings. max_tokens: bound on the answer, in the model's tokens.
    logprobs: also return the log-probability of every token of the answer. top_logprobs: and at each of them those of
    so many of the most probable tokens; servers give 20 at most, some fewer. schema: the answer is JSON that this JSON
    Schema allows. tools: functions that the model may call instead, in the OpenAI shape. What a model cannot do it
    refuses with `ConfigError`, rather than answer something else. watch: may end the answer early; a model that cannot
    be interrupted says all of it. continues: what to go on from as it stands, text or token ids, without a chat (then
    there are no messages); only weights that run here can. echo: instead of saying more, tell how probable the tokens
    of `continues` are that begin at this character or later; some servers can (`teachers.echo`).
    """

    messages: tuple[Message, ...]
    max_tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    top_logprobs: int = 0
    schema: Mapping[str, Any] | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    watch: Watch | None = None
    continues: str | tuple[int, ...] | None = None
    echo: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Everything that decides the answer; its digest is the request digest in a record's origin."""
        said: dict[str, Any] = {
            "messages": [message.to_json() for message in self.messages],
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "seed": self.seed,
            "stop": list(self.stop),
            "logprobs": self.logprobs,
        }
        if self.top_logprobs:
            said["top_logprobs"] = self.top_logprobs
        if self.schema is not None:
            said["schema"] = dict(self.schema)
        if self.tools:
            said["tools"] = [dict(tool) for tool in self.tools]
        if self.watch is not None:
            said["watch"] = self.watch.to_json()
        if self.continues is not None:
            said["continues"] = self.continues if isinstance(self.continues, str) else list(self.continues)
        if self.echo is not None:
            said["echo"] = self.echo
        return said


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """token: its id, or its text where the model's server tells no ids. top: the most probable tokens at this place,
    where they were asked for; and then spelt: the token's bytes, if told, as it may be part of a character.
    """

    token: int | str
    logprob: float  # natural logarithm
    spelt: bytes = b""
    top: "tuple[TokenLogprob, ...]" = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back.

    finish: `stop` (the model ended, or a stop string), `length` (cut by max_tokens), `enough` (ended by the request's
    watch: the text is a beginning) or `skipped` (there is no answer to this question and will be none; because: why, in
    words). tool_calls: in the OpenAI shape; text may be empty then. model: the name by which a server says that it
    answered, which may be another than it was asked by; '' where none was said.
    """

    text: str
    finish: Finish
    prompt_tokens: int
    completion_tokens: int
    logprobs: tuple[TokenLogprob, ...] = field(default=())
    because: str = ""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    model: str = ""


class ChatModel(Protocol):
    """Something that answers. `source` names it as `maker/model@route`."""

    @property
    def source(self) -> str: ...

    def answers(self, requests: Iterable[Request | None]) -> Iterator[tuple[int, Answer]]:
        """Answers as they finish, each with the position of its request among the requests taken.

        `requests` is pulled only when there is room, so what it yields may depend on answers already seen. A `None`
        means "nothing now, ask me again after the next answer", and takes no position.
        """
        ...

    def stream(self, request: Request) -> Iterator[str | Answer]:
        """Pieces of text as they are spoken, then the whole `Answer` as the last item."""
        ...
