"""The verbs of judging: may a judge be believed, who answers better, and what marks does a model get?"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueseed.cli.evaluation import DESCRIBED, print_scores, task_config
from trueseed.cli.grouped import grouped
from trueseed.cli.pages import HtmlOption, write_page
from trueseed.cli.pausing import pausing
from trueseed.cli.show import WORK, JsonOption, WorkspaceOption, err, out, print_json, shown
from trueseed.core.plural import many
from trueseed.errors import ConfigError, Short

if TYPE_CHECKING:
    from trueseed.core.artifacts import Artifact
    from trueseed.evaluate.task import Config
    from trueseed.judging import Entrant, Seat
    from trueseed.workspace import Workspace

app = typer.Typer()
judge_app = typer.Typer(help="Models that grade models, under their own terms.", no_args_is_help=True)
app.add_typer(judge_app, name="judge")

OPEN = "open"  # the scorer of answers that only a judge can rank
WHO = "student, weights:<digest>, pypi:…, hub:…, a folder, a GGUF file, checks, or a YAML file that describes a judge"
HOW = "How verdicts are had: words, likelihood, or reference (docs/evaluation.md, Judges)."
WHOSE = "Whose outputs {} holds, where it is a file: maker/model@route."
ModelArgument = Annotated[str, typer.Argument(help="A model, as `trueseed evaluate` takes one, or a file of outputs.")]
AnotherArgument = Annotated[str, typer.Argument(help="Another.")]


@dataclass(frozen=True, kw_only=True)
class Judges:
    """Who judges."""

    judge: Annotated[list[str] | None, typer.Option("--judge", "-j", help=f"Who judges: {WHO}; may be repeated.")] = (
        None
    )
    method: Annotated[str, typer.Option(help=HOW)] = "words"
    run: Annotated[Path | None, typer.Option("--run", help="A run file: those under its `judges` judge.")] = None

    def seats(self, workspace: "Workspace", rubric: Mapping[str, Any] | None = None) -> "list[Seat]":
        """rubric: of those that are named here; a run file has its own."""
        from trueseed import judging, runfile

        said = {"rubric": dict(rubric or {}), "method": self.method}
        found = [seat(spec, said, workspace) for spec in self.judge or ()]
        if self.run is not None:
            file = runfile.load(self.run)
            workspace.declare(file.project, file.facts)  # so that what is allowed to a project binds its judges
            found += judging.seats(file, workspace)
        if not found:
            raise ConfigError("there is no judge; name one with --judge, or a run file that has `judges` with --run")
        return found


@dataclass(frozen=True, kw_only=True)
class Tried(Judges):
    """Who judges, once it was seen whether that one can."""

    unchecked: Annotated[bool, typer.Option("--unchecked", help="Do not try the judges first; the scores say so.")] = (
        False
    )


@dataclass(frozen=True, kw_only=True)
class On:
    """What is answered."""

    task: Annotated[Path, typer.Option(help="JSON lines of prompts, or a task's description in YAML.")]
    source: Annotated[
        str | None,
        typer.Option(help="Where they come from: maker/name@dataset, or own/<name>; unless YAML says so."),
    ] = None
    limit: Annotated[int | None, typer.Option(help="So many samples, from the beginning.")] = None
    max_tokens: Annotated[int | None, typer.Option(help="Bound on an answer.")] = None
    seed: Annotated[int | None, typer.Option(help="Of the answers and the intervals.")] = None

    @property
    def config(self) -> "Config":
        said = {name: it for name, it in asdict(self).items() if name != "task"}
        config = task_config(self.task, scorer=None if self.task.suffix in DESCRIBED else OPEN, **said)
        if config.scorer != OPEN:
            raise ConfigError(
                f"judges compare answers to a task of the scorer {OPEN!r}, and {self.task} has {config.scorer!r}"
            )
        return config


@dataclass(frozen=True, kw_only=True)
class By:
    """Who wrote down the outputs of a file."""

    recorded_by: Annotated[str, typer.Option(help="Who wrote the outputs down: own/<name>, or maker/name@dataset.")] = (
        "own/recorded"
    )


@dataclass(frozen=True, kw_only=True)
class OfTwo(By):
    a_is: Annotated[str | None, typer.Option(help=WHOSE.format("A"))] = None
    b_is: Annotated[str | None, typer.Option(help=WHOSE.format("B"))] = None


@dataclass(frozen=True, kw_only=True)
class OfOne(By):
    model_is: Annotated[str | None, typer.Option(help=WHOSE.format("MODEL"))] = None


@dataclass(frozen=True, kw_only=True)
class Marking:
    """What marks are given for."""

    criterion: Annotated[list[str] | None, typer.Option(help="`name: what it means`; may be repeated.")] = None
    scale: Annotated[tuple[int, int], typer.Option(help="The lowest and the highest mark.")] = (1, 10)

    @property
    def rubric(self) -> dict[str, Any]:
        return {"scale": list(self.scale), **_criteria(self.criterion)}


@judge_app.command()
@grouped
def check(
    judges: Judges,
    gold: Annotated[Path | None, typer.Option(help="JSON lines of `prompt`, `right`, `wrong` and `check`.")] = None,
    source: Annotated[str | None, typer.Option(help="Where they come from; needed with --gold.")] = None,
    html: HtmlOption = None,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Try a judge on pairs of which one answer is known to be right. Exit code 7 when one fails."""
    from trueseed import judging

    with working(workspace) as place:
        pairs = judging.gold(place, gold, source)
        cards = [judging.check(seat, place, pairs) for seat in judges.seats(place)]
    found = [{"artifact": f"{each.kind}:{each.digest}", **_read(each, judging.CARD_FILE)} for each in cards]
    if html:
        from trueseed.report import judged
        from trueseed.report.results import Results

        write_page(html, "Judges on trial", Results(cards=tuple(map(judged.card, found))))
    if as_json:
        print_json({"cards": found})
    else:
        for line in (line for card in found for line in card_table(card)):
            out.print(line, markup=False)
    if not all(card["passed"] for card in found):
        raise typer.Exit(Short.exit_code)


