"""Steps of the optimizer over packed batches, the same for every method that trains.

Weights are computed with in the model's own type (bfloat16) and kept in float32 beside it: a step of the optimizer is
mostly smaller than bfloat16 can add. A step's loss is the mean over all answer tokens of all its batches, however they
were cut. A checkpoint holds the float32 weights, the optimizer's moments and the curve, so a killed run goes on to
bit-identical weights, given the same number of threads.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file

from trueseed.core.durable import folder_atomic
from trueseed.errors import ConfigError
from trueseed.train.batches import Batch, Rows, pack
from trueseed.train.settings import Optimizing

Loss = Callable[[Batch], torch.Tensor]  # sum over the batch's answer tokens, float32 scalar
Progress = Callable[[int, int, str, str], None]  # done, total, unit, note
LetGo = Callable[[Path], None]


class Steps(Protocol):
    """For each step of the optimizer the batches it accumulates; each is asked for when its turn comes, once."""

    def __len__(self) -> int: ...

    def __getitem__(self, at: int, /) -> Sequence[Rows]: ...


_BETAS = (0.9, 0.99)  # a second moment over 100 steps: runs here have tens to hundreds
_EXPLODED = 5.0  # nats a token above the first step


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One step on the loss curve. loss: mean over its answer tokens, in nats. grad_norm: before clipping."""

    step: int
    loss: float
    grad_norm: float
    learning_rate: float
    targets: int
    tokens: int


class Masters:
    """The trainable weights in float32, and the gradients that batches leave on the model's own."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._computed = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self.weights = {name: weight.detach().float().clone() for name, weight in self._computed.items()}
        for master in self.weights.values():
            master.grad = torch.zeros_like(master)
        self._fresh = True  # the gradients so far are of no step

    def collect(self) -> None:
        """Adds what a backward pass left on the model's weights to the float32 gradients."""
        for name, weight in self._computed.items():
            grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
            self._grad(name).copy_(grad) if self._fresh else self._grad(name).add_(grad)
            weight.grad = None
        self._fresh = False

    def finish(self, targets: int, max_norm: float) -> float:
        """From the gradient of a sum over `targets` tokens to that of the mean, clipped. Returns the norm before."""
        grads = [self._grad(name) for name in self.weights]
        norm = float(torch.nn.utils.get_total_norm(grads)) / targets
        torch._foreach_mul_(grads, min(1.0, max_norm / (norm + 1e-6)) / targets)
        return norm

    def publish(self) -> None:
        """Rounds the float32 weights onto the model's, and forgets the gradients."""
        with torch.no_grad():
            for name, weight in self._computed.items():
                weight.copy_(self.weights[name])
        self._fresh = True

    def _grad(self, name: str) -> torch.Tensor:
        grad = self.weights[name].grad
        assert grad is not None
        return grad


def fit(
    model: torch.nn.Module,
    loss: Loss,
    steps: Steps,
    config: Optimizing,
    *,
    checkpoints: Path,
    let_go: LetGo,
    progress: Progress,
) -> tuple[Point, ...]:
    """Trains `model` in place, step by step, from the newest checkpoint in the folder `checkpoints` if there is one.

    steps: each is asked for when the model has the weights that it begins with. let_go: deletes an older checkpoint.
    Returns the whole curve, earlier steps of a resumed run included.
    Raises `ConfigError` when loss or gradient stop being numbers, or the loss explodes.
    """
    masters = Masters(model)
    optimizer = _optimizer(masters, config)
    curve = _restore(checkpoints, masters, optimizer)
    masters.publish()
    began, seen = time.monotonic(), 0
    for at in range(len(curve), len(steps)):
        rate = _rate(at, len(steps), config)
        most = curve[0].loss + _EXPLODED if curve else math.inf
        point = _step(at, masters, optimizer, loss, steps[at], rate, config.max_grad_norm, most)
        curve.append(point)
        seen += point.tokens
        if len(curve) % config.save_steps == 0 and len(curve) < len(steps):
            _save(checkpoints, masters, optimizer, curve, let_go)
        progress(
            len(curve), len(steps), "steps", f"loss {point.loss:.3f}, {seen / (time.monotonic() - began):.0f} tokens/s"
        )
    return tuple(curve)


