"""From logits to the next token: greedy, temperature, the exact nucleus, and a random stream of each request's own.

The nucleus of `top_p` is the smallest set of most probable tokens whose probabilities sum to at least `top_p` (Holtzman
et al., 2020, "The Curious Case of Neural Text Degeneration", section 3.1). Tokens are ranked by probability, equal ones
by id, and one uniform number picks a token by inverting the cumulative distribution in that order. Sorting the whole
vocabulary for that is most of the time of a decoding step, and almost never needed: the few most probable tokens nearly
always hold the nucleus. When they do not, more are taken, at last all: the result is that of the full sort.

Shapes: S sequences, V vocabulary, C candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trueseed.lm import kernel

CANDIDATES = (64, 1024, 8192)  # how many of the most probable tokens to try before all of them
_BLOCK = 128  # neighbouring tokens that `argmax` looks at together
_GROUP = 8  # tokens, a fixed distance apart, that `_top` looks at together
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Choice:
    """tokens_S and, where asked, the natural logarithm of their probability under the model itself: temperature 1, no
    nucleus; NaN elsewhere.
    """

    tokens: list[int]
    logprobs: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How each of S sequences is sampled: parallel tuples. temperature 0 is greedy. position: how many tokens it has
    spoken; with the seed it decides the draw, so a request's stream does not depend on who is decoded beside it.
    """

    temperature: tuple[float, ...]
    top_p: tuple[float, ...]
    seed: tuple[int, ...]
    position: tuple[int, ...]
    logprobs: tuple[bool, ...]


@torch.inference_mode()
def choose(logits_SV: Tensor, sampling: Sampling) -> Choice:
    """The next token of every sequence."""
    device = logits_SV.device
    if device.type == "cpu" and kernel.library() and logits_SV.dtype in (torch.bfloat16, torch.float32):
        drawn = uniforms(sampling.seed, sampling.position)
        return Choice(*kernel.choose(logits_SV, sampling.temperature, sampling.top_p, drawn, sampling.logprobs))
    tokens = torch.zeros(len(logits_SV), dtype=torch.long, device=device)
    drawing = torch.tensor([temperature > 0 for temperature in sampling.temperature], device=device)
    if not drawing.all():
        greedy = ~drawing
        tokens[greedy] = argmax(_rows(logits_SV, greedy))
    if drawing.any():
        uniform = torch.from_numpy(uniforms(sampling.seed, sampling.position)).to(device)
        temperature = torch.tensor(sampling.temperature, dtype=torch.float32, device=device)
        top_p = torch.tensor(sampling.top_p, dtype=torch.float64, device=device)
        tokens[drawing] = draw(_rows(logits_SV, drawing), temperature[drawing], top_p[drawing], uniform[drawing])
    logprobs = torch.full(tokens.shape, torch.nan, device=device)
    asked = torch.tensor(sampling.logprobs, device=device)
    if asked.any():
        logprobs[asked] = logprob(_rows(logits_SV, asked), tokens[asked])
    return Choice(tokens.tolist(), logprobs.tolist())


def _rows(logits_SV: Tensor, wanted_S: Tensor) -> Tensor:
    return logits_SV if wanted_S.all() else logits_SV[wanted_S]  # copying all of them costs as much as drawing


