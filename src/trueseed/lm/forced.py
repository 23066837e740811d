"""Token sequences that are given rather than spoken (teacher forcing): what the network thinks at each answer token.

Logits are made for a few rows at a time and only where an answer is predicted, so the vocabulary times the length of a
text is never held.

Shapes: A answer tokens, R rows at once, H hidden, V vocabulary, k kept.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from trueseed.lm.network import Network
from trueseed.lm.sampling import most_probable
from trueseed.lm.topk import TopK


@dataclass(frozen=True, slots=True)
class Told:
    """What a model thinks of A given tokens. Natural logarithms at temperature 1.

    logprobs A: of each given what stands before it. likely A × k: the most probable tokens in its place, most probable
    first; likely_logprobs A × k: of those, from the same numbers.
    """

    logprobs: list[float]
    likely: list[list[int]]
    likely_logprobs: list[list[float]]


_LOGITS_AT_ONCE = 256  # rows of logits that are made by one product
_IN_CACHE = 8  # rows of them that go through float32 together


def surprise(network: Network, hidden_AH: Tensor, targets_A: Tensor) -> Tensor:
    """−log p of each target in float32, in nats."""
    found = [
        functional.cross_entropy(network.logits(rows).float(), answers, reduction="none")
        for rows, answers in zip(hidden_AH.split(_LOGITS_AT_ONCE), targets_A.split(_LOGITS_AT_ONCE), strict=True)
    ]
    return torch.cat(found)


def topk(network: Network, hidden_AH: Tensor, k: int) -> TopK:
    """The `k` most probable next tokens after each hidden state, and the mass that they leave."""
    parts = [
        _topk(logits_RV, k)
        for rows in hidden_AH.split(_LOGITS_AT_ONCE)
        if len(rows)
        for logits_RV in network.logits(rows).split(_IN_CACHE)
    ]
    nothing = torch.empty(0, k)
    ids, logprobs, tail = zip(*parts, strict=True) if parts else ((nothing.int(),), (nothing,), (nothing[:, 0],))
    return TopK(
        ids=torch.cat(ids).cpu().numpy(), logprobs=torch.cat(logprobs).cpu().numpy(), tail=torch.cat(tail).cpu().numpy()
    )


def told(network: Network, hidden_AH: Tensor, targets_A: Tensor, k: int) -> Told:
    """How probable each target is, and the `k` most probable tokens beside it."""
    told = Told([], [], [])
    for rows, targets in zip(hidden_AH.split(_LOGITS_AT_ONCE), targets_A.split(_LOGITS_AT_ONCE), strict=True):
        for logits_RV, answers in zip(network.logits(rows).split(_IN_CACHE), targets.split(_IN_CACHE), strict=True):
            logp_RV = functional.log_softmax(logits_RV.float(), -1)
            ids_Rk = most_probable(logits_RV, k)
            told.logprobs.extend(logp_RV.gather(1, answers[:, None])[:, 0].tolist())
            told.likely.extend(ids_Rk.tolist())
            told.likely_logprobs.extend(logp_RV.gather(1, ids_Rk).tolist())
    return told


def _topk(logits_RV: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """ids, log-probabilities and the log of the tail's mass.

    The tail is summed from its own logits and joined to the others as log(1 + e^x): nothing is subtracted from one,
    and nothing but the result leaves float32's range. So a mass of 1e-60 beside one of nearly 1 keeps its digits, and
    so does the other way round.
    """
    ids_RC = most_probable(logits_RV, min(k + 1, logits_RV.shape[1]))
    wide_RV = logits_RV.float()
    likely_RC = wide_RV.gather(1, ids_RC)
    ids_Rk, first_R1, next_R1 = ids_RC[:, :k], likely_RC[:, :1], likely_RC[:, -1:]
    kept_Rk = likely_RC[:, :k] - first_R1
    kept_R1 = kept_Rk[:, 1:].exp().sum(-1, keepdim=True).log1p()
    rest_RV = wide_RV.scatter(1, ids_Rk, -torch.inf)
    rest_R1 = (rest_RV - next_R1).exp_().sum(-1, keepdim=True).log() + (next_R1 - first_R1)
    return (
        ids_Rk.int(),
        kept_Rk - kept_R1 - _softplus(rest_R1 - kept_R1),
        -_softplus(kept_R1 - rest_R1)[:, 0],
    )


def _softplus(x: Tensor) -> Tensor:
    """log(1 + e^x), at −∞ and ∞ too."""
    return torch.logaddexp(x, torch.zeros_like(x))
