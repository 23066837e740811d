"""The verbs of the cache: what it holds, hand it to another workspace, take one from there."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from trueseed.cli.show import WORK, JsonOption, WorkspaceOption, err, out, print_json
from trueseed.core.plural import many

app = typer.Typer()
cache_app = typer.Typer(help="Answers that need not be asked for again.", no_args_is_help=True)
app.add_typer(cache_app, name="cache")


@cache_app.command("show")
def cache_show(workspace: WorkspaceOption = WORK, as_json: JsonOption = False) -> None:
    """What the cache holds: of whom, asked for what, under which terms, and where."""
    from trueseed.teachers.answers import holdings
    from trueseed.workspace import Workspace

    rows = [each.to_json() for each in holdings.of(Workspace.open(workspace))]
    if as_json:
        print_json({"answers": rows})
        return
    table = Table("source", "use", "terms", "asked", "answers", "bytes", "log", box=None)
    for row in rows:
        days = row["first"] if row["first"] == row["last"] else f"{row['first']} to {row['last']}"
        where = row["log"] or "this one" if row["sealed"] else "not sealed yet"
        words = (row["source"], row["use"], row["document"], days, row["answers"], row["bytes"], where)
        table.add_row(*map(str, words))
    out.print(table)


@cache_app.command("export")
def cache_export(
    file: Annotated[Path, typer.Argument(help="What to write.")],
    source: Annotated[list[str] | None, typer.Option(help="Only sources like this: 'deepseek/*'. Repeatable.")] = None,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Write the answers asked here, each with the proof that it stands in this ledger."""
    from trueseed.teachers.answers import handover
    from trueseed.workspace import Workspace

    place = Workspace.open(workspace)
    written = handover.write(place, file, sources=source or ())
    key = str(place.ledger.key("operator"))
    if as_json:
        print_json({**written.to_json(), "key": key})
        return
    for name, n in sorted(written.answers.items()):
        out.print(f"{name}  {many(n, 'answer')}", markup=False)
    for reason, n in sorted(written.left_out.items()):
        out.print(f"  left out, {reason}: {n}", markup=False)
    err.print(f"whoever imports it needs your key, from you and not from the file: {key}", markup=False)
    err.print("may it be handed to others at all? ask `trueseed may publish SOURCE`", markup=False)


@cache_app.command("import")
def cache_import(
    file: Annotated[Path, typer.Argument(help="What `cache export` wrote.")],
    key: Annotated[list[str], typer.Option(help="The operator's public key that you trust, or a file that holds it.")],
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Take answers that another ledger proves; all of the file, or nothing."""
    from trueseed.errors import ConfigError
    from trueseed.ledger.signing import Key
    from trueseed.teachers.answers import handover
    from trueseed.workspace import Workspace

    try:
        texts = [Path(each).read_text() if Path(each).is_file() else each for each in key]
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(f"--key cannot be read: {fault}") from fault
    taken = handover.take(Workspace.open(workspace), file, [Key.parse(text) for text in texts])
    if as_json:
        print_json(taken.to_json())
        return
    log = f"{taken.log}, {many(taken.checkpoint[0], 'entry', 'entries')}"
    out.print(f"{'taken before' if taken.known else 'taken'}: asked under {log}")
    for name, n in taken.answers.items():
        out.print(f"  {name}  {many(n, 'answer')}", markup=False)
    for digest, document in taken.terms.items():
        out.print(f"  under {document} as they read it ({digest[:12]})", markup=False)
