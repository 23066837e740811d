"""How far the student's next-token distributions are from a teacher's of which the k most probable tokens are known.

    loss = sparse(hidden_AD, head_VD, labels_A, thought, Divergence(beta=0.0))
    loss.kl, loss.ce                      # its parts, in nats, summed over A

Both sides are seen as k + 1 outcomes: the teacher's k tokens and one for all others together, the *tail*. The
student's probabilities are of its whole vocabulary before anything is chosen (a softmax over the k alone would hide all
mass that it puts elsewhere); its tail is summed, not taken from 1. Merging outcomes never adds divergence, so this is
the dense divergence (`divergence`, which says its orientation) from below, and with k = vocabulary it is that one.

A temperature T other than 1 cannot be taken over the tail, whose tokens are not known one by one. So it softens the
choice *among* the k tokens, which is exactly what softmax(logits / T) has there, and leaves the split between them and
the tail as the teacher spoke it, at T = 1, on both sides. With k = vocabulary that is the dense divergence at T.

Where tokens were drawn from the tail, each by its share of it, they stand for it instead: m of them bear a m-th of its
mass each. Then nothing is merged, and the loss and its gradient are those of the dense forward KL on average over draws
(sampling from the teacher, as in Anshumann et al. 2025, arXiv:2503.16870, for what the k most probable ones leave). How
probable the teacher finds the drawn ones is not needed: of the tail only its entropy enters the loss, which is stored.

Shapes: A answer tokens, D hidden size, V vocabulary, k kept, m drawn, R rows at once, C = k + 1 outcomes (k where
nothing is left).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trueseed.errors import ConfigError
from trueseed.lm.topk import TopK
from trueseed.train.codec import LEAST
from trueseed.train.divergence import Divergence, compare

_LOGITS = 2**26  # logits held at once: 128 MB in bfloat16
_ROWS = 32  # rows of logits in float32 at once: they stay in the processor's cache


@dataclass(frozen=True, slots=True)
class Thought:
    """The teacher's side. ids A × k, int64; logp A × C: log-probabilities of these and of the tail, summing to 1.

    With draws, ids are of the k and then the m (A × (k + m)), and entropy (A) is that of the tail's tokens among
    themselves, in nats; it is None otherwise.

    No outcome has less than e^LEAST: a reverse divergence from the impossible would be infinite, and rounding alone
    makes a small mass none.
    """

    ids: Tensor
    logp: Tensor
    entropy: Tensor | None = None

    @classmethod
    def of(cls, topk: TopK, *, k: int, vocabulary: int, draws: int = 0) -> "Thought":
        """The first `k` of what is stored; the others join the tail, or with `draws` these stand for it. vocabulary:
        how many logits the student has.

        Raises `ConfigError` when fewer are stored, or a token is one that the student cannot say.
        """
        if topk.k < k:
            raise ConfigError(
                f"`loss_top_k: {k}` needs {k} log-probabilities of each token; {topk.k} are stored. Lower it, or make "
                f"the signals again"
            )
        if draws and (topk.k, topk.draws) != (k, draws):
            raise ConfigError(
                f"`tail_draws: {draws}` beside `loss_top_k: {k}` are not what is stored, {topk.draws} beside {topk.k}; "
                f"set these, or make the signals again"
            )
        logprobs, tail = topk.logprobs.astype(np.float64), topk.tail.astype(np.float64)
        tail = np.logaddexp(tail, np.logaddexp.reduce(logprobs[:, k:], 1)) if k < topk.k else tail
        drawn = topk.drawn if draws else None
        ids = np.concatenate([topk.ids, drawn.ids], 1) if drawn else topk.ids[:, :k]
        if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < vocabulary:
            raise ConfigError(
                f"the teacher finds token {ids.max()} probable; the student knows only {vocabulary} tokens, and no id "
                f"is bent to fit. Train on the teacher's text (`method: sft`)"
            )
        outcomes = logprobs[:, :k] if k == vocabulary else np.concatenate([logprobs[:, :k], tail[:, None]], 1)
        outcomes = np.maximum(outcomes, LEAST)
        outcomes = outcomes - np.logaddexp.reduce(outcomes, 1, keepdims=True) if len(outcomes) else outcomes
        entropy = torch.from_numpy(drawn.entropy.astype(np.float64)) if drawn else None
        return cls(torch.from_numpy(ids.astype(np.int64)), torch.from_numpy(outcomes), entropy)

    def take(self, at_A: Tensor) -> "Thought":
        """Rows in another order."""
        return self._each(lambda part: part[at_A])

    def to(self, device: torch.device) -> "Thought":
        """Untested on CUDA."""
        return self._each(lambda part: part.to(device))

    def split(self, rows: int) -> list["Thought"]:
        pairs = list(zip(self.ids.split(rows), self.logp.split(rows), strict=True))
        entropies = [None] * len(pairs) if self.entropy is None else self.entropy.split(rows)
        return [Thought(ids, logp, entropy) for (ids, logp), entropy in zip(pairs, entropies, strict=True)]

    @classmethod
    def together(cls, thoughts: Sequence["Thought"]) -> "Thought":
        """All of them with draws, or none."""
        entropies = [each.entropy for each in thoughts if each.entropy is not None]
        return cls(
            torch.cat([each.ids for each in thoughts]),
            torch.cat([each.logp for each in thoughts]),
            torch.cat(entropies) if entropies else None,
        )

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Thought":
        entropy = None if self.entropy is None else change(self.entropy)
        return Thought(change(self.ids), change(self.logp), entropy)


@dataclass(frozen=True, slots=True)
class Parts:
    """total = kl + ce_weight · ce, differentiable. kl, ce: sums over A in nats; ce is told even where it weighs 0."""

    total: Tensor
    kl: float
    ce: float


def sparse(hidden_AD: Tensor, head_VD: Tensor, labels_A: Tensor, thought: Thought, how: Divergence) -> Parts:
    """Logits `hidden_AD @ head_VD.T` never exist all at once; gradients are made in the forward pass while they do."""
    total, kl, ce = _Sparse.apply(hidden_AD, head_VD, labels_A, thought, how)  # type: ignore[no-untyped-call]
    return Parts(total, float(kl), float(ce))


def sparse_of_logits(logits_AV: Tensor, labels_A: Tensor, thought: Thought, how: Divergence) -> Parts:
    """The same from logits, for networks whose last step is more than a matrix."""
    total, kl, ce = _OfLogits.apply(logits_AV, labels_A, thought, how)  # type: ignore[no-untyped-call]
    return Parts(total, float(kl), float(ce))


class _Sparse(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_AD: Tensor, head_VD: Tensor, labels_A: Tensor, thought: Thought, how: Divergence
    ) -> tuple[Tensor, Tensor, Tensor]:
        wants_hidden, wants_head = ctx.needs_input_grad[:2]
        d_hidden_AD = torch.empty_like(hidden_AD) if wants_hidden else None
        d_head_VD = torch.zeros_like(head_VD) if wants_head else None
        kl_ce = hidden_AD.new_zeros(2, dtype=_wide(hidden_AD.dtype))
        rows = max(_ROWS, _LOGITS // len(head_VD))
        for start, part_of_thought in zip(range(0, len(labels_A), rows), thought.split(rows), strict=False):
            part = slice(start, start + rows)
            logits = functional.linear(hidden_AD[part], head_VD)
            kl_ce += _to_gradient_(logits, labels_A[part], part_of_thought, how)
            if d_hidden_AD is not None:
                torch.mm(logits, head_VD, out=d_hidden_AD[part])
            if d_head_VD is not None:
                d_head_VD.addmm_(logits.t(), hidden_AD[part])
        ctx.save_for_backward(d_hidden_AD, d_head_VD)
        return _told(ctx, kl_ce, how)

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> Any:
        return *(None if saved is None else saved * grad[0] for saved in ctx.saved_tensors), None, None, None


class _OfLogits(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits_AV: Tensor, labels_A: Tensor, thought: Thought, how: Divergence
    ) -> tuple[Tensor, Tensor, Tensor]:
        d_logits_AV = logits_AV.clone()
        kl_ce = _to_gradient_(d_logits_AV, labels_A, thought, how)
        ctx.save_for_backward(d_logits_AV)
        return _told(ctx, kl_ce, how)

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> Any:
        return ctx.saved_tensors[0] * grad[0], None, None, None


def _told(ctx: Any, kl_ce: Tensor, how: Divergence) -> tuple[Tensor, Tensor, Tensor]:
    kl, ce = kl_ce.unbind()
    total, kl, ce = kl + how.ce_weight * ce, kl.clone(), ce.clone()
    ctx.mark_non_differentiable(kl, ce)
    return total, kl, ce


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _to_gradient_(logits_AV: Tensor, labels_A: Tensor, thought: Thought, how: Divergence) -> Tensor:
    """Overwrites the student's logits by the loss's gradient in them; returns (kl, ce)."""
    kl_ce = logits_AV.new_zeros(2, dtype=_wide(logits_AV.dtype))
    parts = zip(logits_AV.split(_ROWS), labels_A.split(_ROWS), thought.split(_ROWS), strict=True)
    for logits, labels, part in parts:
        kl_ce += _rows_to_gradient_(logits, labels[:, None], part, how)
    return kl_ce


def _rows_to_gradient_(logits_RV: Tensor, labels_R1: Tensor, thought: Thought, how: Divergence) -> Tensor:
    """The loss sees the k logits and the log-sum-exp of the rest, so its gradient in the rest is the latter's, spread
    by each token's share of the tail. One pass of exponentials makes both.
    """
    wide_RV = logits_RV.to(_wide(logits_RV.dtype))
    if thought.entropy is not None:
        return _drawn_to_gradient_(logits_RV, wide_RV, labels_R1, thought, how)
    k, tailed = thought.ids.shape[1], thought.logp.shape[1] > thought.ids.shape[1]
    at_label_R1 = wide_RV.gather(1, labels_R1)
    outcomes_RC = wide_RV.gather(1, thought.ids)
    if tailed:
        wide_RV.scatter_(1, thought.ids, -torch.inf)
        most_R1 = wide_RV.amax(-1, keepdim=True)
        mass_R1 = wide_RV.sub_(most_R1).exp_().sum(-1, keepdim=True)
        outcomes_RC = torch.cat([outcomes_RC, most_R1 + mass_R1.log()], 1)
    kl, d_outcomes_RC = _divergence(outcomes_RC, thought.logp.to(wide_RV.dtype), k, how)
    total_R1 = outcomes_RC.logsumexp(-1, keepdim=True)
    if how.ce_weight:
        d_outcomes_RC += how.ce_weight * (outcomes_RC - total_R1).exp()
    if tailed:
        wide_RV.mul_(d_outcomes_RC[:, k:] / mass_R1)
    wide_RV.scatter_(1, thought.ids, d_outcomes_RC[:, :k])
    if how.ce_weight:
        wide_RV.scatter_add_(1, labels_R1, wide_RV.new_full((), -how.ce_weight).expand_as(labels_R1))
    logits_RV.copy_(wide_RV)
    return torch.stack([kl, (total_R1 - at_label_R1).sum()])


def _drawn_to_gradient_(
    logits_RV: Tensor, wide_RV: Tensor, labels_R1: Tensor, thought: Thought, how: Divergence
) -> Tensor:
    """Forward KL where the k and the drawn tokens bear the teacher's whole mass: what each bears is taken off the
    softmax.
    """
    assert thought.entropy is not None
    logp_RC, k = thought.logp.to(wide_RV.dtype), thought.logp.shape[1] - 1
    draws = thought.ids.shape[1] - k
    p_RC = logp_RC.exp()
    bears = torch.cat([p_RC[:, :k], (p_RC[:, k:] / draws).expand(-1, draws)], 1)
    logq_RV = wide_RV.log_softmax(-1)
    spoken = (p_RC * logp_RC).sum() - torch.dot(p_RC[:, k], thought.entropy.to(wide_RV.dtype))  # Σ p log p, all tokens
    kl = spoken - (bears * logq_RV.gather(1, thought.ids)).sum()
    ce = -logq_RV.gather(1, labels_R1).sum()
    gradient_RV = logq_RV.exp_().mul_(1 + how.ce_weight).scatter_add_(1, thought.ids, -bears)
    if how.ce_weight:
        gradient_RV.scatter_add_(1, labels_R1, gradient_RV.new_full((), -how.ce_weight).expand_as(labels_R1))
    logits_RV.copy_(gradient_RV)
    return torch.stack([kl, ce])


def _divergence(outcomes_RC: Tensor, logp_RC: Tensor, k: int, how: Divergence) -> tuple[Tensor, Tensor]:
    """The divergence, summed, and its gradient in the student's logits of the outcomes."""
    if how.temperature == 1:
        return compare(outcomes_RC.log_softmax(-1), logp_RC, how.beta)
    with torch.enable_grad():
        student = outcomes_RC.detach().requires_grad_()
        logq = _softened(student, k, how.temperature)
        value, gradient = compare(logq.detach(), _softened(logp_RC, k, how.temperature), how.beta)
        (d_outcomes,) = torch.autograd.grad(logq, student, gradient)
    return value, d_outcomes


def _softened(logits_RC: Tensor, k: int, temperature: float) -> Tensor:
    """Log-probabilities of the outcomes: the first k softened among themselves, their mass together as it was."""
    logp_RC = logits_RC.log_softmax(-1)
    kept_R1 = logp_RC[:, :k].logsumexp(-1, keepdim=True)
    soft_Rk = (logp_RC[:, :k] / temperature).log_softmax(-1) + kept_R1
    return torch.cat([soft_Rk, logp_RC[:, k:]], 1)
