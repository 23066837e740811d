"""What a killed run goes on from: folders `step-00000025`, of which the newest stays, and the best where one is kept.

    step-00000025/  state.safetensors   float32 weights (weights.*) and moments (exp_avg.*, exp_avg_sq.*)
                    course.json         the curve so far
    diverged.json                       the batches of a step that broke: records, tokens, losses

A folder appears whole or not at all; older ones go only when a newer one stands. Its tensors are whole, however many
processes shared them out, so a run may go on with another number of processes, or with none but one.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from trueseed.core.durable import folder_atomic, write_atomic
from trueseed.errors import ConfigError
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
    """Sets weights and optimizer to the newest checkpoint. An empty course when there is none."""
    newest = _newest(folder)
    if newest is None:
        return Course()
    course = Course.from_json(json.loads((newest / _COURSE).read_text()))
    state: dict[str, Any] = load_file(newest / _STATE)
    for name, weight in masters.weights.items():
        weight.copy_(masters.shared(state[f"weights.{name}"]))
        moments = {moment: masters.shared(state[f"{moment}.{name}"]).clone() for moment in _MOMENTS}
        optimizer.state[weight] = moments | {"step": torch.tensor(float(len(course)), device=weight.device)}
    return course


@torch.no_grad()
def restore_weights(folder: Path, step: int, masters: Weights) -> None:
    """Sets weights to those of the checkpoint of a step."""
    state = load_file(folder / _name(step) / _STATE)
    for name, weight in masters.weights.items():
        weight.copy_(masters.shared(state[f"weights.{name}"]))


def save_diverged(folder: Path, said: Mapping[str, Any]) -> Path:
    """The batches that broke a run, for whoever looks for the reason. Goes with the folder when the run is done."""
    path = folder / DIVERGED
    write_atomic(path, json.dumps(said, indent=1) + "\n", mode=0o600)
    return path


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _newest(folder: Path) -> Path | None:
    return max(folder.glob("step-*"), default=None)
