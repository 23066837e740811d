"""Distillation from stored log-probabilities: the student learns how probable the teacher found every token.

    student = distil.train(distil.Config(loss_top_k=32, beta=0.0), dataset, base, signals, step)

The teacher was heard once (`signals`), and is not needed here. Nothing takes the place of what it did not say: a record
without its log-probabilities, or read by it as other tokens, is an error before the first step, or is left out and
counted where `incomparable: drop` asks for that. `curve.json` tells the
route and why (`preflight`), the parts of each step's loss (`kl`, `ce`), and how much of the teacher's probability the
stored tokens hold. Log-probabilities of a teacher in memory: `on_policy`, with a share of 0 of the student's own words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from trueseed.core.artifacts import Artifact
from trueseed.errors import ConfigError
from trueseed.train import network, preflight
from trueseed.train.batches import Batch
from trueseed.train.divergence import Divergence
from trueseed.train.settings import Distil as Config
from trueseed.train.settings import Distilling
from trueseed.train.signals import Signals
from trueseed.train.sparse import Parts, Thought, sparse, sparse_of_logits
from trueseed.train.stage import Method, Student, opened, schedule, taught
from trueseed.workspace import Step


def train(config: Config, dataset: Artifact, base: Artifact | Path, signals: Artifact, step: Step) -> Artifact:
    """Weights of the student. A killed run goes on from its last checkpoint to the same bits.

    signals: an input of the step, of all records of training and validation. Raises `ConfigError` as `sft.train`, and
    for whatever `preflight` and `Signals.must_cover` refuse; `Broken` for stored bytes that changed.
    """
    folder = step.read(signals)
    student, left_out = _comparable(opened(config, dataset, base, step), Signals.open(folder), config)
    if left_out:
        step.count("incomparable", len(left_out))
    said = _left_out(left_out, len(student.rows) + len(student.held_out))
    return taught(student, partial(method, config, folder, left_out=said), step)


def method(config: Config, signals: Path, student: Student, left_out: tuple[str, ...] = ()) -> Method:
    """signals: a folder that every process reads for itself. left_out: what is said of records that are."""
    kept = Signals.open(signals)
    rows = (*student.rows, *student.held_out)
    route = Routed(preflight.check(config, student.weights, kept.about, rows), config, left_out)
    kept.must_cover((row.id, row.tokens, row.mask) for row in rows)

    def says() -> dict[str, Any]:
        return {"route": route.to_json(), "signals": kept.about.to_json(), "loss_top_k": config.loss_top_k}

    return Method(
        name="distil",
        loss=Loss(student.model, kept, config),
        steps=schedule(student.rows, config),
        says=says,
        begins=route.begins if config.ce_weight else None,
    )


class Routed:
    """The route, and what its first batch adds to the reasons."""

    def __init__(self, route: preflight.Route, config: Distilling, besides: tuple[str, ...] = ()) -> None:
        self._route, self._config = preflight.Route(route.name, (*route.reasons, *besides)), config

    def begins(self, parts: Mapping[str, float]) -> None:
        """parts: of the first batch's loss. Raises `ConfigError` when they are not of a scale."""
        scale = preflight.comparable(parts["kl"], parts["ce"], self._config)
        self._route = preflight.Route(self._route.name, (*self._route.reasons, *scale))

    def to_json(self) -> dict[str, Any]:
        return self._route.to_json()


def _comparable(student: Student, kept: Signals, config: Config) -> tuple[Student, list[str]]:
    """The student with the records that the signals are of, and why each other one is left out, in a word. Only what
    the signals name is left out. Raises `ConfigError` when none of the training records remains.
    """
    if config.incomparable == "refuse":
        return student, []
    rows, held_out = (
        tuple(row for row in some if row.id not in kept.left_out) for some in (student.rows, student.held_out)
    )
    if not rows:
        raise ConfigError(
            f"no record remains to train on: all {len(student.rows)} are left out by `incomparable: drop`; ask for "
            f"more, or learn from words (`method: sft`)"
        )
    left_out = [kept.left_out[row.id] for row in (*student.rows, *student.held_out) if row.id in kept.left_out]
    return replace(student, rows=rows, held_out=held_out), left_out


def _left_out(words: Sequence[str], kept: int) -> tuple[str, ...]:
    """A reason, for people."""
    if not words:
        return ()
    unlike = words.count("unlike")
    said = {"spoken in other tokens than they are read in": unlike, "without log-probabilities": len(words) - unlike}
    why = ", ".join(f"{many} {each}" for each, many in said.items() if many)
    return (f"{len(words)} of {len(words) + kept} records are left out (`incomparable: drop`): {why}",)


class Loss:
    """Sum over a batch's answer tokens. Adds up its parts until somebody asks for them."""

    def __init__(self, model: Any, signals: Signals, config: Config) -> None:
        self._model, self._signals, self._k, self._draws = model, signals, config.loss_top_k, config.tail_draws
        self._how = Divergence(beta=config.beta, temperature=config.temperature, ce_weight=config.ce_weight)
        self._vocabulary = len(model.get_output_embeddings().weight)
        self._kl = self._ce = 0.0

    def __call__(self, batch: Batch) -> torch.Tensor:
        found = self._parts(batch, self._thought(batch))
        self._kl, self._ce = self._kl + found.kl, self._ce + found.ce
        return found.total

    def parts(self) -> dict[str, float]:
        """Sums over answer tokens since this was last asked, in nats."""
        found = {"kl": self._kl, "ce": self._ce}
        self._kl = self._ce = 0.0
        return found

    def _parts(self, batch: Batch, thought: Thought) -> Parts:
        if not network.packs(self._model):
            return sparse_of_logits(network.logits(self._model, batch), batch.labels, thought, self._how)
        head = self._model.get_output_embeddings().weight
        return sparse(network.hidden(self._model, batch), head, batch.labels, thought, self._how)

    def _thought(self, batch: Batch) -> Thought:
        """The teacher's side of each answer of the batch, in its order."""
        read = (self._signals[record] for record in batch.ids)
        found = [Thought.of(each, k=self._k, vocabulary=self._vocabulary, draws=self._draws) for each in read]
        starts = torch.tensor([0, *(len(each.ids) for each in found)]).cumsum(0)
        return Thought.together(found).take(starts[batch.row.cpu()] + batch.place.cpu()).to(batch.tokens.device)
