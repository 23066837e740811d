"""Which string each token id stands for, so that two models' ids can be told to mean the same.

    Vocabulary.of(folder).digest()

Names say nothing here: one family of models has vocabularies of several lengths, and two tokenizers of one length need
not agree in a single id. What is compared is the map itself.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trueseed.core.canonical import digest
from trueseed.errors import ConfigError
from trueseed.lm.format import PLAIN, Format


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """tokens: by id, empty where an id stands for none. specials: those of them that no text can spell. rows: of the
    output head, which is often padded beyond the tokens. template: digest of the chat template.
    """

    tokens: tuple[str, ...]
    specials: frozenset[str]
    rows: int
    template: str

    @classmethod
    def of(cls, folder: Path, form: Format | None = None) -> "Vocabulary":
        """Of the model in `folder`. form: its format, when it is at hand.

        Raises `ConfigError` when the folder has no tokenizer or does not say how many logits its model gives.
        """
        form = form or Format(folder)
        tokenizer = form.tokenizer
        ids: dict[str, int] = tokenizer.get_vocab()
        tokens = [""] * (max(ids.values(), default=-1) + 1)
        for token, at in ids.items():
            tokens[at] = token
        return cls(
            tokens=tuple(tokens),
            specials=frozenset(tokenizer.all_special_tokens),
            rows=_rows(folder),
            template=digest(tokenizer.chat_template or PLAIN),
        )

    def digest(self, first: int | None = None) -> str:
        """Of the map from ids to strings; of its first entries only when told how many."""
        return digest(list(self.tokens[:first]))


def spellings(form: Format) -> Mapping[int, bytes]:
    """The bytes that each token id writes: of byte-level vocabularies (GPT-2's, Llama 3's, Qwen's), and of those that
    mark a blank by `▁` and a lone byte by `<0x0A>` (SentencePiece's). Special and added tokens write their own name.
    """
    tokenizer = form.tokenizer
    added = {at: str(token.content) for at, token in tokenizer.added_tokens_decoder.items()}
    plain: dict[int, str] = {at: token for token, at in tokenizer.get_vocab().items() if at not in added}
    byte_level = all(character in _BYTES for token in plain.values() for character in token)
    found = {at: _bytes_of(token, byte_level=byte_level) for at, token in plain.items()}
    return found | {at: name.encode() for at, name in added.items()}


def by_spelling(found: Mapping[int, bytes]) -> Mapping[bytes, int]:
    """Back from bytes to ids, without those that several ids write."""
    many = Counter(found.values())
    return {written: at for at, written in found.items() if many[written] == 1}


def _bytes_of(token: str, *, byte_level: bool) -> bytes:
    if byte_level:
        return bytes(_BYTES[character] for character in token)
    if lone := _LONE_BYTE.fullmatch(token):
        return bytes([int(lone[1], 16)])
    return token.replace("▁", " ").encode()


def _byte_level_alphabet() -> dict[str, int]:
    """GPT-2's: printable bytes stand for themselves, the others for characters from U+0100 on, in order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + at): byte for at, byte in enumerate(others)}


_BYTES = _byte_level_alphabet()
_LONE_BYTE = re.compile("<0x([0-9A-F]{2})>")


def _rows(folder: Path) -> int:
    path = folder / "config.json"
    try:
        said = json.loads(path.read_bytes())
        return int(said["vocab_size"] if "vocab_size" in said else said["text_config"]["vocab_size"])
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise ConfigError(f"{path} does not say how many tokens the model knows (`vocab_size`): {err}") from err