def uniforms(seeds: Sequence[int], positions: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """One number in [0, 1) for each (seed, position), by two rounds of SplitMix64 (Steele, Lea and Flood, 2014): no
    state to keep, and the same on every machine. Seeds are taken modulo 2⁶⁴.
    """
    seed = np.array([seed % (1 << 64) for seed in seeds], dtype=np.uint64)
    with np.errstate(over="ignore"):
        mixed = _mix(_mix(seed + _GOLDEN) + (np.array(positions, dtype=np.uint64) + np.uint64(1)) * _GOLDEN)
    return np.asarray((mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def _mix(z: np.ndarray[tuple[int], np.dtype[np.uint64]]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def argmax(logits_SV: Tensor) -> Tensor:
    """The most probable token of each row, of equal ones the first. torch's own is several times slower in bf16."""
    S, V = logits_SV.shape
    if V % _BLOCK:
        return logits_SV.argmax(-1)
    blocks_SB = logits_SV.view(S, -1, _BLOCK)
    block_S = blocks_SB.amax(-1).argmax(-1)
    inside_S = blocks_SB[torch.arange(S, device=block_S.device), block_S].argmax(-1)
    return block_S * _BLOCK + inside_S


def logprob(logits_SV: Tensor, tokens_S: Tensor) -> Tensor:
    """log p(token) of each row in float32."""
    one = torch.ones(len(tokens_S), device=logits_SV.device)
    return _log_probabilities(logits_SV, one, tokens_S[:, None])[:, 0]


def draw(logits_SV: Tensor, temperature_S: Tensor, top_p_S: Tensor, uniform_S: Tensor) -> Tensor:
    """One token of each row's nucleus, exactly. temperature (float32) above 0, top_p and uniform float64."""
    vocabulary = logits_SV.shape[1]
    drawn_S = torch.empty(len(logits_SV), dtype=torch.long, device=logits_SV.device)
    rows = torch.arange(len(logits_SV), device=logits_SV.device)
    for width in (*(width for width in CANDIDATES if width < vocabulary), vocabulary):
        left_SV = logits_SV if len(rows) == len(logits_SV) else logits_SV[rows]
        tokens_SC = most_probable(left_SV, width)
        logp_SC = _log_probabilities(left_SV, temperature_S[rows], tokens_SC)
        picked_S, certain_S = _pick(logp_SC, top_p_S[rows], uniform_S[rows], whole=width == vocabulary)
        drawn_S[rows] = tokens_SC.gather(1, picked_S[:, None])[:, 0]
        rows = rows[~certain_S]
        if not len(rows):
            break
    return drawn_S


def _log_probabilities(logits_SV: Tensor, temperature_S: Tensor, tokens_SC: Tensor) -> Tensor:
    """log p of the given tokens in float32, a few rows at a time so that they stay in the cache."""
    parts = zip(logits_SV.split(8), temperature_S.split(8), tokens_SC.split(8), strict=True)
    return torch.cat(
        [
            torch.log_softmax(rows.float() / temperature[:, None], -1).gather(1, tokens)
            for rows, temperature, tokens in parts
        ]
    )


def most_probable(logits_SV: Tensor, width: int) -> Tensor:
    """The `width` most probable tokens, most probable first, equal ones by id."""
    if width == logits_SV.shape[1]:
        return logits_SV.float().argsort(dim=-1, descending=True, stable=True)
    tokens_SC = _top(logits_SV, width).sort(-1).values
    by_value = logits_SV.gather(1, tokens_SC).float().argsort(dim=-1, descending=True, stable=True)
    return tokens_SC.gather(1, by_value)


def _top(logits_SV: Tensor, width: int) -> Tensor:
    """Ids of the `width` largest logits, in no order. Any set of that many groups with the largest maxima holds them,
    so most of the vocabulary is only looked at once.
    """
    S, V = logits_SV.shape
    groups = V // _GROUP
    if V % _GROUP or groups <= width:
        return logits_SV.topk(width, dim=-1, sorted=False).indices
    best_SC = logits_SV.view(S, _GROUP, groups).amax(1).topk(width, dim=-1, sorted=False).indices
    starts = torch.arange(0, V, groups, device=logits_SV.device)
    tokens = (best_SC[:, None] + starts[:, None]).view(S, -1)
    return tokens.gather(1, logits_SV.gather(1, tokens).topk(width, dim=-1, sorted=False).indices)


def _pick(logp_SC: Tensor, top_p_S: Tensor, uniform_S: Tensor, *, whole: bool) -> tuple[Tensor, Tensor]:
    """The index among the candidates that each uniform picks, and whether that is certain.

    logp_SC: log-probabilities, falling. It is certain when the token at the nucleus' edge is strictly more probable
    than the last candidate: then none that was left out, not even an equal one, belongs inside. Without a nucleus
    (top_p 1) it is enough that the picked token is.
    """
    mass_SC = logp_SC.double().exp().cumsum(-1)
    last = logp_SC.shape[1] - 1
    edge_S = (mass_SC < top_p_S[:, None]).sum(-1).clamp(max=last)  # the nucleus' last token
    everything_S = top_p_S >= 1
    edge_S = torch.where(everything_S, last, edge_S)
    inside_S = mass_SC.gather(1, edge_S[:, None])[:, 0]
    total_S = torch.where(everything_S, 1.0, inside_S) if not whole else inside_S
    picked_S = torch.minimum((mass_SC <= (uniform_S * total_S)[:, None]).sum(-1), edge_S)
    deciding_S = torch.where(everything_S, picked_S, edge_S)
    certain_S = logp_SC.gather(1, deciding_S[:, None])[:, 0] > logp_SC[:, -1]
    return picked_S, certain_S | whole
