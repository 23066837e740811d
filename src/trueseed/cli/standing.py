"""The verbs of standing: who is better, of two or of many, and how far it is to the targets."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueseed.cli.grouped import grouped
from trueseed.cli.judge import HOW, WHO, seat, working
from trueseed.cli.pages import HtmlOption, write_page
from trueseed.cli.pausing import pausing
from trueseed.cli.show import WORK, JsonOption, WorkspaceOption, day, err, out, print_json, shown
from trueseed.core.plural import form, many
from trueseed.errors import ConfigError
from trueseed.worth import brief

if TYPE_CHECKING:
    from trueseed.core.artifacts import Artifact
    from trueseed.evaluate.arena import Leaderboard
    from trueseed.evaluate.scored import Comparison
    from trueseed.evaluate.stats import Measured
    from trueseed.evaluate.targets import Standing
    from trueseed.scoreboard import Rung
    from trueseed.workspace import Workspace

app = typer.Typer()
KeepOption = Annotated[bool, typer.Option("--keep", help="Keep it as scores, by a step in the ledger.")]
SHOWN = 5  # flipped samples that are printed


@app.command()
def compare(
    a: Annotated[str, typer.Argument(help="scores:<digest>, student, weights:<digest>, or a model's source.")],
    b: Annotated[str, typer.Argument(help="The other one, in the same way.")],
    metric: Annotated[str | None, typer.Option(help="Of the task; the scorer's own when left out.")] = None,
    flips: Annotated[int, typer.Option(help="So many flipped samples of each task are printed.")] = SHOWN,
    keep: KeepOption = False,
    html: HtmlOption = None,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """B beside A on every task both were measured on: difference, paired test, and the samples that flipped."""
    from trueseed import scoreboard
    from trueseed.report.results import Results
    from trueseed.workspace import Workspace

    place = Workspace.open(workspace)
    found = scoreboard.compare(place, a, b, metric=metric, note=lambda said: err.print(said, markup=False))
    said = tuple(each.to_json() for each in found)
    if keep:
        held = [place.store.get(f"scores:{digest}") for each in found for digest in each.scores]
        _keep("compare", held, list(said), place)
    if html:
        write_page(html, f"{b} beside {a}", Results(compared=said))
    if as_json:
        print_json(said)
        return
    for each in found:
        for line in _compared(each, flips):
            out.print(line, markup=False)
    if len(found) > 1:
        out.print(f"p is corrected for {len(found)} tasks (Holm)", markup=False)


@dataclass(frozen=True, kw_only=True)
class Heard:
    """Whose verdicts are counted, and as what; or which task's scores."""

    task: Annotated[str, typer.Option(help="Everybody who was measured on this task, by its name or digest.")] = ""
    judge: Annotated[
        str, typer.Option(help=f"Only the verdicts of this judge, by its name; with --verdicts, who judges: {WHO}.")
    ] = ""
    metric: Annotated[str | None, typer.Option(help="Of the task; the scorer's own when left out.")] = None
    much: Annotated[int, typer.Option(min=1, help="Verdicts that a much better answer (A>>B) counts as.")] = 3
    baseline: Annotated[str, typer.Option(help="Whom the models of an arena-hard v0.1 file met.")] = ""


@dataclass(frozen=True, kw_only=True)
class Rating:
    """How they are rated, and what to judge next."""

    anchor: Annotated[str, typer.Option(help="The model that has 1000 points, instead of the average.")] = ""
    resamples: Annotated[int, typer.Option(min=0, help="Bootstrap draws; 0 for sandwich errors.")] = 0
    pairs: Annotated[int, typer.Option(min=0, help="So many pairs to judge next, where it tells most.")] = 0


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A judge that compares pair after pair."""

    asked: Annotated[
        int | None,
        typer.Option("--verdicts", min=2, help="Ask --judge for so many on --task, two a pair, where they tell most."),
    ] = None
    until: Annotated[float | None, typer.Option(help="Or until the standard error is so many points.")] = None
    method: Annotated[str, typer.Option(help=HOW)] = "words"
    unchecked: Annotated[bool, typer.Option("--unchecked", help="Do not try the judge first.")] = False


@app.command()
@grouped
def arena(
    verdicts: Annotated[
        list[str] | None,
        typer.Argument(help="Files of verdicts (ours, MT-bench's, arena-hard's, AlpacaEval's), or scores:<digest>."),
    ] = None,
    *,
    heard: Heard,
    ask: Asked,
    rating: Rating,
    keep: KeepOption = False,
    html: HtmlOption = None,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Rate any number of models by how they did in pairs: Bradley-Terry points, intervals, ranks, the next pairs."""
    from trueseed import scoreboard
    from trueseed.report.results import Results
    from trueseed.workspace import Workspace

    place = Workspace.open(workspace) if (workspace / "format").exists() else None
    judged = ask.asked is not None or ask.until is not None
    held = (
        _judged(verdicts, heard, ask, workspace)
        if judged
        else scoreboard.competing(
            verdicts or [], place, task=heard.task, note=lambda said: err.print(said, markup=False)
        )
    )
    met = scoreboard.arena(
        held,
        judge="" if judged else heard.judge,
        metric=heard.metric,
        much=heard.much,
        baseline=heard.baseline,
        note=lambda said: err.print(said, markup=False),
    )
    board = met.leaderboard(anchor=rating.anchor, resamples=rating.resamples)
    asked = met.next_pairs(rating.pairs)
    said = {**board.to_json(), "next": [list(pair) for pair in asked]}
    if keep:
        _keep("arena", held, [said], place)
    if html:
        write_page(html, "The arena", Results(leaderboards=({"title": heard.task, **said},)))
    if as_json:
        print_json(said)
        return
    for line in (*_rated(board), *(f"judge next  {shown(one)} and {shown(other)}" for one, other in asked)):
        out.print(line, markup=False)


