"""An answer as it is kept: one line of JSON that says who answered which request, when, under which terms, for what.

    {"teacher", "request", "source", "use", "project", "terms", "asked_at", "step", "answer"}

Of the question only its digest is kept. `key` is what the answer is found by: it covers everything that reaches the
wire. `teacher` is the digest of what stands behind the answers (base URL, model on the wire, how the provider spells
the parameters; or weights and engine), `request` that of messages, parameters, schema, tools and seed.

The seed is the sample index: two requests that differ in it alone are two samples, and each is asked for, also where a
provider takes no seed. Requests that agree in the seed as well are one sample and have one answer.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from trueseed.core.chat import Answer, TokenLogprob
from trueseed.errors import ConfigError
from trueseed.ledger.entered import Entered
from trueseed.terms.model import Use, parse_source

VERSION = 1  # to be raised when the same request goes over the wire in another way

_DIGEST = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def key(teacher: str, source: str, request: str) -> bytes:
    """What an answer is found by, 32 bytes. teacher, request: digests."""
    return hashlib.sha256(f"{VERSION} {source} {teacher} {request}".encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """terms: digest of the document that governed the source on the day it was asked. step: fingerprint of the step
    that asked.
    """

    teacher: str
    request: str
    source: str
    use: Use
    project: str
    terms: str
    asked_at: str
    step: str
    answer: Answer

    @property
    def key(self) -> bytes:
        return key(self.teacher, self.source, self.request)

    @property
    def asked_on(self) -> date:
        return date.fromisoformat(self.asked_at[:10])

    @property
    def entered(self) -> Entered:
        """As a recall sees it."""
        return Entered(
            source=self.source,
            terms=self.terms,
            use=self.use.value,
            project=self.project,
            first=self.asked_at,
            last=self.asked_at,
            count=1,
        )

    def to_json(self) -> dict[str, Any]:
        said = {name: getattr(self, name) for name in _WORDS}
        return {**said, "use": self.use.value, "answer": _plain(self.answer)}

    @classmethod
    def parse(cls, line: bytes | str) -> "Kept":
        """Reads a line. Raises `ValueError` for anything but what `to_json` gives."""
        try:
            value = json.loads(line)
        except RecursionError as err:
            raise ValueError("it is nested too deeply") from err
        if not isinstance(value, dict) or value.keys() != {*_WORDS, "use", "answer"}:
            raise ValueError("it is not an answer as the cache keeps them")
        words = {name: value[name] for name in _WORDS}
        if not all(isinstance(word, str) for word in words.values()):
            raise ValueError("one of its names or digests is not text")
        if not all(_DIGEST.fullmatch(words[name]) for name in ("teacher", "request", "terms", "step")):
            raise ValueError("one of its digests is none")
        if not _TIME.fullmatch(words["asked_at"]):
            raise ValueError(f"{words['asked_at']!r} is not a time")
        date.fromisoformat(words["asked_at"][:10])
        try:
            parse_source(words["source"])
        except ConfigError as err:
            raise ValueError(str(err)) from err
        return cls(use=Use(value["use"]), answer=_answer(value["answer"]), **words)


_WORDS = ("teacher", "request", "source", "project", "terms", "asked_at", "step")


def _plain(answer: Answer) -> dict[str, Any]:
    return {
        "text": answer.text,
        "finish": answer.finish,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "because": answer.because,
        "logprobs": [_told(step) for step in answer.logprobs],
        "tool_calls": [dict(call) for call in answer.tool_calls],
        **({"model": answer.model} if answer.model else {}),
    }


def _told(step: TokenLogprob) -> list[Any]:
    told: list[Any] = [step.token, step.logprob]
    return [*told, step.spelt.hex(), [_told(each) for each in step.top]] if step.spelt or step.top else told


def _answer(value: Any) -> Answer:
    match value:
        case {
            "text": str(text),
            "finish": "stop" | "length" | "enough" | "skipped" as finish,
            "prompt_tokens": int(prompt),
            "completion_tokens": int(completion),
            "logprobs": list(logprobs),
            "because": str(because),
            "tool_calls": list(calls),
            **rest,
        } if _is_model(rest) and min(prompt, completion) >= 0 and all(isinstance(call, Mapping) for call in calls):
            return Answer(
                text=text,
                finish=finish,
                prompt_tokens=prompt,
                completion_tokens=completion,
                logprobs=tuple(_logprob(each) for each in logprobs),
                because=because,
                tool_calls=tuple(calls),
                model=str(rest.get("model", "")),
            )
    raise ValueError("its answer is none")


def _is_model(rest: Mapping[Any, Any]) -> bool:
    """Whether what an answer holds besides is the name of who gave it, or nothing."""
    return not rest or (rest.keys() == {"model"} and isinstance(rest["model"], str) and rest["model"] != "")


def _logprob(value: Any) -> TokenLogprob:
    match value:
        case [int() | str() as token, int() | float() as logprob] if math.isfinite(logprob):
            return TokenLogprob(token, logprob)
        case [int() | str() as token, int() | float() as logprob, str(spelt), list(top)] if math.isfinite(logprob):
            return TokenLogprob(token, logprob, bytes.fromhex(spelt), tuple(_logprob(each) for each in top))
    raise ValueError("one of its log-probabilities is none")
