"""Supervised fine-tuning: the student learns to say what the records answer.

    student = sft.train(sft.Config(num_train_epochs=2, learning_rate=1e-4), dataset, base, step)

Any record teaches the same way: a plain answer of the teacher (rehearsal, which limits drift) is a record like any
other. See `stage` for what is read and written.
"""

from functools import partial
from pathlib import Path

from trueseed.core.artifacts import Artifact
from trueseed.train import network
from trueseed.train.settings import Config as Config  # one says `sft.Config`
from trueseed.train.stage import Method, Student, opened, schedule, taught
from trueseed.workspace import Step


def train(config: Config, dataset: Artifact, base: Artifact | Path, step: Step) -> Artifact:
    """Weights of the student. Raises `ConfigError` as `stage.opened` and `stage.taught`."""
    return taught(opened(config, dataset, base, step), method, step)


def method(student: Student) -> Method:
    loss = partial(network.loss, student.model)
    return Method(name="sft", loss=loss, steps=schedule(student.rows, student.config))
