"""The verbs of measuring: a model on a task."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from trueseed.cli.pausing import pausing
from trueseed.cli.show import WORK, JsonOption, WorkspaceOption, err, out, print_json, shown

app = typer.Typer()


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="student, weights:<digest>, pypi:…, hub:…, a folder or a GGUF file.")],
    scorer: Annotated[str, typer.Option(help="What makes an answer right: see docs/evaluation.md.")],
    task: Annotated[Path | None, typer.Option(help="JSON lines of samples, as the scorer reads them.")] = None,
    source: Annotated[str | None, typer.Option(help="Where they come from: maker/name@dataset, or own/<name>.")] = None,
    limit: Annotated[int | None, typer.Option(help="So many samples, from the beginning.")] = None,
    prompt: Annotated[str | None, typer.Option(help="The template, with {prompt}, instead of the scorer's.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Bound on an answer.")] = None,
    draws: Annotated[int, typer.Option(help="Answers per sample.")] = 1,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of draws and intervals.")] = 7,
    workspace: WorkspaceOption = WORK,
    as_json: JsonOption = False,
) -> None:
    """Measure a model on a task: every score with its standard error, interval, seed, versions and exact prompts."""
    from trueseed import scoring, screen
    from trueseed.core.settings import checked
    from trueseed.evaluate.task import Config
    from trueseed.workspace import Workspace

    said = {
        "scorer": scorer,
        "file": str(task) if task else None,
        "source": source,
        "limit": limit,
        "prompt": prompt,
        "max_tokens": max_tokens,
        "draws": draws,
        "temperature": temperature,
        "seed": seed,
    }
    config = checked(Config, said)
    with screen.Screen(err) as watching, pausing():
        place = Workspace.open(workspace, create=True, report=watching)
        scores = scoring.on(scoring.ours(place, model), config, scoring.bring_task(place, config), place)
    found = json.loads(scores.path("scores.json").read_bytes())
    if as_json:
        print_json({"artifact": f"{scores.kind}:{scores.digest}", **found})
        return
    for line in table(found):
        out.print(line, markup=False)
    out.print(f"samples    {scores.path('samples.jsonl')}", markup=False)


def table(scores: Mapping[str, Any]) -> list[str]:
    """A task's scores as lines of text."""
    task = scores["task"]
    told = f"{shown(task['name'])}: {task['samples']} samples of {shown(task['source'])}, scorer {task['scorer']}"
    against = f" against {shown(scores['against']['source'])}" if "against" in scores else ""
    lines = [f"{shown(scores['model']['source'])}{against} on {told}"]
    for name, found in scores["metrics"].items():
        interval = f"[{found['low']:.3f}, {found['high']:.3f}]"
        lines.append(f"  {name:18} {found['value']:8.3f}  se {found['se']:.3f}  95 % {interval}  ({found['method']})")
    if counts := scores.get("counts"):
        lines.append("  " + ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in counts.items()))
    lines += [f"  judge {shown(judge['source'])}" for judge in scores.get("judges", ())]
    return lines + [f"  NOTE  {shown(said)}" for said in scores.get("warnings", ())]
