"""The verbs before a run: what it will take, and whether everything it names is ready."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from trueseed.cli.pausing import pausing
from trueseed.cli.show import WORK, JsonOption, WorkspaceOption, err, out, print_json

if TYPE_CHECKING:
    from trueseed.doctor.check import Check
    from trueseed.plan.making import Plan

app = typer.Typer()

FileArgument = Annotated[Path, typer.Argument(help="The run, as YAML: see recipes/quickstart.yaml.")]
MARKS = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "fails": "[red]fails[/]"}


@app.command()
def plan(
    file: FileArgument,
    workspace: WorkspaceOption = WORK,
    rows: Annotated[int, typer.Option(min=0, help="Real questions asked to measure; 0 asks nothing.")] = 8,
    as_json: JsonOption = False,
) -> None:
    """Say beforehand what a run takes, when it is done, and whether it may be done. Asks a few real questions."""
    from trueseed import runfile, screen
    from trueseed.plan import making
    from trueseed.workspace import Workspace

    settings = runfile.load(file)
    with screen.Screen(err) as watching, pausing():
        place = Workspace.open(workspace, create=True, report=watching)
        made = making.make(settings, place, rows=rows)
    if as_json:
        print_json(made.to_json())
    else:
        _print_plan(made)
    if made.failure:
        err.print(f"[bold]{type(made.failure).__name__}[/]: {escape(str(made.failure))}")
    if made.exit_code:
        raise typer.Exit(made.exit_code)


@app.command()
def doctor(file: FileArgument, workspace: WorkspaceOption = WORK, as_json: JsonOption = False) -> None:
    """Check every teacher and all weights that a run file names, without spending anything."""
    from trueseed import runfile
    from trueseed.doctor import examine

    found = examine.examine(runfile.load(file), workspace)
    if as_json:
        print_json(found.to_json())
    else:
        out.print(_checks(found.checks))
        for line in found.unchecked:
            out.print(f"not checked, since it would cost something: {line}", markup=False)
    if found.exit_code:
        raise typer.Exit(found.exit_code)


def _print_plan(made: "Plan") -> None:
    from trueseed.plan import words

    for line in (*words.imports(made), *words.flags(made), words.rows(made)):
        out.print(line, markup=False)
    table = Table("step", "requests", "tokens", "money", "time", "records", box=None)
    for cells in words.steps(made):
        table.add_row(*map(escape, cells))
    out.print(table)
    for line in words.notes(made):
        out.print(line, markup=False)
    out.print(f"calendar   {words.calendar(made)}", markup=False)
    for line in words.measures(made):
        out.print(line, markup=False)
    verdicts = Table(box=None)
    for name in ("step", "source", "use", "verdict", "document, clause", "because"):
        verdicts.add_column(name, overflow="fold")  # an id that is cut short names nothing
    for row in words.verdicts(made):
        colour = "green" if row.permitted else "red"
        told = f"[{colour}]{'permit' if row.permitted else 'refuse'}[/]"
        verdicts.add_row(escape(row.steps), escape(row.source), row.uses, told, escape(row.text), escape(row.because))
    out.print(verdicts)
    for line in (*words.teachers(made), *words.others(made)):
        out.print(line, markup=False)


def _checks(checks: "tuple[Check, ...]") -> Table:
    table = Table("of", "check", "", "what it means", "what to do next", box=None)
    for check in checks:
        table.add_row(
            escape(check.of), escape(check.name), MARKS[check.status], escape(check.meaning), escape(check.next)
        )
    return table
