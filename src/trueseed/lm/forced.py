"""Token sequences that are given rather than spoken (teacher forcing): what the network thinks at each answer token.

    reader = Reader(network)
    for at, nll in reader.surprise(chats): ...
    for at, top in reader.topk(chats, 32): ...

What several sequences begin with is read once (`sharing`), also from one call to the next. Logits are made for a few
distinct places at a time and only where an answer is predicted: choices of one token each after the same words cost one
row of logits, and the vocabulary times the length of a text is never held.

Shapes: N tokens of a pass, U distinct places where something is predicted, A predictions, H hidden, V vocabulary, R
rows at once, C candidates, k kept.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trueseed.lm.cache import Kept
from trueseed.lm.network import Network
from trueseed.lm.sampling import most_probable
from trueseed.lm.sharing import Pass, passes
from trueseed.lm.topk import Drawn, TopK


@dataclass(frozen=True, slots=True)
class Told:
    """What a model thinks of A given tokens. Natural logarithms at temperature 1.

    logprobs A: of each given what stands before it. likely A × k: the most probable tokens in its place, most probable
    first; likely_logprobs A × k: of those, from the same numbers.
    """

    logprobs: list[float]
    likely: list[list[int]]
    likely_logprobs: list[list[float]]


Chat = tuple[list[int], list[bool]]  # ids, and where the loss counts
_Places = NDArray[np.int64]
_T = TypeVar("_T", bound=np.generic)

_LOGITS_AT_ONCE = 256  # rows of logits that are made by one product
_IN_CACHE = 4  # rows of them that go through float32 together: they stay in the processor's second cache


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """The last sequence that was read: keys and values of it and perhaps more, hidden states (L, H)."""

    tokens: tuple[int, ...]
    store: Kept | None
    hidden: Tensor | None


_NOTHING = _Kept((), None, None)


@dataclass(frozen=True, slots=True, eq=False)
class _Predictions:
    """Of one pass. hidden: (U, H). of, targets: for each of A which of the U it is made from, and what it should be.
    owners: members, each with the number of its predictions, in the order of A.
    """

    hidden: Tensor
    of: _Places
    targets: _Places
    owners: tuple[tuple[int, int], ...]


class Reader:
    """apart: every sequence is read alone and after nothing, so that no other has a part in its numbers."""

    def __init__(self, network: Network, *, apart: bool = False) -> None:
        self._network, self._apart, self._kept = network, apart, _NOTHING

    def forget(self) -> None:
        """Drops what was kept in case the next call begins alike."""
        self._kept = _NOTHING

    def surprise(self, chats: Sequence[Chat]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """−log p of each answer token in nats, with the chat's number; chats come as they are done."""
        for each in self._read(chats):
            yield from _split(each.owners, _surprise(self._network, each))

    def told(self, chats: Sequence[Chat], k: int) -> Iterator[tuple[int, Told]]:
        """How probable each answer token is, and the `k` most probable ones beside it, with the chat's number."""
        for each in self._read(chats):
            logprobs, likely, likely_logprobs = _told(self._network, each, k)
            for member, places in _split(each.owners, np.arange(len(each.of))):
                of = each.of[places]
                yield member, Told(logprobs[places].tolist(), likely[of].tolist(), likely_logprobs[of].tolist())

    def topk(
        self, chats: Sequence[Chat], k: int, draws: int = 0, chance: torch.Generator | None = None
    ) -> Iterator[tuple[int, TopK]]:
        """The `k` most probable tokens at each answer token's place, and `draws` of the others, with the chat's
        number.
        """
        for each in self._read(chats):
            found = _topk(self._network, each.hidden, k, draws, chance)
            for member, of in _split(each.owners, each.of):
                drawn = found.drawn and Drawn(ids=found.drawn.ids[of], entropy=found.drawn.entropy[of])
                yield member, TopK(ids=found.ids[of], logprobs=found.logprobs[of], tail=found.tail[of], drawn=drawn)

    def _read(self, chats: Sequence[Chat]) -> Iterator[_Predictions]:
        sequences = [tuple(ids[:-1]) for ids, _ in chats]  # nothing is predicted from the last token
        if self._apart:
            for at, sequence in enumerate(sequences):
                [alone] = passes([sequence])
                hidden_NH, places, _ = _through(self._network, alone, _NOTHING)
                yield _predictions(chats, (at,), hidden_NH, places)
            return
        for each in passes(sequences, self._kept.tokens):
            hidden_NH, places, self._kept = _through(self._network, each, self._kept)
            yield _predictions(chats, each.members, hidden_NH, places)


