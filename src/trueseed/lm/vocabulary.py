"""Which string each token id stands for, so that two models' ids can be told to mean the same.

    Vocabulary.of(folder).digest()

Names say nothing here: one family of models has vocabularies of several lengths, and two tokenizers of one length need
not agree in a single id. What is compared is the map itself.
"""

import json
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


def _rows(folder: Path) -> int:
    path = folder / "config.json"
    try:
        said = json.loads(path.read_bytes())
        return int(said["vocab_size"] if "vocab_size" in said else said["text_config"]["vocab_size"])
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise ConfigError(f"{path} does not say how many tokens the model knows (`vocab_size`): {err}") from err
