"""Steps of the optimizer over packed batches, the same for every method that trains.

Weights are computed with in the model's own type (bfloat16) and kept in float32 beside it: a step of the optimizer is
mostly smaller than bfloat16 can add. A step's loss is the mean over all answer tokens of all its batches, however they
were cut. A checkpoint holds the float32 weights, the optimizer's moments and the curve, so a killed run goes on to
bit-identical weights, given the same number of threads.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import torch

from trueseed.errors import ConfigError
from trueseed.train import checkpoints as kept
from trueseed.train.batches import Batch, Rows, pack
from trueseed.train.checkpoints import LetGo
from trueseed.train.course import Course, Evaluation, Point
from trueseed.train.ranks import ALONE, Ranks
from trueseed.train.settings import Optimizing

if TYPE_CHECKING:
    from trueseed.train.shards import SharedMasters

# Sum over the batch's answer tokens, float32 scalar. One that is made of several has a method `parts`: see `_parts`.
Loss = Callable[[Batch], torch.Tensor]
Progress = Callable[[int, int, str, str], None]  # done, total, unit, note


class Steps(Protocol):
    """For each step of the optimizer the batches it accumulates; each is asked for when its turn comes, once."""

    def __len__(self) -> int: ...

    def __getitem__(self, at: int, /) -> Sequence[Rows]: ...


_BETAS = (0.9, 0.99)  # a second moment over 100 steps: runs here have tens to hundreds
_EXPLODED = 5.0  # nats a token above the first step
_CPU = torch.device("cpu")
_SILENT = 3  # steps without any gradient after which there is nothing to learn


class Masters:
    """The trainable weights in float32, and the gradients of the model's own, taken over as a backward pass makes them.

    So the model's gradients never exist all at once. Closed when the training ends: the model then keeps its own again.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._computed = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self.weights = {name: weight.detach().float().clone() for name, weight in self._computed.items()}
        for master in self.weights.values():
            master.grad = torch.zeros_like(master)
        self._taken: set[str] = set()  # whose gradients so far are of this step
        self._hooks = [
            weight.register_post_accumulate_grad_hook(partial(self._take, name))
            for name, weight in self._computed.items()
        ]

    def close(self) -> None:
        for hook in self._hooks:
            hook.remove()

    @property
    def device(self) -> torch.device:
        return next(iter(self._computed.values())).device

    def _take(self, name: str, weight: torch.Tensor) -> None:
        assert weight.grad is not None
        self._grad(name).add_(weight.grad) if name in self._taken else self._grad(name).copy_(weight.grad)
        self._taken.add(name)
        weight.grad = None

    def finish(self, targets: int, max_norm: float, ranks: Ranks = ALONE) -> float:
        """From the gradient of a sum over `targets` tokens to that of the mean, clipped. Returns the norm before.

        ranks: whose gradients are added up first.
        """
        for name in self.weights.keys() - self._taken:  # the step's rows, as far as they are this process's, use it not
            self._grad(name).zero_()
        grads = [self._grad(name) for name in self.weights]
        ranks.add_(grads)
        norm = float(torch.nn.utils.get_total_norm(grads)) / targets
        torch._foreach_mul_(grads, min(1.0, max_norm / (norm + 1e-6)) / targets)
        return norm

    def whole(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor

    def shared(self, whole: torch.Tensor) -> torch.Tensor:
        return whole.to(self.device)

    def publish(self) -> None:
        """Rounds the float32 weights onto the model's, and forgets the gradients."""
        with torch.no_grad():
            for name, weight in self._computed.items():
                weight.copy_(self.weights[name])
        self._taken.clear()

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
    validation: Callable[[], float] | None = None,
    ranks: Ranks = ALONE,
) -> Course:
    """Trains `model` in place, step by step, from the newest checkpoint in the folder `checkpoints` if there is one.

    steps: each is asked for when the model has the weights that it begins with. let_go: deletes an older checkpoint.
    validation: the loss a token on held-out records as the model stands; measured when `config.eval_steps` says so, and
    then the model ends with the weights that had the lowest. ranks: those who take each step together; only the first
    writes. Where weights are shared out, model and loss are both the same `Shards`. Returns the whole course, earlier
    steps of a resumed run included.

    Raises `ConfigError` when loss or gradient stop being numbers or the loss explodes (the step's batches are then in
    `checkpoints/diverged.json`), when there is no gradient at all, when a checkpoint cannot be written, and when the
    validation loss is to be measured and there is none; `Broken` for a checkpoint that is damaged.
    """
    if config.eval_steps and validation is None:
        raise ConfigError("eval_steps: the validation loss is to be measured, and no records are held out; set it to 0")
    with closing(_masters(model)) as masters:
        optimizer = _optimizer(masters, config)
        with ranks.agreed():
            course = kept.restore(checkpoints, masters, optimizer)
        masters.publish()
        began, seen = time.monotonic(), 0
        while len(course) < len(steps) and not course.in_vain(config.early_stopping_patience):
            at = len(course)
            point = _Step(at, masters, loss, course, checkpoints, ranks).take(
                steps[at], optimizer, _rate(at, len(steps), config), config.max_grad_norm
            )
            course.points.append(point)
            _must_teach(course, len(steps), ranks)
            last = len(course) == len(steps)
            improved = validation is not None and _measured(course, validation, config.eval_steps, last, ranks)
            if not last and (improved or len(course) % config.save_steps == 0):
                state = kept.state(masters, optimizer)
                kept.save(checkpoints, dict(state), course, let_go) if not ranks.rank else deque(state, maxlen=0)
            seen += point.tokens
            pace = seen / (time.monotonic() - began)
            progress(len(course), len(steps), "steps", f"loss {point.loss:.4g}, {pace:.0f} tokens/s")
        if course.kept != len(course):
            with ranks.agreed():
                kept.restore_weights(checkpoints, course.kept, masters)
            masters.publish()
    return course


