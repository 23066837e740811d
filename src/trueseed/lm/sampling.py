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

CANDIDATES = (64, 1024)  # how many of the most probable tokens to try before all of them
_BLOCK = 64  # the vocabulary is searched in blocks of this many tokens
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
    chosen_S = argmax(logits_SV)
    drawing = [row for row, temperature in enumerate(sampling.temperature) if temperature > 0]
    if drawing:
        rows = torch.tensor(drawing, device=logits_SV.device)
        uniform = uniforms([sampling.seed[row] for row in drawing], [sampling.position[row] for row in drawing])
        temperature = torch.tensor([sampling.temperature[row] for row in drawing], dtype=torch.float32)
        top_p = torch.tensor([sampling.top_p[row] for row in drawing], dtype=torch.float64)
        every = len(drawing) == len(logits_SV)
        chosen_S[rows] = draw(
            logits_SV if every else logits_SV[rows],
            temperature.to(rows.device),
            top_p.to(rows.device),
            torch.from_numpy(uniform).to(rows.device),
        )
    logprobs = [float("nan")] * len(logits_SV)
    asked = [row for row, wanted in enumerate(sampling.logprobs) if wanted]
    if asked:
        rows = torch.tensor(asked, device=logits_SV.device)
        for row, value in zip(asked, logprob(logits_SV[rows], chosen_S[rows]).tolist(), strict=True):
            logprobs[row] = value
    return Choice(chosen_S.tolist(), logprobs)


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
    """The most probable token of each row, of equal ones the first."""
    return logits_SV.argmax(-1)


def logprob(logits_SV: Tensor, tokens_S: Tensor) -> Tensor:
    """log p(token) of each row in float32."""
    logits_SV = logits_SV.float()
    return logits_SV.gather(1, tokens_S[:, None])[:, 0] - logits_SV.logsumexp(-1)


def draw(logits_SV: Tensor, temperature_S: Tensor, top_p_S: Tensor, uniform_S: Tensor) -> Tensor:
    """One token of each row's nucleus, exactly. temperature (float32) above 0, top_p and uniform float64."""
    vocabulary = logits_SV.shape[1]
    log_total_S = _log_total(logits_SV, temperature_S)
    chosen_S = torch.empty(len(logits_SV), dtype=torch.long, device=logits_SV.device)
    rows = torch.arange(len(logits_SV), device=logits_SV.device)
    for width in (*(width for width in CANDIDATES if width < vocabulary), vocabulary):
        values_SC, tokens_SC = _most_probable(logits_SV[rows], width)
        chosen, settled = _pick(
            values_SC / temperature_S[rows, None] - log_total_S[rows, None],
            top_p_S[rows],
            uniform_S[rows],
            whole=width == vocabulary,
        )
        chosen_S[rows] = tokens_SC.gather(1, chosen[:, None])[:, 0]
        rows = rows[~settled]
        if not len(rows):
            break
    return chosen_S


def _log_total(logits_SV: Tensor, temperature_S: Tensor) -> Tensor:
    """log Σ exp(logit / temperature) in float32, a few rows at a time so that they stay in the cache."""
    parts = [
        (rows.float() / temperature[:, None]).logsumexp(-1)
        for rows, temperature in zip(logits_SV.split(8), temperature_S.split(8), strict=True)
    ]
    return torch.cat(parts)


def _most_probable(logits_SV: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Values (float32) and ids of the `width` most probable tokens, in order of value, then id."""
    if width == logits_SV.shape[1]:
        values, order = logits_SV.float().sort(dim=-1, descending=True, stable=True)
        return values, order
    values, tokens = _top(logits_SV, width)
    tokens, order = tokens.sort(dim=-1)
    values, by_value = values.gather(1, order).float().sort(dim=-1, descending=True, stable=True)
    return values, tokens.gather(1, by_value)


def _top(logits_SV: Tensor, width: int) -> tuple[Tensor, Tensor]:
    return logits_SV.topk(width, dim=-1, sorted=False)


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
