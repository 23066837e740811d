"""The inner loop: a decoder-only transformer over a cache of keys and values.

    network = Network(folder)
    cache = network.cache(rows=64)
    logits = network.read(cache, rows, prompts)     prompts into rows of the cache; logits after each
    logits = network.step(cache, tokens)            one more token of every row
    logits = network.step(cache, tokens, pieces)    the same, and pieces of prompts into other rows, in one pass

Llama, Mistral, Qwen2, Qwen3, SmolLM3 and Gemma 3 (text) are one network with a few differences (`Shape`). Prompts are
read without padding; decoding works on the first n rows of the cache. Nothing here knows of requests, sampling or text.
Where `kernel` can, it computes all layers in one call, to which prompts and steps are the same: tokens at positions.

In bf16 on the CPU the same token after the same words gets the same bits however it comes: read in a prompt, stepped
to, beside others or alone. By torch they are transformers' bits too. That takes its roundings (`_normed`, the
residual), one attention kernel for both ways, and shapes that keep that kernel and oneDNN on one path each (`BUCKET`,
`_FEWEST_…`). By `kernel` sums run in an order of our own, and last bits differ from transformers' now and then.
Attention that rounds its scores to bf16 is faster over long chats, and agreed with transformers on 97 % of greedy
tokens: about as little as transformers agrees with itself when it decodes with its cache. Other processors may take
other paths: hence `fixed`.

Shapes: N tokens of all prompts, S sequences, H hidden, Q query heads, K key-value heads, G = Q / K, D head, C cached
positions, V vocabulary.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from trueseed.errors import ConfigError
from trueseed.lm import checkpoint, kernel
from trueseed.lm.cache import BUCKET, Cache, Form, Grid, Pages
from trueseed.lm.device import chosen

NO_PIECES: Mapping[int, Sequence[int]] = MappingProxyType({})
_FEWEST_ROWS = 2  # with one row alone oneDNN takes another path, whose sums end in other bits
_FEWEST_QUERIES = 4  # and so does attention with fewer queries per head than this


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What differs between the architectures. window: how many positions each layer sees, None for all of them."""

    query_heads: int
    key_heads: int
    head: int
    scale: float
    eps: float
    embedding_scale: float
    window: tuple[int | None, ...]
    activation: Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Weights of one layer; queries, keys and values fused, gate and up fused."""

    qkv: "Linear"
    out: "Linear"
    gate_up: "Linear"
    down: "Linear"
    attention_norm: Tensor
    mlp_norm: Tensor
    query_norm: Tensor | None
    key_norm: Tensor | None
    after_attention_norm: Tensor | None
    after_mlp_norm: Tensor | None


class Linear:
    """x Wᵀ + b. On the CPU the weight is packed once: for our kernel where that computes whole layers, else for oneDNN
    (in bf16 up to twice as fast for few rows and never slower, in float32 a fifth faster with AVX2 alone); elsewhere it
    is torch's own. halves, coarse: as of `kernel.Packed`.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None = None, *, halves: bool = False, coarse: bool = False
    ) -> None:
        self.packed = (
            kernel.Packed(weight, bias, halves=halves, coarse=coarse) if _kernel_packs(weight, halves) else None
        )
        self._onednn = not self.packed and _onednn_packs(weight)
        if not self.packed:
            self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS_HINT) if self._onednn else weight
            self._bias = bias

    def __call__(self, x: Tensor) -> Tensor:
        if self.packed:
            return self.packed(x)
        if self._onednn:
            y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")
            return y
        return functional.linear(x, self._weight, self._bias)


_ROWS_HINT = 16  # rows that packing is told to expect; other numbers made no difference beyond noise


def _kernel_packs(weight: Tensor, halves: bool) -> bool:
    outputs, inputs = weight.shape
    cut = kernel.BLOCK if halves else 1
    usable = weight.device.type == "cpu" and weight.dtype == torch.bfloat16 and kernel.steps()
    return usable and inputs % 2 == 0 and outputs % cut == 0


