"""The verbs of the ledger: check it, prove a student to others, and withdraw a source."""

from pathlib import Path
from typing import Annotated

import typer

from trueseed.cli.show import WORK, JsonOption, WorkspaceOption, out, print_json, shown
from trueseed.errors import Broken

app = typer.Typer()


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(help="A workspace, a proof (zip), or a usage report.")] = WORK,
    since: Annotated[Path | None, typer.Option(help="A checkpoint kept elsewhere.")] = None,
    key: Annotated[list[str] | None, typer.Option(help="An operator's or witness's key to trust, or a file.")] = None,
    tsa: Annotated[list[Path] | None, typer.Option(help="Root certificate (PEM) of a time-stamping authority.")] = None,
    workspace: Annotated[Path | None, typer.Option("--workspace", "-w", help="The same as PATH.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Re-read every byte: statements, signatures, tree, artifacts; or a proof, or a usage report."""
    from trueseed.report import verify_usage as verifying

    result = verifying.path(workspace or path, since=since, keys=key or [], authorities=tsa or [])
    if as_json:
        print_json(result.to_json())
    else:
        for line in result.lines():
            out.print(shown(line), markup=False)
    if result.broken:
        raise typer.Exit(Broken.exit_code)


@app.command()
def proof(
    student: Annotated[str | None, typer.Argument(help="kind:digest; the newest student when left out.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The zip to write.")] = Path("proof.zip"),
    records: Annotated[bool, typer.Option("--records", help="With the texts of records and datasets.")] = False,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Write what a third party needs to check a student's origin: `trueseed verify proof.zip --key KEY`."""
    from trueseed.core.durable import write_atomic
    from trueseed.report import proof as proving
    from trueseed.workspace import Workspace

    place = Workspace.open(workspace)
    subject, data = proving.make(place, student, records=records)
    write_atomic(output, data)
    said = {"proof": str(output), "subject": f"{subject.kind}:{subject.digest}", "bytes": len(data)}
    if as_json:
        print_json({**said, "key": str(place.ledger.identity.operator)})
        return
    out.print(f"{output}: a proof of {said['subject']}, {len(data)} bytes")
    out.print(f"it is checked with `trueseed verify {output} --key {place.ledger.identity.operator}`")


@app.command()
def recall(
    source: Annotated[str, typer.Argument(help="maker/model@route")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would stop; change nothing.")] = False,
    reason: Annotated[str, typer.Option(help="Goes into the ledger.")] = "withdrawn by the operator",
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Withdraw a source: whatever learned from it stops being trained on, served or published."""
    from trueseed import recall as recalling
    from trueseed.workspace import Workspace

    place = Workspace.open(workspace)
    reach = recalling.reach(place, source) if dry_run else recalling.recall(place, source, reason)
    if as_json:
        print_json({**reach.to_json(), "dry_run": dry_run})
        return
    out.print(f"{source}: {'would stop' if dry_run else 'stopped'}")
    for artifact in reach.stops:
        out.print(f"  {artifact}")
    out.print("a rebuild starts from what stands:")
    for artifact in reach.stands:
        out.print(f"  {artifact}")
