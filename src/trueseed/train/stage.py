"""What every method's stage does besides its own loss: read the dataset, learn step by step, write the weights.

    student = opened(config, dataset, base, step)
    return taught(student, method, step)

The dataset is a folder with `train.parquet` and `validation.parquet` of records; the result is a folder of weights in
the Hugging Face layout, with `curve.json` beside them (loss of every step, loss on the validation records before, amid
and after, the step whose weights were kept, and what the method says of itself).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from trueseed.core.artifacts import Artifact
from trueseed.core.records import Record, read_parquet
from trueseed.errors import ConfigError
from trueseed.lm import checkpoint
from trueseed.lm.arithmetic import named
from trueseed.lm.format import Format
from trueseed.train import network
from trueseed.train.batches import Example, Examples, Rows, examples, in_batches, plan
from trueseed.train.checkpoints import LetGo
from trueseed.train.course import Course
from trueseed.train.interpolation import interpolate
from trueseed.train.loop import Loss, Progress, Steps, fit, mean_loss, mean_parts
from trueseed.train.lora import adapted, merged
from trueseed.train.ranks import give, launched, together
from trueseed.train.settings import Learning
from trueseed.workspace import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Student:
    """Who learns, and from what. weights: where it begins. model computes the loss; learner is what of it learns,
    itself or its adapters. records: of training, those that were too long included.
    """

    config: Learning
    weights: Path
    form: Format
    records: tuple[Record, ...]
    rows: tuple[Example, ...]
    held_out: tuple[Example, ...]
    model: Any
    learner: Any

    def whole(self) -> tuple[Any, Any]:
        """Model and learner as they stand; where their weights are shared out, others on the processor that are whole:
        then all processes call it together.
        """
        if self.config.parallel == "ddp":
            return self.model, self.learner
        from trueseed.train.shards import gather  # here and below, since it takes long to import and few need it

        model, learner = prepared(self.config, self.weights)
        gather(self.learner, learner)
        return model, learner


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """name: as a run file says it. says: what `curve.json` tells besides, asked when the training is over. hears: other
    networks that the loss is computed with. begins: is given the parts of the first batch's loss, in nats a token,
    before anything is learned, and may refuse them.
    """

    name: str
    loss: Loss
    steps: Steps
    says: Callable[[], Mapping[str, Any]] = dict
    hears: Sequence[Any] = ()
    begins: Callable[[Mapping[str, float]], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a process needs to learn along. at: where checkpoints lie. method: of the student as it begins."""

    config: Learning
    weights: Path
    records: tuple[Record, ...]
    rows: tuple[Example, ...]
    held_out: tuple[Example, ...]
    at: Path
    method: Callable[[Student], Method]

    def student(self) -> Student:
        model, learner = prepared(self.config, self.weights)
        return Student(
            config=self.config,
            weights=self.weights,
            form=Format(self.weights),
            records=self.records,
            rows=self.rows,
            held_out=self.held_out,
            model=model,
            learner=learner,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """model: plain and whole. before, after: its loss a token on the held-out records, None when there are none."""

    model: Any
    method: Method
    course: Course
    before: float | None
    after: float | None


def opened(
    config: Learning, dataset: Artifact, base: Artifact | Path, step: Step, teacher: int | None = None
) -> Student:
    """Reads the dataset and the weights a student begins with.

    base: an input of the step, or a folder in the Hugging Face layout that the step brings. teacher: the context of one
    that will read the records too. Records that are too long are left out, counted and said.

    Raises `ConfigError` when a record has no trainable token (naming the records), when one is too long and that is to
    be refused, when nothing remains to train on, or for weights that cannot be trained so.
    """
    together(config.parallel)
    weights = folder_of(base, step)
    folder, form = step.read(dataset), Format(weights)
    records = tuple(read_parquet(folder / "train.parquet"))
    held_out = tuple(read_parquet(folder / "validation.parquet"))
    model, learner = prepared(config, weights)
    say_if_slow(model.config, step)
    contexts = {"student": checkpoint.context(weights), "teacher": teacher}
    fits = partial(examples, form=form, max_length=config.max_length, too_long=config.too_long, contexts=contexts)
    return Student(
        config=config,
        weights=weights,
        form=form,
        records=records,
        rows=_counted("train", fits(records), step),
        held_out=_counted("validation", fits(held_out, may_be_none=True), step),
        model=model,
        learner=learner,
    )


def taught(student: Student, method: Callable[[Student], Method], step: Step) -> Artifact:
    """Weights of the student. A killed run goes on from its last checkpoint to the same bits.

    method: a function that other processes can be told of, so one of a module, or a `partial` of one. Raises
    `ConfigError` as `loop.fit`: training diverges, nothing can be learned, a disk is full; and what `method` raises.
    """
    job = Job(
        config=student.config,
        weights=student.weights,
        records=student.records,
        rows=student.rows,
        held_out=student.held_out,
        at=step.checkpoint("training"),
        method=method,
    )
    give(job)
    found = learned(job, student, let_go=step.let_go, progress=step.progress)
    course, plain = found.course, network.restore(found.model)
    summary = {
        "validation_loss_before": found.before,
        "validation_loss_after": found.after,
        "steps": len(course),
    }
    name = found.method.name

    def fill(folder: Path) -> None:
        checkpoint.save(plain, folder, like=student.weights)
        report = {"method": name, **summary, **found.method.says(), "dtype": str(plain.dtype), **course.to_json()}
        (folder / "curve.json").write_text(json.dumps(report, indent=1) + "\n")

    step.count("tokens", sum(point.tokens for point in course.points))
    step.count("targets", sum(point.targets for point in course.points))
    return step.write("weights", fill, {"method": name, **summary})


def along(job: Job) -> None:
    """What a process does that is not the first: the same, on its share of the rows. Writes nothing."""
    learned(job, None, let_go=lambda _: None, progress=lambda *_: None)


def learned(job: Job, student: Student | None, *, let_go: LetGo, progress: Progress) -> Learned:
    """Every step of the method, with checkpoints in a folder, by all processes alike.

    student: as it begins; None where it is still to be read.
    """
    ranks = together(job.config.parallel)
    with ranks.agreed():
        student = student or job.student()
        method = job.method(student)
        loss, learner = method.loss, student.learner
        if ranks.lockstep:
            from trueseed.train.shards import Shards, spread

            loss = learner = Shards(loss, learner, (student.model, *method.hears), ranks)
    if method.begins:
        parts = mean_parts(loss, schedule(student.rows, job.config)[0][:1], ranks.device, ranks)
        with ranks.agreed():
            method.begins(parts)
    rows = in_batches(student.held_out, job.config.tokens_per_batch)
    measured = partial(mean_loss, loss, rows, ranks.device, ranks) if rows else None
    before = measured() if measured else None
    course = fit(
        learner,
        loss,
        method.steps,
        job.config,
        checkpoints=job.at,
        let_go=let_go,
        progress=progress,
        validation=measured,
        ranks=ranks,
    )
    plain = _finished(student)
    if measured and ranks.lockstep:
        spread(plain, learner)
    after = measured() if measured else None
    return Learned(model=plain, method=method, course=course, before=before, after=after)


def _finished(student: Student) -> Any:
    """Adapters merged, and as far from the base as was asked for."""
    config, (model, learner) = student.config, student.whole()
    plain = merged(learner) if config.lora else model
    if config.wise_ft_alpha < 1:
        interpolate(plain, checkpoint.load(student.weights, plain.dtype), config.wise_ft_alpha)
    return plain


def say_if_slow(config: Any, step: Step, whose: str = "student") -> None:
    """Tells people what an architecture costs here that is not packed. config: as transformers reads it."""
    if why := network.unpacked(config):
        step.progress(1, 1, f"{whose}'s architecture", why)


def folder_of(weights: Artifact | Path, step: Step) -> Path:
    return step.read(weights) if isinstance(weights, Artifact) else weights


def prepared(config: Learning, weights: Path) -> tuple[Any, Any]:
    """The network that computes the loss, and what of it learns: itself, or its adapters. Untested on CUDA.

    Raises `ConfigError` for weights that cannot be loaded, and when `freeze_layers` leaves none or cannot find them.
    """
    device = launched().device
    model = network.prepare(checkpoint.load(weights, named(config.dtype, device))).to(place(config))
    learner = adapted(model, config.lora, seed=config.seed) if config.lora else model
    if config.freeze_embeddings:
        model.get_input_embeddings().requires_grad_(False)
    for layer in _lowest(config.freeze_layers, model) if config.freeze_layers else ():
        layer.requires_grad_(False)
    return model, learner


def place(config: Learning) -> torch.device:
    """Where weights are put that were read: on the processor if they are shared out from there."""
    return torch.device("cpu") if config.parallel == "fsdp" else launched().device


def _lowest(n: int, model: Any) -> Any:
    layers = getattr(model.base_model, "layers", None)
    if layers is None:
        kind = model.config.model_type
        raise ConfigError(f"freeze_layers: the layers of the architecture {kind!r} are not known; leave it out")
    if n >= len(layers):
        raise ConfigError(
            f"freeze_layers: {n} leaves nothing to train: the network has {len(layers)} layers; freeze fewer"
        )
    return layers[:n]


def schedule(rows: Sequence[Example], config: Learning) -> tuple[tuple[Rows, ...], ...]:
    """All steps of all epochs, up to max_steps."""
    epochs = (
        plan(
            rows,
            tokens_per_batch=config.tokens_per_batch,
            gradient_accumulation_steps=config.gradient_accumulation_steps,
            seed=config.seed,
            epoch=epoch,
        )
        for epoch in range(config.num_train_epochs)
    )
    steps = tuple(step for epoch in epochs for step in epoch)
    return steps[: config.max_steps] if config.max_steps else steps


def _counted(part: str, found: Examples, step: Step) -> tuple[Example, ...]:
    if found.too_long:
        step.count(f"{part}_too_long", len(found.too_long))
        step.progress(1, 1, f"{part} too long", str(found))
    return found.kept