def _onednn_packs(weight: Tensor) -> bool:
    return (
        weight.device.type == "cpu"
        and torch.backends.mkldnn.is_available()
        and (weight.dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()))
    )


def _bucket(length: int) -> int:
    return -(-length // BUCKET) * BUCKET


def _span(length: int) -> int:
    """Lengths few and far apart: 128, 256, 512, …"""
    return max(2 * BUCKET, 1 << (length - 1).bit_length())


class Network:
    """A causal language model, read only. device: as of `device.chosen`; untested on CUDA. Raises `ConfigError` for an
    architecture it does not know.
    """

    def __init__(
        self,
        folder: Path,
        dtype: torch.dtype = torch.bfloat16,
        device: str | torch.device | None = None,
        *,
        coarse: bool = False,
    ) -> None:
        self.device = chosen(device)
        self.dtype, self._coarse = dtype, coarse
        with torch.inference_mode():
            self._take(checkpoint.load(folder, dtype).to(self.device), alone=True)

    @classmethod
    def of(cls, model: Any) -> "Network":
        """Over the weights that `model`, one of transformers', has now. They are packed: what it learns later is not
        seen. Its type and device are kept. Raises `ConfigError` as the constructor.
        """
        network = cls.__new__(cls)
        network.device, network.dtype, network._coarse = model.device, model.dtype, False
        with torch.inference_mode():
            network._take(model)
        return network

    def _take(self, model: Any, *, alone: bool = False) -> None:
        """alone: nobody else has the model, so what is packed need not stay in memory."""
        config = model.config
        if config.model_type not in SHAPES:
            raise ConfigError(
                f"the engine does not know the architecture {config.model_type!r}; it knows {', '.join(sorted(SHAPES))}"
            )
        self.shape = SHAPES[config.model_type](config)
        gemma = config.model_type == "gemma3_text"
        self.context: int = config.max_position_embeddings
        self.vocabulary: int = config.vocab_size
        self._embedding: Tensor = model.model.embed_tokens.weight.detach()
        self._head = _fused(model.lm_head, coarse=self._coarse)
        self._norm = _norm_weight(model.model.norm, gemma)
        layers = []
        for layer in model.model.layers:
            layers.append(_layer(layer, gemma, self._coarse))
            if alone:
                checkpoint.let_go(layer.parameters())
        self._layers = tuple(layers)
        if alone:
            checkpoint.let_go(model.lm_head.parameters())
        self._rope = _Rope(model.model.rotary_emb, config, self.dtype, self.device)
        self._compiled = self._compile()
        if self._coarse and not self._compiled:
            raise ConfigError(
                "weights of eight bits need a C++ compiler and a processor with AVX-512 BF16, VNNI and VBMI; leave "
                "`weights: int8` out here"
            )

    @property
    def invariant(self) -> bool:
        """Whether a token's numbers are the same bits whatever is computed beside it, without `fixed`."""
        return self._compiled is not None

    def _compile(self) -> kernel.Layers | None:
        """All layers in one call, where every product is packed for that."""
        products = [part for layer in self._layers for part in (layer.qkv, layer.out, layer.gate_up, layer.down)]
        if self._head.packed is None or any(part.packed is None for part in products):
            return None
        return kernel.Layers(self.shape, self._layers, self._norm, self._head.packed, self._rope.kind_of_layer)

    @torch.inference_mode()
    def cache(self, rows: int) -> Cache:
        form = Form(
            layers=len(self._layers),
            heads=self.shape.key_heads,
            width=self.shape.head,
            dtype=self.dtype,
            device=self.device,
        )
        return Pages(form, rows) if self._compiled else Grid(form, rows)

    def read(self, cache: Cache, rows: Sequence[int], prompts: Sequence[Sequence[int]]) -> Tensor:
        """Reads prompts into rows, each after what its row holds; logits_SV after each."""
        return self.step(cache, (), dict(zip(rows, prompts, strict=True)))

    @torch.inference_mode()
    def extend(
        self, cache: Cache, rows: Sequence[int], pieces: Sequence[Sequence[int]], starts: Sequence[int]
    ) -> Tensor:
        """Reads pieces into rows, each from a start of its own, what is cached before it being kept; hidden states
        (N, H) of all, laid end to end, to be given to `logits`.
        """
        fill(cache, rows, pieces, starts)
        if self._compiled:
            return self._run(cache, rows, pieces, starts, logits=False)[0]
        assert isinstance(cache, Grid)
        attention = _Reading(self.shape, cache, rows, pieces, starts)
        tokens = torch.tensor(list(itertools.chain.from_iterable(pieces)), device=self.device)
        return self._through(self._embed(tokens), attention.positions_N, attention)

    def forward(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Hidden states (N, H) of whole sequences laid end to end, without padding; each sees itself only."""
        return self.extend(self.cache(len(sequences)), range(len(sequences)), sequences, [0] * len(sequences))

    @torch.inference_mode()
    def step(
        self,
        cache: Cache,
        tokens: Sequence[int],
        pieces: Mapping[int, Sequence[int]] = NO_PIECES,
        *,
        fixed: bool = False,
    ) -> Tensor:
        """Feeds one token to each of the first len(tokens) rows and, in the same pass, pieces of prompts to the rows
        they are given for, each after what its row holds. logits_SV after each of them, the pieces' last.

        With `fixed` the tokens go in a pass over all rows of the cache, the idle ones too, and every piece in a pass of
        its own, so that the shapes of one row's numbers never change with its company.
        """
        if fixed and pieces:
            spoken = [self.step(cache, tokens, fixed=True)] if tokens else []
            return torch.cat([*spoken, *(self.step(cache, (), {row: piece}) for row, piece in pieces.items())])
        rows, fed, starts = laid_out(cache, tokens, pieces)
        if self._compiled:
            fill(cache, rows, fed, starts)
            return self._run(cache, rows, fed, starts)[1]
        return self._step_by_torch(cache, rows, fed, starts, spoken=len(tokens), fixed=fixed)

    def _step_by_torch(
        self,
        cache: Cache,
        rows: Sequence[int],
        fed: Sequence[Sequence[int]],
        starts: Sequence[int],
        *,
        spoken: int,
        fixed: bool,
    ) -> Tensor:
        """See `step`; spoken: how many rows are fed one token. Some idle rows are fed one too, where shapes need them:
        what that puts at their ends is not looked at, and is overwritten by what comes there.
        """
        assert isinstance(cache, Grid)
        fewest = cache.rows if fixed else min(cache.rows, _FEWEST_ROWS)
        idle = [[0]] * (fewest - spoken) if spoken == len(rows) else []
        lengths = cache.lengths[: spoken + len(idle)]
        fill(cache, rows, fed, starts)
        parts: list[_Decoding | _Reading] = []
        if spoken:
            cache.reserve_positions(_span(max(lengths) + 1) if fixed else max(lengths) + 1)
            parts.append(_Decoding(self.shape, cache, lengths, fixed=fixed))
        if spoken < len(rows):
            parts.append(_Reading(self.shape, cache, rows[spoken:], fed[spoken:], starts[spoken:]))
        attention, pieces = _Mixed(parts), [*fed[:spoken], *idle, *fed[spoken:]]
        tokens = torch.tensor(list(itertools.chain.from_iterable(pieces)), device=self.device)
        x_NH = self._through(self._embed(tokens), attention.positions_N, attention)
        ends = torch.tensor([len(piece) for piece in pieces], device=self.device).cumsum(0)
        return self.logits(x_NH[ends - 1])[: len(rows)]

    def _run(
        self,
        cache: Cache,
        rows: Sequence[int],
        pieces: Sequence[Sequence[int]],
        starts: Sequence[int],
        *,
        logits: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Feeds pieces to rows from their starts on, in one call; hidden states of all, and logits_SV after each."""
        assert self._compiled and isinstance(cache, Pages)
        lengths = [len(piece) for piece in pieces]
        owner = torch.repeat_interleave(torch.tensor(lengths))
        ends = torch.tensor(lengths).cumsum(0)
        positions = torch.arange(len(owner)) + (torch.tensor(starts) - ends + torch.tensor(lengths))[owner]
        x_NH = self._embed(torch.tensor(list(itertools.chain.from_iterable(pieces))))
        turns = self._rope.turns(positions)
        which = (ends if logits else ends[:0]) - 1
        return x_NH, self._compiled(x_NH, cache.table, torch.tensor(list(rows))[owner], positions, turns, which)

    def _through(self, x: Tensor, positions: Tensor, attention: "_Attention") -> Tensor:
        rope = self._rope.at(positions)
        for index, layer in enumerate(self._layers):
            x = self._block(index, layer, x, rope[index], attention)
        return x

    def logits(self, hidden: Tensor) -> Tensor:
        return self._head(self._normed(hidden, self._norm))

    def _embed(self, tokens: Tensor) -> Tensor:
        x = functional.embedding(tokens, self._embedding)
        return x if self.shape.embedding_scale == 1 else x * torch.tensor(self.shape.embedding_scale, dtype=x.dtype)

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        """RMS norm with the roundings of transformers: Gemma's (float32) weight before the last, others' after it."""
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.shape.eps)
        return (wide * weight).to(x.dtype) if weight.dtype == wide.dtype else weight * wide.to(x.dtype)

    def _block(
        self, index: int, layer: Layer, x: Tensor, rope: tuple[Tensor, Tensor], attention: "_Attention"
    ) -> Tensor:
        shape, (cos, sin) = self.shape, rope
        heads = layer.qkv(self._normed(x, layer.attention_norm)).view(len(x), -1, shape.head)
        rotated, values = heads[:, : -shape.key_heads], heads[:, -shape.key_heads :]
        if layer.query_norm is not None and layer.key_norm is not None:
            queries = self._normed(rotated[:, : shape.query_heads], layer.query_norm)
            rotated = torch.cat([queries, self._normed(rotated[:, shape.query_heads :], layer.key_norm)], 1)
        rotated = rotated * cos + rotated.roll(shape.head // 2, -1) * sin
        mixed = attention(index, rotated[:, : shape.query_heads], rotated[:, shape.query_heads :], values)
        y = layer.out(mixed.reshape(len(x), -1))
        x = x + (y if layer.after_attention_norm is None else self._normed(y, layer.after_attention_norm))
        gate, up = layer.gate_up(self._normed(x, layer.mlp_norm)).chunk(2, -1)
        y = layer.down(shape.activation(gate).mul_(up))  # in place: one tensor of that size less
        return x + (y if layer.after_mlp_norm is None else self._normed(y, layer.after_mlp_norm))


_Attention = Callable[[int, Tensor, Tensor, Tensor], Tensor]  # layer, queries, keys, values -> mixed values


def laid_out(
    cache: Cache, tokens: Sequence[int], pieces: Mapping[int, Sequence[int]]
) -> tuple[list[int], list[Sequence[int]], list[int]]:
    """Of a step: the rows that are fed, what each is fed, and from which position on."""
    rows = [*range(len(tokens)), *pieces]
    return rows, [*([token] for token in tokens), *pieces.values()], [cache.lengths[row] for row in rows]


def fill(cache: Cache, rows: Sequence[int], pieces: Sequence[Sequence[int]], starts: Sequence[int]) -> None:
    """Room for pieces that will be read into rows from their starts on."""
    for row, piece, start in zip(rows, pieces, starts, strict=True):
        cache.lengths[row] = start + len(piece)
    cache.reserve()


class _Mixed:
    """Attention over tokens laid end to end, the first of them by the first part, and so on."""

    def __init__(self, parts: "Sequence[_Decoding | _Reading]") -> None:
        self._parts = parts
        self.positions_N = torch.cat([part.positions_N for part in parts])
        self._lengths = [len(part.positions_N) for part in parts]

    def __call__(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        split = (x.split(self._lengths) for x in (queries, keys, values))
        each = zip(self._parts, *split, strict=True)
        return torch.cat([part(layer, *tokens).flatten(1) for part, *tokens in each])


class _Reading:
    """Causal attention inside each of several pieces laid end to end, and over what is cached before it.

    Pieces of about the same length go together, as rows of a grid; what stands beyond their ends is not looked at.
    """

    def __init__(
        self,
        shape: Shape,
        cache: Grid,
        rows: Sequence[int],
        pieces: Sequence[Sequence[int]],
        starts: Sequence[int],
    ) -> None:
        self._shape, self._cache = shape, cache
        lengths = torch.tensor([len(piece) for piece in pieces])
        owner_N = torch.repeat_interleave(lengths)
        first_S = lengths.cumsum(0) - lengths
        self._rows_N = torch.tensor(list(rows))[owner_N].to(cache.device)
        self.positions_N = (torch.arange(len(owner_N)) + (torch.tensor(starts) - first_S)[owner_N]).to(cache.device)
        alike: dict[tuple[int, int], list[int]] = {}
        for at, (piece, start) in enumerate(zip(pieces, starts, strict=True)):
            alike.setdefault((_bucket(len(piece)), _bucket(start + len(piece))), []).append(at)
        self._groups = [
            _Alike(width, columns, [(rows[at], int(first_S[at]), len(pieces[at]), starts[at]) for at in members], cache)
            for (width, columns), members in alike.items()
        ]

    def __call__(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        kept = self._cache.layer(layer)
        kept[:, self._rows_N, :, self.positions_N] = torch.stack([keys, values], 1)
        mixed = torch.empty_like(queries)
        for group in self._groups:
            seen = kept[:, group.rows_B, :, : group.columns]
            mask = group.mask(self._shape.window[layer])
            out_BQTD = functional.scaled_dot_product_attention(
                queries[group.tokens_BT].transpose(1, 2),
                seen[0],
                seen[1],
                attn_mask=mask,
                is_causal=mask is None,
                scale=self._shape.scale,
                enable_gqa=True,
            )
            mixed[group.tokens_BT[group.real_BT]] = out_BQTD.transpose(1, 2)[group.real_BT]
        return mixed


class _Alike:
    """Pieces that fit one grid, each as (row, its first of all tokens, length, start). tokens_BT: which of all tokens
    stands in a cell; real_BT: whether one does. columns: how many positions they look over.
    """

    def __init__(self, width: int, columns: int, pieces: Sequence[tuple[int, int, int, int]], cache: Grid) -> None:
        self.columns, self._dtype, self._masks = columns, cache.dtype, dict[int | None, Tensor | None]()
        self.rows_B, first_B, length_B, start_B = torch.tensor(pieces, device=cache.device).unbind(1)
        column_T = torch.arange(width, device=cache.device)
        self.real_BT = column_T < length_B[:, None]
        self.tokens_BT = first_B[:, None] + column_T.minimum(length_B[:, None] - 1)
        self._positions_BT = start_B[:, None] + column_T
        self._begins = not start_B.any()

    def mask(self, window: int | None) -> Tensor | None:
        """What each position sees of all positions, (B, 1, T, columns); None where plain causality says it."""
        if window not in self._masks:
            plain = self._begins and (window is None or self.columns <= window)
            back = self._positions_BT[:, None, :, None] - torch.arange(self.columns, device=self.real_BT.device)
            self._masks[window] = None if plain else _additive(_seen(back, window), self._dtype)
        return self._masks[window]


class _Decoding:
    """Attention of one new token per sequence over its cached positions.

    The G query heads that share a key-value head are laid along the query axis, so keys and values are read once. All
    sequences look over as many positions as the longest has; with `fixed` each over a span that its own length decides,
    computed for all rows of the cache, so that its numbers come from the same shapes whoever is beside it.
    """

    def __init__(self, shape: Shape, cache: Grid, lengths: Sequence[int], *, fixed: bool) -> None:
        self._shape, self._cache = shape, cache
        self.positions_N = torch.tensor(lengths, device=cache.device)
        own = [_span(length + 1) for length in lengths] if fixed else [_bucket(max(lengths) + 1)] * len(lengths)
        self._spans = {
            span: torch.tensor([row for row, its in enumerate(own) if its == span], device=cache.device)
            for span in set(own)
        }
        self._at = self._places(len(lengths))
        back_SC = self.positions_N[:, None] - torch.arange(max(own), device=cache.device)
        self._masks = {
            window: _additive(_seen(back_SC, window), cache.dtype)[:, None, None] for window in set(shape.window)
        }

    def _places(self, S: int) -> Tensor:
        """Where new keys, then values, of each sequence go in a layer of the cache seen as rows of D."""
        K, rows, capacity = self._shape.key_heads, self._cache.rows, self._cache.capacity
        key, row = torch.arange(K, device=self._cache.device), torch.arange(S, device=self._cache.device)
        at_SK = (row[:, None] * K + key) * capacity + self.positions_N[:, None]
        return torch.cat([at_SK, at_SK + rows * K * capacity], 1).flatten()

    def __call__(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        shape = self._shape
        kept = self._cache.layer(layer)
        kept.view(-1, shape.head).index_copy_(0, self._at, torch.cat([keys, values], 1).view(-1, shape.head))
        group = shape.query_heads // shape.key_heads
        grouped = queries.reshape(len(queries), shape.key_heads, group, shape.head)
        grouped = _padded(grouped, max(group, _FEWEST_QUERIES))
        if len(self._spans) == 1:
            return self._mixed(layer, kept, grouped, next(iter(self._spans)))[:, :, :group]
        mixed = torch.empty_like(grouped)
        for span, rows in self._spans.items():
            mixed[rows] = self._mixed(layer, kept, grouped, span)[rows]
        return mixed[:, :, :group]

    def _mixed(self, layer: int, kept: Tensor, grouped: Tensor, span: int) -> Tensor:
        keys_SKCD, values_SKCD = kept[:, : len(grouped), :, :span]
        mask = self._masks[self._shape.window[layer]][..., :span]
        return functional.scaled_dot_product_attention(
            grouped, keys_SKCD, values_SKCD, attn_mask=mask, scale=self._shape.scale
        )


def _padded(x: Tensor, rows: int) -> Tensor:
    """Zeros appended along the last axis but one, up to `rows`."""
    missing = rows - x.shape[-2]
    return functional.pad(x, (0, 0, 0, missing)) if missing > 0 else x


def _seen(back: Tensor, window: int | None) -> Tensor:
    """Whether a position that lies `back` positions before is seen."""
    return (back >= 0) if window is None else (back >= 0) & (back < window)


def _additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, -math.inf)


class _Rope:
    """Rotary position embedding as transformers configures it (scaling included), one or two sets of frequencies.

    The sine carries the sign of `rotate_half`, so rotating is `x * cos + roll(x, D/2) * sin`.
    """

    def __init__(self, rotary: Any, config: Any, dtype: torch.dtype, device: torch.device) -> None:
        self._dtype = dtype
        kinds = None if hasattr(rotary, "inv_freq") else config.layer_types
        named = sorted(set(kinds or [""]))
        every = map(named.index, kinds or [""] * config.num_hidden_layers)
        turns = getattr(config, "no_rope_layers", None) or [True] * config.num_hidden_layers  # SmolLM3: 0 turns nothing
        self.kind_of_layer = tuple(kind if turn else -1 for kind, turn in zip(every, turns, strict=False))
        self._frequencies: list[tuple[Tensor, float]] = []
        for kind in named:
            prefix = f"{kind}_" if kinds else ""
            frequencies = getattr(rotary, f"{prefix}inv_freq").float().to(device)
            self._frequencies.append((frequencies, float(getattr(rotary, f"{prefix}attention_scaling"))))

    def at(self, positions_N: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        """For each layer cos and signed sin, (N, 1, D)."""
        turned = [
            (torch.cat([cos, cos], -1)[:, None], torch.cat([-sin, sin], -1)[:, None])
            for cos, sin in (turn.to(self._dtype).chunk(2, -1) for turn in self.turns(positions_N))
        ]
        turned.append((torch.ones_like(turned[0][0]), torch.zeros_like(turned[0][1])))  # of layers that turn nothing
        return tuple(turned[kind] for kind in self.kind_of_layer)

    def turns(self, positions_N: Tensor) -> tuple[Tensor, ...]:
        """For each kind cos, then sin, of the first half of a head, rounded as they are used: (N, D) float32."""
        found = []
        for frequencies, scaling in self._frequencies:
            angles = positions_N[:, None].float() * frequencies
            found.append((torch.cat([angles.cos(), angles.sin()], -1) * scaling).to(self._dtype).float())
        return tuple(found)


def _layer(layer: Any, gemma: bool, coarse: bool) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    query_norm, key_norm = getattr(attention, "q_norm", None), getattr(attention, "k_norm", None)
    return Layer(
        qkv=_fused(attention.q_proj, attention.k_proj, attention.v_proj, coarse=coarse),
        out=_fused(attention.o_proj, coarse=coarse),
        gate_up=_fused(mlp.gate_proj, mlp.up_proj, halves=True, coarse=coarse),
        down=_fused(mlp.down_proj, coarse=coarse),
        attention_norm=_norm_weight(layer.input_layernorm, gemma),
        mlp_norm=_norm_weight(layer.pre_feedforward_layernorm if gemma else layer.post_attention_layernorm, gemma),
        query_norm=query_norm and _norm_weight(query_norm, gemma),
        key_norm=key_norm and _norm_weight(key_norm, gemma),
        after_attention_norm=_norm_weight(layer.post_attention_layernorm, gemma) if gemma else None,
        after_mlp_norm=_norm_weight(layer.post_feedforward_layernorm, gemma) if gemma else None,
    )


def _fused(*projections: Any, halves: bool = False, coarse: bool = False) -> Linear:
    """Projections of the same input as one."""
    biases = [p.bias.detach() for p in projections if p.bias is not None]
    weight, bias = torch.cat([p.weight.detach() for p in projections]), torch.cat(biases) if biases else None
    return Linear(weight, bias, halves=halves, coarse=coarse)


def _norm_weight(norm: Any, gemma: bool) -> Tensor:
    weight: Tensor = norm.weight.detach()
    return 1 + weight.float() if gemma else weight  # Gemma stores the difference from one


def _llama(config: Any) -> Shape:
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    kinds = getattr(config, "layer_types", None) or ["sliding_attention"] * config.num_hidden_layers
    return Shape(
        query_heads=config.num_attention_heads,
        key_heads=config.num_key_value_heads,
        head=head,
        scale=head**-0.5,
        eps=config.rms_norm_eps,
        embedding_scale=1.0,
        window=tuple(window if kind == "sliding_attention" else None for kind in kinds),
        activation=functional.silu,
    )


def _gemma3(config: Any) -> Shape:
    return Shape(
        query_heads=config.num_attention_heads,
        key_heads=config.num_key_value_heads,
        head=config.head_dim,
        scale=config.query_pre_attn_scalar**-0.5,
        eps=config.rms_norm_eps,
        embedding_scale=config.hidden_size**0.5,
        window=tuple(config.sliding_window if kind == "sliding_attention" else None for kind in config.layer_types),
        activation=lambda x: functional.gelu(x, approximate="tanh"),
    )


SHAPES: dict[str, Callable[[Any], Shape]] = {
    "llama": _llama,
    "mistral": _llama,
    "qwen2": _llama,
    "qwen3": _llama,
    "smollm3": _llama,
    "gemma3_text": _gemma3,
}
