"""The verbs of the terms: may I, and what do the documents say."""

from pathlib import Path
from typing import Annotated

import typer

from trueseed.cli.show import WORK, JsonOption, WorkspaceOption, day, out, print_json, shown

# Spelt out, as the terms are not imported for a help text; a test holds that none is missing.
_USES = "train, train_internal_classifier, reward, judge, benchmark_teacher, publish_benchmark, serve or publish"

app = typer.Typer()
terms_app = typer.Typer(help="The terms documents that decide what may be done.", no_args_is_help=True)
app.add_typer(terms_app, name="terms")


@app.command()
def may(
    use: Annotated[str, typer.Argument(help=_USES)],
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
        at=day(at),
        student=student,
        distributed=distributed,
        name=name,
        region=region,
        catalog=Catalog.load(workspace / "terms"),
    )
    if as_json:
        print_json(verdict.to_json())
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
        print_json({"documents": rows})
        return
    for line in answers.told(rows):
        out.print(line, markup=False, soft_wrap=True)


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
        print_json(document)
        return
    for line in answers.lines(document):
        out.print(line, markup=False)


@terms_app.command("check")
def terms_check(
    notes: Annotated[bool, typer.Option("--notes", help="Show what is not known, too.")] = False,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Are all documents in order, by schema and by sense? Exit code 2 when one is not."""
    from trueseed.errors import ConfigError
    from trueseed.terms import check

    findings = check.check(workspace / "terms")
    errors = any(each.level == "error" for each in findings)
    if as_json:
        print_json({"ok": not errors, "findings": [each.to_json() for each in findings]})
    else:
        for line in check.told(findings, notes=notes):
            out.print(shown(line), markup=False)
    if errors:
        raise typer.Exit(ConfigError.exit_code)


@terms_app.command("read")
def terms_read(
    file: Annotated[Path, typer.Argument(help="The text as you have it.")],
    document: Annotated[str | None, typer.Option(help="Compare with this document's text alone.")] = None,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Is this a text that was read here, or did it change? Exit code 4 when it is none of them."""
    from trueseed.errors import Broken
    from trueseed.terms import texts
    from trueseed.terms.catalog import Catalog

    found = texts.compare(file, Catalog.load(workspace / "terms"), document)
    if as_json:
        print_json(found.to_json())
    else:
        for line in texts.told(found):
            out.print(shown(line), markup=False)
    if not found.documents:
        raise typer.Exit(Broken.exit_code)


@terms_app.command("diff")
def terms_diff(
    before: Annotated[str, typer.Argument(metavar="A")],
    after: Annotated[str, typer.Argument(metavar="B")],
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """What changed from document A to document B, in uses and duties, not in words."""
    from trueseed.terms import compare
    from trueseed.terms.catalog import Catalog

    found = compare.difference(Catalog.load(workspace / "terms"), before, after)
    if as_json:
        print_json(found)
        return
    for line in compare.difference_told(found):
        out.print(shown(line), markup=False)


@terms_app.command("matrix")
def terms_matrix(
    at: Annotated[str | None, typer.Option(help="A day, as 2024-02-27; today when left out.")] = None,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Every source against every use on a day."""
    from trueseed.terms import compare
    from trueseed.terms.catalog import Catalog

    found = compare.matrix(Catalog.load(workspace / "terms"), day(at))
    if as_json:
        print_json(found)
        return
    for line in compare.matrix_told(found, out.width):
        out.print(shown(line), markup=False)
