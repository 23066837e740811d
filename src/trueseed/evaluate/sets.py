"""The frozen evaluation sets: unseen prompts with trained kinds, with unseen kinds, and without constraints.

They are written into one `prompts` artifact before any training, so its digest stands in the ledger first.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from trueseed.checks import HELD_OUT_KINDS, Task, compose
from trueseed.core.artifacts import Artifact
from trueseed.core.prompts import Prompt, read_prompts
from trueseed.workspace import Step

PROMPTS = "held_out_prompts"
KINDS = "held_out_kinds"
CHAT = "chat_perplexity"
TASK_SETS = (PROMPTS, KINDS)

_OURS = Path(__file__).parent / "prompts"


def freeze(samples: int, seed: int, kinds: Sequence[str], step: Step) -> Artifact:
    """Writes `samples` tasks or prompts per set; `kinds`: of constraint, those that are trained.

    Raises `ConfigError` when there are not that many different ones.
    """
    prompts = read_prompts(_OURS / "held_out.jsonl")
    tasks = {
        PROMPTS: compose(prompts, kinds, samples, seed),
        KINDS: compose(prompts, HELD_OUT_KINDS, samples, seed + 1),
    }
    chat = read_prompts(_OURS / "chat.jsonl")

    def fill(folder: Path) -> None:
        for name, drawn in tasks.items():
            _write(folder / f"{name}.jsonl", (task.to_json() for task in drawn))
        _write(folder / f"{CHAT}.jsonl", (prompt.to_json() for prompt in chat))

    return step.write("prompts", fill, {"held_out": True, "samples": samples})


def read_tasks(folder: Path, name: str) -> list[Task]:
    return [Task.from_json(row) for row in _rows(folder / f"{name}.jsonl")]


def read_chat(folder: Path) -> Sequence[Prompt]:
    return read_prompts(folder / f"{CHAT}.jsonl")


def _write(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_bytes().splitlines():
        yield json.loads(line)