def _masters(model: Any) -> "Masters | SharedMasters":
    """Those of `Shards` are its own; it is not imported here, since few need it and it takes long."""
    shared: SharedMasters | None = model.masters() if hasattr(model, "masters") else None
    return shared or Masters(model)


def mean_loss(loss: Loss, batches: Sequence[Rows], device: torch.device = _CPU, ranks: Ranks = ALONE) -> float:
    """-log p a token, in nats, over all answer tokens; changes nothing. device: the model's."""
    total, targets = _sums(loss, batches, device, ranks)
    _parts(loss)  # are of the training's curve alone
    return total / targets


def mean_parts(
    loss: Loss, batches: Sequence[Rows], device: torch.device = _CPU, ranks: Ranks = ALONE
) -> dict[str, float]:
    """The same of each part of a loss that is made of several."""
    _, targets = _sums(loss, batches, device, ranks)
    return _shares(loss, targets, ranks)


def _sums(loss: Loss, batches: Sequence[Rows], device: torch.device, ranks: Ranks) -> tuple[float, float]:
    total, targets = 0.0, 0.0
    with torch.no_grad():
        for rows in ranks.share(batches):
            batch = pack(rows).to(device)
            total += float(loss(batch))
            targets += batch.targets
    total, targets = ranks.total(total, targets)
    return total, targets


def _shares(loss: Loss, targets: float, ranks: Ranks) -> dict[str, float]:
    """A token's, over all processes."""
    told = _parts(loss)
    if not told:
        return {}
    return {name: part / targets for name, part in zip(told, ranks.total(*told.values()), strict=True)}


def _parts(loss: Loss) -> dict[str, float]:
    """Of a loss that is made of several: each one's sum over the answer tokens since it was asked last."""
    told: dict[str, float] = loss.parts() if hasattr(loss, "parts") else {}
    return told


