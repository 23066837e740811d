"""What every method's stage does besides its own loss: read the dataset, learn step by step, write the weights.

    student = opened(config, dataset, base, step)
    return taught(config, student, Method("sft", loss, steps), step)

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
from trueseed.train.loop import Loss, Progress, Steps, fit, mean_loss
from trueseed.train.lora import adapted, merged
from trueseed.train.ranks import Ranks, give, launched
from trueseed.train.settings import Learning
from trueseed.workspace import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Student:
    """Who learns, and from what. weights: where it begins. model computes the loss; learner is what of it learns,
    itself or its adapters. records: of training, those that were too long included.
    """

    weights: Path
    form: Format
    records: tuple[Record, ...]
    rows: tuple[Example, ...]
    held_out: tuple[Example, ...]
    model: Any
    learner: Any


@dataclass(frozen=True, slots=True)
class Method:
    """name: as a run file says it. says: what `curve.json` tells besides, asked when the training is over."""

    name: str
    loss: Loss
    steps: Steps
    says: Callable[[], Mapping[str, Any]] = dict


def opened(config: Learning, dataset: Artifact, base: Artifact | Path, step: Step) -> Student:
    """Reads the dataset and the weights a student begins with.

    base: an input of the step, or a folder in the Hugging Face layout that the step brings. Raises `ConfigError` when a
    record has no trainable token (naming the records), when nothing remains to train on, or for weights that cannot be
    trained so.
    """
    weights = folder_of(base, step)
    folder, form = step.read(dataset), Format(weights)
    records = tuple(read_parquet(folder / "train.parquet"))
    held_out = tuple(read_parquet(folder / "validation.parquet"))
    model, learner = prepared(config, weights)
    context = getattr(model.config, "max_position_embeddings", config.max_length)
    fits = partial(examples, form=form, max_length=min(config.max_length, context), too_long=config.too_long)
    return Student(
        weights=weights,
        form=form,
        records=records,
        rows=_counted("train", fits(records), step),
        held_out=_counted("validation", fits(held_out), step) if held_out else (),
        model=model,
        learner=learner,
    )


def taught(config: Learning, student: Student, method: Method, step: Step) -> Artifact:
    """Weights of the student. A killed run goes on from its last checkpoint to the same bits.

    Raises `ConfigError` as `loop.fit`: training diverges, nothing can be learned, a disk is full.
    """

    before = measured(config, student, method.loss)() if student.held_out else None
    ranks = launched()
    if ranks.size > 1 and method.name != "sft":
        raise ConfigError(f"method {method.name!r} trains in one process, not {ranks.size}; start it without torchrun")
    folder = step.checkpoint("training")
    give(Job(config=config, weights=student.weights, rows=student.rows, held_out=student.held_out, at=folder))
    course = learned(config, student, method, folder, ranks, let_go=step.let_go, progress=step.progress)
    trained = merged(student.learner) if config.lora else student.model
    if config.wise_ft_alpha < 1:
        interpolate(trained, checkpoint.load(student.weights, trained.dtype), config.wise_ft_alpha)
    after = measured(config, student, method.loss)() if student.held_out else None
    summary = {"validation_loss_before": before, "validation_loss_after": after, "steps": len(course)}
    plain = network.restore(trained)

    def fill(folder: Path) -> None:
        checkpoint.save(plain, folder, like=student.weights)
        report = {"method": method.name, **summary, **method.says(), "dtype": str(plain.dtype), **course.to_json()}
        (folder / "curve.json").write_text(json.dumps(report, indent=1) + "\n")

    step.count("tokens", sum(point.tokens for point in course.points))
    step.count("targets", sum(point.targets for point in course.points))
    return step.write("weights", fill, {"method": method.name, **summary})


def learned(
    config: Learning,
    student: Student,
    method: Method,
    folder: Path,
    ranks: Ranks,
    *,
    let_go: LetGo,
    progress: Progress,
) -> Course:
    """Every step of the method, with checkpoints in a folder, by all ranks alike."""
    return fit(
        student.learner,
        method.loss,
        method.steps,
        config,
        checkpoints=folder,
        let_go=let_go,
        progress=progress,
        validation=measured(config, student, method.loss) if student.held_out else None,
        ranks=ranks,
    )


def measured(config: Learning, student: Student, loss: Loss) -> Callable[[], float]:
    """The loss a token on the held-out records, as the student stands when it is asked."""
    rows = in_batches(student.held_out, config.tokens_per_batch)
    return lambda: mean_loss(loss, rows, student.model.device)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What other ranks need to learn along. at: where checkpoints lie."""

    config: Learning
    weights: Path
    rows: tuple[Example, ...]
    held_out: tuple[Example, ...]
    at: Path


def folder_of(weights: Artifact | Path, step: Step) -> Path:
    return step.read(weights) if isinstance(weights, Artifact) else weights


def prepared(config: Learning, weights: Path) -> tuple[Any, Any]:
    """The network that computes the loss, and what of it learns: itself, or its adapters.

    Raises `ConfigError` for weights that cannot be loaded, and when `freeze_layers` leaves none or cannot find them.
    """
    device = launched().device
    model = network.prepare(checkpoint.load(weights, named(config.dtype, device))).to(device)
    learner = adapted(model, config.lora, seed=config.seed) if config.lora else model
    if config.freeze_embeddings:
        model.get_input_embeddings().requires_grad_(False)
    for layer in _lowest(config.freeze_layers, model) if config.freeze_layers else ():
        layer.requires_grad_(False)
    return model, learner


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
    return found.kept
