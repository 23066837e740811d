"""The verbs of the ledger: check it, prove a student to others, and withdraw a source."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trueseed.cli.grouped import grouped
from trueseed.cli.show import WORK, JsonOption, WorkspaceOption, out, print_json, shown
from trueseed.errors import Broken, ConfigError

if TYPE_CHECKING:
    from trueseed.recall import Part, Reach
    from trueseed.workspace import Workspace

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


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which part of what the source was asked is meant; all of it when nothing is said."""

    terms: Annotated[str, typer.Option(help="Only what was asked under this document (id or digest).")] = ""
    use: Annotated[str, typer.Option(help="Only what was asked for this use.")] = ""
    project: Annotated[str, typer.Option(help="Only what this project asked.")] = ""
    asked_between: Annotated[
        tuple[str, str], typer.Option(help="Only what was asked from the first to the last day (UTC); '-' for no end.")
    ] = ("-", "-")
    asking_goes_on: Annotated[
        bool, typer.Option("--asking-goes-on", help="Withdraw what was asked; it may be asked again.")
    ] = False

    @property
    def part(self) -> "Part":
        """Raises `ConfigError`."""
        from trueseed.recall import Part

        said = asdict(self)
        return Part(asked=said.pop("asked_between"), **said)


@app.command()
@grouped
def recall(
    source: Annotated[str, typer.Argument(help="maker/model@route")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would stop; change nothing.")] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what a rebuild without those records costs; change nothing.")
    ] = False,
    asked: Asked,
    reason: Annotated[
        str, typer.Option("--why", "--reason", help="Goes into the ledger.")
    ] = "withdrawn by the operator",
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Withdraw a source, or a part: whatever learned from it stops being trained on, served or published.

    What is reached is quarantined, not deleted, until `trueseed release SOURCE --evidence FILE`.
    """
    from trueseed import recall as recalling
    from trueseed.workspace import Workspace

    place, part = Workspace.open(workspace), asked.part
    if plan:
        _show_rebuild(place, source, part, as_json=as_json)
        return
    reach = recalling.reach(place, source, part) if dry_run else recalling.recall(place, source, reason, part)
    if as_json:
        print_json({**reach.to_json(), "dry_run": dry_run})
        return
    out.print(f"{source}: {'would stop' if dry_run else 'stopped'}")
    _show_reach(reach, "would stop" if dry_run else "stops")


def _show_reach(reach: "Reach", stops: str) -> None:
    for artifact in reach.stops:
        out.print(f"  {artifact}")
    for server in reach.servers:
        out.print(f"  {shown(str(server))}: {stops} within seconds", markup=False)
    for handed in reach.exports:
        out.print(f"  beyond our reach, to be dealt with by hand: {shown(str(handed))}", markup=False)
    out.print("when its licence ends (`trueseed destroy SOURCE --by-licence`):")
    alike: dict[str, list[str]] = {}
    for artifact, ending in zip(reach.touched, reach.endings, strict=True):
        alike.setdefault(f"{ending.outcome}: {shown(ending.because)}", []).append(str(artifact))
    for said, artifacts in alike.items():
        out.print(f"  {', '.join(artifacts)} {said}", markup=False)
    out.print("a rebuild starts from what stands:")
    for artifact in reach.stands:
        out.print(f"  {artifact}")


def _show_rebuild(place: "Workspace", source: str, part: "Part", *, as_json: bool) -> None:
    from trueseed.rebuild import plan_rebuild

    found = plan_rebuild(place, source, part)
    if as_json:
        print_json(found.to_json())
        return
    out.print(f"{source}: a rebuild without it", markup=False)
    for line in found.lines():
        out.print(f"  {line}", markup=False)


@app.command()
def destroy(
    target: Annotated[
        list[str], typer.Argument(help="A source (all that comes from it), kind:digest, or answers:RUN of the cache.")
    ],
    why: Annotated[str, typer.Option(help="Goes into the ledger.")] = "",
    evidence: Annotated[Path | None, typer.Option(help="What demands it; kept by its digest.")] = None,
    descendants: Annotated[bool, typer.Option("--descendants", help="Also all that was made from it.")] = False,
    by_licence: Annotated[
        bool, typer.Option("--by-licence", help="Of a source, only what the end of its licence says must go.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go; change nothing.")] = False,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Delete for good, with the reviewer's key: a signed tombstone stays. Refused while a case or hold forbids it."""
    from trueseed import destroy as destroying
    from trueseed.workspace import Workspace

    place = Workspace.open(workspace)
    if not dry_run and (not why or evidence is None):
        raise ConfigError("give --why and --evidence, what demands it (or --dry-run, to see what would go)")
    if not dry_run:
        destroying.settle(place)
    wanted = destroying.Wanted(targets=tuple(target), descendants=descendants, by_licence=by_licence)
    doomed = destroying.look(place, wanted)
    if not dry_run and evidence is not None:
        destroying.destroy(place, doomed, destroying.Because(why=why, evidence=evidence))
    if as_json:
        print_json({**doomed.to_json(), "dry_run": dry_run})
        return
    out.print("would be destroyed:" if dry_run else "destroyed:")
    for made in doomed.artifacts:
        out.print(f"  {made.kind}:{made.digest[:12]}")
    for run in doomed.answers:
        out.print(f"  answers:{run}")
    for path in doomed.steps:
        out.print(f"  {path.parent.name}/{path.name}")
    for made in doomed.beyond:
        out.print(f"made from it, and stays (--descendants takes it too): {made.kind}:{made.digest[:12]}")
    if dry_run and doomed.forbidden:
        out.print(f"it would be refused: {shown(doomed.forbidden)}", markup=False)
