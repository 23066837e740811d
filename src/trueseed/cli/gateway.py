"""The verbs of the gateway: serve other tools, and the keys they ask with."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from trueseed.cli.grouped import grouped
from trueseed.cli.show import WORK, JsonOption, WorkspaceOption, day, err, out, print_json

if TYPE_CHECKING:
    from trueseed.access.keys import Grant, Keys

app = typer.Typer()
keys_app = typer.Typer(help="API keys for the gateway: who may ask, for what, and how much.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")


@app.command()
def gateway(
    config: Annotated[Path, typer.Option(help="Upstreams, prices and limits, as YAML.")] = Path("gateway.yaml"),
    workspace: WorkspaceOption = WORK,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free port.")] = 8100,
    host: Annotated[str, typer.Option(help="Anything but loopback must be asked for.")] = "127.0.0.1",
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the port.")] = 1,
) -> None:
    """Let other tools ask teachers, under the same terms, allowance and ledger: an OpenAI-compatible proxy."""
    from trueseed.core.settings import read
    from trueseed.gateway import offer
    from trueseed.gateway.settings import Config
    from trueseed.workspace import Workspace

    settings, opened = read(config, Config), Workspace.open(workspace, create=True)
    if workers == 1:
        offer.over_http(opened, settings, host=host, port=port)
    else:
        from trueseed.gateway import workers as crew

        crew.serve(opened, settings, host=host, port=port, workers=workers)


@dataclass(frozen=True, kw_only=True)
class Granted:
    """What a key permits."""

    project: Annotated[str, typer.Option(help="What its calls are counted under.")]
    use: Annotated[list[str], typer.Option(help="A use that it permits: judge, train, reward, … May be repeated.")]
    model: Annotated[list[str] | None, typer.Option(help="Sources that it reaches, as patterns: 'openai/*'.")] = None
    region: Annotated[str | None, typer.Option(help="Country it is used from; the workspace's when left out.")] = None
    feature: Annotated[
        list[str] | None, typer.Option(help="Of the service, with which all is asked: search, … May be repeated.")
    ] = None
    market: Annotated[str | None, typer.Option(help="Country whose people are given the answers.")] = None
    budget: Annotated[float | None, typer.Option(min=0, help="US dollars over its whole life.")] = None
    expires: Annotated[str | None, typer.Option(help="The first day on which it is not valid, as 2027-01-31.")] = None

    def to(self, owner: str) -> "Grant":
        """Raises `ConfigError`."""
        from trueseed.access.keys import Grant
        from trueseed.terms.answers import use_named

        last = day(self.expires, "--expires") if self.expires else None
        return Grant(
            owner=owner,
            project=self.project,
            uses=frozenset(use_named(each) for each in self.use),
            sources=tuple(self.model or ["*"]),
            region=self.region,
            features=tuple(self.feature or ()),
            market=self.market,
            budget_micros=None if self.budget is None else round(self.budget * 1_000_000),
            expires_at=datetime.combine(last, datetime.min.time(), UTC) if last else None,
        )


@keys_app.command("issue")
@grouped
def keys_issue(
    owner: Annotated[str, typer.Argument(help="Who gets it: a person or a tool.")],
    granted: Granted,
    as_json: JsonOption = False,
) -> None:
    """Make a key. It is shown once, now."""
    issued = _keys().issue(granted.to(owner))
    if as_json:
        print_json({**issued.key.to_json(), "token": issued.token})
        return
    out.print(issued.token, markup=False)
    err.print(f"{issued.key.id}, for {owner}: keep it now, it is not shown again", markup=False)


@keys_app.command("list")
def keys_list(as_json: JsonOption = False) -> None:
    """Every key ever issued, without what would let one use it."""
    rows = [key.to_json() for key in _keys().list()]
    if as_json:
        print_json({"keys": rows})
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
    from trueseed.teachers.account.state import Account

    return Keys(Account.open())


def _print_key(key: dict[str, Any], what: str, as_json: bool) -> None:
    if as_json:
        print_json(key)
    else:
        out.print(f"{key['id']} of {key['owner']} {what}", markup=False)