def _judged(verdicts: list[str] | None, heard: Heard, ask: Asked, workspace: Path) -> "list[Path | Artifact]":
    """What the judge said in this call and in earlier ones."""
    from trueseed import scoreboard

    if verdicts or not (heard.task and heard.judge and ask.asked):
        raise ConfigError(
            "a judge is asked with --task, --judge and --verdicts (--until only stops it sooner), and without files of "
            "verdicts"
        )
    with working(workspace) as place:
        judge = seat(heard.judge, {"method": ask.method}, place)
        rounds = scoreboard.compete(
            heard.task, judge, place, verdicts=ask.asked, until=ask.until, checked=not ask.unchecked
        )
    asked, given = (sum(each.about["counts"][name] for each in rounds) for name in ("asked", "verdicts"))
    faults = sum((each.faults for each in rounds), Counter[str]())
    none = "".join(f", {n} {name.replace('_', ' ')}" for name, n in sorted(faults.items()))
    err.print(
        f"judged  asked {asked:,} times in {many(len(rounds), 'round')}: {many(given, 'verdict')}{none}", markup=False
    )
    return [each.scores for each in rounds]


@app.command()
def targets(
    file: Annotated[Path, typer.Argument(help="The run file that names them.")],
    today: Annotated[str | None, typer.Option("--at", help="Days are counted from this one, as 2023-12-01.")] = None,
    html: HtmlOption = None,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """How far the students are from the targets, when they will be there, and who stands where on each task."""
    from trueseed import aims, measured, screen
    from trueseed.report.results import Results
    from trueseed.runfile import load
    from trueseed.workspace import Workspace

    run, on = load(file), day(today)
    with screen.Screen(err) as watching, pausing():
        found = aims.targets(Workspace.open(workspace, create=True, report=watching), run, on)
    if html:
        said = tuple(each.to_json() for each in found.standings)
        write_page(
            html, f"Targets on {on}", Results(targets=said, ladders=measured.ladders(found), left_out=found.left_out)
        )
    if as_json:
        print_json(found.to_json())
        return
    for standing in found.standings:
        for line in _stands(standing):
            out.print(line, markup=False)
    for name, rungs in found.ladders.items():
        for line in _climbs(name, rungs):
            out.print(line, markup=False)
    for told in found.left_out:
        out.print(shown(told), markup=False)
    if found.comparisons:
        out.print(_IN_ORDER, markup=False)


_IN_ORDER = (
    "the first interval of a gap holds at 95 % by itself; the one after `surely`, by which it is met or not, is the "
    "student's part of one error in twenty for all students of a target, in the order in which they were trained"
)


def _keep(name: str, of: "Sequence[Path | Artifact]", said: Any, workspace: "Workspace | None") -> None:
    from trueseed import keeping

    scores = [each for each in of if not isinstance(each, Path)]
    if workspace is None or len(scores) < len(of):
        raise ConfigError(
            "--keep is of scores in a workspace: a file of verdicts has no origin there; name scores:<digest>"
        )
    kept = keeping.kept(workspace, name, scores, said)
    err.print(f"kept  {kept.kind}:{kept.digest}", markup=False)


def _compared(found: "Comparison", flips: int) -> Iterator[str]:
    one, two = map(shown, found.models)
    yield f"{shown(found.task)}, {found.metric}, {found.difference.n} samples"
    yield f"  A {one:40} {_with_interval(found.a)}"
    yield f"  B {two:40} {_with_interval(found.b)}"
    change = f"{found.difference.value:+.3f}  95 % [{found.difference.low:+.3f}, {found.difference.high:+.3f}]"
    yield f"  B - A  {change}  p {found.holm:.3g} ({found.test})"
    yield (
        f"  B is better on {many(found.better, 'sample')}, worse on {found.worse}; so many samples show a difference "
        f"of {found.detectable:.3f}, and one of 0.03 takes {found.needed:,}"
    )
    for name, held in zip("AB", found.held, strict=True):
        yield from (f"  {name} {shown(said)}" for said in held)
    if found.looks:
        yield f"  {found.looks}; the more looks, the less p and the interval say"
    for told in found.apart:
        yield f"  not measured alike: {shown(told)}"
    for flip in found.flips[:flips]:
        yield f"  {shown(flip.id)}: {flip.a:g} became {flip.b:g}"
        yield f"    A  {_short(flip.said_a)}{_why(flip.why_a)}"
        yield f"    B  {_short(flip.said_b)}{_why(flip.why_b)}"
    if len(found.flips) > flips:
        yield f"  and {len(found.flips) - flips} more (--flips, --json)"


def _rated(board: "Leaderboard") -> Iterator[str]:
    yield f"{many(board.verdicts, 'verdict')} on {many(board.samples, 'prompt')}; {board.method}"
    yield f"{'rank':>4}  {'may be':>9}  {'points':>6}  {'95 %':>14}  {'wins':>6}  {'met':>8}  {'learned':>7}  model"
    for row in board.rows:
        low, high = ("open" if bound is None else f"{bound:.0f}" for bound in (row.low, row.high))
        possible = f"{row.rank_best}-{row.rank_worst}"
        yield (
            f"{row.rank:>4}  {possible:>9}  {row.rating:>6.0f}  {f'[{low}, {high}]':>14}  {row.wins:>6.1%}  "
            f"{row.met:>8,}  {_learned(row.contaminated):>7}  {shown(row.model)}"
        )
    yield "learned: share of the samples that stand in the training data, as far as it is here"
    yield from (f"  {shown(line)}" for line in board.held)
    if board.comparisons > 1:
        yield _by_chance(board.comparisons)
    for note in board.notes:
        yield f"note: {shown(note)}"


def _stands(found: "Standing") -> Iterator[str]:
    from trueseed.report.targets import NOT_TOLD, left, projected, trend

    said = found.to_json()
    name, version, task = map(shown, (found.name, found.version, found.task))
    yield f"{name} ({version}) on {task}, {found.metric}: by {found.by}, {left(said)}"
    yield f"  target {_with_interval(found.target)}  {found.samples} samples of {shown(found.source)}"
    yield from (f"  of the target: {shown(line)}" for line in found.contamination)
    if found.judge:
        worth = {True: "passed its card", False: "NOT TO BE BELIEVED", None: "has judged nobody yet"}
        yield f"  judge {shown(found.judge['source'])} by {found.judge['method']}: {worth[found.judge['believed']]}"
    for step in found.steps:
        gap = f"{step.gap.value:+.3f} [{step.gap.low:+.3f}, {step.gap.high:+.3f}]"
        score = f"{shown(step.student):40} {_with_interval(step.score)}"
        surely = f"surely [{step.surely.low:+.3f}, {step.surely.high:+.3f}]"
        stands = f"wins {step.wins:.1%}  {step.status or NOT_TOLD}  ({brief(step.contaminated)})"
        yield f"  {step.on}  {score}  gap {gap}  {surely}  {stands}"
        for name, rate in step.rates.items():
            if name != found.metric:
                yield f"  {'':10}  {name:40} {_with_interval(rate)}"
        if step.undecided:
            have = form(step.undecided, "has", "have")
            yield f"  {'':10}  {step.undecided} of {found.samples} samples {have} no verdict"
        if step.floor:
            yield f"  {'':10}  {step.floor}"
    if not found.steps:
        yield "  no student has a score yet"
    for line in found.steps[-1].contamination if found.steps else ():
        yield f"  of the newest student: {shown(line)}"
    if found.met_on is None and found.steps:
        yield "  " + ": ".join(filter(None, (trend(said), projected(said))))
    for told in found.judge["warnings"] if found.judge else ():
        yield f"  NOTE  {shown(told)}"
    if found.detectable is not None:
        yield f"  so many samples show a gap of {found.detectable:.3f}; one of 0.03 takes {found.needed:,}"
    if found.looks:
        yield f"  {found.looks}; the more looks, the less an interval says"


def _climbs(name: str, rungs: "Sequence[Rung]") -> Iterator[str]:
    yield f"ladder of {shown(name)}"
    for rung in rungs:
        told = f"({brief(rung.contaminated)}{'; on the floor' if rung.floor else ''})"
        yield f"  {_with_interval(rung.score)}  {rung.kind:8} {rung.on}  {shown(rung.model)}  {told}"


def _learned(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.1%}"


def _by_chance(comparisons: int) -> str:
    return (
        f"{comparisons:,} comparisons, each interval at 95 % by itself: of so many, about {comparisons / 20:.1f} miss "
        f"by chance; `trueseed compare` corrects for how many it makes (Holm)"
    )


def _with_interval(found: "Measured") -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _short(text: str, at_most: int = 100) -> str:
    flat = shown(" ".join(text.split()))
    return flat if len(flat) <= at_most else f"{flat[:at_most]}…"


def _why(why: str) -> str:
    return f"  ({_short(why)})" if why else ""
