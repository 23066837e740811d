"""A transformers model that reads packed batches.

The model's modules, names and weights stay transformers' own, so any of them can be saved, wrapped by peft or looked
at. Two things are replaced while it trains: attention, by matrix products over a batch's grids (grouped heads folded
into the query length, no keys repeated), and Llama's RMSNorm, by one that saves less. An architecture that is not known
to work so goes through its own forward, row by row in the same grids, with the same loss: slower, which is said
(`unpacked`).

Shapes: N distinct tokens, H query heads, K key heads, G = H / K, D head size, B × T a grid.
"""

from typing import Any

import torch
from torch.nn import functional

from trueseed.train.batches import Batch
from trueseed.train.losses import answer_loss

# Each is held to its own forward by a test.
PACKED = frozenset({"llama", "mistral", "qwen2", "qwen3", "smollm3", "gemma3_text"})
_CAPS = ("final_logit_softcapping", "attn_logit_softcapping")
_ATTENTION = "trueseed_grids"
_NORMS = frozenset({"LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm", "SmolLM3RMSNorm"})


def prepare(model: Any) -> Any:
    """Makes `model` ready for `loss`. It keeps its weights; dropout stays off."""
    if packs(model):
        from transformers import AttentionInterface  # here, since a run file is read without it, in half the time

        AttentionInterface.register(_ATTENTION, _attend)
        model.set_attn_implementation(_ATTENTION)
        for module in model.modules():
            if type(module).__name__ in _NORMS:
                module.forward = _Norm(module)
    return model.eval()


def restore(model: Any) -> Any:
    """Undoes `prepare`."""
    if packs(model):
        model.set_attn_implementation("sdpa")
        for module in model.modules():
            if isinstance(vars(module).get("forward"), _Norm):
                del module.forward
    return model


def loss(model: Any, batch: Batch) -> torch.Tensor:
    """Sum of -log p over the batch's answer tokens, float32 scalar."""
    if not packs(model):
        return functional.cross_entropy(logits(model, batch).float(), batch.labels, reduction="sum")
    return answer_loss(hidden(model, batch), model.get_output_embeddings().weight, batch.labels)


def packs(model: Any) -> bool:
    """Whether `hidden` knows the architecture; `logits` serves any."""
    return not unpacked(model.config)


def unpacked(config: Any) -> str:
    """Why a network of this configuration goes through its own forward, and what that costs, for people; '' where its
    batches are packed. Where logits or attention scores are capped, only its own forward knows.
    """
    kind = config.model_type
    caps = [cap for cap in _CAPS if getattr(config, cap, None)]
    if kind in PACKED and not caps:
        return ""
    why = f"{kind!r} with `{caps[0]}`" if kind in PACKED else f"the architecture {kind!r}"
    return (
        f"{why} is not packed, so training is slower and takes more memory: every row is computed from its beginning, "
        f"padding too, and logits are made at all positions, not only where an answer is predicted. Packed are "
        f"{', '.join(sorted(PACKED))}"
    )


def hidden(model: Any, batch: Batch) -> torch.Tensor:
    """Last hidden states at the batch's answers, A × D; times the head they are logits."""
    states = model.base_model(
        input_ids=batch.tokens[None], position_ids=batch.positions[None], use_cache=False, batch=batch
    ).last_hidden_state[0]
    return states[batch.answers]  # type: ignore[no-any-return]


def logits(model: Any, batch: Batch) -> torch.Tensor:
    """A × V, through the model's own forward. Padding is on the right, where causal models do not look."""
    every = [model(input_ids=batch.tokens[grid], use_cache=False).logits.flatten(0, 1) for grid in batch.grids]
    return torch.cat(every)[batch.owner[batch.answers]]


