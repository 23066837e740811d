"""The command line: one subcommand per verb. Parse, call, print; no logic."""

import errno
import os
import sys

import typer
from rich.markup import escape

from trueseed.cli import (
    account,
    allowance,
    cache,
    case,
    evaluation,
    evidence,
    gateway,
    judge,
    papers,
    planning,
    records,
    river,
    scores,
    signing,
    standing,
    supplier,
    terms,
    vouching,
)
from trueseed.cli.show import err
from trueseed.errors import ConfigError, TrueSeedError

app = typer.Typer(
    help="Grow a small language model from a large one, and prove that it was allowed to.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for part in (
    planning,
    river,
    evaluation,
    judge,
    standing,
    scores,
    evidence,
    case,
    terms,
    account,
    allowance,
    supplier,
    gateway,
    cache,
    records,
    papers,
    vouching,
    signing,
):
    app.add_typer(part.app)

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}


def main() -> None:
    """Runs the command line; every mistake of the user's is a sentence on stderr and an exit code, not a traceback."""
    try:
        _together() if int(os.environ.get("WORLD_SIZE", "1")) > 1 else app()
    except TrueSeedError as error:
        err.print(f"[bold]{type(error).__name__}[/]: {escape(str(error))}")
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno in NO_ROOM:
            err.print(f"no room left on the disk for {error.filename!r}; free some and give the same command again")
        elif error.errno in NO_PERMISSION:
            err.print(f"no permission for {error.filename!r}; change its permissions or choose another --workspace")
        else:
            raise
        sys.exit(ConfigError.exit_code)


def _together() -> None:
    """Started by `torchrun`: the first process runs the command, the others train along with it."""
    from trueseed.train import ranks, stage

    if ranks.launched().rank:
        ranks.serve(stage.along)
        return
    try:
        app()
    except SystemExit as end:
        if not end.code:  # after an error torchrun ends the others
            ranks.dismiss()
        raise
