"""How a chat becomes tokens and a loss mask, and tokens become text: the one home of both directions.

    form = Format(folder)
    form.prompt(messages)      what the model sees before it answers
    form.training(messages)    the same ids, then the answer; a mask that is true where the loss counts

A conversation is cut into what the model is given and what it says, and each piece is tokenised by itself, so an answer
has the same ids in training as when it was spoken. The template is the model's own chat template, system prompt that it
adds by itself included; a base model without one gets `PLAIN`. Text of a message that spells a special token stays
text: nobody ends the turn from inside it.
"""

import itertools
import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from trueseed.core.chat import Message, user
from trueseed.errors import ConfigError

# For base models: no special tokens but the model's own beginning and end, and words that any text model has seen.
PLAIN = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}Answer: {{ message['content'] }}{{ eos_token }}\n\n"
    "{% elif message['role'] == 'user' %}Question: {{ message['content'] }}\n"
    "{% else %}{{ message['content'] }}\n\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Answer: {% endif %}"
)
PLAIN_STOP = ("\nQuestion:",)  # a base model goes on with the next question rather than ending

_GUARD = "\ue0f0{}\ue0f1"  # private-use characters stand for special tokens spelled inside a message
_GUARDED = re.compile("\ue0f0(\\d+)\ue0f1")
_UNFINISHED = "\ufffd"  # what a decoder gives for bytes that are not whole characters yet


