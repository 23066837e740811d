"""The verbs of the terms: may I, and what do the documents say."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from trueseed.cli.grouped import grouped
from trueseed.cli.show import WORK, JsonOption, WorkspaceOption, day, documents, out, print_json, shown

# Spelt out, as the terms are not imported for a help text; a test holds that none is missing.
_USES = "train, train_internal_classifier, reward, judge, benchmark_teacher, publish_benchmark, serve or publish"

_SUBJECT = "maker/model@route, doc:ID for one document alone, or what was made here: kind:digest, or student"

app = typer.Typer()
terms_app = typer.Typer(help="The terms documents that decide what may be done.", no_args_is_help=True)
app.add_typer(terms_app, name="terms")


@dataclass(frozen=True, kw_only=True)
class Imagined:
    """Facts that the answer takes in the place of those that were declared."""

    student: Annotated[str | None, typer.Option(help="chat, classifier or embedding")] = None
    distributed: Annotated[bool | None, typer.Option("--distributed/--internal")] = None
    name: Annotated[str | None, typer.Option(help="Name of the student.")] = None
    region: Annotated[str | None, typer.Option(help="Country the source is asked from, as two letters.")] = None


@dataclass(frozen=True, kw_only=True)
class OfSource:
    """What only a source can be asked about, and nothing that was made here."""

    relation: Annotated[str | None, typer.Option(help="output, filter, score, or weights: the model itself")] = None
    feature: Annotated[list[str] | None, typer.Option(help="Of the service, as a search; may be repeated.")] = None


@app.command()
@grouped
def may(
    use: Annotated[str, typer.Argument(help=_USES)],
    subject: Annotated[str, typer.Argument(help=_SUBJECT)] = "student",
    *,
    at: Annotated[str | None, typer.Option(help="A day, as 2024-02-27; today when left out.")] = None,
    imagined: Imagined,
    of: OfSource,
    without: Annotated[list[str] | None, typer.Option(help="A source to imagine away; may be repeated.")] = None,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Ask the terms, of a source or of what was made here, by the facts that the workspace declared.

    Exit code 0 permits, 3 refuses or says that a rebuild is required. Only answers: the door asks again.
    """
    from trueseed import why as asking
    from trueseed.terms import answers

    documents(workspace)
    place, catalog, declared = asking.known(workspace)
    facts = answers.given(declared, **asdict(imagined))
    if asking.is_made_here(subject):
        asking.only_of_sources(**asdict(of))
        found = asking.answer(place, subject, answers.use_named(use), day(at), facts=facts, without=without or [])
        _tell(found.to_json(), found.lines(whole=False), as_json, found.verdict == "permit")
        return
    asking.only_of_what_was_made(without=without)
    verdict = answers.may(
        use, subject, at=day(at), catalog=catalog, facts=facts, relation=of.relation, features=of.feature or []
    )
    _tell(verdict.to_json(), answers.sentences(verdict), as_json, verdict.permitted)


