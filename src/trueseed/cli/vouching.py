"""The verbs of others' word on a ledger: witnesses cosign it, authorities time-stamp it; files in, files out."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueseed.cli.show import WORK, JsonOption, WorkspaceOption, out, print_json, shown
from trueseed.core.plural import many
from trueseed.errors import ConfigError

if TYPE_CHECKING:
    from trueseed.ledger.signing import Key

app = typer.Typer()
witness = typer.Typer(no_args_is_help=True, help="Have a ledger cosigned by a witness, or be one (C2SP tlog-witness).")
timestamp = typer.Typer(no_args_is_help=True, help="Have a ledger time-stamped (RFC 3161).")
app.add_typer(witness, name="witness")
app.add_typer(timestamp, name="timestamp")

KeyOption = Annotated[str, typer.Option(help="The witness's verifier key, or a file that holds it.")]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", help="The file to write; stdout if left out.")]


@witness.command()
def key(
    name: Annotated[str | None, typer.Option(help="To cosign under, as host.example/w1; the first time only.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show this user's key as a witness; made the first time. Give it to those who check what you cosigned."""
    from trueseed.core.durable import state_folder
    from trueseed.ledger.witness import own

    made = own(state_folder(), name)
    print_json({"name": made.name, "key": str(made.key)}) if as_json else out.print(str(made.key), markup=False)


@witness.command()
def request(
    key: KeyOption,
    output: OutputOption = None,
    old: Annotated[int | None, typer.Option(min=0, help="Size that the witness says it cosigned last.")] = None,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Write what a witness is asked: the body of `add-checkpoint`, for `trueseed witness cosign` or an HTTP witness."""
    from trueseed.ledger.vouching import ask_witness
    from trueseed.workspace import Workspace

    ledger = Workspace.open(workspace).ledger
    _written(ask_witness(ledger, _key(key), old).encode(), output, {"size": ledger.size}, as_json)


@witness.command()
def cosign(
    file: Annotated[Path, typer.Argument(help="What `trueseed witness request` wrote.")],
    log: Annotated[str | None, typer.Option(help="The operator's verifier key; needed the first time.")] = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """As a witness: check that a log continues the one cosigned last, and cosign it."""
    from trueseed.core.durable import state_folder
    from trueseed.ledger.witness import own

    made = own(state_folder())
    answer = made.answer(_text(file), _key(log) if log else None)
    _written(answer.encode(), output, {"witness": made.name}, as_json)


@witness.command("add")
def add_cosignature(
    file: Annotated[Path, typer.Argument(help="What the witness answered.")],
    key: KeyOption,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Keep a witness's cosignature beside the ledger, and its key as one to trust."""
    from trueseed.core.durable import state_folder
    from trueseed.ledger.trust import remember_witness
    from trueseed.ledger.vouching import take_cosignature
    from trueseed.workspace import Workspace

    size, found = take_cosignature(Workspace.open(workspace).ledger, _text(file), _key(key))
    remember_witness(state_folder(), found.witness)
    said = {"size": size, "witness": found.witness.name, "at": found.at}
    _taken(said, f"witness {found}: {many(size, 'entry', 'entries')}", as_json)


@timestamp.command("request")
def ask(output: OutputOption = None, workspace: WorkspaceOption = WORK, as_json: JsonOption = False) -> None:
    """Write what a time-stamping authority is asked (TimeStampReq, to be sent as application/timestamp-query)."""
    from trueseed.ledger.vouching import ask_authority
    from trueseed.workspace import Workspace

    ledger = Workspace.open(workspace).ledger
    _written(ask_authority(ledger), output, {"size": ledger.size}, as_json)


@timestamp.command("add")
def add_stamp(
    file: Annotated[Path, typer.Argument(help="What the authority answered (TimeStampResp).")],
    tsa: Annotated[Path, typer.Option(help="The authority's root certificate (PEM).")],
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Keep a time stamp beside the ledger, and its authority's root as one to trust."""
    from trueseed.core.durable import state_folder
    from trueseed.ledger.trust import remember_authority
    from trueseed.ledger.vouching import take_stamp
    from trueseed.workspace import Workspace

    root = _bytes(tsa)
    size, found = take_stamp(Workspace.open(workspace).ledger, _bytes(file), [root])
    remember_authority(state_folder(), root)
    said = {"size": size, "authority": found.authority, "at": found.at.isoformat()}
    _taken(said, f"time stamp of {found}: {many(size, 'entry', 'entries')}", as_json)


def _written(data: bytes, output: Path | None, said: dict[str, Any], as_json: bool) -> None:
    from trueseed.core.durable import write_atomic

    if output is None and as_json:
        print_json({**said, "bytes": data.hex()})
    elif output is None:
        sys.stdout.buffer.write(data)
    else:
        write_atomic(output, data)
        print_json({**said, "output": str(output)}) if as_json else out.print(f"{output}: {len(data)} bytes")


def _taken(said: dict[str, Any], text: str, as_json: bool) -> None:
    print_json(said) if as_json else out.print(shown(text), markup=False)


def _key(text: str) -> "Key":
    from trueseed.ledger.signing import Key

    lines = _text(Path(text)).splitlines() if "+" not in text else [text]
    return Key.parse(next(iter(lines), ""))


def _text(file: Path) -> str:
    try:
        return _bytes(file).decode()
    except UnicodeDecodeError as err:
        raise ConfigError(f"{file} is no text") from err


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as err:
        raise ConfigError(f"{file} cannot be read: {err.strerror}") from err
