"""What every verb of the command line shares: where it prints, and the options that all of them take."""

import json
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from trueseed.errors import ConfigError

out = Console(highlight=False, soft_wrap=True, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

WorkspaceOption = Annotated[Path, typer.Option("--workspace", "-w", help="Folder that holds ledger, store and report.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
WORK = Path("work")


def documents(workspace: Path) -> Path:
    """The folder of a workspace's own terms documents. Raises `ConfigError` for a workspace that was named and is not
    there, since its documents would be missed in silence; the one that is meant when none is named need not be there.
    """
    if workspace != WORK and not workspace.is_dir():
        raise ConfigError(f"there is no folder {str(workspace)!r}; name the workspace, or leave --workspace out")
    return workspace / "terms"


def day(text: str | None, option: str = "--at") -> date:
    try:
        return date.fromisoformat(text) if text else datetime.now(UTC).date()
    except ValueError as err:
        raise ConfigError(f"{option} {text!r} is not a day; write it as 2024-02-27") from err


def shown(text: str) -> str:
    """Names that others chose, without what would steer the terminal."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
