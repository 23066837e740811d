"""Between the base and what training made of it: the straight line of WiSE-FT (Wortsman et al. 2022, arXiv:2109.01903).

Part of the way along it a student keeps most of what it learned, and most of what the base could do besides.
"""

import torch
from torch import nn


@torch.no_grad()
def interpolate(trained: nn.Module, base: nn.Module, alpha: float) -> None:
    """Sets the weights of `trained` to base + alpha (trained - base), computed in float32, rounded once."""
    start = dict(base.named_parameters())
    for name, weight in trained.named_parameters():
        weight.copy_(torch.lerp(start[name].to(weight.device).float(), weight.float(), alpha))
