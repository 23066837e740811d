"""lm-evaluation-harness through the door: `trueseed harness`, and results that it left elsewhere.

for scores in by_harness(model, config, workspace): ...
for scores in imported(model, file, samples, config, workspace): ...
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from trueseed.core.artifacts import Artifact
from trueseed.core.canonical import digest
from trueseed.errors import ConfigError
from trueseed.evaluate import contamination, harness, harness_results, score
from trueseed.evaluate.contamination import Learned
from trueseed.scoring import Model
from trueseed.similarity.held_out import samples_of
from trueseed.teachers.voice import OurWeights
from trueseed.terms.model import Relation, Use
from trueseed.workspace import Step, Workspace


def by_harness(model: Model, config: harness.Config, workspace: Workspace) -> Iterator[Artifact]:
    """Scores of a model on each task, in order; those there are already when nothing changed that decides them.

    Raises `Refused` when the terms do not let it be measured, `ConfigError` as `harness.load` and for a model whose
    weights are not here.
    """
    if not isinstance(model.voice, OurWeights):
        raise ConfigError(
            f"{model.voice.source!r} is behind an API; point the harness at it by the gateway, under its key"
        )
    for name in config.tasks:
        one = config.model_copy(update={"tasks": [name]})
        loaded = harness.load(one)
        task = _frozen(name, one.source, list(loaded.samples()), workspace)
        decides = {**one.model_dump(exclude={"include"}), **model.voice.identity, "versions": score.versions()}
        learned = contamination.learned_by(model.weights, model.voice.source, task, workspace)
        with _step(model, [task], learned, decides, workspace) as step:
            if earlier := step.earlier("scores"):
                yield earlier
                continue
            step.read(task)
            found, logged = harness.run(one, loaded, model.voice.scorer)
            [result] = harness_results.results(found, logged, seed=one.seed)
            about = {"source": one.source, "harness": found.get("lm_eval_version", "")}
            yield harness.write(
                result, about, _about(model), one.seed, step, _held(task, result, learned, one.seed, step)
            )


def imported(
    model: Model, file: Path, samples: Sequence[Path], source: str, workspace: Workspace, *, seed: int = 7
) -> Iterator[Artifact]:
    """Scores of every task in a results file that somebody's harness wrote about this model.

    Raises as `harness_results.read`, and `Refused` when the terms do not let the model be measured.
    """
    results, said = harness_results.read(file, samples)
    for result in results:
        rows = [{"id": line["id"], "prompt": line["asked"], "row": {}} for line in result.lines]
        tasks = [_frozen(result.task, source, rows, workspace)] if rows else []
        decides = {"imported": digest(file.read_bytes().decode()), "task": result.task, **model.voice.identity}
        learned = contamination.learned_by(model.weights, model.voice.source, next(iter(tasks), None), workspace)
        with _step(model, tasks, learned, decides, workspace) as step:
            if earlier := step.earlier("scores"):
                yield earlier
                continue
            about = {"source": source, "harness": said.get("lm_eval_version", ""), "imported": file.name}
            about |= {"measured_by": said.get("config", {}).get("model", "")}
            held = _held(tasks[0], result, learned, seed, step) if tasks else _unseen(learned)
            yield harness.write(result, about, _about(model), seed, step, held)


def _frozen(name: str, source: str, samples: list[dict[str, Any]], workspace: Workspace) -> Artifact:
    said = {"held_out": True, "task": name, "digest": digest(samples), "scorer": harness_results.SCORER}
    with workspace.step("task", brings={source: Relation.OUTPUT}, config=said) as step:
        return step.earlier("prompts") or harness.freeze(name, source, samples, step)


def _held(task: Artifact, result: harness_results.Result, learned: Learned, seed: int, step: Step) -> dict[str, Any]:
    """Contamination and looks."""
    looks = {"looks": learned.looks.to_json()} if learned.looks else {}
    found = contamination.report(samples_of(task), learned, step, lambda clean: harness.without(result, clean, seed))
    return {"contamination": found, **looks}


def _unseen(learned: Learned) -> dict[str, Any]:
    """Of results that came without their samples."""
    return {"contamination": {"unknown": ["the samples are not here", *learned.unknown]}}


def _step(model: Model, tasks: list[Artifact], learned: Learned, decides: dict[str, Any], workspace: Workspace) -> Any:
    inputs = [*tasks, *([model.weights] if model.weights else [])]
    asks = {model.voice.source: Use.BENCHMARK_TEACHER} if model.asked else {}
    beside = learned.datasets if tasks else ()
    return workspace.step("score", inputs=inputs, against=beside, ask=asks, config=decides, features=model.features)


def _about(model: Model) -> dict[str, Any]:
    about = {name.removeprefix("teacher_"): said for name, said in model.voice.speaks.items()}
    return {"source": model.voice.source, **about}
