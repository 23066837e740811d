"""How far the student's next-token distributions are from a teacher's that is in memory, and the gradient of that.

    loss = divergence(student_AD, head_VD, teacher_AE, teacher_head_VE, labels_A, Divergence(beta=0.5))

The generalised Jensen-Shannon divergence of on-policy distillation (Agarwal et al. 2024, arXiv:2306.13649, equation 1),
with P the teacher's distribution and Q the student's, both softmax(logits / temperature) over the whole vocabulary:

    0 < beta < 1    beta KL(P ‖ M) + (1 - beta) KL(Q ‖ M),  M = beta P + (1 - beta) Q
    beta = 0        KL(P ‖ Q), forward: the student must cover whatever the teacher would say
    beta = 1        KL(Q ‖ P), reverse: the student must not say what the teacher would not

That is the orientation of TRL's `GKDTrainer`, and the paper's; the two ends are set apart, as there, since the middle
goes to 0 towards both of them (divided by beta, or by 1 - beta, it goes to the KL of that end). Nothing is multiplied
by temperature², as in TRL. With `top_k` the vocabulary is seen as the teacher's k most probable tokens and one bucket
for all others, probabilities first and the choice afterwards.

Logits of neither side exist all at once, and gradients are made in the forward pass while the logits are at hand, as in
`losses`. Heads may be padded to different lengths: what both have is compared.

Shapes: A answer tokens, D and E hidden sizes of student and teacher, V vocabulary, R rows at a time, C outcomes.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_LOGITS = 2**25  # logits of each side held at once: 64 MB in bfloat16
_ROWS = 8  # rows of logits in float32 at once: they stay in the processor's cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """beta: 0 forward KL, 1 reverse KL, between them the generalised Jensen-Shannon divergence. temperature: of both
    sides' softmax. top_k: 0 compares every token. ce_weight: so much of -log p(label), at temperature 1, is added.
    """

    beta: float = 0.0
    temperature: float = 1.0
    top_k: int = 0
    ce_weight: float = 0.0


def divergence(
    student_AD: Tensor,
    head_VD: Tensor,
    teacher_AE: Tensor,
    teacher_head_VE: Tensor,
    labels_A: Tensor,
    how: Divergence,
    shown: Tensor | None = None,
) -> Tensor:
    """Sum over A in nats, a float32 scalar; differentiable in what is the student's.

    shown: a scalar to which as much of it as is cross-entropy, before its weight, is added.
    """
    loss: Tensor = _Divergence.apply(  # type: ignore[no-untyped-call]
        student_AD, head_VD, teacher_AE.detach(), teacher_head_VE.detach(), labels_A, how, shown
    )
    return loss


class _Divergence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        student_AD: Tensor,
        head_VD: Tensor,
        teacher_AE: Tensor,
        teacher_head_VE: Tensor,
        labels_A: Tensor,
        how: Divergence,
        shown: Tensor | None,
    ) -> Tensor:
        wants_hidden, wants_head = ctx.needs_input_grad[:2]
        both = min(len(head_VD), len(teacher_head_VE))
        head, teacher_head = head_VD[:both], teacher_head_VE[:both]
        d_student_AD = torch.empty_like(student_AD) if wants_hidden else None
        d_head_VD = torch.zeros_like(head_VD) if wants_head else None
        total = torch.zeros((), dtype=_wide(student_AD.dtype), device=student_AD.device)
        rows = max(_ROWS, _LOGITS // both)
        for start in range(0, len(labels_A), rows):
            part = slice(start, start + rows)
            logits_RV = functional.linear(student_AD[part], head)
            theirs_RV = functional.linear(teacher_AE[part], teacher_head)
            total += _to_gradient_(logits_RV, theirs_RV, labels_A[part], how, shown)
            if d_student_AD is not None:
                torch.mm(logits_RV, head, out=d_student_AD[part])
            if d_head_VD is not None:
                d_head_VD[:both].addmm_(logits_RV.t(), student_AD[part])
        ctx.save_for_backward(d_student_AD, d_head_VD)
        return total

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> Any:
        return *(None if saved is None else saved * grad[0] for saved in ctx.saved_tensors), *[None] * 5


def of_logits(
    student_AV: Tensor, teacher_AV: Tensor, labels_A: Tensor, how: Divergence, shown: Tensor | None = None
) -> Tensor:
    """The same from logits, for networks whose last step is more than a matrix; differentiable in the student's."""
    loss: Tensor = _OfLogits.apply(  # type: ignore[no-untyped-call]
        student_AV, teacher_AV.detach(), labels_A, how, shown
    )
    return loss


