"""lm-evaluation-harness through the door: `trueseed harness`, and results that it left elsewhere.

for scores in by_harness(model, config, workspace): ...
for scores in imported(model, file, samples, config, workspace): ...
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trueseed.core.artifacts import Artifact
from trueseed.core.canonical import file_digest, sha256
from trueseed.errors import ConfigError
from trueseed.evaluate import contamination, harness, harness_results, score
from trueseed.evaluate.contamination import Learned
from trueseed.evaluate.harness_results import Reported, Result
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
        task = _frozen(name, one.source, dict(loaded.docs()), workspace)
        decides = {**one.model_dump(exclude={"include"}), **model.voice.identity, "versions": score.versions()}
        decides["task"] = loaded.digest
        learned = contamination.learned_by(model.weights, model.voice.source, task, workspace)
        with _step(model, [task], learned, decides, workspace) as step:
            if earlier := step.earlier("scores"):
                yield earlier
                continue
            step.read(task)
            said, rows = harness.run(one, loaded, model.voice.scorer)
            [result] = harness_results.results(said, rows, "what the harness gave")
            about = _settings(said, result, one.source, chat=one.chat)
            held = _held(task, result, learned, step)
            yield harness.write(result, task, about, _about(model), one.seed, step, held)


def imported(
    model: Model, file: Path, samples: Sequence[Path], source: str, workspace: Workspace, *, seed: int = 7
) -> Iterator[Artifact]:
    """Scores of every task in a results file that somebody's harness wrote about this model.

    Raises as `harness_results.read`, and `Refused` when the terms do not let the model be measured.
    """
    results, said = harness_results.read(file, samples)
    files = {"imported": file_digest(file), "samples": sorted(map(file_digest, samples))}
    for result in results:
        tasks = [_frozen(result.task, source, result.docs, workspace)] if result.docs else []
        task = next(iter(tasks), None)
        decides = {**files, "task": result.task, **model.voice.identity, "versions": score.versions()}
        learned = contamination.learned_by(model.weights, model.voice.source, task, workspace)
        with _step(model, tasks, learned, decides, workspace) as step:
            if earlier := step.earlier("scores"):
                yield earlier
                continue
            about = _settings(said, result, source, chat=bool(said.chat_template))
            about |= {"imported": file.name, "measured_by": str(said.config.get("model", ""))}
            held = _held(task, result, learned, step) if task else _unseen(learned)
            yield harness.write(result, task, about, _about(model), seed, step, held)


def _settings(said: Reported, result: Result, source: str, *, chat: bool) -> dict[str, Any]:
    """What decides the answers beside the samples."""
    return {"source": source, "harness": said.lm_eval_version or "", "shots": result.shots, "chat": chat}


def _frozen(name: str, source: str, docs: Mapping[str, Mapping[str, Any]], workspace: Workspace) -> Artifact:
    whole = sha256(json.dumps(docs).encode())  # a row of a data set may hold what canonical JSON does not, as NaN
    said = {"held_out": True, "task": name, "digest": whole, "scorer": harness_results.SCORER}
    with workspace.step("task", brings={source: Relation.OUTPUT}, config=said) as step:
        return step.earlier("prompts") or harness.freeze(name, source, docs, step)


def _held(task: Artifact, result: Result, learned: Learned, step: Step) -> dict[str, Any]:
    """Contamination and looks."""
    looks = {"looks": learned.looks.to_json()} if learned.looks else {}
    found = contamination.report(samples_of(task), learned, step, lambda clean: harness.without(result, clean))
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
