"""What a command found, as a page of its own: `--html FILE`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trueseed.cli.show import err
from trueseed.core.durable import write_atomic
from trueseed.errors import ConfigError

if TYPE_CHECKING:
    from trueseed.report.results import Results

HtmlOption = Annotated[Path | None, typer.Option("--html", help="Write it as a page too, with plots and samples.")]


def write_page(path: Path, title: str, results: "Results") -> None:
    """Raises `ConfigError` when it cannot be written there."""
    from trueseed.report.results import page

    try:
        write_atomic(path, page(title, results))
    except OSError as why:
        raise ConfigError(f"the page cannot be written to {str(path)!r}: {why.strerror}; name another file") from why
    err.print(f"page  {path}", markup=False)
