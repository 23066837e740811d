"""The verbs of a case: somebody asks what was done, and what it is about stays until that ends."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trueseed.cli.show import WORK, JsonOption, WorkspaceOption, out, print_json, shown

if TYPE_CHECKING:
    from trueseed.ledger.cases import Case

app = typer.Typer()
case_app = typer.Typer(help="A provider's inquiry or an audit: what it is about is not deleted until it ends.")
app.add_typer(case_app, name="case")

SaidOption = Annotated[str, typer.Option("--said", "--why", help="In a sentence; goes into the ledger.")]
DocumentOption = Annotated[
    list[Path] | None, typer.Option("--document", help="Kept in evidence/ by its digest. May be repeated.")
]
NumberArgument = Annotated[int, typer.Argument(help="As `trueseed case list` shows it.")]


@case_app.command("open")
def case_open(
    about: Annotated[list[str], typer.Argument(help="Makers (openai), sources (maker/model@route), or '*' for all.")],
    said: SaidOption,
    document: DocumentOption = None,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Open a case. From here on nothing that it is about can be deleted, pruned or destroyed."""
    from trueseed import case as cases
    from trueseed.workspace import Workspace

    place = Workspace.open(workspace)
    made = cases.open_case(place, about, cases.Word(said=said), document or [])
    _show(made, as_json)
    if not as_json and not cases.standing(place, made.index).touched:
        out.print("  nothing that was made here comes from that; look whether the name is right", markup=False)


@case_app.command("note")
def case_note(
    number: NumberArgument,
    said: SaidOption,
    state: Annotated[str, typer.Option(help="investigating, or changes-requested; as it was if left out.")] = "",
    document: DocumentOption = None,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Add what happened, and documents."""
    from trueseed import case as cases
    from trueseed.workspace import Workspace

    word = cases.Word(said=said, state=state)
    _show(cases.note(Workspace.open(workspace), number, word, document or []), as_json)


@case_app.command("close")
def case_close(
    number: NumberArgument,
    ended: Annotated[str, typer.Option("--as", help="reinstated, or terminated.")],
    said: SaidOption,
    document: DocumentOption = None,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """End a case with the reviewer's key, over a document that shows it. A hold on the maker ends by `release`."""
    from trueseed import case as cases
    from trueseed.workspace import Workspace

    word = cases.Word(said=said, state=ended)
    _show(cases.close(Workspace.open(workspace), number, word, document or []), as_json)


@case_app.command("show")
def case_show(number: NumberArgument, workspace: WorkspaceOption = WORK, as_json: JsonOption = False) -> None:
    """What was said, the documents, what must stay meanwhile, and the holds on its makers."""
    from trueseed import case as cases
    from trueseed.workspace import Workspace

    found = cases.standing(Workspace.open(workspace), number)
    if as_json:
        print_json(found.to_json())
        return
    _show(found.case, as_json=False)
    for each in found.touched:
        out.print(f"  {'touched' if found.case.ended else 'stays'}: {each}", markup=False)
    for maker in found.holds:
        out.print(f"  on hold: {maker}; `trueseed release {maker} --evidence FILE` ends it", markup=False)
    for fault in found.faults:
        out.print(f"  broken: {shown(fault)}", markup=False)


@case_app.command("list")
def case_list(workspace: WorkspaceOption = WORK, as_json: JsonOption = False) -> None:
    """Every case, the newest last."""
    from trueseed.ledger.cases import Cases
    from trueseed.workspace import Workspace

    found = Cases.read(Workspace.open(workspace).ledger).all
    if as_json:
        print_json({"cases": [case.to_json() for case in found.values()]})
        return
    for case in found.values():
        out.print(shown(str(case)), markup=False)
    if not found:
        out.print("no case was ever opened here")


def _show(case: "Case", as_json: bool) -> None:
    if as_json:
        print_json(case.to_json())
        return
    out.print(shown(str(case)), markup=False)
    for each in case.statements:
        out.print(f"  {each.at}  {each.state}: {shown(each.said)}", markup=False)
        for name, sha256 in each.documents:
            out.print(f"      {shown(name)}  {sha256[:12]}", markup=False)
