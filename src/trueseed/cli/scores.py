"""The verb that hands scores out: as the files of AlpacaEval, MT-bench and arena-hard."""

from pathlib import Path
from typing import Annotated

import typer

from trueseed.cli.show import WORK, JsonOption, WorkspaceOption, out, print_json

app = typer.Typer()
scores_app = typer.Typer(help="Scores: out to other tools.", no_args_is_help=True)
app.add_typer(scores_app, name="scores")


@scores_app.command()
def export(
    scores: Annotated[list[str], typer.Argument(help="scores:<digest> of answers, verdicts or marks, on one task.")],
    to: Annotated[Path, typer.Option(help="The folder to make for them.")],
    form: Annotated[str, typer.Option("--as", help="alpaca-eval, mt-bench or arena-hard.")],
    public: Annotated[bool, typer.Option("--public", help="To be published: ask the terms whether it may.")] = False,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Write answers, verdicts and marks as a benchmark's own scripts read them, each with where it comes from."""
    from trueseed import benchmarks
    from trueseed.workspace import Workspace

    place = Workspace.open(workspace)
    written = benchmarks.export(place, [place.store.get(each) for each in scores], to, form, public=public)
    if as_json:
        print_json(written.to_json())
        return
    for name in written.files:
        out.print(str(written.folder / name), markup=False)
    out.print(f"of {', '.join(written.sources)}", markup=False)
