"""Answers as they travel: OpenAI's chat completion, whole and as events, and what faults make of them."""

import json
from collections.abc import Iterator
from typing import Any

from trueseed.teachers.simulator.account import Admitted
from trueseed.teachers.simulator.answers import Spoken

HTML = b"<!DOCTYPE html>\n<html><head><title>Bad gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n"
DONE = b"data: [DONE]\n\n"
_LOGPROB = -0.25  # natural logarithm, of every token said; those not said follow at steps of one


def identity(call: Admitted) -> str:
    """The id of the completion: the same call of the same run has the same."""
    return f"chatcmpl-{call.question.identity.hex()}{call.number:08x}"


def usage(call: Admitted) -> dict[str, Any]:
    prompt, completion = call.question.prompt_tokens, call.completion_tokens
    said = completion * 2 if call.fault == "wrong_usage" else completion
    return {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + completion}


def whole(call: Admitted, created: int) -> bytes:
    """The body of an answer in one piece. created: Unix time."""
    choices = [] if call.fault == "empty_choices" else [_choice(call, *each) for each in enumerate(call.spoken)]
    body: dict[str, Any] = {
        "id": identity(call),
        "object": "chat.completion",
        "created": created,
        "model": call.model,
        "choices": choices,
        "usage": usage(call),
        "system_fingerprint": "fp_simulated",
    }
    if call.fault == "missing_usage":
        del body["usage"]
    said = json.dumps(body).encode()
    return said[: len(said) // 2] if call.fault == "malformed" else said


def events(call: Admitted, created: int) -> Iterator[bytes]:
    """The events of a streamed answer, without the last, `DONE`."""
    head: dict[str, Any] = {
        "id": identity(call),
        "object": "chat.completion.chunk",
        "created": created,
        "model": call.model,
        "system_fingerprint": "fp_simulated",
    }
    if call.question.include_usage:
        head["usage"] = None
    for number, choice in enumerate(_deltas(call)):
        choices = [] if call.fault == "empty_choices" else [choice]
        event = _event({**head, "choices": choices})
        yield b"data: {\n\n" if call.fault == "malformed" and number == 1 else event
    if call.question.include_usage and call.fault != "missing_usage":
        yield _event({**head, "choices": [], "usage": usage(call)})


def _event(value: dict[str, Any]) -> bytes:
    return b"data: %s\n\n" % json.dumps(value).encode()


def _choice(call: Admitted, index: int, spoken: Spoken) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": spoken.text, "refusal": None}
    if spoken.tool is not None:
        message |= {"content": None, "tool_calls": [_tool_call(call, index, spoken)]}
    return {
        "index": index,
        "message": message,
        "logprobs": _logprobs(call, spoken.pieces()) if call.question.logprobs is not None else None,
        "finish_reason": spoken.finish,
    }


def _deltas(call: Admitted) -> Iterator[dict[str, Any]]:
    """What each event adds: who speaks, the tokens, why it ends; one choice after the other."""
    for index, spoken in enumerate(call.spoken):
        yield _delta(index, {"role": "assistant", "content": None if spoken.tool else "", "refusal": None})
        if spoken.tool is not None:
            yield _delta(index, {"tool_calls": [{"index": 0, **_tool_call(call, index, spoken)}]})
        else:
            for piece in spoken.pieces():
                logprobs = _logprobs(call, [piece]) if call.question.logprobs is not None else None
                yield {**_delta(index, {"content": piece}), "logprobs": logprobs}
        yield {**_delta(index, {}), "finish_reason": spoken.finish}


def _delta(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}


def _tool_call(call: Admitted, index: int, spoken: Spoken) -> dict[str, Any]:
    return {
        "id": f"call_{call.question.identity.hex()[:20]}{index:04x}",
        "type": "function",
        "function": {"name": spoken.tool, "arguments": spoken.text},
    }


def _logprobs(call: Admitted, pieces: list[str]) -> dict[str, Any]:
    """Of every token the same, with as many alternatives as were asked for."""
    others = call.question.logprobs or 0
    return {
        "content": [
            {
                **_token(piece, 0),
                "top_logprobs": [_token(piece if rank == 0 else f" alternative{rank}", rank) for rank in range(others)],
            }
            for piece in pieces
        ],
        "refusal": None,
    }


def _token(text: str, rank: int) -> dict[str, Any]:
    return {"token": text, "logprob": _LOGPROB - rank - (rank > 0), "bytes": list(text.encode(errors="replace"))}
