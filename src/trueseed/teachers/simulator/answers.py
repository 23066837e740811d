"""What the simulator says: words drawn from the digest of the question and the seed, so that who knows both knows them.

The first word is unlike that of any other question: `said(question, 0, behaviour).text` of two different questions
differs, so a test can tell which question an answer belongs to and that every one was answered.
"""

import json
import re
from dataclasses import dataclass
from hashlib import shake_256
from typing import Literal

from trueseed.teachers.simulator.behaviour import Behaviour
from trueseed.teachers.simulator.instance import instance
from trueseed.teachers.simulator.question import Question, Unreadable

Finish = Literal["stop", "length", "tool_calls"]

_BEGIN = ("ba", "de", "fi", "go", "ha", "ki", "lu", "ma", "ne", "pi", "ro", "su", "ta", "ve", "wi", "zo")
_END = ("bal", "den", "fir", "gos", "hat", "kil", "lum", "mar", "net", "pin", "ron", "sul", "tam", "ver", "wit", "zon")
_WORDS = tuple(begin + end for begin in _BEGIN for end in _END)  # 256, one for each byte
_TOKEN = re.compile(r"\s*\S+\s*?")


@dataclass(frozen=True, slots=True)
class Spoken:
    """One choice. text: what was said or, with a tool, the JSON of its arguments. tokens: its words. tool: its name."""

    text: str
    tokens: int
    finish: Finish
    tool: str | None = None

    def pieces(self) -> list[str]:
        """The tokens, with the blanks between them."""
        pieces = _TOKEN.findall(self.text)
        rest = self.text[sum(map(len, pieces)) :]
        return [*pieces, rest] if rest else pieces


def said(question: Question, index: int, behaviour: Behaviour) -> Spoken:
    """Choice `index` of the answer. Raises `Unreadable` for a JSON Schema that allows no value."""
    words = _words(question, index, behaviour)
    if question.tool is not None:
        name, parameters = question.tool
        arguments = _json(parameters or {"type": "object"}, words[0])
        return Spoken(arguments, max(1, len(arguments.split())), "tool_calls", name)
    if question.schema is not None:
        words = _json(question.schema, words[0]).split(" ")
    return _bounded(" ".join(words), question)


def _words(question: Question, index: int, behaviour: Behaviour) -> list[str]:
    most = behaviour.answer_words + behaviour.answer_words_spread
    material = b"%d:%d:" % (behaviour.seed, index) + question.identity
    drawn = shake_256(material).digest(10 + most)
    count = behaviour.answer_words + int.from_bytes(drawn[:4]) % (behaviour.answer_words_spread + 1)
    return [drawn[4:10].hex(), *(_WORDS[byte] for byte in drawn[10 : 9 + count])]


def _json(schema: object, word: str) -> str:
    try:
        return json.dumps(instance(schema if isinstance(schema, dict) else {}, word))
    except ValueError as err:
        raise Unreadable(f"Invalid schema: {err}", "response_format") from err


def _bounded(text: str, question: Question) -> Spoken:
    """`text` up to the first stop string and the bound on tokens."""
    for stop in question.stops:
        text = text.partition(stop)[0]
    words = text.split()
    if question.limit is not None and len(words) > question.limit:
        return Spoken(" ".join(words[: question.limit]), question.limit, "length")
    return Spoken(text, len(words), "stop")