class Format:
    """The chat format of the weights in `folder`. end_ids: tokens that end an answer. stop: strings that do.

    Raises `ConfigError` when the folder has no tokenizer that we can read.
    """

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
            self._fast: Any = self.tokenizer.backend_tokenizer
        except Exception as err:  # the tokenizer's own library raises plain exceptions
            said = " ".join(str(err).split())
            raise ConfigError(f"no tokenizer can be read from {folder} ({said}); it needs a tokenizer.json") from err
        self.has_template = bool(self.tokenizer.chat_template)
        self.stop: tuple[str, ...] = () if self.has_template else PLAIN_STOP
        self.end_ids = _end_ids(folder, self.tokenizer)
        self._specials = sorted(self.tokenizer.all_special_tokens, key=len, reverse=True)
        self._vocabulary = _vocabulary(folder)
        self._special = re.compile("|".join(map(re.escape, self._specials)) or "(?!)")

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Ids up to the place where the model begins to speak."""
        if not messages:
            raise ConfigError("a chat needs at least one message")
        given, said = self._cut(messages)
        rest = self._render(messages, True)[sum(map(len, given)) + sum(map(len, said)) :]
        pieces = [piece for pair in zip(given, said, strict=True) for piece in pair]
        return self._known([i for piece in (*pieces, rest) for i in self._encode(piece)])

    @cached_property
    def beginning(self) -> list[int]:
        """Ids that every prompt begins with whose first message is the user's: the template's own first words."""
        one, other = (self.prompt(user(word)) for word in ("a", "Z"))
        return [i for i, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))]

    def training(self, messages: Sequence[Message]) -> tuple[list[int], list[bool]]:
        """Ids of the whole chat, and a mask: true on every assistant answer and the token that ends it.

        Raises `ConfigError` when the chat has no answer, or when the template rewrites earlier turns so that what was
        trained would not be what is served.
        """
        ids: list[int] = []
        mask: list[bool] = []
        for given, said in zip(*self._cut(messages, strict=True), strict=True):
            before, answer = self._encode(given), self._encode(said)
            end = next((at for at, token in enumerate(answer) if token in self.end_ids), None)
            if end is None:
                raise ConfigError("the chat template does not end an answer with a token that ends the model's turn")
            ids += before + answer
            mask += [False] * len(before) + [at <= end for at in range(len(answer))]
        if not ids:
            raise ConfigError("a chat without an assistant's answer has nothing to train on")
        last = max(at for at, counts in enumerate(mask) if counts)
        return self._known(ids[: last + 1]), mask[
            : last + 1
        ]  # what the template writes after the last end token teaches nothing

    def plain(self, before: str, text: str) -> tuple[list[int], list[bool]]:
        """Ids of text that goes on from `before`, without any chat, and a mask: true on the tokens of `text`.

        They are tokenised together, and blanks that `before` ends in count to `text`, since most tokenizers join a
        blank to the word after it. Where neither `before` nor the tokenizer puts a token first, one that begins or
        ends texts does, so that every token of `text` can be predicted. Raises `ConfigError` when `text` has none.
        """
        kept = before.rstrip()
        first = self._first if kept or self._first else [self._separator]
        given = first + self._encode(self._guard(kept))
        ids = first + self._encode(self._guard(before + text))
        if len(ids) <= len(given):
            raise ConfigError(f"{text!r} adds no token to {before[-20:]!r}: it cannot be scored")
        return self._known(ids), [False] * len(given) + [True] * (len(ids) - len(given))

    def raw(self, text: str, *, special: bool = True) -> list[int]:
        """Ids of text as the tokenizer itself reads it: special tokens spelled in it are special. special: with what
        it puts around every text, if anything.
        """
        return [int(i) for i in self._fast.encode(text, add_special_tokens=special).ids]

    def spell(self, ids: Sequence[int]) -> str:
        """Text of any tokens, special ones spelled out."""
        return str(self._fast.decode(list(ids), skip_special_tokens=False))

    @cached_property
    def _first(self) -> list[int]:
        """What the tokenizer itself puts before every text, if anything."""
        bare = self._encode("a")
        ids = [int(i) for i in self.tokenizer("a")["input_ids"]]
        return ids[: ids.index(bare[0])] if bare[0] in ids else []

    @property
    def _separator(self) -> int:
        begins = self.tokenizer.bos_token_id
        return int(begins if begins is not None else min(self.end_ids))

    def decode(self, ids: Sequence[int]) -> str:
        """Text of an answer, special tokens left out."""
        return str(self._fast.decode(list(ids), skip_special_tokens=True))

    def incremental(self) -> "Incremental":
        return Incremental(self)

    def _cut(self, messages: Sequence[Message], *, strict: bool = False) -> tuple[list[str], list[str]]:
        """What is given before each answer, and each answer as the template writes it, in order.

        Their concatenation is the rendered chat up to the last answer. A template that rewrites earlier turns cannot
        be cut: an error when `strict`, no pieces otherwise.
        """
        given: list[str] = []
        said: list[str] = []
        at = 0
        for turn, message in enumerate(messages):
            if message.role != "assistant":
                continue
            before = self._render(messages[:turn], True)
            after = self._render(messages[: turn + 1], False)
            whole = self._render(messages, False)
            if not (after.startswith(before) and whole.startswith(after)):
                if strict:
                    raise ConfigError("the chat template rewrites earlier turns; train on chats of one answer")
                return [], []
            given.append(before[at:])
            said.append(after[len(before) :])
            at = len(after)
        return given, said

    def _render(self, messages: Sequence[Message], generate: bool) -> str:
        from jinja2 import TemplateError

        chat = [{"role": message.role, "content": self._guard(message.content)} for message in messages]
        template = None if self.has_template else PLAIN
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    chat, chat_template=template, tokenize=False, add_generation_prompt=generate
                )
            )
        except TemplateError as err:
            raise ConfigError(f"the model's chat template does not take this chat: {err}") from err

    def _known(self, ids: list[int]) -> list[int]:
        """Raises `ConfigError` for an id that the model has no embedding of."""
        if self._vocabulary and ids and max(ids) >= self._vocabulary:
            beyond = next(i for i in ids if i >= self._vocabulary)
            raise ConfigError(
                f"the tokenizer gives the token {beyond} ({self.tokenizer.convert_ids_to_tokens(beyond)!r}), and the "
                f"model's vocabulary ends at {self._vocabulary - 1}: the tokenizer is of another model"
            )
        return ids

    def _guard(self, text: str) -> str:
        return self._special.sub(lambda found: _GUARD.format(self._specials.index(found.group())), text)

    def _encode(self, text: str) -> list[int]:
        """Ids of rendered text: special tokens that the template wrote are special, guarded ones are plain text, made
        so by tokenising their first character apart from the rest.
        """
        ids: list[int] = []
        for at, piece in enumerate(_GUARDED.split(text)):
            special = self._specials[int(piece)] if at % 2 else ""
            for part in (special[:1], special[1:]) if special else (piece,):
                ids += self._fast.encode(part, add_special_tokens=False).ids
        return ids


class Incremental:
    """Decodes an answer while it is spoken, never giving out half a character."""

    def __init__(self, form: Format) -> None:
        self._form = form
        self._ids: list[int] = []
        self._start = 0  # decoding starts a little before the new tokens, for decoders that look at the neighbour
        self._given = 0

    def add(self, token: int) -> str:
        """The text that this token completes, possibly none."""
        self._ids.append(token)
        text = self._fresh()
        if not text or text.endswith(_UNFINISHED):
            return ""
        self._start, self._given = self._given, len(self._ids)
        return text

    def rest(self) -> str:
        """What was held back, at the end."""
        text, self._given = self._fresh(), len(self._ids)
        return text

    def _fresh(self) -> str:
        known = self._form.decode(self._ids[self._start : self._given])
        return self._form.decode(self._ids[self._start :])[len(known) :]


def _vocabulary(folder: Path) -> int | None:
    """How many tokens the model in `folder` has embeddings of, where its config.json says so."""
    path = folder / "config.json"
    config = json.loads(path.read_bytes()) if path.exists() else {}
    size = config.get("vocab_size") or (config.get("text_config") or {}).get("vocab_size")
    return size if isinstance(size, int) else None


def _end_ids(folder: Path, tokenizer: Any) -> frozenset[int]:
    """The end tokens of generation_config.json, else of config.json, and the tokenizer's own."""
    ends: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        path = folder / name
        value = json.loads(path.read_bytes()).get("eos_token_id") if path.exists() else None
        if value is not None:
            ends |= {value} if isinstance(value, int) else set(value)
            break
    if tokenizer.eos_token_id is not None:
        ends.add(tokenizer.eos_token_id)
    if not ends:
        raise ConfigError(f"{folder} names no token that ends an answer (`eos_token_id`)")
    return frozenset(ends)
