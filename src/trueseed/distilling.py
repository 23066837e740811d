"""How a student comes to learn, through the door: which step asks the distiller, and what training is given.

Supervised fine-tuning asks nobody. Where log-probabilities are stored, a step of its own (`signals`) asks the teacher
for them and leaves an artifact; where the teacher stays in memory, the train step itself asks it. Either way it is
asked for `train`: how probable a model finds a token is its answer as much as its words are, so its terms are asked
first, and its label reaches the student. A server tells of its own answers alone, so these are asked for together with
the answers and kept with them. The distiller is no part of the student: its weights are heard, never an input.

Where the two models' tokens are not the same, no log-probabilities can be compared, and the student learns from the
teacher's words (`train.preflight`): that is said in the step's configuration, in the report and on the model card.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from trueseed.core.artifacts import Artifact
from trueseed.core.chat import ChatModel
from trueseed.errors import ConfigError
from trueseed.runfile import RunFile
from trueseed.teachers.bound import bound
from trueseed.teachers.voice import OurWeights, Voice
from trueseed.terms.model import Effect, Use
from trueseed.train import settings
from trueseed.workspace import Step, Workspace


def train(file: RunFile, workspace: Workspace, dataset: Artifact, base: Artifact, distiller: Voice | None) -> Artifact:
    """The student. distiller: None where nobody distils. Raises what the door and the methods raise."""
    config = file.training
    if distiller is None or isinstance(config, settings.Config):
        return _fine_tuned(config, workspace, dataset, base, {})
    if not isinstance(distiller, OurWeights):
        return _distilled(file, workspace, dataset, base, gather(file, workspace, dataset, base, distiller))
    route = _route(file, base, distiller)
    if route["name"] == "sequence-level":
        return _fine_tuned(_by_words(config), workspace, dataset, base, {"method": config.method, "route": route})
    if file.hears_distiller_in == "signals":
        return _distilled(file, workspace, dataset, base, ask(file, workspace, dataset, base, distiller))
    return _in_memory(file, workspace, dataset, base, distiller)


def ask(file: RunFile, workspace: Workspace, dataset: Artifact, base: Artifact, distiller: OurWeights) -> Artifact:
    """What the distiller thinks of every answer token: an artifact of kind `signals`, for each student that reads as
    long texts.
    """
    from trueseed.lm import checkpoint

    config = file.training
    assert isinstance(config, settings.Distil)
    reads = checkpoint.context(base.folder)
    also = {"student_context": reads} if reads is not None and reads < config.max_length else {}
    with _hearing(file, workspace, dataset, distiller, also) as step:
        if earlier := step.earlier("signals"):
            return earlier
        from trueseed.train.collect import collect

        made = collect(config, dataset, distiller.weights.folder, distiller.scorer, step, base.folder)
        distiller.close()
        return made


def gather(file: RunFile, workspace: Workspace, dataset: Artifact, base: Artifact, distiller: Voice) -> Artifact:
    """What a server told of its own answers, taken from those that are kept; nobody is asked anew."""
    config = file.training
    assert isinstance(config, settings.Distil)
    with _hearing(file, workspace, dataset, distiller, {"student": base.digest}) as step:
        if earlier := step.earlier("signals"):
            return earlier
        from trueseed.train.collect import gathered

        with bound(distiller, step, cache=True) as teacher:
            return gathered(config, dataset, base.folder, teacher, step)


def _hearing(
    file: RunFile, workspace: Workspace, dataset: Artifact, distiller: Voice, also: dict[str, Any]
) -> AbstractContextManager[Step]:
    """The step in which a distiller is asked. also: what decides its outcome besides."""
    return workspace.step(
        "signals",
        inputs=[dataset],
        ask={distiller.source: Use.TRAIN},
        effect=Effect.TRAIN,
        config={**file.hearing, **distiller.identity, **also},
        features=file.features_of(distiller.source),
    )


def must_be_possible(file: RunFile, workspace: Workspace, base: Artifact, distiller: Voice | None) -> None:
    """Tells which route will be taken, before anybody is asked for anything. Raises `ConfigError` as `train` would."""
    if file.training.parallel == "fsdp":
        from trueseed.train import shards

        shards.must_be_possible(base.folder)
    if isinstance(distiller, OurWeights):
        route = _route(file, base, distiller)
        workspace.report("preflight", 1, 1, "route", f"{route['name']}: {'; '.join(route['reasons'])}")
    elif distiller:
        workspace.report("preflight", 1, 1, "route", f"stored top-k: {of_a_server(file)}")


def of_a_server(file: RunFile) -> str:
    """What is known of a distiller behind an API before it said anything."""
    assert file.distiller is not None
    return (
        f"{file.distiller.named} tells its {file.top_logprobs_of(file.distiller)} most probable tokens with each "
        f"answer; whether they are the student's own shows with the first answers, before more are asked"
    )


def hearing(file: RunFile, workspace: Workspace, base: Artifact) -> Callable[[ChatModel], ChatModel]:
    """What the teacher's answers go through: where it distils by them, the first are compared with the student's tokens
    before more are asked.
    """
    config = file.training
    if not (isinstance(config, settings.Distil) and file.distiller and file.distiller.remote):
        return lambda teacher: teacher
    from trueseed.lm.format import Format
    from trueseed.train.first_told import FirstTold

    return partial(
        FirstTold,
        student=Format(base.folder),
        k=config.loss_top_k,
        incomparable=config.incomparable,
        tell=partial(workspace.report, "preflight", 1, 1, "tokens"),
    )


def _route(file: RunFile, base: Artifact, distiller: OurWeights) -> dict[str, Any]:
    """As JSON. Raises `ConfigError` when only words could be learned, and the records are not the distiller's."""
    from trueseed.train import preflight

    route = preflight.check(file.training, base.folder, distiller.weights.folder, ())
    if route.name == "sequence-level" and file.distiller not in file.teachers:
        raise ConfigError(
            f"{distiller.source} cannot distil: {'; '.join(route.reasons)}; and the records are not in its words. Let "
            f"it answer (`teacher`, `generate`), or take a distiller with the tokenizer of the base"
        )
    return route.to_json()


