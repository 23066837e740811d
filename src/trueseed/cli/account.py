"""The verbs of the account: what our legal entity may ask of each maker, over all workspaces."""

from pathlib import Path
from typing import Annotated

import typer

from trueseed.cli.show import WORK, JsonOption, WorkspaceOption, out, print_json

app = typer.Typer()


@app.command()
def release(
    maker: Annotated[str, typer.Argument(help="Who reinstated our account, as in maker/model@route.")],
    evidence: Annotated[Path, typer.Option(help="The message that says so; its digest goes into the ledger.")],
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """End a hold on a maker, with the reviewer's key: it may be asked again."""
    from trueseed.teachers.account import holds
    from trueseed.teachers.account.state import Account, our_entity
    from trueseed.workspace import Workspace

    standing = holds.Holds(Account.open(), our_entity())
    ended = holds.release(Workspace.open(workspace).ledger, standing, maker=maker, evidence=evidence)
    if as_json:
        print_json(ended.to_json())
        return
    out.print(f"{maker}: released; it was on hold since {ended.placed_at} ({ended.reason})", markup=False)
