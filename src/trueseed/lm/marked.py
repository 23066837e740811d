"""Safetensors that say of themselves that they were changed, and by whom."""

from collections.abc import Mapping
from pathlib import Path


def copy_marked(source: Path, target: Path, mark: Mapping[str, str]) -> None:
    """The same tensors, with `mark` beside what the file's metadata said before."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open(source, framework="pt") as file:
        before = file.metadata() or {}
    save_file(load_file(source), target, metadata={"format": "pt", **before, **mark})
    target.chmod(0o644)  # safetensors gives it to its writer alone, and what is handed out is for others
