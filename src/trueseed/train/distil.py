"""Distillation from stored log-probabilities: the student learns how probable the teacher found every token.

    student = distil.train(distil.Config(loss_top_k=32, beta=0.0), dataset, base, signals, step)

The teacher was heard once (`signals`), and is not needed here. Nothing takes the place of what it did not say: a record
without its log-probabilities, or read by it as other tokens, is an error before the first step, or is left out and
counted where `incomparable: drop` asks for that. `curve.json` tells the
route and why (`preflight`), the parts of each step's loss (`kl`, `ce`), and how much of the teacher's probability the
stored tokens hold. Log-probabilities of a teacher in memory: `on_policy`, with a share of 0 of the student's own words.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from trueseed.core.artifacts import Artifact
from trueseed.errors import ConfigError
from trueseed.train import network, preflight
from trueseed.train.batches import Batch, Rows, pack
from trueseed.train.divergence import Divergence
from trueseed.train.settings import Distil as Config
from trueseed.train.signals import Signals
from trueseed.train.sparse import Parts, Thought, sparse, sparse_of_logits
from trueseed.train.stage import Method, Student, opened, schedule, taught
from trueseed.workspace import Step


def train(config: Config, dataset: Artifact, base: Artifact | Path, signals: Artifact, step: Step) -> Artifact:
    """Weights of the student. A killed run goes on from its last checkpoint to the same bits.

    signals: an input of the step, of all records of training and validation. Raises `ConfigError` as `sft.train`, and
    for whatever `preflight` and `Signals.must_cover` refuse; `Broken` for stored bytes that changed.
    """
    kept = Signals.open(step.read(signals))
    student, left_out = _comparable(opened(config, dataset, base, step), kept, config)
    if left_out:
        step.count("incomparable", len(left_out))
    rows = (*student.rows, *student.held_out)
    route = preflight.check(config, student.weights, kept.about, rows)
    kept.must_cover((row.id, row.tokens, row.mask) for row in rows)
    loss = Loss(student.model, kept, config)
    steps = schedule(student.rows, config)
    scale = preflight.comparable(*first_parts(loss, steps[0][0]), config)

    def says() -> dict[str, Any]:
        told = preflight.Route(route.name, (*route.reasons, *_left_out(left_out, len(rows)), *scale))
        return {"route": told.to_json(), "signals": kept.about.to_json(), "loss_top_k": config.loss_top_k}

    return taught(config, student, Method("distil", loss, steps, says), step)


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
        self._model, self._signals, self._k = model, signals, config.loss_top_k
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
        found = [Thought.of(self._signals[record], k=self._k, vocabulary=self._vocabulary) for record in batch.ids]
        starts = torch.tensor([0, *(len(each.ids) for each in found)]).cumsum(0)
        return Thought.together(found).take(starts[batch.row] + batch.place)


def first_parts(loss: Any, rows: Rows) -> tuple[float, float]:
    """kl and ce in nats a token on a first batch, before anything is learned."""
    batch = pack(rows)
    with torch.no_grad():
        loss(batch)
    found = loss.parts()
    return found["kl"] / batch.targets, found["ce"] / batch.targets
