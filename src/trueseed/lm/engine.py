"""The engine: many chats decoded at once over weights we hold.

    engine = Engine(weights.folder, weights.source)
    for position, answer in engine.answers(requests): ...

Each turn of the loop is the same: admit requests into free slots, advance by one token, give out what ended. A slot
that ends is refilled before the next token. With `deterministic` a request's text depends on its own seed and prompt
alone; without it the shapes of the matrix products follow the number of chats at hand, and in bf16 that can change last
bits, hence now and then a word.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch

from trueseed.core.chat import Answer, Message, Request, TokenLogprob
from trueseed.errors import ConfigError
from trueseed.lm import forced
from trueseed.lm.arithmetic import Arithmetic, named
from trueseed.lm.batch import READ_AT_ONCE, Batch
from trueseed.lm.floor import Floor
from trueseed.lm.forced import Told
from trueseed.lm.format import Format
from trueseed.lm.memory import Memory
from trueseed.lm.network import Network
from trueseed.lm.talk import Talk
from trueseed.lm.topk import TopK


@dataclass(frozen=True, slots=True)
class Scored:
    """nll: −Σ log p over the answer tokens, end token included, in nats; tokens: how many they are."""

    nll: float
    tokens: int


class Engine:
    """A `ChatModel` over a folder of weights.

    source: `maker/model@weights`. slots: chats decoded at the same time. dtype: what is computed in (`arithmetic`).
    deterministic: fixed shapes, so that a text does not depend on what is decoded beside it; slower. device: as torch
    names it; by default CUDA when present, else the CPU.

    Raises `ConfigError` for weights, a dtype or an architecture it cannot work with.
    """

    def __init__(
        self,
        weights: Path,
        source: str,
        *,
        slots: int = 64,
        dtype: Arithmetic = "auto",
        deterministic: bool = False,
        device: str | None = None,
    ) -> None:
        if slots < 1:
            raise ConfigError(f"the engine needs at least one slot, not {slots}")
        self.format = Format(weights)
        self._source, self._slots, self._deterministic = source, slots, deterministic
        self._weights, self._dtype, self._device = weights, named(dtype, device), device
        self._networks: dict[torch.dtype, Network] = {}
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
        batch = self._batch(self._slots if self._deterministic else slots)
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
        network = self._network(named(dtype, self._device) if dtype else self._dtype)
        chats = [self.format.training(chat) for chat in conversations]
        for position in cut:
            chats[position][1][-1] = False
        found = {at: told for at, said in known.items() if (told := _as_spoken(chats[at], said))}
        left = [at for at in range(len(chats)) if at not in found]
        found |= zip(left, self._computed(network, [chats[at] for at in left]), strict=True)
        return [found[at] for at in range(len(chats))]

    def follow(self, pairs: Iterable[tuple[str, str]], dtype: Arithmetic | None = None) -> list[Scored]:
        """How surprised the model is by each second text after the first, as plain text without any chat: what
        multiple choice by log-likelihood asks. No end token is scored. dtype: as of `score`.

        After nothing, a text longer than the context is read in pieces of it, each beginning with the last token of
        the one before. Raises `ConfigError` when both together are longer, and when a text has no token of its own.
        """
        network = self._network(named(dtype, self._device) if dtype else self._dtype)
        pieces: list[Chat] = []
        of: list[int] = []
        for position, (before, text) in enumerate(pairs):
            found = _in_pieces(*self.format.plain(before, text), network.context)
            pieces += found
            of += [position] * len(found)
        sums = [Scored(0.0, 0) for _ in range(of[-1] + 1)] if of else []
        for position, score in zip(of, self._computed(network, pieces), strict=True):
            sums[position] = Scored(sums[position].nll + score.nll, sums[position].tokens + score.tokens)
        return sums

    def topk(self, chats: Sequence["Chat"], k: int, *, dtype: Arithmetic | None = None) -> Iterator[TopK]:
        """What the model thinks of each answer token of given token sequences: of each, in order, its `k` most probable
        tokens and the mass they leave, at the positions where `mask[1:]` is true.

        chats: ids and a mask that is true where the loss counts (as `Format.training` gives them). k: up to the whole
        vocabulary, then nothing is left. dtype: as of `score`. Raises `ConfigError` for a k, an id or a length that
        cannot be, before anything is computed.
        """
        network = self._network(named(dtype, self._device) if dtype else self._dtype)
        _refuse_k(network, k)
        _refuse_impossible(network, chats)
        return (found for group in self._groups(chats) for found in _topk(network, group, k))

    def told(self, chats: Sequence["Chat"], k: int, *, dtype: Arithmetic | None = None) -> Iterator[Told]:
        """How probable each answer token of given sequences is, and the `k` most probable ones beside it. Arguments and
        errors as of `topk`.
        """
        network = self._network(named(dtype, self._device) if dtype else self._dtype)
        _refuse_k(network, k)
        _refuse_impossible(network, chats)
        return (found for group in self._groups(chats) for found in _told(network, group, k))

    def _computed(self, network: Network, chats: Sequence["Chat"]) -> Iterator[Scored]:
        _refuse_impossible(network, chats)
        beginning = self._common_beginning(network, chats)
        start = 0 if beginning is None else beginning.shape[3]
        for group in self._groups(chats):
            yield from _score(network, [(ids[start:], mask[start:]) for ids, mask in group], beginning)

    def _common_beginning(self, network: Network, chats: Sequence["Chat"]) -> torch.Tensor | None:
        """Keys and values of what all the chats begin with, where it is kept and nothing in it is scored."""
        if network is not self._network(self._dtype):
            return None
        beginning = self._memory.beginning
        end = beginning.shape[3]
        alike = all(self._memory.begins(tuple(ids[:-1])) and not any(mask[: end + 1]) for ids, mask in chats)
        return beginning if alike else None

    def forget(self) -> None:
        """Drops the prompts that were read before and are kept in case they come again."""
        self._memory.forget()

    def _batch(self, slots: int) -> Batch:
        return Batch(self._network(self._dtype), self._memory, slots, deterministic=self._deterministic)

    def _network(self, dtype: torch.dtype) -> Network:
        if dtype not in self._networks:
            self._networks[dtype] = Network(self._weights, dtype, self._device)
        return self._networks[dtype]

    def _groups(self, chats: Sequence["Chat"]) -> Iterator[list["Chat"]]:
        """Runs of chats of bounded size; one by one when deterministic."""
        group: list[Chat] = []
        for ids, mask in chats:
            if group and (self._deterministic or sum(len(ids) for ids, _ in group) + len(ids) > READ_AT_ONCE):
                yield group
                group = []
            group.append((ids, mask))
        if group:
            yield group


Chat = tuple[list[int], list[bool]]  # ids, and where the loss counts


def _refuse_k(network: Network, k: int) -> None:
    if not 1 <= k <= network.vocabulary:
        raise ConfigError(f"k must be from 1 to the vocabulary's {network.vocabulary} tokens, not {k}")


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


@torch.inference_mode()
def _score(network: Network, chats: list[Chat], after: torch.Tensor | None) -> list[Scored]:
    hidden_NH = network.forward([ids[:-1] for ids, _ in chats], after)
    counts = torch.tensor([counts for _, mask in chats for counts in mask[1:]])
    targets = torch.tensor([token for ids, _ in chats for token in ids[1:]])[counts].to(hidden_NH.device)
    nll = forced.surprise(network, hidden_NH[counts.to(hidden_NH.device)], targets)
    tokens = [sum(mask[1:]) for _, mask in chats]
    return [Scored(float(part.double().sum()), count) for part, count in zip(nll.split(tokens), tokens, strict=True)]


@torch.inference_mode()
def _topk(network: Network, chats: list[Chat], k: int) -> list[TopK]:
    hidden_NH = network.forward([ids[:-1] for ids, _ in chats])
    counts = torch.tensor([counts for _, mask in chats for counts in mask[1:]], dtype=torch.bool)
    tokens = [sum(mask[1:]) for _, mask in chats]
    return [forced.topk(network, rows, k) for rows in hidden_NH[counts.to(hidden_NH.device)].split(tokens)]


@torch.inference_mode()
def _told(network: Network, chats: list[Chat], k: int) -> list[Told]:
    hidden_NH = network.forward([ids[:-1] for ids, _ in chats])
    counts = torch.tensor([counts for _, mask in chats for counts in mask[1:]], device=hidden_NH.device)
    targets = torch.tensor([token for ids, _ in chats for token in ids[1:]], device=hidden_NH.device)[counts]
    tokens = [sum(mask[1:]) for _, mask in chats]
    parts = zip(hidden_NH[counts].split(tokens), targets.split(tokens), strict=True)
    return [forced.told(network, rows, following, k) for rows, following in parts]
