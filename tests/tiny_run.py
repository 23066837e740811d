"""A whole run in seconds: a tiny random model teaches itself. What it says is noise, but everything else is real."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

EASY = ["words_at_most", "avoided_word"]  # noise satisfies these often enough


def run_file(folder: Path, model: Path, **changes: Any) -> Path:
    """Writes a run file over the weights in `model`; `changes` replace its parts, or extend those that are mappings.

    Where the model is asked, and not only trained, take `brief_llama`.
    """
    content: dict[str, Any] = {
        "project": "tiny",
        "student": {"name": "tiny-student"},
        "teacher": {"weights": str(model), "source": "own/tiny"},
        "base": {"weights": str(model), "source": "own/tiny"},
        "engine": {"slots": 16},
        "generate": {"accept": 12, "kinds": EASY, "two": 0.0, "max_tokens": 120, "temperature": 1.0, "effort": 40,
                     "ahead": 16},
        "curate": {"quality": {}, "balance": 100.0},
        "train": {"num_train_epochs": 1, "tokens_per_batch": 4096, "max_length": 2000, "dtype": "float32"},
        "evaluate": {"samples": 12, "max_tokens": 24, "chat_max_tokens": 16},
    }  # fmt: skip
    for name, change in changes.items():
        extends = isinstance(change, Mapping) and "remote" not in change and name in content
        content[name] = {**content[name], **change} if extends else change
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(content))
    return path
