"""How a student comes to learn, through the door: which step asks the distiller, and what training is given.

Supervised fine-tuning asks nobody. Where log-probabilities are stored, a step of its own (`signals`) asks the teacher
for them and leaves an artifact; where the teacher stays in memory, the train step itself asks it. Either way it is
asked for `train`: how probable a model finds a token is its answer as much as its words are, so its terms are asked
first, and its label reaches the student.
"""

from collections.abc import Mapping
from typing import Any

from trueseed.core.artifacts import Artifact
from trueseed.runfile import RunFile
from trueseed.teachers.voice import OurWeights
from trueseed.terms.model import Effect, Use
from trueseed.train import settings
from trueseed.workspace import Step, Workspace


def train(
    file: RunFile, workspace: Workspace, dataset: Artifact, base: Artifact, distiller: OurWeights | None
) -> Artifact:
    """The student. distiller: None where nobody distils. Raises what the door and the methods raise."""
    config = file.training
    if distiller is None or isinstance(config, settings.Config):
        return _train(file, workspace, [dataset, base], {}, _sft)
    if isinstance(config, settings.Distil) and config.signals == "stored":
        signals = ask(file, workspace, dataset, base, distiller)
        return _train(file, workspace, [dataset, base, signals], {}, _stored)
    return _train(file, workspace, [dataset, base], distiller)
