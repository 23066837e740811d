"""Supervised fine-tuning: the student learns to say what the records answer.

    student = sft.train(sft.Config(num_train_epochs=2, learning_rate=1e-4), dataset, base, step)

The dataset is a folder with `train.parquet` and `validation.parquet` of records; the result is a folder of weights in
the Hugging Face layout, with `curve.json` beside them (loss of every step, loss on the validation records before and
after). Any record teaches the same way: a plain answer of the teacher (rehearsal, which limits drift) is a record like
any other.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from trueseed.core.artifacts import Artifact
from trueseed.core.records import read_parquet
from trueseed.errors import ConfigError
from trueseed.lm import checkpoint
from trueseed.lm.arithmetic import named
from trueseed.lm.format import Format
from trueseed.train import network
from trueseed.train.batches import Example, Rows, examples, in_batches, plan
from trueseed.train.interpolation import interpolate
from trueseed.train.loop import fit, mean_loss
from trueseed.train.lora import adapted, merged
from trueseed.train.settings import Config as Config  # one says `sft.Config`
from trueseed.train.settings import Learning
from trueseed.workspace import Step


def train(config: Config, dataset: Artifact, base: Artifact | Path, step: Step) -> Artifact:
    """Weights of the student. A killed run goes on from its last checkpoint to the same bits.

    base: an input of the step, or a folder in the Hugging Face layout that the step brings. Raises `ConfigError` when a
    record has no trainable token (naming the records), when nothing remains to train on, or when training diverges.
    """
    weights = step.read(base) if isinstance(base, Artifact) else base
    folder, form = step.read(dataset), Format(weights)
    rows = _examples(folder / "train.parquet", form, config.max_length, step)
    held_out = _examples(folder / "validation.parquet", form, config.max_length, step, may_be_empty=True)
    model, learner = prepared(config, weights)
    loss = partial(network.loss, model)

    def measured() -> float | None:
        return mean_loss(loss, in_batches(held_out, config.tokens_per_batch)) if held_out else None

    before = measured()
    curve = fit(
        learner,
        loss,
        schedule(rows, config),
        config,
        checkpoints=step.checkpoint("training"),
        let_go=step.let_go,
        progress=step.progress,
    )
    student = merged(learner) if config.lora else model
    if config.wise_ft_alpha < 1:
        interpolate(student, checkpoint.load(weights, named(config.dtype, "cpu")), config.wise_ft_alpha)
    summary = {"validation_loss_before": before, "validation_loss_after": measured(), "steps": len(curve)}
    plain = network.restore(student)

    def fill(folder: Path) -> None:
        checkpoint.save(plain, folder, like=weights)
        report = {**summary, "dtype": str(plain.dtype), "curve": [asdict(point) for point in curve]}
        (folder / "curve.json").write_text(json.dumps(report, indent=1) + "\n")

    step.count("tokens", sum(point.tokens for point in curve))
    step.count("targets", sum(point.targets for point in curve))
    return step.write("weights", fill, {"method": "sft", **summary})


def prepared(config: Learning, weights: Path) -> tuple[Any, Any]:
    """The network that computes the loss, and what of it learns: itself, or its adapters.

    Raises `ConfigError` for weights that cannot be loaded, and when `freeze_layers` leaves none or cannot find them.
    """
    model = network.prepare(checkpoint.load(weights, named(config.dtype, "cpu")))
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


def _examples(
    path: Path, form: Format, max_length: int, step: Step, *, may_be_empty: bool = False
) -> tuple[Example, ...]:
    records = list(read_parquet(path))
    if may_be_empty and not records:
        return ()
    found = examples(records, form, max_length=max_length)
    if found.too_long:
        step.count(f"{path.stem}_too_long", len(found.too_long))
    return found.kept