@torch.inference_mode()
def _through(network: Network, each: Pass, kept: _Kept) -> tuple[Tensor, list[_Places], _Kept]:
    """Reads a pass: hidden states, for each row where those of its tokens are among them, and its last sequence."""
    cache = network.cache(len(each.rows))
    parts = [] if kept.hidden is None else [kept.hidden]
    read = len(kept.tokens)
    own: dict[int, _Places] = {}
    for wave in each.waves:
        for at in wave:
            row = each.rows[at]
            if row.start and row.after < 0:
                assert kept.store is not None, "a pass goes on from what was not kept"
                cache.restore(at, kept.store, row.start)
            elif row.start:
                cache.copy(row.after, at, row.start)
            own[at] = np.arange(read, read + len(row.own))
            read += len(row.own)
        rows = [each.rows[at] for at in wave]
        parts.append(network.extend(cache, wave, [row.own for row in rows], [row.start for row in rows]))
    hidden_NH = torch.cat(parts) if parts else network.forward([[0]])[:0]
    places: list[_Places] = []
    for at, row in enumerate(each.rows):
        before = places[row.after] if row.after >= 0 else np.arange(row.start)
        places.append(np.concatenate([before[: row.start], own.get(at, np.arange(0))]))
    last = len(each.rows) - 1
    while last >= 0 and last not in own:  # it was all read in an earlier row
        last = each.rows[last].after
    tokens = each.rows[-1].tokens
    store = kept.store if last < 0 else cache.keep(last)
    return hidden_NH, places, _Kept(tokens, store, hidden_NH[torch.from_numpy(places[-1])])


def _predictions(
    chats: Sequence[Chat], members: Sequence[int], hidden_NH: Tensor, places: Sequence[_Places]
) -> _Predictions:
    counts = [np.array(chats[member][1][1:], dtype=bool) for member in members]
    wanted = np.concatenate([place[counted] for place, counted in zip(places, counts, strict=True)])
    targets = [np.array(chats[member][0][1:], dtype=np.int64)[c] for member, c in zip(members, counts, strict=True)]
    distinct, of_A = np.unique(wanted, return_inverse=True)
    return _Predictions(
        hidden=hidden_NH[torch.from_numpy(distinct).to(hidden_NH.device)],
        of=of_A,
        targets=np.concatenate(targets),
        owners=tuple((member, int(c.sum())) for member, c in zip(members, counts, strict=True)),
    )


def _split(owners: Sequence[tuple[int, int]], of_all: NDArray[_T]) -> Iterator[tuple[int, NDArray[_T]]]:
    ends = np.cumsum([n for _, n in owners])
    yield from zip((member for member, _ in owners), np.split(of_all, ends[:-1]), strict=True)


def _few_rows(network: Network, hidden_UH: Tensor) -> Iterator[Tensor]:
    """Logits of some rows after another."""
    for rows in hidden_UH.split(_LOGITS_AT_ONCE) if len(hidden_UH) else ():
        yield from network.logits(rows).split(_IN_CACHE)


@torch.inference_mode()
def _surprise(network: Network, each: _Predictions) -> NDArray[np.float32]:
    found = np.empty(len(each.of), dtype=np.float32)
    for _, logp_RV, where, of, targets in _few_places(network, each):
        found[where] = -logp_RV[of, targets].cpu().numpy()
    return found


