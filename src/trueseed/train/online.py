"""A teacher that stays in memory: what a student is told about a batch's answers by the teacher's own view of them.

    teacher = online.load(folder, dtype)
    loss = online.Loss(student, teacher, Divergence(beta=0.0))
    loss(batch)

The teacher reads the same packed batch, common beginnings once, without a gradient; logits of either side never exist
all at once. An architecture that `network` does not pack goes through its own forward, with all logits.
"""

from pathlib import Path
from typing import Any

import torch

from trueseed.errors import ConfigError
from trueseed.lm import checkpoint
from trueseed.train import network
from trueseed.train.batches import Batch
from trueseed.train.divergence import Divergence, divergence, of_logits
from trueseed.train.ranks import launched
from trueseed.train.settings import Distilling


def load(folder: Path, dtype: torch.dtype, device: torch.device | None = None) -> Any:
    """A teacher from a folder in the Hugging Face layout. Raises `ConfigError` as `checkpoint.load`."""
    return network.prepare(checkpoint.load(folder, dtype)).requires_grad_(False).to(device or torch.device("cpu"))


def asked(config: Distilling) -> Divergence:
    """What a run file says of the loss."""
    return Divergence(
        beta=config.beta, temperature=config.temperature, top_k=config.loss_top_k, ce_weight=config.ce_weight
    )


class Loss:
    """Sum of the divergence over a batch's answer tokens, float32 scalar; `parts` tells what it was made of."""

    def __init__(self, student: Any, teacher: Any, how: Divergence) -> None:
        self._student, self._teacher, self._how = student, teacher, how
        self._packed = network.packs(student) and network.packs(teacher)
        self._total, self._ce = torch.zeros(2, device=launched().device)

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Raises `ConfigError` for a token that the teacher does not have, which a padded student might say."""
        highest, known = int(batch.tokens.max()), self._teacher.config.vocab_size
        if highest >= known:
            raise ConfigError(
                f"the teacher has {known} tokens and is to read token {highest}, which the student said or a record "
                f"holds; give a teacher of the student's vocabulary, or lower sampling_temperature"
            )
        found = self._packed_loss(batch) if self._packed else self._loss_of_logits(batch)
        self._total += found.detach()
        return found

    def parts(self) -> dict[str, float]:
        """Sums over the answer tokens since it was last asked: `kl`, the divergence, and if it is weighed in, `ce`."""
        total, ce, weight = float(self._total), float(self._ce), self._how.ce_weight
        self._total.zero_(), self._ce.zero_()
        return {"kl": total - weight * ce, "ce": ce} if weight else {"kl": total}

    def _packed_loss(self, batch: Batch) -> torch.Tensor:
        with torch.no_grad():
            view = network.hidden(self._teacher, batch)
        own, theirs = (each.get_output_embeddings().weight for each in (self._student, self._teacher))
        return divergence(network.hidden(self._student, batch), own, view, theirs, batch.labels, self._how, self._ce)

    def _loss_of_logits(self, batch: Batch) -> torch.Tensor:
        with torch.no_grad():
            view = network.logits(self._teacher, batch)
        return of_logits(network.logits(self._student, batch), view, batch.labels, self._how, self._ce)
