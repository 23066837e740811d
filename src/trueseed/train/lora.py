"""Low-rank adapters (arXiv:2106.09685) by peft: put on every linear layer, trained alone, merged at the end.

peft makes, keeps and merges them; while they are trained, a layer with its adapter is one autograd function, which adds
the adapter's product into the layer's own output and saves nothing of it.

Shapes: N tokens, I inputs, O outputs, R rank.
"""

import copy
import warnings
from typing import Any

import torch
from torch.nn import functional

from trueseed.train.settings import Lora

_NAME = "default"  # peft's, of the first adapter


def adapted(model: Any, lora: Lora, *, seed: int) -> Any:
    """`model` with adapters that change nothing yet, in its own type; only they are trainable. Works in place."""
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora import Linear

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # what peft asks of transformers is on its way out there
            learner = get_peft_model(model, config, autocast_adapter_dtype=False)
    for module in learner.modules():
        if isinstance(module, Linear) and module.active_adapters == [_NAME]:
            module.forward = _Adapted(module)
    return learner


def merged(model: Any) -> Any:
    """The plain model that computes what the adapted one does: products added in float32, rounded once."""
    dtype = model.dtype
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.float().merge_and_unload().to(dtype)


def merged_copy(model: Any) -> Any:
    """As `merged`, and `model` goes on learning."""
    return merged(copy.deepcopy(model))


class _Adapted:
    """`forward` of a linear layer with its adapter."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        module = self._module
        down_RI, up_OR = module.lora_A[_NAME].weight, module.lora_B[_NAME].weight
        layer = module.base_layer
        out: torch.Tensor = _LowRank.apply(  # type: ignore[no-untyped-call]
            x.reshape(-1, x.shape[-1]), layer.weight, layer.bias, down_RI, up_OR, module.scaling[_NAME]
        )
        return out.view(*x.shape[:-1], -1)


class _LowRank(torch.autograd.Function):
    """x Wᵀ + b + scale (x Aᵀ) Bᵀ, where only A (R × I) and B (O × R) learn."""

    @staticmethod
    def forward(ctx: Any, x_NI: Any, weight_OI: Any, bias: Any, down_RI: Any, up_OR: Any, scale: float) -> torch.Tensor:
        inner_NR = x_NI @ down_RI.t()
        ctx.save_for_backward(x_NI, inner_NR, weight_OI, down_RI, up_OR)
        ctx.scale = scale
        return functional.linear(x_NI, weight_OI, bias).addmm_(inner_NR, up_OR.t(), alpha=scale)

    @staticmethod
    def backward(ctx: Any, *grad: torch.Tensor) -> Any:
        x_NI, inner_NR, weight_OI, down_RI, up_OR = ctx.saved_tensors
        d_inner_NR = (grad[0] @ up_OR).mul_(ctx.scale)
        d_x = (grad[0] @ weight_OI).addmm_(d_inner_NR, down_RI) if ctx.needs_input_grad[0] else None
        return d_x, None, None, d_inner_NR.t() @ x_NI, (grad[0].t() @ inner_NR).mul_(ctx.scale), None