def mean_loss(loss: Loss, batches: Iterable[Rows]) -> float:
    """-log p a token, in nats, over all answer tokens; changes nothing."""
    total, targets = 0.0, 0
    with torch.no_grad():
        for rows in batches:
            batch = pack(rows)
            total += float(loss(batch))
            targets += batch.targets
    return total / targets


def _step(
    at: int,
    masters: Masters,
    optimizer: torch.optim.Optimizer,
    loss: Loss,
    batches: Sequence[Rows],
    rate: float,
    max_norm: float,
    most: float,
) -> Point:
    total, targets, tokens = 0.0, 0, 0
    for rows in batches:
        batch = pack(rows)
        value = loss(batch)
        value.backward()
        masters.collect()
        total, targets, tokens = total + value.item(), targets + batch.targets, tokens + batch.row_tokens
        _must_be_sane("loss", value.item() / batch.targets, most, at, batch)
    norm = masters.finish(targets, max_norm)
    _must_be_sane("gradient norm", norm, math.inf, at, batch)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    masters.publish()
    return Point(step=at + 1, loss=total / targets, grad_norm=norm, learning_rate=rate, targets=targets, tokens=tokens)


def _must_be_sane(what: str, value: float, most: float, at: int, batch: Batch) -> None:
    if not math.isfinite(value) or value > most:
        ids = ", ".join(identity[:16] for identity in batch.ids[:5])
        raise ConfigError(
            f"training diverged: the {what} became {value:.4g} at step {at + 1}, on records {ids}, …; "
            f"lower learning_rate, lengthen the warm-up, or look at those records"
        )


def _optimizer(masters: Masters, config: Optimizing) -> torch.optim.Optimizer:
    weights = masters.weights.values()
    groups = [
        {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=config.learning_rate, betas=_BETAS, fused=True
    )


def _rate(at: int, steps: int, config: Optimizing) -> float:
    """Learning rate of step `at` (from 0): linear warm-up, then a cosine that would reach 0 one step after the last."""
    warm = math.ceil(steps * config.warmup_ratio)
    if at < warm:
        return config.learning_rate * (at + 1) / warm
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (at - warm) / max(1, steps - warm)))


# Checkpoints: folder `step-000025` with state.safetensors (weights.*, exp_avg.*, exp_avg_sq.*) and curve.json.

_MOMENTS = ("exp_avg", "exp_avg_sq")


def _save(
    checkpoints: Path, masters: Masters, optimizer: torch.optim.Optimizer, curve: Sequence[Point], let_go: LetGo
) -> None:
    state = {f"weights.{name}": weight for name, weight in masters.weights.items()}
    for name, weight in masters.weights.items():
        state |= {f"{moment}.{name}": optimizer.state[weight][moment] for moment in _MOMENTS}
    final = checkpoints / f"step-{len(curve):08d}"
    with folder_atomic(final) as folder:
        save_file(state, folder / "state.safetensors")
        (folder / "curve.json").write_text(json.dumps([asdict(point) for point in curve]))
    for path in checkpoints.iterdir():
        if path != final:  # older ones, and what a kill left half-written
            let_go(path)


def _restore(checkpoints: Path, masters: Masters, optimizer: torch.optim.Optimizer) -> list[Point]:
    newest = max(checkpoints.glob("step-*"), default=None)
    if newest is None:
        return []
    curve = [Point(**point) for point in json.loads((newest / "curve.json").read_text())]
    state: dict[str, Any] = load_file(newest / "state.safetensors")
    for name, weight in masters.weights.items():
        weight.copy_(state[f"weights.{name}"])
        optimizer.state[weight] = {moment: state[f"{moment}.{name}"] for moment in _MOMENTS} | {
            "step": torch.tensor(float(len(curve)))
        }
    return curve