def _by_words(config: settings.Training) -> settings.Config:
    """Supervised fine-tuning by what both methods are told."""
    shared = config.model_dump(include=set(settings.Learning.model_fields))
    return settings.Config(**shared)


def _fine_tuned(
    config: settings.Training, workspace: Workspace, dataset: Artifact, base: Artifact, instead_of: dict[str, Any]
) -> Artifact:
    assert isinstance(config, settings.Config)
    said = {**config.model_dump(), **instead_of}
    with workspace.step("train", inputs=[dataset, base], effect=Effect.TRAIN, config=said) as step:
        if earlier := step.earlier("weights"):
            return earlier
        from trueseed.train import sft

        return sft.train(config, dataset, base, step)


def _distilled(file: RunFile, workspace: Workspace, dataset: Artifact, base: Artifact, signals: Artifact) -> Artifact:
    config, inputs = file.training, [dataset, base, signals]
    assert isinstance(config, settings.Distil)
    with workspace.step("train", inputs=inputs, effect=Effect.TRAIN, config=config.model_dump()) as step:
        if earlier := step.earlier("weights"):
            return earlier
        from trueseed.train import distil

        return distil.train(config, dataset, base, signals, step)


def _in_memory(
    file: RunFile, workspace: Workspace, dataset: Artifact, base: Artifact, distiller: OurWeights
) -> Artifact:
    config = file.training
    assert isinstance(config, settings.Distil | settings.OnPolicy)
    distiller.close()  # training holds it in a form of its own
    with workspace.step(
        "train",
        inputs=[dataset, base],
        ask={distiller.source: Use.TRAIN},
        effect=Effect.TRAIN,
        config={**config.model_dump(), **distiller.identity},
        features=file.features_of(distiller.source),
    ) as step:
        if earlier := step.earlier("weights"):
            return earlier
        from trueseed.train import on_policy

        return on_policy.train(config, dataset, base, distiller.weights.folder, step)