class _OfLogits(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, student_AV: Tensor, teacher_AV: Tensor, labels_A: Tensor, how: Divergence, shown: Tensor | None
    ) -> Tensor:
        both = min(student_AV.shape[1], teacher_AV.shape[1])
        d_student_AV = torch.zeros_like(student_AV)
        d_student_AV[:, :both] = student_AV[:, :both]
        total = _to_gradient_(d_student_AV[:, :both], teacher_AV[:, :both], labels_A, how, shown)
        ctx.save_for_backward(d_student_AV)
        return total

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> Any:
        return ctx.saved_tensors[0] * grad[0], *[None] * 4


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _to_gradient_(
    student_AV: Tensor, teacher_AV: Tensor, labels_A: Tensor, how: Divergence, shown: Tensor | None
) -> Tensor:
    """Overwrites the student's logits by the loss's gradient in them; returns the loss."""
    wide = _wide(student_AV.dtype)
    total = torch.zeros((), dtype=wide, device=student_AV.device)
    pieces = (each.split(_ROWS) for each in (student_AV, teacher_AV, labels_A))
    for student, teacher, labels in zip(*pieces, strict=True):
        logq, logp = _tempered(student.to(wide), how), _tempered(teacher.to(wide), how)
        if 0 < how.top_k < logq.shape[1]:
            value, gradient = _in_buckets(logq, logp, how)
        else:
            value, gradient = compare(logq, logp, how.beta)
        total += value
        if how.temperature != 1:
            gradient /= how.temperature
        if how.ce_weight:
            surprise = _add_cross_entropy_(gradient, student.to(wide), labels, how.ce_weight)
            total += how.ce_weight * surprise
            if shown is not None:
                shown += surprise
        student.copy_(gradient)
    return total


def _tempered(logits_RV: Tensor, how: Divergence) -> Tensor:
    return torch.log_softmax(logits_RV if how.temperature == 1 else logits_RV / how.temperature, -1)


def compare(logq_RC: Tensor, logp_RC: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """The divergence of log-probabilities, summed, and its gradient in the logits behind `logq`."""
    q = logq_RC.exp()
    if beta == 0:
        p = logp_RC.exp()
        value = torch.dot(p.flatten(), (logp_RC - logq_RC).flatten())
        return value, q.sub_(p)
    if beta == 1:
        ratio, share, value = logq_RC - logp_RC, 1.0, torch.zeros_like(logq_RC[0, 0])
    else:
        logm = torch.logaddexp(logq_RC + math.log1p(-beta), logp_RC + math.log(beta))
        value = beta * torch.dot(logp_RC.exp().flatten(), (logp_RC - logm).flatten())
        ratio, share = logq_RC - logm, 1 - beta
    student_R1 = torch.linalg.vecdot(q, ratio)[:, None]  # KL of the student's side, row by row
    return value + share * student_R1.sum(), q.mul_(ratio.sub_(student_R1)).mul_(share)


def _in_buckets(logq_RV: Tensor, logp_RV: Tensor, how: Divergence) -> tuple[Tensor, Tensor]:
    """`compare` over the teacher's k most probable tokens and one bucket of all others."""
    top = logp_RV.topk(how.top_k, dim=-1).indices
    q = logq_RV.exp()
    logq, tail_R1 = _bucketed(logq_RV, q, top)
    logp, _ = _bucketed(logp_RV, logp_RV.exp(), top)
    value, gradient = compare(logq, logp, how.beta)
    spread = q.mul_(gradient[:, -1:] / tail_R1)  # the bucket's gradient falls on its tokens by their share of it
    return value, spread.scatter_(1, top, gradient[:, :-1])


def _bucketed(logp_RV: Tensor, p_RV: Tensor, top: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the tokens `top`, then of all others together; and the latter's probability.

    The others are summed, not taken from 1: what is left of 1 in float32 would be noise.
    """
    tail_R1 = p_RV.scatter(1, top, 0.0).sum(-1, keepdim=True).clamp_min_(torch.finfo(p_RV.dtype).tiny)
    return torch.cat([logp_RV.gather(1, top), tail_R1.log()], 1), tail_R1


def _add_cross_entropy_(gradient_RV: Tensor, logits_RV: Tensor, labels_R: Tensor, weight: float) -> Tensor:
    """Adds `weight` times the gradient of -log p(label); returns the latter's sum."""
    logq, at_label = torch.log_softmax(logits_RV, -1), labels_R[:, None]
    value = -logq.gather(1, at_label).sum()
    gradient_RV.add_(logq.exp_(), alpha=weight)
    gradient_RV.scatter_add_(1, at_label, gradient_RV.new_full((), -weight).expand_as(at_label))
    return value
