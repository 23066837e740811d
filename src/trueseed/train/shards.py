"""Weights shared out among processes, so that a network need not fit into any one of them (FSDP2).

    root = Shards(loss, student.learner, (student.model, *method.hears), ranks)
    root(batch)             the loss; all processes call it together, as often as each other
    gather(learner, into)   the trainable weights, whole again

PyTorch's `fully_shard`, a group of weights for each decoder layer, which is whole in bfloat16 only while it computes,
and one for the rest. The float32 weights, their gradients and moments are never whole anywhere: each process has 1/n of
each. What does not learn (under adapters, frozen layers, a teacher) is shared out as it is. FSDP gathers what is used
inside a module's `forward`, and a loss here uses the head beside the network's own forward, so the loss is one module:
its group holds embeddings, last norm and head, a head that is tied to the embeddings being the same weight once.

Needs networks whose forward is one pass over a whole batch (`network.packs`): all processes must call each layer
equally often. A row that is read and not learned keeps step where a process has none (`Ranks.share`).
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from trueseed.errors import ConfigError
from trueseed.lm.checkpoint import configuration
from trueseed.train import network
from trueseed.train.batches import Batch
from trueseed.train.ranks import ALONE, Ranks, together


class Shards(torch.nn.Module):
    """A loss, and the networks that it is computed with, as one module."""

    def __init__(
        self, loss: Callable[[Batch], torch.Tensor], learner: torch.nn.Module, networks: Iterable[Any], ranks: Ranks
    ) -> None:
        """learner: what of the networks learns, themselves or adapters. networks: the student, and whoever is heard.

        Raises `ConfigError` for an architecture whose batches are not one pass.
        """
        super().__init__()
        networks = list(networks)
        for each in networks:
            _must_pack(each.config)
        self._loss, self.learner = loss, learner
        self.networks = torch.nn.ModuleList(networks)
        mesh, dtype = init_device_mesh(ranks.device.type, (ranks.size,)), networks[0].dtype
        for each in networks:
            for layer in each.base_model.layers:
                _share_out(layer, dtype, mesh)
        _share_out(self, dtype, mesh)

    def forward(self, batch: Batch) -> torch.Tensor:
        return self._loss(batch)

    def parts(self) -> dict[str, float]:
        """As of the loss, if it is made of several."""
        told: dict[str, float] = self._loss.parts() if hasattr(self._loss, "parts") else {}
        return told

    def masters(self) -> "SharedMasters":
        return SharedMasters(self)


class SharedMasters:
    """As `loop.Masters`: this process's share of each trainable weight in float32, and of its gradient."""

    def __init__(self, root: Shards) -> None:
        self.weights: dict[str, torch.Tensor] = {
            name: weight for name, weight in root.learner.named_parameters() if weight.requires_grad
        }

    def close(self) -> None:
        for weight in self.weights.values():
            weight.grad = None

    @property
    def device(self) -> torch.device:
        return next(iter(self.weights.values())).device

    def finish(self, targets: int, max_norm: float, _ranks: Ranks = ALONE) -> float:
        """From the gradient of a sum over `targets` tokens to that of the mean, clipped. Returns the norm before."""
        for weight in self.weights.values():
            weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
        grads = [weight.grad for weight in self.weights.values() if weight.grad is not None]
        norm = float(self.whole(torch.nn.utils.get_total_norm(grads))) / targets
        torch._foreach_mul_(grads, min(1.0, max_norm / (norm + 1e-6)) / targets)
        return norm

    def whole(self, tensor: torch.Tensor) -> torch.Tensor:
        return _whole(tensor)

    def shared(self, whole: torch.Tensor) -> torch.Tensor:
        return _shared_out(whole, next(iter(self.weights.values())))

    def publish(self) -> None:
        """Forgets the gradients. The next batch gathers the weights anew."""
        self.close()


def must_be_possible(weights: Path) -> None:
    """Before anything is spent. weights: the student's folder. Raises `ConfigError` where there is one process, or for
    an architecture whose batches are not one pass.
    """
    together("fsdp")
    _must_pack(configuration(weights))


@torch.no_grad()
def gather(learner: torch.nn.Module, into: torch.nn.Module) -> None:
    """Sets the trainable weights of `into`, a whole one of the same kind, to those of `learner` in its own type. All
    processes call it together.
    """
    places = dict(into.named_parameters())
    for name, weight in learner.named_parameters():
        if weight.requires_grad:
            places[name].copy_(_whole(weight))


@torch.no_grad()
def spread(plain: torch.nn.Module, root: Shards) -> None:
    """The student is computed with the weights of `plain`, a whole network without adapters, from now on."""
    weights = dict(plain.named_parameters())
    for name, weight in root.networks[0].named_parameters():
        if "lora_" in name:
            weight.zero_()
        else:
            weight.copy_(_shared_out(weights[name.replace(".base_layer", "")], weight))


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.full_tensor().cpu() if isinstance(tensor, DTensor) else tensor


def _shared_out(whole: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """This process's share of a tensor that every process has whole."""
    assert isinstance(like, DTensor)
    placed = whole.to(like.device)
    return distribute_tensor(placed, like.device_mesh, like.placements, src_data_rank=None)


def _share_out(module: torch.nn.Module, dtype: torch.dtype, mesh: DeviceMesh) -> None:
    for weight in module.parameters():
        if weight.requires_grad and not isinstance(weight, DTensor):
            weight.data = weight.data.float()
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    sharded = fully_shard(module, mesh=mesh, mp_policy=policy, reshard_after_forward=True)  # the outermost too
    sharded.set_gradient_divide_factor(1.0)  # sums, since the loss is one …
    sharded.set_force_sum_reduction_for_comms(True)  # … and gloo knows no other


def _must_pack(config: Any) -> None:
    if network.unpacked(config):
        raise ConfigError(
            f"`parallel: fsdp` needs a network that reads a batch in one pass; known so are "
            f"{', '.join(sorted(network.PACKED))}, and this is {config.model_type!r}. Use `parallel: ddp`"
        )
