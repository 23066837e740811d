"""What a step's journal knows of a teacher's answers: looked up by the digest of the request, read from the disk.

Answers stay in the file. In memory is where each begins, in a few bytes, so that a hundred thousand answers weigh
hardly more than a thousand.
"""

from array import array
from collections.abc import Iterator
from typing import Any

from trueseed.core.chat import Answer, TokenLogprob
from trueseed.core.journal import Journal

FIRST_SLOTS = 1 << 10  # doubled whenever half of them are taken


class Answered:
    """The answers in `journal`, the earlier ones and those kept since. Raises `Broken` when a line was damaged."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._places = _Places()
        self.earlier = 0  # answers that were there before
        for place, line in journal.lines():
            self._places.put(line["request"], place)
            self.earlier += 1

    def __iter__(self) -> Iterator[Answer]:
        """Those that were there before."""
        return (_answer(line["answer"]) for line in self._journal)

    def get(self, request: str) -> Answer | None:
        line = self._line(request)
        return _answer(line["answer"]) if line else None

    def asked_at(self, request: str) -> str:
        """RFC 3339; '' when it was not answered."""
        line = self._line(request)
        return str(line["asked_at"]) if line else ""

    def keep(self, request: str, at: str, answer: Answer) -> None:
        place = self._journal.size
        self._journal.append({"request": request, "asked_at": at, "answer": _plain(answer)})
        self._places.put(request, place)

    def _line(self, request: str) -> dict[str, Any] | None:
        """The newest one: a question that was under way twice was answered twice."""
        found = None
        for place in sorted(self._places.candidates(request)):
            line = self._journal.read(place)
            found = line if line["request"] == request else found
        return found


class _Places:
    """Digest → places in a file, at 16 to 64 bytes each, where a dictionary takes 200: a table with open addressing.

    Only the first 64 bits of a digest are kept, so what is found must be compared.
    """

    def __init__(self, slots: int = FIRST_SLOTS) -> None:
        self._keys, self._places = array("Q", bytes(8 * slots)), array("Q", bytes(8 * slots))  # a place plus one
        self._taken = 0

    def put(self, digest: str, place: int) -> None:
        if 2 * self._taken >= len(self._keys):
            self._double()
        self._put(int(digest[:16], 16), place + 1)

    def candidates(self, digest: str) -> Iterator[int]:
        """In any order."""
        key = int(digest[:16], 16)
        slot = key % len(self._keys)
        while self._places[slot]:
            if self._keys[slot] == key:
                yield self._places[slot] - 1
            slot = (slot + 1) % len(self._keys)

    def _put(self, key: int, place: int) -> None:
        slot = key % len(self._keys)
        while self._places[slot]:
            slot = (slot + 1) % len(self._keys)
        self._keys[slot], self._places[slot] = key, place
        self._taken += 1

    def _double(self) -> None:
        keys, places = self._keys, self._places
        self._keys, self._places = (array("Q", bytes(16 * len(keys))) for _ in range(2))
        self._taken = 0
        for key, place in zip(keys, places, strict=True):
            if place:
                self._put(key, place)


def _plain(answer: Answer) -> dict[str, Any]:
    return {
        "text": answer.text,
        "finish": answer.finish,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "logprobs": [[step.token, step.logprob] for step in answer.logprobs],
        "because": answer.because,
        "tool_calls": [dict(call) for call in answer.tool_calls],
    }


def _answer(plain: dict[str, Any]) -> Answer:
    logprobs = tuple(TokenLogprob(token, logprob) for token, logprob in plain["logprobs"])
    return Answer(**{**plain, "tool_calls": tuple(plain.get("tool_calls", ())), "logprobs": logprobs})
