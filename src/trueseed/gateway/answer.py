"""What an answer says that passes through: its usage, its texts, its end. The bytes themselves are let through."""

import hashlib
import json
from collections import defaultdict
from typing import Any

from trueseed.core.canonical import sha256
from trueseed.gateway.events import DONE, event
from trueseed.gateway.ticket import Ended
from trueseed.gateway.wanted import Wanted
from trueseed.teachers.api import wire
from trueseed.teachers.api.actions import Failure
from trueseed.teachers.api.wire import Usage, usage_of


class Garbled(Exception):  # noqa: N818
    """Something came with status 200 that is no chat completion. failure: what it says, where it is an error."""

    def __init__(self, message: str, failure: Failure | None = None) -> None:
        super().__init__(message)
        self.failure = failure


def whole(raw: bytes) -> Ended:
    """How a call ended whose answer is `raw`. Raises `Garbled`."""
    value = _object(raw)
    if value.get("error") and "choices" not in value:
        raise _error(raw, value)
    choices = value.get("choices")
    if not isinstance(choices, list) or not choices:
        raise Garbled("it holds no choices")
    texts = tuple(text for choice in choices if (text := _text(choice, "message")))
    return Ended(end="answered", status=200, usage=usage_of(value.get("usage")), answer=sha256(raw), texts=texts)


class Stream:
    """The events of one answer, taken one by one.

    From the event on that ends the last choice they are held back: who has the end of an answer has an answer that was
    settled.
    """

    def __init__(self, wanted: Wanted) -> None:
        self.held: list[bytes] = []
        self._wanted = wanted
        self._usage: Usage | None = None
        self._texts: defaultdict[int, list[str]] = defaultdict(list)
        self._finished: set[int] = set()
        self.is_done = False  # said to be, by the event that ends a stream
        self._relayed = hashlib.sha256()

    def take(self, payload: bytes) -> bytes | None:
        """What may be let go now. Raises `Garbled`."""
        if payload == DONE:
            self.is_done = True
            return None
        chunk = _object(payload)
        if chunk.get("error"):
            raise _error(payload, chunk)
        self._read(chunk)
        out = self._as_asked(payload, chunk)
        if out is None:
            return None
        self._relayed.update(out)
        if len(self._finished) < self._wanted.choices:
            return out
        self.held.append(out)
        return None

    def ended(self) -> Ended:
        """How the call ended, once no more events come. Raises `Garbled` when it said nothing at all."""
        if not self.is_done and len(self._finished) < self._wanted.choices:
            return Ended(end="unknown", status=200, because="the stream ended before the answer did")
        if not self._texts and not self._finished:
            raise Garbled("it holds no choices")
        self.held.append(event(DONE))
        texts = tuple("".join(parts) for _, parts in sorted(self._texts.items()))
        return Ended(end="answered", status=200, usage=self._usage, answer=self._relayed.hexdigest(), texts=texts)

    def _read(self, chunk: dict[str, Any]) -> None:
        self._usage = _larger(self._usage, usage_of(chunk.get("usage")))
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, dict):
                raise Garbled("a choice is no object")
            index = choice.get("index")
            index = index if isinstance(index, int) else 0
            if text := _text(choice, "delta"):
                self._texts[index].append(text)
            if choice.get("finish_reason"):
                self._finished.add(index)

    def _as_asked(self, payload: bytes, chunk: dict[str, Any]) -> bytes | None:
        """The event as the client would have had it without us, who asked for the usage."""
        if self._wanted.wants_usage or "usage" not in chunk:
            return event(payload)
        if not chunk.get("choices"):
            return None
        del chunk["usage"]
        return event(json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode(errors="replace"))


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Garbled(f"it is not a JSON object: {raw[:100].decode('utf-8', 'replace')!r}")
    return value


def _error(raw: bytes, value: dict[str, Any]) -> Garbled:
    return Garbled(f"it is an error: {str(value['error'])[:300]}", wire.told(None, {}, raw))


def _larger(one: Usage | None, other: Usage | None) -> Usage | None:
    """Some tell it with every event, as of then, and some more than once."""
    if one is None or other is None:
        return one or other
    return Usage(max(one.prompt, other.prompt), max(one.completion, other.completion))


def _text(choice: Any, name: str) -> str:
    """What a choice says, reasoning and tool calls left out; '' for nothing."""
    message = choice.get(name) if isinstance(choice, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    return content.encode(errors="replace").decode() if isinstance(content, str) else ""
