"""What the student is told. A loss sees hidden states and labels; it knows nothing of records or terms.

Shapes: A answer tokens, D hidden size, V vocabulary.
"""

from typing import Any

import torch
from torch.nn import functional

_LOGITS = 2**26  # logits held at once: 128 MB in bfloat16
_ROWS = 64  # rows of logits in float32 at once: they stay in the processor's cache


def answer_loss(hidden_AD: torch.Tensor, head_VD: torch.Tensor, labels_A: torch.Tensor) -> torch.Tensor:
    """Sum (scalar, float32 or wider) of -log p(label) over A; logits, `hidden_AD @ head_VD.T`, never exist all at once.

    Gradients are made in the forward pass while the logits are at hand, so the logits are computed once (as in
    Liger-Kernel, arXiv:2410.10989).
    """
    loss: torch.Tensor = _AnswerLoss.apply(hidden_AD, head_VD, labels_A)  # type: ignore[no-untyped-call]
    return loss


class _AnswerLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_AD: torch.Tensor, head_VD: torch.Tensor, labels_A: torch.Tensor) -> torch.Tensor:
        wants_hidden, wants_head, _ = ctx.needs_input_grad
        d_hidden_AD = torch.empty_like(hidden_AD) if wants_hidden else None
        d_head_VD = torch.zeros_like(head_VD) if wants_head else None
        total = hidden_AD.new_zeros((), dtype=torch.promote_types(hidden_AD.dtype, torch.float32))
        rows = max(_ROWS, _LOGITS // len(head_VD))
        for start in range(0, len(labels_A), rows):
            part = slice(start, start + rows)
            logits = functional.linear(hidden_AD[part], head_VD)
            total += _to_gradient_(logits, labels_A[part])
            if d_hidden_AD is not None:
                torch.mm(logits, head_VD, out=d_hidden_AD[part])
            if d_head_VD is not None:
                d_head_VD.addmm_(logits.t(), hidden_AD[part])
        ctx.save_for_backward(d_hidden_AD, d_head_VD)
        return total

    @staticmethod
    def backward(ctx: Any, *grad: torch.Tensor) -> Any:
        return *(None if saved is None else saved * grad[0] for saved in ctx.saved_tensors), None


def _to_gradient_(logits_AV: torch.Tensor, labels_A: torch.Tensor) -> torch.Tensor:
    """Overwrites logits by the loss's gradient in them (probabilities, less 1 at the label); returns the loss.

    One exponential a logit, in float32 or wider. The gradient at the label is rounded after the 1 is taken off: near
    certainty nothing would be left of it otherwise.
    """
    wide = torch.promote_types(logits_AV.dtype, torch.float32)
    total = logits_AV.new_zeros((), dtype=wide)
    for logits, labels in zip(logits_AV.split(_ROWS), labels_A.split(_ROWS), strict=True):
        at_label = labels[:, None]
        exact = logits.to(wide, copy=True)
        exact -= exact.amax(-1, keepdim=True)
        label = exact.gather(1, at_label)
        sums = exact.exp_().sum(-1, keepdim=True)
        total += (sums.log() - label).sum()
        logits.copy_(exact.mul_(sums.reciprocal()))
        logits.scatter_(1, at_label, (label.exp() / sums - 1).to(logits.dtype))
    return total
