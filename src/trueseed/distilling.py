"""How a student comes to learn, through the door: which step asks the distiller, and what training is given.

Supervised fine-tuning asks nobody. Where log-probabilities are stored, a step of its own (`signals`) asks the teacher
for them and leaves an artifact; where the teacher stays in memory, the train step itself asks it. Either way it is
asked for `train`: how probable a model finds a token is its answer as much as its words are, so its terms are asked
first, and its label reaches the student.
"""

from trueseed.core.artifacts import Artifact
from trueseed.runfile import RunFile
from trueseed.teachers.voice import OurWeights
from trueseed.terms.model import Effect, Use
from trueseed.train import settings
from trueseed.workspace import Workspace


def train(
    file: RunFile, workspace: Workspace, dataset: Artifact, base: Artifact, distiller: OurWeights | None
) -> Artifact:
    """The student. distiller: None where nobody distils. Raises what the door and the methods raise."""
    config = file.training
    if distiller is None or isinstance(config, settings.Config):
        return _fine_tuned(config, workspace, dataset, base)
    if file.hears_distiller_in == "signals":
        assert isinstance(config, settings.Distil)
        return _distilled(config, workspace, dataset, base, ask(file, workspace, dataset, distiller))
    distiller.close()  # training holds the teacher in a form of its own
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


def ask(file: RunFile, workspace: Workspace, dataset: Artifact, distiller: OurWeights) -> Artifact:
    """What the distiller thinks of every answer token: an artifact of kind `signals`."""
    config = file.training
    assert isinstance(config, settings.Distil)
    asks = {"loss_top_k": config.loss_top_k, "max_length": config.max_length, **distiller.identity}
    with workspace.step(
        "signals",
        inputs=[dataset],
        ask={distiller.source: Use.TRAIN},
        effect=Effect.TRAIN,
        config=asks,
        features=file.features_of(distiller.source),
    ) as step:
        if earlier := step.earlier("signals"):
            return earlier
        from trueseed.train.collect import collect

        made = collect(config, dataset, distiller.weights.folder, distiller.scorer, step)
        distiller.close()
        return made


def _fine_tuned(config: settings.Training, workspace: Workspace, dataset: Artifact, base: Artifact) -> Artifact:
    assert isinstance(config, settings.Config)
    with workspace.step("train", inputs=[dataset, base], effect=Effect.TRAIN, config=config.model_dump()) as step:
        if earlier := step.earlier("weights"):
            return earlier
        from trueseed.train import sft

        return sft.train(config, dataset, base, step)


def _distilled(
    config: settings.Distil, workspace: Workspace, dataset: Artifact, base: Artifact, signals: Artifact
) -> Artifact:
    inputs = [dataset, base, signals]
    with workspace.step("train", inputs=inputs, effect=Effect.TRAIN, config=config.model_dump()) as step:
        if earlier := step.earlier("weights"):
            return earlier
        from trueseed.train import distil

        return distil.train(config, dataset, base, signals, step)