@judge_app.command()
@grouped
def pairwise(
    a: ModelArgument,
    b: AnotherArgument,
    on: On,
    judges: Tried,
    whose: OfTwo,
    html: HtmlOption = None,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Who answers better? Every pair in both orders, by one judge or by the majority of several."""
    from trueseed import judging, scoring

    config = on.config
    with working(workspace) as place:
        seats = judges.seats(place)
        frozen = scoring.bring_task(place, config)
        sides = ((a, whose.a_is), (b, whose.b_is))
        one, other = (_entrant(*side, whose.recorded_by, config, frozen, place) for side in sides)
        checked = not judges.unchecked
        scores = judging.pairwise(one, other, frozen, seats, place, checked=checked, seed=config.seed)
        if html:
            _write_page(html, f"{one.source} against {other.source}", scores, place)
    print_scores(scores, as_json)


@judge_app.command()
@grouped
def mark(
    model: ModelArgument,
    on: On,
    judges: Tried,
    marking: Marking,
    whose: OfOne,
    html: HtmlOption = None,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Marks for a model's answers, by the criteria of a rubric."""
    from trueseed import judging, scoring

    config = on.config
    with working(workspace) as place:
        seats = judges.seats(place, marking.rubric)
        if len(seats) != 1:
            raise ConfigError(f"marks are one judge's, and {len(seats)} are named; name one")
        frozen = scoring.bring_task(place, config)
        entrant = _entrant(model, whose.model_is, whose.recorded_by, config, frozen, place)
        scores = judging.mark(entrant, frozen, seats[0], place, checked=not judges.unchecked)
        if html:
            _write_page(html, f"Marks for {entrant.source}", scores, place)
    print_scores(scores, as_json)


def card_table(card: Mapping[str, Any]) -> Iterator[str]:
    """A judge's card as lines of text."""
    by = "" if card["method"] == "words" else f" by {card['method']}"
    yield f"{shown(card['judge'])}{by}, tried on {card['pairs']} pairs in both orders: " + (
        "passed" if card["passed"] else "FAILED, and is not to be believed"
    )
    if card["scope"]:
        yield f"  for {card['scope']}"
    for name, limit in card["limits"].items():
        failing = "FAILS " if name in card["failed"] else "      "
        if found := card["metrics"].get(name):
            interval = f"[{found['low']:.3f}, {found['high']:.3f}]"
            yield f"  {failing}{name:18} {found['value']:7.3f}  95 % {interval}  n {found['n']:<4} limit: {limit}"
        else:
            yield f"  {failing}{name:18} not known: {card['not_known'][name]}; limit: {limit}"
    faults = ", ".join(f"{n} {name}" for name, n in card["faults"].items()) or "none"
    yield f"  replies that were no verdict: {faults}; mended by asking again: {card['repaired']}"
    for each in card["calibration"]:
        of = many(each["pairs"], "pair")
        yield f"  where it was sure by {each['sure']:.2f} it was right in {each['right']:.2f} of {of}"
    cost = card["cost"]
    usd = f", {cost['usd']:.6f} USD" if "usd" in cost else ""
    tokens = f"{cost['prompt_tokens']:.0f} tokens read and {cost['completion_tokens']:.0f} said"
    yield f"  a pair took {cost['calls']:.1f} calls, {tokens}{usd}"


def _write_page(path: Path, title: str, scores: "Artifact", workspace: "Workspace") -> None:
    """A comparison, or the marks of one model, with the cards of who judged."""
    from trueseed.report import judged
    from trueseed.report.results import Results
    from trueseed.report.tasks import Scores

    about, compared = _read(scores, "scores.json"), judged.comparisons([scores])
    marks = () if compared else (Scores(model=about["model"]["source"], student=False, about=about),)
    cards = judged.cards([scores], workspace.store)
    write_page(path, title, Results(tasks=marks, judged=compared, cards=cards))


@contextmanager
def working(folder: Path) -> "Iterator[Workspace]":
    """The workspace, with the screen that says how far the work is."""
    from trueseed import screen
    from trueseed.workspace import Workspace

    with screen.Screen(err) as watching, pausing():
        yield Workspace.open(folder, create=True, report=watching)


def _criteria(said: Sequence[str] | None) -> dict[str, dict[str, str]]:
    parts = [each.partition(":") for each in said or ()]
    if wrong := next(
        (name for name, colon, meaning in parts if not (name.strip() and colon and meaning.strip())), None
    ):
        raise ConfigError(f"--criterion {wrong!r} must be a name and what it means, as in 'clear: easy to follow'")
    return {"criteria": {name.strip(): meaning.strip() for name, _, meaning in parts}} if parts else {}


def seat(spec: str, said: Mapping[str, Any], workspace: "Workspace") -> "Seat":
    """The judge that a user names. said: `method` and `rubric`, where no file says them. Raises `ConfigError`."""
    from trueseed import judging, scoring
    from trueseed.core.settings import checked
    from trueseed.runfile import Judging

    if spec == judging.CHECKS:
        return judging.by_checks()
    if Path(spec).suffix in DESCRIBED:
        return judging.of_file(Path(spec), workspace)
    told = checked(Judging, {**said, "weights": spec})
    return judging.Seat(model=scoring.ours(workspace, spec), method=told.method, rubric=told.rubric)


def _entrant(
    spec: str, whose: str | None, by: str, config: "Config", task: "Artifact", workspace: "Workspace"
) -> "Entrant":
    from trueseed import judging, scoring
    from trueseed.evaluate.formats import reading
    from trueseed.evaluate.outputs import Recorded
    from trueseed.evaluate.task import thaw

    path = Path(spec)
    if path.suffix not in (".json", ".jsonl"):
        return judging.speaking(scoring.ours(workspace, spec), config, task, workspace)
    if whose is None:
        raise ConfigError(
            f"{spec!r} holds outputs of some model: say whose (--a-is, --b-is, --model-is maker/model@route)"
        )
    found = reading.outputs(path, Recorded(source=whose, maker=by), thaw(task).samples)
    model = scoring.recorded(scoring.bring_outputs(workspace, found))
    return judging.speaking(model, config, task, workspace)


def _read(artifact: "Artifact", name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(artifact.path(name).read_bytes())
    return found
