"""The verbs of handing out: a student with its papers, and the card alone."""

import json
from pathlib import Path
from typing import Annotated

import typer

from trueseed.cli.show import WORK, JsonOption, WorkspaceOption, out, print_json

app = typer.Typer()
_STUDENT = typer.Argument(metavar="[STUDENT]", help="weights:…; the newest student when left out.")
_NAME = typer.Option(help="The name it goes by; becomes the declared one.")


@app.command()
def export(
    folder: Annotated[Path, typer.Option("--out", "-o", help="A folder that does not exist yet.")],
    student: Annotated[str, _STUDENT] = "",
    name: Annotated[str, _NAME] = "",
    form: Annotated[
        list[str] | None, typer.Option("--format", help="hf, gguf-f16, gguf-q8_0; may be repeated.")
    ] = None,
    text: Annotated[list[Path] | None, typer.Option(help="A text of terms that must be passed on.")] = None,
    records: Annotated[bool, typer.Option("--records", help="Hand out the records too that it learned from.")] = False,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Do not sign the folder.")] = False,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Hand a student out, with its papers and notices. Refused (exit code 3) when publishing is."""
    from trueseed.papers import export as exporting
    from trueseed.workspace import Workspace

    formats = exporting.forms(form or ["hf"])
    wanted = exporting.Wanted(
        folder=folder,
        student=student,
        name=name,
        formats=formats,
        texts=tuple(text or ()),
        records=records,
        signed=not unsigned,
    )
    handed = exporting.export(Workspace.open(workspace), wanted)
    if as_json:
        print_json(handed.to_json())
        return
    out.print(f"{handed.name}: {handed.student} handed out in {handed.folder}", markup=False)
    for path, found in handed.files.items():
        out.print(f"  {found[:12]}  {path}", markup=False)


@app.command()
def card(
    student: Annotated[str, _STUDENT] = "",
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Print the model card as an export would write it; hand nothing out."""
    from trueseed.papers import export as exporting
    from trueseed.workspace import Workspace

    text = exporting.papers_of(Workspace.open(workspace), student)[exporting.CARD]
    if as_json:
        print_json({"card": text})
    else:
        out.print(text, markup=False, soft_wrap=True)


@app.command()
def papers(
    student: Annotated[str, _STUDENT] = "",
    paper: Annotated[str, typer.Option(help="Print this one, by its path in an export; all are listed without.")] = "",
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """List the papers that an export would write, or print one; hand nothing out."""
    from trueseed.papers import export as exporting
    from trueseed.workspace import Workspace

    found = exporting.papers_of(Workspace.open(workspace), student)
    if paper:
        text = exporting.one_of(found, paper)
        if as_json:
            print_json(json.loads(text) if paper.endswith(".json") else {"paper": paper, "text": text})
        else:
            out.print(text, markup=False, soft_wrap=True)
    elif as_json:
        print_json({"papers": found})
    else:
        for path in found:
            out.print(path, markup=False)
