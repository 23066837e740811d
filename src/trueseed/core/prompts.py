"""Prompts: everyday tasks in a JSONL file, one object a line with `id` and `prompt`.

    {"id": "soup-1", "prompt": "How do I keep soup warm until lunch?", "topic": "cooking"}

Users bring their own; a file is read whole or not at all.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trueseed.core.artifacts import Artifact
from trueseed.errors import ConfigError

PROMPTS_FILE = "prompts.jsonl"
_KEYS = {"id", "prompt", "topic"}


@dataclass(frozen=True, slots=True)
class Prompt:
    """One everyday task."""

    id: str
    text: str
    topic: str = ""

    def to_json(self) -> dict[str, str]:
        return {"id": self.id, "prompt": self.text, "topic": self.topic}


def read_prompts(path: Path) -> tuple[Prompt, ...]:
    """Prompts in the order of the file.

    Raises `ConfigError` naming every line (up to ten) that is not a JSON object with the strings `id`, `prompt` and
    perhaps `topic`, or that repeats an id; and for a file that cannot be read or has no prompts.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"prompts file {str(path)!r} cannot be read: {err}") from err
    prompts: dict[str, Prompt] = {}
    wrong = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            prompt = _prompt(line)
            if prompt.id in prompts:
                raise ValueError(f"id {prompt.id!r} was used before")
        except ValueError as err:
            wrong.append(f"line {number}: {err}")
            continue
        prompts[prompt.id] = prompt
    if wrong:
        more = f"; and {len(wrong) - 10} more" if len(wrong) > 10 else ""
        raise ConfigError(f"prompts file {str(path)!r}: {'; '.join(wrong[:10])}{more}. Nothing was imported")
    if not prompts:
        raise ConfigError(f"prompts file {str(path)!r} has no prompts; give one JSON object a line")
    return tuple(prompts.values())


def _prompt(line: str) -> Prompt:
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError) as err:
        raise ValueError(f"not JSON ({err})") from err
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    for key in ("id", "prompt"):
        if not isinstance(value.get(key), str) or not value[key].strip():
            raise ValueError(f"{key!r} must be a string that is not empty")
    if not isinstance(value.get("topic", ""), str):
        raise ValueError("'topic' must be a string")
    if unknown := sorted(set(value) - _KEYS):
        raise ValueError(f"unknown key {unknown[0]!r}; the keys are id, prompt and topic")
    return Prompt(value["id"], value["prompt"].strip(), value.get("topic", ""))


def write_prompts(prompts: tuple[Prompt, ...], folder: Path) -> None:
    """Fills the folder of a prompts artifact."""
    lines = (json.dumps(prompt.to_json(), ensure_ascii=False) + "\n" for prompt in prompts)
    (folder / PROMPTS_FILE).write_text("".join(lines), encoding="utf-8")


def texts(artifact: Artifact) -> Iterator[str]:
    """What a prompts artifact would ask: the `prompt` of every row of every JSONL file in it, tasks included."""
    for path in sorted(artifact.folder.rglob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            prompt = json.loads(line).get("prompt") if line.strip() else None
            if isinstance(prompt, str):
                yield prompt
