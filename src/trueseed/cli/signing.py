"""The verbs of the keys that sign a ledger: show them, and change one that is old, lost or stolen."""

from enum import StrEnum
from typing import Annotated

import typer

from trueseed.cli.show import WORK, JsonOption, WorkspaceOption, out, print_json, shown

app = typer.Typer()
signing = typer.Typer(no_args_is_help=True, help="The keys that sign a ledger (docs/keys.md).")
app.add_typer(signing, name="signing")


class Role(StrEnum):
    OPERATOR = "operator"
    REVIEWER = "reviewer"


class Reason(StrEnum):
    ROTATED = "rotated"
    LOST = "lost"
    STOLEN = "stolen"


@signing.command()
def show(workspace: WorkspaceOption = WORK, as_json: JsonOption = False) -> None:
    """The key to give to those who check, the keys in force, and every change."""
    from trueseed.workspace import Workspace

    ledger = Workspace.open(workspace).ledger
    given, changes = str(ledger.identity.operator), [str(each) for each in ledger.keys.changes]
    in_force = {role.value: str(ledger.key(role.value)) for role in Role}
    if as_json:
        print_json({"give": given, "in_force": in_force, "changes": changes})
        return
    for line in (f"to check with: {given}", *(f"{role}: {key}" for role, key in in_force.items()), *changes):
        out.print(shown(line), markup=False)


@signing.command()
def renew(
    role: Annotated[Role, typer.Argument(help="Whose key.")],
    because: Annotated[Reason, typer.Option(help="A lost or stolen key is changed by the other role's.")],
    note: Annotated[str, typer.Option(help="What happened, and when; goes into the ledger.")] = "",
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Put another key in force, from here on."""
    from trueseed.workspace import Workspace

    ledger = Workspace.open(workspace).ledger
    key = ledger.renew(role.value, because.value, note)
    if as_json:
        print_json({"role": role.value, "key": str(key), "because": because.value, "entry": ledger.size - 1})
        return
    out.print(shown(f"{role.value}: {key} from entry {ledger.size} on"), markup=False)
    out.print(f"others go on checking with {ledger.identity.operator}", markup=False)
