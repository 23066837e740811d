"""What a killed run goes on from: folders `step-00000025`, of which the newest stays, and the best where one is kept.

    step-00000025/  state.safetensors   float32 weights (weights.*) and moments (exp_avg.*, exp_avg_sq.*)
                    course.json         the curve so far
    diverged.json                       the batches of a step that broke: records, tokens, losses

A folder appears whole or not at all; older ones go only when a newer one stands. Its tensors are whole, however many
processes shared them out, so a run may go on with another number of processes, or with none but one.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from trueseed.core.durable import folder_atomic, write_atomic
from trueseed.errors import Broken, ConfigError
from trueseed.lm.checkpoint import one_line
from trueseed.train.course import Course

LetGo = Callable[[Path], None]
State = Mapping[str, torch.Tensor]


class Weights(Protocol):
    """weights: in float32, by name, as this process has them: whole, or its share. whole: makes one of a share (all
    processes call it together); shared: the reverse, of a tensor that everybody has.
    """

    @property
    def weights(self) -> dict[str, torch.Tensor]: ...

    def whole(self, tensor: torch.Tensor) -> torch.Tensor: ...

    def shared(self, whole: torch.Tensor) -> torch.Tensor: ...


DIVERGED = "diverged.json"
_STATE = "state.safetensors"
_COURSE = "course.json"
_MOMENTS = ("exp_avg", "exp_avg_sq")


def state(masters: Weights, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, torch.Tensor]]:
    """Where the run stands, one whole tensor after another; all processes go through it together."""
    for name, weight in masters.weights.items():
        yield f"weights.{name}", masters.whole(weight)
        for moment in _MOMENTS:
            yield f"{moment}.{name}", masters.whole(optimizer.state[weight][moment])


def save(folder: Path, state: State, course: Course, let_go: LetGo) -> None:
    """Writes where the run stands, then deletes older checkpoints but the best.

    Raises `ConfigError` when it cannot be written; then the checkpoint before it is as it was.
    """
    final, last = folder / _name(len(course)), _newest(folder)
    try:
        with folder_atomic(final) as staged:
            save_file(dict(state), staged / _STATE)
            (staged / _COURSE).write_text(json.dumps(course.to_json()))
    except (SafetensorError, OSError) as err:
        standing = f"the checkpoint of step {int(last.name[5:])} stands" if last else "there is none before it"
        raise ConfigError(
            f"the checkpoint of step {len(course)} cannot be written to {folder} ({err}); {standing}. "
            f"Make room on that disk and give the same command again"
        ) from err
    for path in folder.glob("*step-*"):  # what a kill left half-written begins with a dot
        if path.name not in (final.name, _name(course.kept)):
            let_go(path)


@torch.no_grad()
def restore(folder: Path, masters: Weights, optimizer: torch.optim.Optimizer) -> Course:
    """Sets weights and optimizer to the newest checkpoint. An empty course when there is none.

    Raises `Broken` for one that is damaged. An older one is not taken in its place unasked: whoever deletes the newest
    has asked.
    """
    newest = _newest(folder)
    if newest is None:
        return Course()
    with _whole(newest, newest, _without(newest)):
        course = Course.from_json(json.loads((newest / _COURSE).read_text()))
        if _name(len(course)) != newest.name:
            raise ValueError(f"{_COURSE} is of {len(course)} steps")
        state: dict[str, Any] = load_file(newest / _STATE)
        for name, weight in masters.weights.items():
            weight.copy_(masters.shared(_of(state, f"weights.{name}", weight)))
            moments = {each: masters.shared(_of(state, f"{each}.{name}", weight)).clone() for each in _MOMENTS}
            optimizer.state[weight] = moments | {"step": torch.tensor(float(len(course)), device=weight.device)}
    return course


@torch.no_grad()
def restore_weights(folder: Path, step: int, masters: Weights) -> None:
    """Sets weights to those of the checkpoint of a step. Raises `Broken` when it is damaged or gone."""
    with _whole(folder / _name(step), folder, "training begins anew, since the best weights are in no other"):
        state = load_file(folder / _name(step) / _STATE)
        for name, weight in masters.weights.items():
            weight.copy_(masters.shared(_of(state, f"weights.{name}", weight)))


def save_diverged(folder: Path, said: Mapping[str, Any]) -> Path:
    """The batches that broke a run, for whoever looks for the reason. Goes with the folder when the run is done."""
    path = folder / DIVERGED
    write_atomic(path, json.dumps(said, indent=1) + "\n", mode=0o600)
    return path


@contextmanager
def _whole(checkpoint: Path, delete: Path, then: str) -> Iterator[None]:
    """What goes wrong while it is read is the checkpoint's damage. then: what happens once `delete` is gone."""
    try:
        yield
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as err:
        raise Broken(
            f"the checkpoint {checkpoint} is damaged ({type(err).__name__}: {one_line(err)}). Delete {delete} and give "
            f"the same command again: {then}"
        ) from err


def _of(state: State, name: str, like: torch.Tensor) -> torch.Tensor:
    """A tensor of a checkpoint, which must have a shape. Raises `ValueError`, `KeyError`."""
    if state[name].shape != like.shape:
        raise ValueError(f"{name} has {tuple(state[name].shape)}, not {tuple(like.shape)}")
    return state[name]


def _without(checkpoint: Path) -> str:
    """What a training would go on from."""
    before = max((each for each in checkpoint.parent.glob("step-*") if each < checkpoint), default=None)
    return f"training goes on from the one of step {int(before.name[5:])}" if before else "training begins anew"


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _newest(folder: Path) -> Path | None:
    return max(folder.glob("step-*"), default=None)