@app.command()
def why(
    artifact: Annotated[str, typer.Argument(help="kind:digest, the beginning of one, or student for the newest")],
    use: Annotated[str, typer.Argument(help=_USES)],
    at: Annotated[str | None, typer.Option(help="A day, as 2024-02-27; today when left out.")] = None,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Why something made here may be put to a use or may not: the chain, each label's verdict, and what decides.

    Exit code 0 permits, 3 refuses.
    """
    from trueseed import why as asking
    from trueseed.terms import answers
    from trueseed.workspace import Workspace

    found = asking.answer(Workspace.open(workspace), artifact, answers.use_named(use), day(at))
    _tell(found.to_json(), found.lines(), as_json, found.verdict == "permit")


@app.command()
def facts(
    file: Annotated[Path | None, typer.Argument(help="A run file whose facts are to be declared.")] = None,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """What the workspace declares of its project, student and operator; with FILE, declare that in the ledger."""
    from trueseed import runfile
    from trueseed.workspace import Workspace

    place = Workspace.open(workspace, create=file is not None)
    if file is not None:
        run = runfile.load(file)
        place.declare(run.project, run.facts)
    said = {"project": place.project, **place.facts.to_json()}
    _tell(said, _declared(said), as_json, True)


_WORDS = {"True": "true", "False": "false"}


def _declared(said: Mapping[str, Any], under: str = "") -> Iterable[str]:
    """Facts as a run file names them, one a line."""
    for name, value in said.items():
        if isinstance(value, dict):
            yield from _declared(value, f"{under}{name}.")
        else:
            yield f"{under}{name}: {'not declared' if value in (None, [], '') else _WORDS.get(str(value), value)}"


def _tell(found: Mapping[str, Any], lines: Iterable[str], as_json: bool, permitted: bool) -> None:
    from trueseed.errors import Refused

    if as_json:
        print_json(found)
    else:
        for line in lines:
            out.print(shown(line), markup=False)
    if not permitted:
        raise typer.Exit(Refused.exit_code)


@dataclass(frozen=True, kw_only=True)
class Permitted:
    """What a letter permits, of what and for what."""

    source: Annotated[list[str], typer.Option(help="maker/model@route; * for any part. May be repeated.")]
    use: Annotated[list[str], typer.Option(help=f"{_USES}; may be repeated.")]
    because: Annotated[str, typer.Option(help="What it permits, in your words.")]
    clause: Annotated[str, typer.Option(help="Where in the letter.")] = "unknown"
    relation: Annotated[list[str] | None, typer.Option(help="output, filter, score or weights; the first three.")] = (
        None
    )
    feature: Annotated[list[str] | None, typer.Option(help="Of the service, that it covers; may be repeated.")] = None

    def to_json(self) -> dict[str, Any]:
        """As `letters.wanted` takes it."""
        lists = {"sources": self.source, "uses": self.use, "relations": self.relation or []}
        return {**lists, "features": self.feature or [], "because": self.because, "clause": self.clause}


@dataclass(frozen=True, kw_only=True)
class Term:
    """When a letter holds, and for whom."""

    since: Annotated[str | None, typer.Option(help="The first day; today when left out.")] = None
    until: Annotated[str | None, typer.Option(help="The last day, that day included.")] = None
    project: Annotated[str, typer.Option(help="The project for which alone it holds.")] = ""
    lasting: Annotated[
        bool, typer.Option("--lasting", help="What was asked while it held may be used so ever after.")
    ] = False

    def to_json(self) -> dict[str, Any]:
        """As `letters.wanted` takes it."""
        last = day(self.until, "--until") if self.until else None
        return {"since": day(self.since, "--since"), "last": last, "project": self.project, "lasting": self.lasting}


@terms_app.command("permit")
@grouped
def terms_permit(
    letter: Annotated[Path, typer.Argument(help="The provider's letter, as you have it.")],
    provider: Annotated[str, typer.Option("--from", help="Whose permission it is, as its terms are listed.")],
    permitted: Permitted,
    term: Term,
    identity: Annotated[str, typer.Option("--id", help="Of the document that is written.")] = "",
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Leave the signature to the reviewer.")] = False,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Rely on a provider's written permission: kept as evidence, signed by the reviewer, in force on its days.

    It lifts what that provider's own texts refuse or leave open, for these sources and uses; nothing else.
    """
    from trueseed import letters
    from trueseed.workspace import Workspace

    wanted = letters.wanted(provider=provider, identity=identity, **permitted.to_json(), **term.to_json())
    place = Workspace.open(workspace)
    made = letters.permit(place, letter, wanted)
    if not unsigned:
        letters.rely_on(place, made.id)
    _tell(letters.standing(place, made.id), letters.lines(place, made.id), as_json, True)


@terms_app.command("rely-on")
def terms_rely_on(
    identity: Annotated[str, typer.Argument(metavar="ID")],
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Sign a written permission that lies in the terms folder, with the reviewer's key: from then on it binds."""
    from trueseed import letters
    from trueseed.workspace import Workspace

    place = Workspace.open(workspace)
    letters.rely_on(place, identity)
    _tell(letters.standing(place, identity), letters.lines(place, identity), as_json, True)


@terms_app.command("list")
def terms_list(workspace: WorkspaceOption = WORK, as_json: JsonOption = False) -> None:
    """Every document known here."""
    from trueseed.terms import answers
    from trueseed.terms.catalog import Catalog

    rows = answers.listing(Catalog.load(documents(workspace)))
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

    document = answers.shown(Catalog.load(documents(workspace)), identity)
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

    findings = check.check(documents(workspace))
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

    found = texts.compare(file, Catalog.load(documents(workspace)), document)
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

    found = compare.difference(Catalog.load(documents(workspace)), before, after)
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
    from trueseed import why as asking
    from trueseed.terms import compare

    _, catalog, _ = asking.known(workspace)
    found = compare.matrix(catalog, day(at))
    if as_json:
        print_json(found)
        return
    for line in compare.matrix_told(found, out.width):
        out.print(shown(line), markup=False)