@torch.inference_mode()
def _told(
    network: Network, each: _Predictions, k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """log p (A), and the most probable tokens (U, k) with theirs (U, k)."""
    said = np.empty(len(each.of), dtype=np.float32)
    likely, likely_logprobs = [np.empty((0, k), dtype=np.int64)], [np.empty((0, k), dtype=np.float32)]
    for logits_RV, logp_RV, where, of, targets in _few_places(network, each):
        said[where] = logp_RV[of, targets].cpu().numpy()
        ids_Rk = most_probable(logits_RV, k)
        likely.append(ids_Rk.cpu().numpy())
        likely_logprobs.append(logp_RV.gather(1, ids_Rk).cpu().numpy())
    return said, np.concatenate(likely), np.concatenate(likely_logprobs)


def _few_places(network: Network, each: _Predictions) -> Iterator[tuple[Tensor, Tensor, _Places, Tensor, Tensor]]:
    """Logits and log-probabilities of some rows after another; which of A are predicted from them, from which of these
    rows each, and what it should be.
    """
    order = np.argsort(each.of, kind="stable")
    of_A, targets_A = (torch.from_numpy(part[order]).to(each.hidden.device) for part in (each.of, each.targets))
    ends = np.searchsorted(each.of[order], np.arange(_IN_CACHE, len(each.hidden) + _IN_CACHE, _IN_CACHE))
    start = 0
    for at, (logits_RV, end) in enumerate(zip(_few_rows(network, each.hidden), ends.tolist(), strict=True)):
        here = slice(start, end)
        logp_RV = torch.log_softmax(logits_RV, -1, dtype=torch.float32)
        yield logits_RV, logp_RV, order[here], of_A[here] - at * _IN_CACHE, targets_A[here]
        start = end


@torch.inference_mode()
def _topk(network: Network, hidden_UH: Tensor, k: int, draws: int, chance: torch.Generator | None) -> TopK:
    parts = [top(logits_RV, k, draws, chance) for logits_RV in _few_rows(network, hidden_UH)]
    none = torch.empty(0, k)
    parts = parts or [(none.int(), none, none[:, 0], torch.empty(0, draws, dtype=torch.int32), none[:, 0])]
    ids, logprobs, tail, drawn, entropy = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
    return TopK(ids=ids, logprobs=logprobs, tail=tail, drawn=Drawn(ids=drawn, entropy=entropy) if draws else None)


def top(
    logits_RV: Tensor, k: int, draws: int = 0, chance: torch.Generator | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The `k` most probable tokens of each row, int32; their log-probabilities; the log of the mass that they leave;
    `draws` of the other tokens, int32, and the entropy of these (0 where none is drawn).

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
    rest_RV = wide_RV.scatter(1, ids_Rk, -torch.inf).sub_(next_R1).exp_()
    rest_R1 = rest_RV.sum(-1, keepdim=True).log() + (next_R1 - first_R1)
    return (
        ids_Rk.int(),
        kept_Rk - kept_R1 - _softplus(rest_R1 - kept_R1),
        -_softplus(kept_R1 - rest_R1)[:, 0],
        *_drawn(rest_RV, draws, chance),
    )


def _drawn(mass_RV: Tensor, draws: int, chance: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Systematic sampling (Madow 1949): the row's mass is laid out token after token, and every m-th part of it is met
    by one of m points that stand equally far apart. So a token is met as often as its share says, give or take less
    than once; among tokens drawn one by one (`multinomial`), what a row says of its tail varies more.
    """
    rows = len(mass_RV)
    if not draws:
        return torch.empty(rows, 0, dtype=torch.int32), mass_RV.new_zeros(rows)
    laid_RV = mass_RV.double().cumsum(-1)
    whole_R1 = laid_RV[:, -1:]
    first_R1 = torch.rand((rows, 1), generator=chance, dtype=torch.float64).to(mass_RV.device)
    at_Rm = (first_R1 + torch.arange(draws, device=mass_RV.device)) / draws * whole_R1
    at_Rm = torch.minimum(at_Rm, torch.nextafter(whole_R1, torch.zeros_like(whole_R1)))  # rounding may reach its end
    entropy_R = whole_R1.log()[:, 0] + torch.special.entr(mass_RV).sum(-1, dtype=torch.float64) / whole_R1[:, 0]
    return torch.searchsorted(laid_RV, at_Rm, right=True).int(), entropy_R.float()


def _softplus(x: Tensor) -> Tensor:
    """log(1 + e^x), at −∞ and ∞ too."""
    return torch.logaddexp(x, torch.zeros_like(x))
