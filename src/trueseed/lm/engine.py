"""The engine: many chats decoded at once over weights we hold.

    engine = Engine(weights.folder, weights.source)
    for position, answer in engine.answers(requests): ...

Each turn of the loop is the same: admit requests into free slots, advance by one token, give out what ended. A slot
that ends is refilled before the next token, and what is new is read in the pass that gives the others theirs. With
`deterministic` a request's text depends on its own seed and prompt alone. That is free where `kernel` computes the
layers; elsewhere without it the shapes of the matrix products follow the number of chats at hand, and in bf16 that can
change last bits, hence now and then a word.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import numpy as np
import torch

from trueseed.core.chat import Answer, Message, Request, TokenLogprob
from trueseed.errors import ConfigError
from trueseed.lm import checkpoint
from trueseed.lm.arithmetic import Arithmetic, Weights, named
from trueseed.lm.batch import Batch
from trueseed.lm.floor import Floor
from trueseed.lm.forced import Chat, Reader, Told
from trueseed.lm.foreign import Foreign
from trueseed.lm.format import Format
from trueseed.lm.memory import Memory
from trueseed.lm.network import SHAPES, Network
from trueseed.lm.prompts import AT_ONCE, BESIDE
from trueseed.lm.talk import Talk
from trueseed.lm.topk import TopK

T = TypeVar("T")
_TOKENS_AHEAD = 65536  # of sequences whose top-k are computed before the first of them is given


@dataclass(frozen=True, slots=True)
class Scored:
    """nll: −Σ log p over the answer tokens, end token included, in nats; tokens: how many they are."""

    nll: float
    tokens: int


class Engine:
    """A `ChatModel` over a folder of weights.

    source: `maker/model@weights`. slots: chats decoded at the same time. dtype: what is computed in (`arithmetic`).
    weights: as they are, or rounded to eight bits (`kernel.Packed`): faster, at a small loss (docs/log.md).
    deterministic: a text does not depend on what is decoded beside it; slower where that takes fixed shapes.
    device: as torch names it; by default CUDA when present, else the CPU.

    Raises `ConfigError` for weights, a dtype or an architecture it cannot work with.
    """

    def __init__(
        self,
        folder: Path,
        source: str,
        *,
        slots: int = 64,
        dtype: Arithmetic = "auto",
        weights: Weights = "exact",
        deterministic: bool = False,
        device: str | None = None,
    ) -> None:
        if slots < 1:
            raise ConfigError(f"the engine needs at least one slot, not {slots}")
        self._architecture = checkpoint.architecture(folder)
        self.format = Format(folder)
        self._source, self._slots, self._deterministic = source, slots, deterministic
        self._folder, self._dtype, self._device = folder, named(dtype, device), device
        self._coarse = _coarse(weights, self._dtype)
        self._networks: dict[torch.dtype, Network] = {}
        self._readers: dict[torch.dtype, Reader] = {}
        self._memory = Memory(self._network(self._dtype), self.format.beginning)

    @property
    def source(self) -> str:
        return self._source

    @property
    def context(self) -> int:
        """The longest chat or text, in tokens."""
        return self._network(self._dtype).context

    def answers(self, requests: Iterable[Request | None]) -> Iterator[tuple[int, Answer]]:
        """See `ChatModel.answers`. Raises `ConfigError` for a request that cannot be answered, when it is taken."""
        network = self._network(self._dtype)
        batch = self._batch(self._slots)
        incoming, taken, more = iter(requests), 0, True
        while True:
            while more and batch.free:
                try:
                    request = next(incoming)
                except StopIteration:
                    more = False
                    break
                if request is None:
                    break
                batch.admit(Talk(taken, request, self.format, network.context))
                taken += 1
            if not batch.busy:
                if more:
                    raise RuntimeError("`requests` gave None while no answer was under way: it would wait for ever")
                return
            for talk in batch.advance():
                yield talk.position, talk.answer()

    def stream(self, request: Request) -> Iterator[str | Answer]:
        """See `ChatModel.stream`. Text that may turn out to begin a stop string is held back until that is clear."""
        network = self._network(self._dtype)
        batch = self._batch(self._slots if self._deterministic else 1)
        talk = Talk(0, request, self.format, network.context, streamed=True)
        batch.admit(talk)
        while not talk.finish:
            batch.advance()
            if piece := talk.fresh_text():
                yield piece
        yield talk.answer()

    def floor(self, slots: int) -> Floor:
        """Room for chats that come and go, up to `slots` at a time; as many as the engine has when deterministic."""
        batch = self._batch(self._slots if self._deterministic else slots, beside=BESIDE)
        return Floor(batch, self.format, self._network(self._dtype).context)

    def score(
        self,
        conversations: Sequence[tuple[Message, ...]],
        dtype: Arithmetic | None = None,
        *,
        cut: Collection[int] = (),
        known: Mapping[int, Sequence[TokenLogprob]] = MappingProxyType({}),
    ) -> list[Scored]:
        """How surprised the model is by the assistant's answers, each given what comes before it (teacher-forced).

        Logits are computed only where an answer is predicted, log-probabilities in float32. With bf16 weights they
        differ from float32 ones by 0.04 on average and far more at rare tokens: ask for `dtype="float32"` where that
        matters. cut: positions of conversations whose last answer did not end, so that no end token is scored. known:
        by position, what this model said of its tokens as it spoke them; not computed again when they are the tokens
        that would be scored (the same text can be spelt in others).
        """
        chats = [self.format.training(chat) for chat in conversations]
        for position in cut:
            chats[position][1][-1] = False
        found = {at: told for at, said in known.items() if (told := _as_spoken(chats[at], said))}
        left = [at for at in range(len(chats)) if at not in found]
        found |= zip(left, self._computed(dtype, [chats[at] for at in left]), strict=True)
        return [found[at] for at in range(len(chats))]

    def follow(self, pairs: Iterable[tuple[str, str]], dtype: Arithmetic | None = None) -> list[Scored]:
        """How surprised the model is by each second text after the first, as plain text without any chat: what
        multiple choice by log-likelihood asks. No end token is scored. dtype: as of `score`.

        After nothing, a text longer than the context is read in pieces of it, each beginning with the last token of
        the one before. Raises `ConfigError` when both together are longer, and when a text has no token of its own.
        """
        context = self._network(self._dtype).context
        pieces: list[Chat] = []
        of: list[int] = []
        for position, (before, text) in enumerate(pairs):
            found = _in_pieces(*self.format.plain(before, text), context)
            pieces += found
            of += [position] * len(found)
        sums = [Scored(0.0, 0) for _ in range(of[-1] + 1)] if of else []
        for position, score in zip(of, self._computed(dtype, pieces), strict=True):
            sums[position] = Scored(sums[position].nll + score.nll, sums[position].tokens + score.tokens)
        return sums

    def topk(
        self, chats: Sequence[Chat], k: int, *, draws: int = 0, seed: int = 0, dtype: Arithmetic | None = None
    ) -> Iterator[TopK]:
        """What the model thinks of each answer token of given token sequences: of each, in order, its `k` most probable
        tokens and the mass they leave, at the positions where `mask[1:]` is true.

        chats: ids and a mask that is true where the loss counts (as `Format.training` gives them). k: up to the whole
        vocabulary, then nothing is left. draws: so many of the others are drawn beside; the same `seed` and chats draw
        the same. dtype: as of `score`. Raises `ConfigError` for a k, an id or a length that cannot be, before anything
        is computed.
        """
        self._refuse_k(k + min(draws, 1))
        reader = self._reader(dtype, chats)
        chance = torch.Generator().manual_seed(seed)
        return _in_order(chats, lambda some: reader.topk(some, k, draws, chance))

    def told(self, chats: Sequence[Chat], k: int, *, dtype: Arithmetic | None = None) -> Iterator[Told]:
        """How probable each answer token of given sequences is, and the `k` most probable ones beside it; of each, in
        order. Arguments and errors as of `topk`.
        """
        self._refuse_k(k)
        reader = self._reader(dtype, chats)
        return _in_order(chats, lambda some: reader.told(some, k))

    def _computed(self, dtype: Arithmetic | None, chats: Sequence[Chat]) -> list[Scored]:
        reader = self._reader(dtype, chats)
        found = {at: Scored(float(nll.sum(dtype=np.float64)), len(nll)) for at, nll in reader.surprise(chats)}
        return [found[at] for at in range(len(chats))]

    def forget(self) -> None:
        """Drops the prompts that were read before and are kept in case they come again."""
        self._memory.forget()
        for reader in self._readers.values():
            reader.forget()

    def _batch(self, slots: int, *, beside: int = AT_ONCE) -> Batch:
        network = self._network(self._dtype)
        deterministic = self._deterministic and not network.invariant
        return Batch(network, self._memory, slots, deterministic=deterministic, beside=beside)

    def _network(self, dtype: torch.dtype) -> Network:
        if dtype not in self._networks:
            coarse = self._coarse and dtype is self._dtype  # scores in another type are of the weights as they are
            if self._architecture in SHAPES:
                self._networks[dtype] = Network(self._folder, dtype, self._device, coarse=coarse)
            else:
                _refuse_coarse(coarse, self._folder)
                self._networks[dtype] = Foreign(self._folder, dtype, self._device)
        return self._networks[dtype]

    def _refuse_k(self, k: int) -> None:
        vocabulary = self._network(self._dtype).vocabulary
        if not 1 <= k <= vocabulary:
            raise ConfigError(f"k must be from 1 to the vocabulary's {vocabulary} tokens, not {k}")

    def _reader(self, dtype: Arithmetic | None, chats: Sequence[Chat]) -> Reader:
        """Who reads these. Raises `ConfigError` when one of them cannot be read."""
        kind = named(dtype, self._device) if dtype else self._dtype
        network = self._network(kind)
        _refuse_impossible(network, chats)
        if kind not in self._readers:
            self._readers[kind] = Reader(network, apart=self._deterministic)
        return self._readers[kind]


def _refuse_impossible(network: Network, chats: Sequence[Chat]) -> None:
    """Nothing is cut and no id is clamped: `ConfigError` says which text cannot be read, and why."""
    for position, (ids, mask) in enumerate(chats):
        if len(ids) != len(mask):
            raise ConfigError(f"conversation {position} has {len(ids)} tokens and a mask of {len(mask)}")
        if len(ids) > network.context:
            raise ConfigError(
                f"conversation {position} has {len(ids)} tokens; the model's context is {network.context}"
            )
        if ids and not 0 <= min(ids) <= max(ids) < network.vocabulary:
            raise ConfigError(
                f"conversation {position} has the token {next(i for i in ids if not 0 <= i < network.vocabulary)}; the "
                f"model's vocabulary ends at {network.vocabulary - 1}: it was made with the tokenizer of another model"
            )


def _in_order(chats: Sequence[Chat], read: Callable[[Sequence[Chat]], Iterator[tuple[int, T]]]) -> Iterator[T]:
    """What `read` gives for the chats, in their order; so many at a time that little waits for its turn."""
    start = tokens = 0
    for end, (ids, _) in enumerate(chats, start=1):
        tokens += len(ids)
        if tokens >= _TOKENS_AHEAD or end == len(chats):
            found = dict(read(chats[start:end]))
            yield from (found[at] for at in range(end - start))
            start, tokens = end, 0


def _coarse(weights: str, dtype: torch.dtype) -> bool:
    if weights not in ("exact", "int8"):
        raise ConfigError(f"weights are exact or int8, not {weights!r}")
    if weights == "int8" and dtype is not torch.bfloat16:
        raise ConfigError("weights of eight bits are multiplied in bfloat16; leave dtype out, or weights: int8")
    return weights == "int8"


def _refuse_coarse(coarse: bool, folder: Path) -> None:
    if coarse:
        kind = checkpoint.architecture(folder)
        raise ConfigError(
            f"weights of eight bits are for {', '.join(sorted(SHAPES))}, not {kind!r}; leave `weights` out"
        )


def _in_pieces(ids: list[int], mask: list[bool], context: int) -> list[Chat]:
    """A text that is scored from its first token on can be cut; one that needs what comes before it cannot."""
    if len(ids) <= context or not all(mask[1:]):
        return [(ids, mask)]
    starts = range(0, len(ids) - 1, context - 1)
    return [(ids[at : at + context], [False, *mask[at + 1 : at + context]]) for at in starts]


def _as_spoken(chat: Chat, said: Sequence[TokenLogprob]) -> Scored | None:
    """None when the tokens that were spoken are not those that would be scored."""
    ids, mask = chat
    scored = [token for token, counts in zip(ids, mask, strict=True) if counts]
    if [each.token for each in said] != scored:
        return None
    return Scored(-math.fsum(each.logprob for each in said), len(said))
