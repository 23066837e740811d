"""The verbs towards a maker: what was used of it, and what it says itself."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from trueseed.cli.grouped import grouped
from trueseed.cli.show import WORK, JsonOption, day, err, out, print_json, shown
from trueseed.core.plural import form, many
from trueseed.errors import Broken, ConfigError

if TYPE_CHECKING:
    from trueseed.teachers.api.providers import Endpoint
    from trueseed.teachers.supplier.bill import Bill
    from trueseed.teachers.supplier.compare import Cell
    from trueseed.teachers.supplier.reconcile import Asked, Reconciled
    from trueseed.teachers.supplier.usage_report import Report, Sums

app = typer.Typer()

COUNTS = ("answered", "failed", "cached", "unknown", "in_flight", "reconciled")
MakerOption = Annotated[str, typer.Option(help="As in maker/model@route, such as openai.")]
MonthOption = Annotated[str, typer.Option(help="In UTC, as 2026-11.")]


@app.command()
def usage(
    maker: MakerOption,
    month: MonthOption,
    source: Annotated[
        str | None, typer.Option(help="Only sources of this pattern; the report is then partial.")
    ] = None,
    project: Annotated[str | None, typer.Option(help="Only this project; the report is then partial.")] = None,
    use: Annotated[str | None, typer.Option(help="Only this use; the report is then partial.")] = None,
    owners: Annotated[bool, typer.Option("--owners", help="Name the holders of the gateway's keys.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the signed report here.")] = None,
    as_json: JsonOption = False,
) -> None:
    """What was asked of a maker, over all routes, keys and workspaces of our account, signed."""
    from trueseed.core.canonical import canonical
    from trueseed.core.durable import state_folder, write_atomic
    from trueseed.ledger.signing import load_or_create
    from trueseed.teachers.account.state import Account, our_entity
    from trueseed.teachers.supplier.month import Month
    from trueseed.teachers.supplier.usage import Wanted, report
    from trueseed.teachers.supplier.usage_report import SIGNER, sign
    from trueseed.terms.answers import use_named

    wanted = Wanted(
        maker=maker,
        month=Month.parse(month),
        source=source,
        project=project,
        use=use_named(use) if use else None,
        owners=owners,
    )
    made = report(wanted, account=Account.open(), entity=our_entity(), now=datetime.now(UTC))
    signer = load_or_create("operator", state_folder() / "keys")
    signed = sign(made, signer)
    if output:
        write_atomic(output, canonical(signed) + b"\n")
    if as_json:
        print_json({"report": made.to_json(), "signed": signed})
        return
    _show_usage(made)
    if output:
        out.print(f"signed  {output}    check it with: trueseed verify {output} --key KEY", markup=False)
        out.print(f"key     {signer.key(SIGNER)}", markup=False)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Where the maker's own come from: a file, or its usage endpoint."""

    csv: Annotated[Path | None, typer.Option(help="The usage that the maker exported.")] = None
    endpoint_from: Annotated[
        Path | None, typer.Option(help="Ask the usage endpoint of the teacher in this run file or gateway.yaml.")
    ] = None
    key_from: Annotated[
        str | None, typer.Option(help="Variable that holds the administrator's key, if not OPENAI_ADMIN_KEY.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class About:
    """What they are about."""

    source: Annotated[str, typer.Option(help="Which of our sources the figures are about, as a pattern.")] = "*"
    model: Annotated[list[str] | None, typer.Option(help="NAME=SOURCE: what the maker calls it. May be repeated.")] = (
        None
    )
    through: Annotated[
        str | None, typer.Option(help="The last day (UTC) that the figures hold whole, as 2026-11-30.")
    ] = None


@app.command()
@grouped
def reconcile(
    maker: MakerOption,
    month: MonthOption,
    figures: Figures,
    about: About,
    workspace: Annotated[
        list[Path] | None,
        typer.Option("--workspace", "-w", help="Whose recalls count; the first one's ledger keeps the result."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compare; settle and write nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare with the maker's own figures, settle what nobody knew, and name calls that TrueSeed never made.

    Exit code 4 when there are such calls, or some came past a hold or a recall.
    """
    from trueseed.teachers.account.state import Account
    from trueseed.teachers.supplier import reconcile as reconciling
    from trueseed.teachers.supplier.bill_models import Scope, told
    from trueseed.teachers.supplier.month import Month
    from trueseed.workspace import Workspace

    now = datetime.now(UTC)
    asked = reconciling.Asked(
        scope=Scope(maker=maker, pattern=about.source),
        month=Month.parse(month),
        through=day(about.through, "--through") if about.through else None,
        told=told(about.model or []),
        dry_run=dry_run,
    )
    bill, asked, account, entity = _read(figures, asked, now)
    places = workspace or ([] if dry_run and not WORK.exists() else [WORK])
    ledgers = [Workspace.open(place).ledger for place in places]
    found = reconciling.reconcile(bill, asked, account=Account.open(account), entity=entity, ledgers=ledgers, now=now)
    if as_json:
        print_json({**found.to_json(), "dry_run": dry_run})
    else:
        _show_reconciled(found)
    if found.verdict in ("outside", "past_stop"):
        raise typer.Exit(Broken.exit_code)


def _read(figures: Figures, asked: "Asked", now: datetime) -> "tuple[Bill, Asked, str | None, str]":
    """The maker's own, what they are about, and the account and entity that they bill."""
    from trueseed.teachers.account.state import our_entity
    from trueseed.teachers.supplier import exports, usage_api

    if figures.csv is not None and figures.endpoint_from is None:
        return exports.read(figures.csv), asked, None, our_entity()
    if figures.csv is not None or figures.endpoint_from is None:
        raise ConfigError("give the maker's figures: either --csv FILE, or --endpoint-from RUN.yaml")
    named, account, entity = _named_in(figures.endpoint_from)
    chosen = usage_api.of_one_account(named, asked.scope)
    asked = replace(asked, scope=chosen.scope, told={**chosen.models, **asked.told})
    bill = usage_api.fetch(chosen.endpoint, asked.month, now=now, key_from=figures.key_from)
    return bill, asked, account, entity


def _named_in(file: Path) -> "tuple[list[Endpoint], str | None, str]":
    """The endpoints in a run file or in a gateway's settings, and the account and entity that ask there."""
    from trueseed.core.settings import read
    from trueseed.gateway.settings import Config
    from trueseed.teachers.account.state import our_entity

    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"{file} cannot be read ({error.strerror}); give a run file or a gateway.yaml") from error
    if re.search(r"^upstreams\s*:", text, re.MULTILINE):
        config = read(file, Config)
        return list(config.upstreams), config.account, config.entity
    from trueseed import runfile

    asked = runfile.load(file)
    remote = {each.remote.source: each.remote for each in (*asked.teachers[:1], *asked.rewriters) if each.remote}
    if not remote:
        raise ConfigError(f"nobody that {file} asks is a remote one; nobody else counts what they are asked")
    return [*remote.values()], None, our_entity()


def _show_usage(made: "Report") -> None:
    from trueseed.teachers.supplier.usage_report import add, left_out

    over = "" if made.is_over else f", counted until {made.counted_until}"
    out.print(f"{made.maker} in {made.month} for {made.entity!r}{over}", markup=False)
    if made.is_partial:
        out.print(f"PARTIAL: {left_out(made)}", markup=False)
    table = _table("source", "use", "project", *COUNTS, "tokens", "US dollars")
    for name in made.sources:
        lines = [line for line in made.lines if line.source == name]
        for use, project in sorted({(line.use, line.project) for line in lines}):
            _row(table, (name, use, project), add(line for line in lines if (line.use, line.project) == (use, project)))
    _row(table, ("in all", "", ""), made.totals)
    out.print(table)
    if made.unknown:
        unknown = f"of {many(made.unknown, 'call')} nobody knows what became"
        out.print(f"{unknown}; `trueseed reconcile` settles that", markup=False)
    for hold in made.holds:
        until = f"released {hold.released_at}" if hold.released_at else "it stands"
        out.print(f"on hold since {hold.placed_at} ({hold.reason}); {until}", markup=False)
    for each in made.reconciliations:
        out.print(f"reconciled {each.at} with {each.figures} ({each.sha256[:12]}): {each.verdict}", markup=False)
    if not made.reconciliations:
        out.print("not reconciled with the maker's own figures", markup=False)


def _table(*columns: str) -> Table:
    """What has no room goes on below: a figure that is cut short is another figure."""
    table = Table(box=None)
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _row(table: Table, names: Sequence[str], sums: "Sums") -> None:
    counts = sums.calls.model_dump()
    table.add_row(
        *(escape(shown(name)) for name in names),
        *(str(counts[name]) for name in COUNTS),
        str(sums.charged.tokens),
        f"{sums.charged.micros / 1e6:.2f}",
    )


def _show_reconciled(found: "Reconciled") -> None:
    of = f"{found.asked.scope.maker} in {found.asked.month}, {found.bill.kind} ({found.bill.digest[:12]})"
    out.print(f"{found.verdict}: {of}", markup=False)
    out.print(_days(found))
    for cell, _ in found.days:
        _show_unlike(cell)
    for past in found.past:
        err.print(f"  PAST A STOP: {shown(str(past))}", markup=False)
    if found.tokens_beyond:
        out.print(f"  tokens: the maker counts {found.tokens_beyond:+d} beyond ours", markup=False)
    if found.left:
        out.print(f"  {many(found.left, 'call')} {form(found.left, 'is', 'are')} still unknown", markup=False)
    for note in found.notes:
        out.print(f"  note: {note}", markup=False)
    if found.asked.dry_run:
        out.print("nothing was settled or written (--dry-run)", markup=False)


def _days(found: "Reconciled") -> Table:
    settled = ("settled as billed", "not billed", "outside", "missing")
    table = _table("day", "model", "maker counts", "ours", "unknown", *settled)
    for cell, done in found.days:
        said = 0 if cell.said is None else cell.said.calls if cell.counted else cell.said.tokens
        unit = "" if cell.counted else " tokens"
        ours = cell.billed.requests if cell.counted else cell.billed.tokens
        table.add_row(
            cell.day.isoformat() + ("" if cell.whole else " (not whole)"),
            escape(shown(str(cell.group))),
            f"{said}{unit}",
            f"{ours}{unit}",
            str(cell.doubtful.requests),
            str(done.billed),
            str(done.not_billed),
            f"{cell.outside}{unit}" if cell.outside else "",
            f"{cell.missing}{unit}" if cell.missing else "",
        )
    return table


def _show_unlike(cell: "Cell") -> None:
    """What only one of the two counted."""
    whom = shown(str(cell.group))
    if cell.outside:
        outside = many(cell.outside, "call" if cell.counted else "token")
        err.print(f"  outside: {cell.day}: {outside} to {whom} that TrueSeed never made", markup=False)
    if cell.missing:
        out.print(f"  missing: {cell.day}: the maker has {cell.missing} fewer for {whom}", markup=False)
