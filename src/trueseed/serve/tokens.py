"""The tokenizer over HTTP, under vLLM's paths, so that a harness needs no copy of it: lm-evaluation-harness finds these
by itself. `/tokenizer_info`, `/tokenize`, `/detokenize`.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict

from trueseed.access.faults import Fault
from trueseed.core.chat import ChatModel
from trueseed.serve.completions import Ids
from trueseed.serve.wire import Text

Only = Callable[[str | None], Awaitable[ChatModel]]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    model: Text | None = None


class TokenizeBody(_Shape):
    prompt: Text
    add_special_tokens: bool = True


class DetokenizeBody(_Shape):
    tokens: Ids


def install(api: FastAPI, only: Only) -> None:
    """only: the model of a name, or the one there is."""

    async def form(name: str | None) -> Any:
        found = getattr(await only(name), "format", None)
        if found is None:
            raise Fault(400, "this model's tokenizer is not here", code="unsupported_model")
        return found

    @api.get("/tokenizer_info")
    async def tokenizer_info(model: str | None = None) -> dict[str, Any]:
        tokenizer = (await form(model)).tokenizer
        return {
            "tokenizer_class": type(tokenizer).__name__,
            "chat_template": tokenizer.chat_template,
            **{name: getattr(tokenizer, name) for name in ("bos_token", "eos_token", "pad_token", "unk_token")},
        }

    @api.post("/tokenize")
    async def tokenize(body: TokenizeBody) -> dict[str, Any]:
        ids = (await form(body.model)).raw(body.prompt, special=body.add_special_tokens)
        return {"tokens": ids, "count": len(ids)}

    @api.post("/detokenize")
    async def detokenize(body: DetokenizeBody) -> dict[str, str]:
        return {"prompt": (await form(body.model)).spell(body.tokens)}
