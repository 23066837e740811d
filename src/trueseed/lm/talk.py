"""One request while it is being answered: its tokens, its text, and when it ends."""

from collections.abc import Sequence

from trueseed.core.chat import Answer, Finish, Request, TokenLogprob
from trueseed.errors import ConfigError
from trueseed.lm.format import Format


class Talk:
    """position: of the request among those taken. finish: set when the answer has ended.

    Raises `ConfigError` for a request that cannot be answered. With `streamed`, stop strings or a watch, text is
    decoded as it is spoken; else once at the end.
    """

    def __init__(self, position: int, request: Request, form: Format, context: int, *, streamed: bool = False) -> None:
        self.position, self.request = position, request
        self.prompt = tuple(_prompt(request, form))
        self.ids: list[int] = []
        self.finish: Finish | None = None
        self._form = form
        of_chats = form.stop if request.continues is None else ()
        self._stop = tuple(stop for stop in (*request.stop, *of_chats) if stop)
        self._spoken = form.incremental() if self._stop or streamed or request.watch else None
        self._logprobs: list[TokenLogprob] = []
        self._text = ""
        self._shown = 0
        self._limit = min(request.max_tokens, context - len(self.prompt))
        self._refuse_impossible(context)

    def hear(self, token: int, logprob: float) -> None:
        """Takes the next token, and notices the end."""
        self.ids.append(token)
        if self.request.logprobs:
            self._logprobs.append(TokenLogprob(token, logprob))
        if token in self._form.end_ids:
            self.finish = "stop"
        elif self._spoken:
            self._extend(self._spoken.add(token))
        if not self.finish and self.request.watch and self.request.watch.enough(self._text):
            self.finish = "enough"
        if not self.finish and len(self.ids) >= self._limit:
            self.finish = "length"
        if self.finish and self._spoken and not self._stopped:
            self._extend(self._spoken.rest())

    def fresh_text(self) -> str:
        """What can be shown since the last call; a possible beginning of a stop string is held back."""
        end = len(self._text) if self.finish else len(self._text) - self._held()
        piece, self._shown = self._text[self._shown : end], max(self._shown, end)
        return piece

    def answer(self) -> Answer:
        assert self.finish, "an answer is asked for before it ended"
        said = self.ids[:-1] if self.ids[-1] in self._form.end_ids else self.ids
        return Answer(
            text=self._text if self._spoken else self._form.decode(said),
            finish=self.finish,
            prompt_tokens=len(self.prompt),
            completion_tokens=len(self.ids),
            logprobs=tuple(self._logprobs),
        )

    _stopped = False

    def _extend(self, piece: str) -> None:
        """Adds text and cuts it before the first stop string."""
        longest = max(map(len, self._stop), default=1)
        start = max(0, len(self._text) - longest + 1)
        self._text += piece
        found = [at for stop in self._stop if (at := self._text.find(stop, start)) >= 0]
        if found:
            self._text, self.finish, self._stopped = self._text[: min(found)], "stop", True

    def _held(self) -> int:
        """Length of the longest end of the text that a stop string begins with."""
        for stop_length in range(max(map(len, self._stop), default=1) - 1, 0, -1):
            if any(len(stop) > stop_length and self._text.endswith(stop[:stop_length]) for stop in self._stop):
                return stop_length
        return 0

    def _refuse_impossible(self, context: int) -> None:
        if self.request.schema is not None or self.request.tools:
            raise ConfigError("weights that run here follow no JSON Schema and call no tools; ask without them")
        if self.request.top_logprobs:
            raise ConfigError("weights that run here tell the most probable tokens by `Engine.topk`; ask without them")
        request = self.request
        if not self.prompt:
            raise ConfigError("there is nothing to go on from: the text is empty, and the tokenizer begins none")
        if self._limit < 1:
            raise ConfigError(
                f"nothing can be answered: the chat takes {len(self.prompt)} of the model's {context} tokens of context"
                f" and max_tokens is {request.max_tokens}; shorten the chat or raise max_tokens"
            )
        if not 0 < request.top_p <= 1:
            raise ConfigError(f"top_p must be above 0 and at most 1, not {request.top_p}")
        if request.temperature < 0:
            raise ConfigError(f"temperature must be at least 0, not {request.temperature}")


def _prompt(request: Request, form: Format) -> Sequence[int]:
    if request.echo is not None:
        raise ConfigError("weights that are here tell how probable a given text is by `Engine.follow`")
    if request.continues is None:
        return form.prompt(request.messages)
    if request.messages:
        raise ConfigError("a request goes on from a text or from a chat, not from both: give `continues` or `messages`")
    return form.raw(request.continues) if isinstance(request.continues, str) else request.continues