class _Step:
    """One step of the optimizer, and what is written down when it breaks."""

    def __init__(
        self,
        at: int,
        masters: "Masters | SharedMasters",
        loss: Loss,
        course: Course,
        folder: Path,
        ranks: Ranks = ALONE,
    ) -> None:
        self._at, self._masters, self._loss, self._folder, self._ranks = at, masters, loss, folder, ranks
        self._most = course.points[0].loss + _EXPLODED if course.points else math.inf
        self._seen: list[tuple[Rows, float]] = []  # batches, and the loss a token of each

    def take(self, batches: Sequence[Rows], optimizer: torch.optim.Optimizer, rate: float, max_norm: float) -> Point:
        mine = self._computed(self._ranks.share(batches))
        loss, targets, tokens, broken = self._ranks.total(*mine, sum(not self._sane(each) for _, each in self._seen))
        if broken:
            self._broke("loss")
        norm = self._masters.finish(round(targets), max_norm, self._ranks)
        if not math.isfinite(norm):
            self._broke("gradient norm", norm)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        self._masters.publish()
        return Point(
            step=self._at + 1,
            loss=loss / targets,
            grad_norm=norm,
            learning_rate=rate,
            targets=round(targets),
            tokens=round(tokens),
            parts=_shares(self._loss, targets, self._ranks),
        )

    def _computed(self, batches: Sequence[Rows]) -> tuple[float, int, int]:
        """Loss, answer tokens and tokens of all batches, up to one that breaks; gradients go to the masters."""
        total, targets, tokens = 0.0, 0, 0
        for rows in batches:
            batch = pack(rows).to(self._masters.device)
            value = self._loss(batch)
            value.backward()
            if not batch.targets:
                continue
            total, targets, tokens = total + value.item(), targets + batch.targets, tokens + batch.row_tokens
            self._seen.append((rows, value.item() / batch.targets))
            if not self._sane(self._seen[-1][1]) and not self._ranks.lockstep:
                break
        return total, targets, tokens

    def _sane(self, loss: float) -> bool:
        return math.isfinite(loss) and loss <= self._most

    def _broke(self, what: str, value: float | None = None) -> NoReturn:
        seen = self._ranks.everybodys(self._seen)
        rows, loss = next((batch for batch in seen if not self._sane(batch[1])), seen[-1])
        value = loss if value is None else value
        ids = ", ".join(row.id[:16] for row in rows[:5]) + (", …" if len(rows) > 5 else "")
        sentence = f"training diverged: the {what} became {value:.4g} at step {self._at + 1}, on records {ids}"
        if self._ranks.rank:
            raise self._ranks.ended(ConfigError(sentence))
        said = {"step": self._at + 1, "what": what, "value": str(value), "batches": [_told(*batch) for batch in seen]}
        path = kept.save_diverged(self._folder, said)
        raise ConfigError(
            f"{sentence}; all of them, their tokens and losses are in {path}. "
            f"Lower learning_rate, lengthen the warm-up, or look at them"
        )


def _told(rows: Rows, loss: float) -> dict[str, Any]:
    told = [{"id": row.id, "tokens": row.tokens, "trained": [int(counts) for counts in row.mask]} for row in rows]
    return {"loss": str(loss), "rows": told}


def _must_teach(course: Course, steps: int, ranks: Ranks) -> None:
    """Raises `ConfigError` when no step so far had any gradient."""
    if len(course) == min(_SILENT, steps) and not any(point.grad_norm for point in course.points):
        sentence = (
            f"the gradient is exactly 0 in all of the first {len(course)} steps, so nothing would be learned: every "
            f"weight of the loss is 0, or the student already says what it is taught; look at the method's weights"
        )
        raise ranks.ended(ConfigError(sentence))


def _measured(course: Course, validation: Callable[[], float], every: int, last: bool, ranks: Ranks) -> bool:
    """Measures when it is time to; whether that is the lowest so far. Raises `ConfigError` when it is no number."""
    if not every or (len(course) % every and not last):
        return False
    found = Evaluation(step=len(course), loss=validation())
    if not math.isfinite(found.loss):
        sentence = f"training diverged: the validation loss became {found.loss} after step {found.step}"
        raise ranks.ended(ConfigError(f"{sentence}; lower learning_rate"))
    course.evaluations.append(found)
    return course.best is found


def _optimizer(masters: kept.Weights, config: Optimizing) -> torch.optim.Optimizer:
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
