"""The verbs of the account: what our legal entity may ask of each maker, over all workspaces."""

from pathlib import Path
from typing import Annotated

import typer

from trueseed.cli.show import WORK, JsonOption, WorkspaceOption, out, print_json
from trueseed.errors import ConfigError

app = typer.Typer()


@app.command()
def release(
    maker: Annotated[
        str,
        typer.Argument(
            help="Who reinstated our account, or whose used-up quota is to bind no other way any more, as in "
            "maker/model@route; or a source that was recalled."
        ),
    ],
    evidence: Annotated[Path, typer.Option(help="What shows it; its digest goes into the ledger.")],
    entry: Annotated[
        list[int] | None, typer.Option(help="Of a source with several recalls, which; may be repeated.")
    ] = None,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """End a hold on a maker, the mark of its used-up quota, or a recall of a source, with the reviewer's key."""
    from trueseed import recall as recalling
    from trueseed.teachers.account import holds
    from trueseed.teachers.account.quotas import Quotas
    from trueseed.teachers.account.state import Account, our_entity
    from trueseed.workspace import Workspace

    if "/" in maker:
        released = recalling.release(Workspace.open(workspace), maker, evidence, entry or ())
        if as_json:
            print_json({"source": maker, "released": [{"entry": each.index, **each.to_json()} for each in released]})
            return
        for each in released:
            out.print(f"{maker}: released entry {each.index}; {each}", markup=False)
        return
    if entry:
        raise ConfigError("--entry is of a recall, whose source is named as maker/model@route; a hold has none")
    account = Account.open()
    standing, quotas = holds.Holds(account, our_entity()), Quotas(account, our_entity())
    if standing.on(maker) is None and quotas.standing(maker):  # of both, the hold is ended first: it weighs more
        past = quotas.release(Workspace.open(workspace), maker, evidence)
        if as_json:
            print_json({"maker": maker, "quotas": [each.to_json() for each in past]})
            return
        for mark in past:
            out.print(f"{maker}: released; {mark}", markup=False)
        return
    ended = holds.release(Workspace.open(workspace).ledger, standing, maker=maker, evidence=evidence)
    if as_json:
        print_json(ended.to_json())
        return
    out.print(f"{maker}: released; it was on hold since {ended.placed_at} ({ended.reason})", markup=False)