def _attend(
    _module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _mask: Any,
    *,
    batch: Batch,
    scaling: float,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """The attention that transformers calls: query 1 × H × N × D, key and value 1 × K × N × D, result 1 × N × H × D."""
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
    out: torch.Tensor = _GridAttention.apply(q, k, v, batch, scaling, sliding_window)  # type: ignore[no-untyped-call]
    return out[None], None


class _GridAttention(torch.autograd.Function):
    """Causal attention along the paths of a batch. query N × H × D; key, value N × K × D; result N × H × D."""

    @staticmethod
    def forward(
        ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, batch: Batch, scale: float, window: int | None
    ) -> torch.Tensor:
        heads, groups = k.shape[1], q.shape[1] // k.shape[1]
        saved: list[torch.Tensor] = []
        outs = []
        for grid in batch.grids:
            Q, K, V = (_to_heads(x[grid.flatten()], grid, heads) for x in (q, k, v))
            bias = _causal(grid.shape[1], groups, window, q)
            P = torch.baddbmm(bias, Q, K.transpose(1, 2), alpha=scale).softmax(-1)
            outs.append(_to_cells(torch.bmm(P, V), grid, heads))
            saved += [Q, K, V, P]
        ctx.save_for_backward(*saved)
        ctx.batch, ctx.scale, ctx.heads = batch, scale, heads
        return torch.cat(outs)[batch.owner]

    @staticmethod
    def backward(ctx: Any, *grad: torch.Tensor) -> Any:
        batch, heads, saved = ctx.batch, ctx.heads, ctx.saved_tensors
        sizes = [grid.numel() for grid in batch.grids]
        d_cells = grad[0].new_zeros(sum(sizes), *grad[0].shape[1:])
        d_cells[batch.owner] = grad[0]
        parts: list[list[torch.Tensor]] = [[], [], []]
        for at, (grid, d_out) in enumerate(zip(batch.grids, d_cells.split(sizes), strict=True)):
            Q, K, V, P = saved[4 * at : 4 * at + 4]
            dO = _to_heads(d_out, grid, heads)
            dS = torch._softmax_backward_data(torch.bmm(dO, V.transpose(1, 2)), P, -1, P.dtype).mul_(ctx.scale)
            for part, d in zip(
                parts,
                (torch.bmm(dS, K), torch.bmm(dS.transpose(1, 2), Q), torch.bmm(P.transpose(1, 2), dO)),
                strict=True,
            ):
                part.append(_to_cells(d, grid, heads))
        dq, dk, dv = (torch.cat(part) for part in parts)
        return dq[batch.owner], _gathered(dk, batch), _gathered(dv, batch), None, None, None


def _to_heads(x: torch.Tensor, grid: torch.Tensor, heads: int) -> torch.Tensor:
    """(B·T) × (K·G) × D cells to (B·K) × (G·T) × D matrices, one for each key head of each row."""
    rows, width = grid.shape
    groups, size = x.shape[1] // heads, x.shape[2]
    return x.view(rows, width, heads, groups, size).permute(0, 2, 3, 1, 4).reshape(rows * heads, groups * width, size)


def _to_cells(x: torch.Tensor, grid: torch.Tensor, heads: int) -> torch.Tensor:
    """The inverse of `_to_heads`."""
    rows, width = grid.shape
    groups, size = x.shape[1] // width, x.shape[2]
    return x.view(rows, heads, groups, width, size).permute(0, 3, 1, 2, 4).reshape(rows * width, heads * groups, size)


def _gathered(d_cells: torch.Tensor, batch: Batch) -> torch.Tensor:
    """A token's gradient is the sum over the cells it stands in."""
    d_tokens = d_cells[batch.owner]
    return d_tokens.index_add_(0, batch.copied, d_cells[batch.copies]) if len(batch.copies) else d_tokens


def _causal(width: int, groups: int, window: int | None, like: torch.Tensor) -> torch.Tensor:
    """1 × (G·T) × T: 0 where a column may be seen, -inf elsewhere."""
    seen = torch.ones(width, width, dtype=torch.bool, device=like.device).tril()
    if window is not None:
        seen = seen.triu(1 - window)
    return torch.zeros_like(seen, dtype=like.dtype).masked_fill_(~seen, float("-inf")).repeat(groups, 1)[None]


class _Norm:
    """`forward` of a Llama RMSNorm module, by way of one autograd function."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        rows = hidden.reshape(-1, hidden.shape[-1])
        out: torch.Tensor = _RMSNorm.apply(  # type: ignore[no-untyped-call]
            rows, self.module.weight, self.module.variance_epsilon
        )
        return out.view_as(hidden)


class _RMSNorm(torch.autograd.Function):
    """arXiv:1910.07467. Forward: scaled in float32. Backward: in the input's type."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        inverse = length.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        normed = (x * inverse).to(x.dtype)
        ctx.save_for_backward(normed, inverse, weight)
        out: torch.Tensor = normed * weight
        return out

    @staticmethod
    def backward(ctx: Any, *grad: torch.Tensor) -> Any:
        normed, inverse, weight = ctx.saved_tensors
        product = grad[0] * normed
        mean = (product @ weight).div_(normed.shape[-1])[:, None]
        dx = torch.addcmul(grad[0] * weight, normed, mean, value=-1).mul_(inverse.to(normed.dtype))
        return dx, product.sum(0) if ctx.needs_input_grad[1] else None, None
