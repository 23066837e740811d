"""Any other causal language model of transformers, behind the calls of `Network`, at transformers' speed.

Keys and values are kept in our cache and handed to the model as it wants them: sequences padded on the left, so that
what is seen lies without gaps before what is new. That is right for rotations, learnt positions, ALiBi and windows
alike. A model whose memory is not keys and values (Mamba, RWKV) is refused.

Shapes: B sequences, T new tokens, P positions before, K key-value heads, D the larger of a key's and a value's width.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from trueseed.errors import ConfigError
from trueseed.lm.cache import Cache, Form, Grid
from trueseed.lm.network import NO_PIECES, Network, fill, laid_out


class Foreign(Network):
    """See `Network`. Raises `ConfigError` for weights that do not work so."""

    def _take(self, model: Any, *, alone: bool = False) -> None:  # noqa: ARG002  the model stays as it is
        if self._coarse:
            raise ConfigError(f"weights of eight bits are not made for the architecture {model.config.model_type!r}")
        self._model = model
        self._takes = inspect.signature(model.forward).parameters
        self.vocabulary = int(model.get_output_embeddings().weight.shape[0])
        self._try()
        context = getattr(model.config, "max_position_embeddings", None)
        if not isinstance(context, int):
            raise ConfigError("config.json says no `max_position_embeddings`: how long a chat may be is not known")
        self.context = context

    def _try(self) -> None:
        """A few tokens: what the model keeps of them, and whether its logits are those of its head alone."""
        from transformers import DynamicCache

        kind, past = self._model.config.model_type, DynamicCache()
        few = torch.arange(min(8, self.vocabulary), device=self.device)[None]
        try:
            logits = self._model(input_ids=few, past_key_values=past, use_cache=True).logits
            hidden = self._model.base_model(input_ids=few).last_hidden_state
            kept = [(layer.keys.shape, layer.values.shape) for layer in past.layers]
        except (AttributeError, TypeError, ValueError, RuntimeError) as err:
            raise ConfigError(f"the architecture {kind!r} does not decode over keys and values ({err})") from err
        if not kept or len(set(kept)) > 1:
            raise ConfigError(f"the architecture {kind!r} keeps no keys and values that are alike in all layers")
        self._layer_count, (keys, values) = len(kept), kept[0]
        self._heads, self._widths = keys[1], (keys[3], values[3])
        head = self._model.get_output_embeddings()
        self._splits = torch.equal(head(hidden), logits)  # not where logits are scaled or capped afterwards

    @torch.inference_mode()
    def cache(self, rows: int) -> Cache:
        form = Form(
            layers=self._layer_count,
            heads=self._heads,
            width=max(self._widths),
            dtype=self.dtype,
            device=self.device,
        )
        return Grid(form, rows)

    @torch.inference_mode()
    def extend(
        self, cache: Cache, rows: Sequence[int], pieces: Sequence[Sequence[int]], starts: Sequence[int]
    ) -> Tensor:
        """What `logits` takes, of all tokens. Pieces without a beginning go together; after one, those of a length."""
        fill(cache, rows, pieces, starts)
        groups: dict[int, list[int]] = {}
        for at, piece in enumerate(pieces):
            groups.setdefault(len(piece) if starts[at] else 0, []).append(at)
        found: dict[int, Tensor] = {}
        for group in groups.values():
            some = [rows[at] for at in group], [pieces[at] for at in group], [starts[at] for at in group]
            found |= zip(group, self._together(cache, *some), strict=True)
        return torch.cat([found[at] for at in range(len(pieces))])

    @torch.inference_mode()
    def step(
        self,
        cache: Cache,
        tokens: Sequence[int],
        pieces: Mapping[int, Sequence[int]] = NO_PIECES,
        *,
        fixed: bool = False,
    ) -> Tensor:
        """See `Network.step`: in as few passes as `extend` makes. With `fixed` every row goes through it alone."""
        rows, fed, starts = laid_out(cache, tokens, pieces)
        if fixed:
            alone = zip(rows, fed, starts, strict=True)
            hidden_N = torch.cat([self.extend(cache, [row], [piece], [start]) for row, piece, start in alone])
        else:
            hidden_N = self.extend(cache, rows, fed, starts)
        ends = torch.tensor([len(piece) for piece in fed]).cumsum(0) - 1
        return self.logits(hidden_N[ends.to(self.device)])

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self._model.get_output_embeddings()(hidden) if self._splits else hidden
        return logits

    def _together(
        self, cache: Cache, rows: Sequence[int], pieces: Sequence[Sequence[int]], starts: Sequence[int]
    ) -> list[Tensor]:
        """Hidden states (or logits) of each piece, read into its row."""
        from transformers import DynamicCache

        assert isinstance(cache, Grid)
        before, width = max(starts), max(map(len, pieces))
        tokens_BT = torch.tensor([[0] * (width - len(piece)) + list(piece) for piece in pieces], device=self.device)
        real_BPT = torch.zeros(len(rows), before + width, dtype=torch.long, device=self.device)
        past = DynamicCache()
        for at, (piece, start) in enumerate(zip(pieces, starts, strict=True)):
            real_BPT[at, before - start : before] = 1
            real_BPT[at, before + width - len(piece) :] = 1
        for layer in range(self._layer_count) if before else ():
            keys, values = _on_the_left(cache.layer(layer), rows, starts)
            past.update(keys[..., : self._widths[0]], values[..., : self._widths[1]], layer)
        told = {"input_ids": tokens_BT, "attention_mask": real_BPT, "past_key_values": past, "use_cache": True}
        if "position_ids" in self._takes:
            told["position_ids"] = (real_BPT.cumsum(-1) - 1).clamp(min=0)[:, before:]
        out = self._model.base_model(**told).last_hidden_state if self._splits else self._model(**told).logits
        for layer, new in enumerate(past.layers):
            for kind, both in enumerate((new.keys, new.values)):
                padded = functional.pad(both, (0, max(self._widths) - both.shape[-1]))
                for at, (row, piece, start) in enumerate(zip(rows, pieces, starts, strict=True)):
                    n = len(piece)
                    cache.layer(layer)[kind, row, :, start : start + n] = padded[at, :, padded.shape[2] - n :]
        return [out[at, width - len(piece) :] for at, piece in enumerate(pieces)]


def _on_the_left(layer: Tensor, rows: Sequence[int], lengths: Sequence[int]) -> Tensor:
    """The first positions of some rows, ending together: (2, B, K, P, D)."""
    two, _, heads, _, width = layer.shape
    found = layer.new_zeros(two, len(rows), heads, max(lengths), width)
    for at, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        found[:, at, :, max(lengths) - length :] = layer[:, row, :, :length]
    return found
