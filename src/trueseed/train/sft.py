"""Supervised fine-tuning: the student learns to say what the records answer.

    student = sft.train(sft.Config(num_train_epochs=2, learning_rate=1e-4), dataset, base, step)

Any record teaches the same way: a plain answer of the teacher (rehearsal, which limits drift) is a record like any
other. See `stage` for what is read and written.
"""

from functools import partial
from pathlib import Path

from trueseed.core.artifacts import Artifact
from trueseed.lm.format import Format
from trueseed.train import network
from trueseed.train.ranks import Ranks
from trueseed.train.settings import Config as Config  # one says `sft.Config`
from trueseed.train.stage import Job, Method, Student, learned, opened, prepared, schedule, taught
from trueseed.workspace import Step


def train(config: Config, dataset: Artifact, base: Artifact | Path, step: Step) -> Artifact:
    """Weights of the student. Raises `ConfigError` as `stage.opened` and `stage.taught`."""
    student = opened(config, dataset, base, step)
    method = Method("sft", partial(network.loss, student.model), schedule(student.rows, config))
    return taught(config, student, method, step)


def along(job: Job, ranks: Ranks) -> None:
    """What a rank does that is not the first: the same steps, on its share of the rows. Writes nothing."""
    model, learner = prepared(job.config, job.weights)
    student = Student(
        weights=job.weights,
        form=Format(job.weights),
        records=(),
        rows=job.rows,
        held_out=job.held_out,
        model=model,
        learner=learner,
    )
    method = Method("sft", partial(network.loss, model), schedule(job.rows, job.config))
    learned(job.config, student, method, job.at, ranks, let_go=lambda _: None, progress=lambda *_: None)
