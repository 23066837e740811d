"""The verbs of the allowance: the limits of our account, which bind whoever asks through it."""

from typing import TYPE_CHECKING, Annotated

import typer

from trueseed.cli.show import JsonOption, out, print_json, shown
from trueseed.errors import ConfigError

if TYPE_CHECKING:
    from trueseed.teachers.account.limits import Limit
    from trueseed.teachers.account.shared import Shared

app = typer.Typer()
allowance_app = typer.Typer(
    help="Limits of our account, which bind every run, gateway and workspace that asks through it.",
    no_args_is_help=True,
)
app.add_typer(allowance_app, name="allowance")

UNITS = ("requests", "tokens", "micros")
UseOption = Annotated[str | None, typer.Option(help="Only this use; else all of them together.")]
ProjectOption = Annotated[str | None, typer.Option(help="Only this project; else all of them together.")]


@allowance_app.command("set")
def allowance_set(
    source: Annotated[str, typer.Option(help="Sources of this pattern, together: 'openai/*'.")],
    per: Annotated[str, typer.Option(help="minute (any 60 seconds), day or month (UTC), or total.")],
    use: UseOption = None,
    project: ProjectOption = None,
    requests: Annotated[int | None, typer.Option(help="At most so many requests.")] = None,
    tokens: Annotated[int | None, typer.Option(help="At most so many tokens, in and out.")] = None,
    usd: Annotated[str | None, typer.Option(help="At most so much money, in US dollars.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Set a limit of the account, from the next call on, in place of one of the same source, use, project and span."""
    from trueseed.teachers.account.amounts import micros_of

    micros = micros_of(usd) if usd is not None else None
    limit = _limit(source, per, use, project, requests=requests, tokens=tokens, micros=micros)
    made = _shared().set(limit)
    if as_json:
        print_json(made.model_dump(mode="json"))
        return
    out.print(f"limit {made.id} of the account: {_words(made)}", markup=False)


@allowance_app.command("show")
def allowance_show(as_json: JsonOption = False) -> None:
    """The limits of the account, what is used of each (reserved calls included), and when it is renewed."""
    standing = _shared().standing()
    if as_json:
        print_json({"limits": [each.to_json() for each in standing]})
        return
    if not standing:
        out.print("the account has no limits of its own; `trueseed allowance set` gives it one")
        return
    for each in standing:
        limit, at = each.limit, each.renewed_at
        used = (
            f"{_plain(unit, getattr(each.used, unit)).split()[0]} of {_plain(unit, allowed)}"
            for unit in UNITS
            if (allowed := getattr(limit, unit)) is not None
        )
        renewed = f", renewed at {at:%Y-%m-%d %H:%M} UTC" if at else ""
        out.print(f"limit {limit.id}  {_whose(limit)}: {' and '.join(used)} {_span(limit)}{renewed}", markup=False)


@allowance_app.command("remove")
def allowance_remove(
    number: Annotated[int | None, typer.Argument(help="As `allowance show` numbers it.")] = None,
    source: Annotated[str | None, typer.Option(help="As it was set.")] = None,
    per: Annotated[str | None, typer.Option(help="As it was set.")] = None,
    use: UseOption = None,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove a limit of the account: by its number, or by the source, span, use and project that it was set with."""
    which: int | Limit
    if number is not None:
        if any(each is not None for each in (source, per, use, project)):
            raise ConfigError("give the limit's number, or --source and --per (and --use, --project), not both")
        which = number
    elif source is None or per is None:
        raise ConfigError("which limit? give its number, as `trueseed allowance show` lists it, or --source and --per")
    else:
        which = _limit(source, per, use, project, requests=0)
    gone = _shared().remove(which)
    if as_json:
        print_json(gone.model_dump(mode="json"))
        return
    out.print(f"removed limit {gone.id} of the account: {_words(gone)}", markup=False)


def _shared() -> "Shared":
    from trueseed.teachers.account.shared import Shared
    from trueseed.teachers.account.state import Account, our_entity

    return Shared(Account.open(), our_entity())


def _limit(source: str, per: str, use: str | None, project: str | None, **amounts: int | None) -> "Limit":
    from trueseed.core.settings import checked
    from trueseed.teachers.account.limits import Limit
    from trueseed.terms.answers import use_named

    named = use_named(use) if use is not None else None
    return checked(Limit, {"source": source, "per": per, "use": named, "project": project, **amounts})


def _words(limit: "Limit") -> str:
    amounts = (_plain(unit, most) for unit in UNITS if (most := getattr(limit, unit)) is not None)
    return f"{_whose(limit)}: {' and '.join(amounts)} {_span(limit)}"


def _whose(limit: "Limit") -> str:
    of = f" for {limit.use}" if limit.use else ""
    return shown(f"{limit.source}{of}" + (f" by project {limit.project!r}" if limit.project else ""))


def _span(limit: "Limit") -> str:
    return "in total" if limit.per == "total" else f"a {limit.per}"


def _plain(unit: str, n: int) -> str:
    if unit != "micros":
        return f"{n:,} {unit}"
    return f"{n / 1e6:,.2f} USD" if n % 10_000 == 0 else f"{n / 1e6:,.6f} USD"
