"""Tasks of lm-evaluation-harness, run by it on weights that we hold; its results become our scores.

The harness is used as it is: its tasks, prompts, filters and metrics. What is ours is the model under it
(`harness_model`), and what becomes of its results (`harness_results`).
"""

import importlib.util
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from trueseed.core.artifacts import Artifact
from trueseed.core.canonical import sha256
from trueseed.core.settings import Settings
from trueseed.errors import ConfigError
from trueseed.evaluate.harness_results import SCORER, Reported, Result, reported, sample_id
from trueseed.evaluate.harness_samples import Logged, Sums, logged
from trueseed.evaluate.score import SAMPLES_FILE, SCORES_FILE, versions
from trueseed.evaluate.task import SAMPLES_FILE as TASK_SAMPLES
from trueseed.evaluate.task import TASK_FILE
from trueseed.workspace import Step

if TYPE_CHECKING:
    from trueseed.lm.engine import Engine


class Config(Settings):
    """tasks: by the harness's names. source: where their samples come from, `maker/name@dataset`. include: a folder of
    task files of your own. shots: examples before each question, the task's own number when left out. limit: so many
    samples of each. chat: questions in the model's chat template.
    """

    tasks: list[str] = Field(min_length=1)
    source: str
    include: str | None = None
    shots: int | None = Field(default=None, ge=0)
    limit: int | None = Field(default=None, ge=2)
    chat: bool = False
    seed: int = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Tasks with their samples here. found, manager: the harness's own objects, tasks by name."""

    found: Mapping[str, Any]
    manager: Any
    limit: int | None

    def docs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The samples by id, as the harness logs them."""
        for name, task in self.found.items():
            for number, doc in enumerate(list(task.eval_docs)[: self.limit]):
                yield sample_id(name, number), _as_json(dict(doc))

    @property
    def digest(self) -> str:
        """Of the tasks' own settings: how a prompt is made of a sample, and what an answer counts for."""
        said = {name: task.dump_config() for name, task in self.found.items()}
        return sha256(json.dumps(said, default=str, sort_keys=True).encode())


def load(config: Config) -> Loaded:
    """Raises `ConfigError` when the harness is not installed, does not know a task, or cannot get its samples."""
    if not importlib.util.find_spec("lm_eval"):
        raise ConfigError("lm-evaluation-harness is not installed: pip install 'trueseed[harness]'")
    if config.include is not None and not Path(config.include).is_dir():
        raise ConfigError(f"`include` {config.include!r} is no folder of task files")
    manager = _manager(config)
    try:
        found = manager.load(list(config.tasks))
    except Exception as err:  # whatever a task's own code or the hub raises
        why = f"{type(err).__name__}: {err}"
        raise ConfigError(f"the samples of {', '.join(config.tasks)} cannot be had: {why}") from err
    if found["groups"]:
        raise ConfigError(f"{', '.join(found['groups'])} is a group of tasks; name its tasks")
    return Loaded(found=found["tasks"], manager=manager, limit=config.limit)


def without(result: Result, clean: Collection[str]) -> dict[str, Any] | None:
    """The metrics that are sums over samples, on those with these ids alone; None where there are none."""
    left = [line["counts"] for line in result.lines if line["id"] in clean]
    found = {}
    for name, kind in result.kinds.items() if len(left) > 1 else ():
        sums = Sums(kind=kind, pairs=[tuple(each[name]) for each in left], sure=True)
        found[name] = sums.measured().to_json()
    return found or None


def _as_json(value: Any) -> Any:
    """As it is read back from the file that the harness writes it to."""
    from lm_eval.utils import handle_non_serializable

    return json.loads(json.dumps(value, default=handle_non_serializable))


def _manager(config: Config) -> Any:
    """The folder's own tasks alone, where they are all that is asked for: to index the harness's takes many seconds."""
    from lm_eval.tasks import TaskManager

    for defaults in (False, True) if config.include else (True,):
        manager = TaskManager(include_path=config.include, include_defaults=defaults)
        unknown = [name for name in config.tasks if name not in manager.all_tasks]
        if not unknown:
            return manager
    raise ConfigError(f"lm-evaluation-harness knows no task {', '.join(unknown)}; `lm_eval ls tasks` lists them")


def freeze(name: str, source: str, docs: Mapping[str, Mapping[str, Any]], step: Step) -> Artifact:
    """The samples by id, held out: the door refuses to train on them. How a prompt is made of one is not part of it, so
    that runs with other prompts are on the same samples.
    """
    about = {"name": name, "source": source, "scorer": SCORER, "samples": len(docs)}

    def fill(folder: Path) -> None:
        (folder / TASK_FILE).write_text(json.dumps(about, indent=1, ensure_ascii=False), encoding="utf-8")
        rows = (json.dumps({"id": each, "row": doc}, ensure_ascii=False) + "\n" for each, doc in docs.items())
        (folder / TASK_SAMPLES).write_text("".join(rows), encoding="utf-8")

    return step.write("prompts", fill, {"held_out": True, "task": name, "samples": len(docs)})


def run(config: Config, loaded: Loaded, engine: "Engine") -> tuple[Reported, Mapping[str, Sequence[Logged]]]:
    """Results, and samples by task, as they would be read from the files that the harness writes."""
    import lm_eval

    from trueseed.evaluate.harness_model import Held

    found = lm_eval.simple_evaluate(
        model=Held(engine),
        tasks=list(loaded.found.values()),
        task_manager=loaded.manager,
        num_fewshot=config.shots,
        limit=config.limit,
        apply_chat_template=config.chat,
        fewshot_random_seed=config.seed,
        bootstrap_iters=0,
    )
    if found is None:
        raise RuntimeError("the harness gave no results")
    said = _as_json({name: each for name, each in found.items() if name != "samples"})
    rows = {task: [logged(_as_json(row), task) for row in each] for task, each in found["samples"].items()}
    return reported(said, "what the harness gave"), rows


def write(
    result: Result,
    task: Artifact | None,
    about: Mapping[str, Any],
    model: Mapping[str, Any],
    seed: int,
    step: Step,
    held: Mapping[str, Any],
) -> Artifact:
    """One task's scores, shaped as `evaluate.score` writes them. task: its samples; None where they are not here.
    about: how the scores were come by. held: contamination and looks.
    """
    scores = {
        "task": {
            "name": result.task,
            **({"artifact": task.digest} if task else {}),
            "source": about["source"],
            "scorer": SCORER,
            "scorer_version": result.version,
            "kinds": dict(result.kinds),
            "lower_is_better": list(result.lower),
            "samples": result.samples,
        },
        "model": dict(model),
        "metrics": {name: each.to_json() for name, each in result.metrics.items()},
        "metric": next(iter((*result.kinds, *result.metrics)), None),
        "left_out": list(result.left_out),
        "seed": seed,
        "settings": dict(about),
        "versions": versions(),
        **held,
    }

    def fill(folder: Path) -> None:
        (folder / SCORES_FILE).write_text(json.dumps(scores, indent=1, ensure_ascii=False, allow_nan=False), "utf-8")
        rows = (json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in result.lines)
        (folder / SAMPLES_FILE).write_text("".join(rows), "utf-8")

    return step.write("scores", fill, {"of": str(model["source"]), "task": result.task})
