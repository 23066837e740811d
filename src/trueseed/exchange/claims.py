"""What a row says of its own making, where that contradicts the origin that was declared for it.

    claims(row, messages, "own/me")      # [Claim("openai/gpt-4@reported", "column", "column 'model' says 'gpt-4'")]

Two things speak: columns in which tools write down the generator (also within `metadata`, and distilabel's own), and
answers in which a model speaks of itself. What they name is known by name only, not by route and terms, so its source
has the route `reported`, which no document governs: whoever inherits it may not train on it until its origin is
established.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from trueseed.checks.whose import introduces, makers
from trueseed.core.chat import Message
from trueseed.core.records import MADE_OF
from trueseed.errors import ConfigError
from trueseed.terms.model import parse_source

COLUMNS = frozenset({
    "model", "models", "model_name", "model_names", "model_id", "generation_model", "generation_models", "generated_by",
    "generator", "generator_model", "teacher", "teacher_model", "completion_model", "response_model", "answer_model",
    "source_model", "llm", "llm_name", "synthetic_model", "written_by_model",
})  # fmt: skip
WITHIN = ("metadata", "meta", "extra", "extra_info", "generation_config", "provenance")
DISTILABEL = "distilabel_metadata"
OUR_COLUMN = "trueseed"
Kind = Literal["known", "column", "identity"]  # recognised as what we hold; told by a column; told by an answer
KINDS: tuple[Kind, ...] = get_args(Kind)
PEOPLE = frozenset({"", "human", "humans", "none", "null", "n/a", "manual", "person", "people"})


@dataclass(frozen=True, slots=True)
class Claim:
    """source: who made the row, as far as it says. words: what says so, for people."""

    source: str
    kind: Kind
    words: str


def claims(row: Mapping[str, Any], messages: Sequence[Message], declared: str) -> Iterator[Claim]:
    """What contradicts that the row is of the source `declared`."""
    for column, said in columns(row):
        if not _agrees(said, declared):
            yield Claim(reported(said), "column", f"column {column!r} says {said!r}")
    if row.get(DISTILABEL) is not None and declared.startswith("own/"):
        yield Claim("unknown/unknown@reported", "column", f"column {DISTILABEL!r} is of distilabel: a model wrote it")
    for source in _ours(row.get(OUR_COLUMN)):
        if source != declared:
            yield Claim(_as_source(source), "column", f"column {OUR_COLUMN!r} says {source!r}")
    for message in messages:
        said_of_itself = introduces(message.content) if message.role == "assistant" else None
        if said_of_itself is None:
            continue
        own, maker = declared.startswith("own/"), said_of_itself.maker
        if (maker and maker not in _makers_of(declared)) or (own and not maker):
            yield Claim(
                f"{maker or 'unknown'}/unknown@reported", "identity", f"the answer says {said_of_itself.words!r}"
            )


def _ours(value: Any) -> Iterator[str]:
    """What we wrote beside a record that we handed out: its source, and those of what it was made of."""
    if isinstance(value, Mapping):
        before = value.get(MADE_OF)
        named = [value.get("source"), *(before if isinstance(before, list) else ())]
        yield from dict.fromkeys(each for each in named if isinstance(each, str))


def _as_source(said: str) -> str:
    try:
        return str(parse_source(said))
    except ConfigError:
        return reported(said)


def columns(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every column that names a generator, with each name in it."""
    for name, value in row.items():
        if name.lower() in COLUMNS:
            yield from ((name, said) for said in _names(value))
        elif name.lower() in WITHIN:
            within = _parsed(value)
            if isinstance(within, Mapping):
                yield from ((f"{name}.{inner}", said) for inner, said in columns(within))


def reported(name: str) -> str:
    """The source id of a generator that is known by this name only.

    >>> reported("gpt-4-0613"), reported("Acme/Large v2")
    ('openai/gpt-4-0613@reported', 'acme/large-v2@reported')
    """
    parts = [re.sub(r"[^a-z0-9._:+-]+", "-", part.lower()).strip("-._:+") for part in name.split("/")]
    model = next((part for part in reversed(parts) if part), "unknown")
    named = sorted(makers(name))
    maker = parts[0] if len(parts) > 1 and parts[0] else named[0] if named else "unknown"
    return f"{maker}/{model}@reported"


def _agrees(said: str, declared: str) -> bool:
    if said.lower() in PEOPLE:
        return True
    if declared.startswith("own/"):
        return False
    source, model = parse_source(declared), said.rpartition("/")[2].lower()
    short, long = sorted((model, source.model), key=len)
    same_model = short == long or long.startswith(f"{short}-")
    named = makers(said) | ({said.partition("/")[0].lower()} if "/" in said else set())
    return said.lower() == declared or (same_model and (not named or bool(named & (_makers_of(declared)))))


def _makers_of(declared: str) -> frozenset[str]:
    return makers(declared) | {parse_source(declared).maker}


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value.strip()
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _names(each)
    elif isinstance(value, Mapping):
        for key in ("model", "model_name", "name", "id"):
            yield from _names(value.get(key))


def _parsed(value: Any) -> Any:
    """Metadata is often JSON within a text."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value
