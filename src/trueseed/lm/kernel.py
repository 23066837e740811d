"""The parts of decoding that torch is slow at, in C++ (`compiled/`), built once by the compiler that is here.

Two things: drawing the next token, on any processor; and all layers in one call, in bf16 on processors that multiply
it in vectors (AVX-512 BF16) or in tiles (AMX). Where there is no compiler, or none that can, torch does the same and
that is said once. Both ways a draw is the same but
within 1e-6 of an edge between two tokens, and logits differ in last bits only.

Built libraries lie in the cache folder, by the digest of the source, the compiler and the processor.
"""

import ctypes
import functools
import hashlib
import logging
import os
import shutil
import subprocess
from collections.abc import Sequence
from ctypes import POINTER, Structure, c_float, c_int32, c_int64, c_void_p
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from trueseed.core.durable import cache_folder, folder_atomic
from trueseed.lm.cache import PAGE

_FLAGS = (
    "-std=c++17", "-O3", "-march=native", "-mprefer-vector-width=512", "-fno-math-errno", "-fno-trapping-math",
    "-fopenmp", "-shared", "-fPIC", "-w", f"-DPAGE={PAGE}",
)  # fmt: skip
_VECTORS = ("-mno-amx-tile", "-mno-amx-bf16", "-mno-amx-int8")
BLOCK = 32  # outputs that are computed together
_STEP = 32  # inputs that a tile multiplies at once
_GROUP = 64  # inputs that share a scale where weights have eight bits
_BLOCKS_AT_ONCE = 64  # that are rounded to them together: a table of tokens in float32 would be the most memory of all
_log = logging.getLogger(__name__)


@functools.cache
def library() -> ctypes.CDLL | None:
    """The built library, or None where it cannot be built. `TRUESEED_KERNEL=off` does without, `vectors` without the
    matrix unit.
    """
    if os.environ.get("TRUESEED_KERNEL") == "off":
        return None
    try:
        built = ctypes.CDLL(str(_built()))
    except (OSError, subprocess.SubprocessError) as err:
        said = getattr(err, "stderr", None) or str(err)
        _log.warning("decoding without compiled parts, so slower: %s", said.strip().splitlines()[0])
        return None
    if hasattr(built, "scratch_bytes"):
        built.scratch_bytes.restype = c_int64
    return built


def steps() -> bool:
    """Whether whole layers are computed here."""
    built = library()
    return built is not None and hasattr(built, "ready") and bool(built.ready())


def _built() -> Path:
    compiler = shutil.which(os.environ.get("CXX") or "g++") or shutil.which("c++")
    if compiler is None:
        raise OSError("no C++ compiler here (g++, or what CXX names)")
    folder = resources.files("trueseed.lm").joinpath("compiled")
    sources = {file.name: file.read_bytes() for file in folder.iterdir() if file.name.endswith((".h", ".cpp"))}
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, text=True, timeout=60).stdout
    digests = [f"{name} {hashlib.sha256(sources[name]).hexdigest()}" for name in sorted(sources)]
    flags = [*_FLAGS, *(_VECTORS if os.environ.get("TRUESEED_KERNEL") == "vectors" else ())]
    facts = "\n".join([*digests, version, *flags, _processor()])
    folder = cache_folder() / "kernel" / hashlib.sha256(facts.encode()).hexdigest()[:16]
    if not folder.is_dir():
        with folder_atomic(folder) as made:
            for name, source in sources.items():
                (made / name).write_bytes(source)
            subprocess.run(
                [compiler, *flags, "layers.cpp", "-o", "kernel.so"],
                cwd=made, capture_output=True, check=True, text=True, timeout=600,
            )  # fmt: skip
    return folder / "kernel.so"


def _processor() -> str:
    """What `-march=native` depends on."""
    able = torch.cpu.get_capabilities()
    named = Path("/proc/cpuinfo")
    lines = named.read_text().splitlines() if named.exists() else []
    return str(sorted(able.items())) + "".join(sorted({line for line in lines if line.startswith(("model", "flags"))}))


class _Weight(Structure):
    _fields_ = [
        *((name, c_void_p) for name in ("data", "scales", "shift", "bias")),
        *((name, c_int64) for name in ("outputs", "inputs", "blocks", "stride", "offset")),
    ]


_PRODUCTS = ("qkv", "out", "gate_up", "down")
_NORMS = ("attention_norm", "mlp_norm", "query_norm", "key_norm", "after_attention_norm", "after_mlp_norm")


class _Layer(Structure):
    _fields_ = [
        *((name, _Weight) for name in _PRODUCTS),
        *((name, c_void_p) for name in _NORMS),
        *((name, c_int64) for name in ("turn", "window")),
    ]


class _Model(Structure):
    _fields_ = [
        ("layer", POINTER(_Layer)),
        ("norm", c_void_p),
        ("head", _Weight),
        *((name, c_int64) for name in ("layers", "hidden", "query_heads", "key_heads", "head_width", "inner")),
        *((name, c_float) for name in ("eps", "scale")),
        *((name, c_int32) for name in ("norm_rounds_last", "gelu")),
    ]


class _Tokens(Structure):
    _fields_ = [
        ("count", c_int64),
        ("row", c_void_p),
        ("position", c_void_p),
        ("turn", c_void_p * 2),
        ("x", c_void_p),
        ("pages", c_void_p),
        ("pages_a_row", c_int64),
        ("scratch", c_void_p),
        ("asked", c_int64),
        ("which", c_void_p),
        ("logits", c_void_p),
    ]


class _Draws(Structure):
    _fields_ = [
        ("rows", c_int64),
        ("vocabulary", c_int64),
        *((name, c_void_p) for name in ("temperature", "top_p", "uniform", "told", "token", "logprob")),
    ]


class Packed:
    """x Wᵀ + b with the weight in the order the kernel reads it, bf16 in and out.

    halves: the outputs are two halves that belong together column by column (gate and up). coarse: weights of eight
    bits, with a scale for each 64 inputs of an output; what they multiply is then rounded alike.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, *, halves: bool = False, coarse: bool = False) -> None:
        outputs, inputs = weight.shape
        blocks_BOK = _blocks(weight, halves)
        self._kept: list[Tensor] = []
        self.struct = _Weight(outputs=outputs, inputs=inputs, blocks=len(blocks_BOK))
        self.struct.stride, self.struct.offset = (BLOCK // 2, outputs // 2) if halves else (BLOCK, BLOCK // 2)
        if coarse:
            self._pack_coarse(blocks_BOK)
        else:
            missing = -inputs % _STEP
            padded = functional.pad(blocks_BOK, (0, missing)) if missing else blocks_BOK
            self.struct.data = self._keep(_interleaved(padded, 2))
        if bias is not None:
            self.struct.bias = self._keep(bias.float())

    def _pack_coarse(self, blocks_BOK: Tensor) -> None:
        parts = [_coarse(part) for part in blocks_BOK.split(_BLOCKS_AT_ONCE)]
        data, scales, shift = (torch.cat(each) for each in zip(*parts, strict=True))
        self.struct.data, self.struct.scales, self.struct.shift = map(self._keep, (data, scales, shift))

    def _keep(self, tensor: Tensor) -> int:
        self._kept.append(tensor.contiguous())
        return self._kept[-1].data_ptr()

    def __call__(self, x: Tensor) -> Tensor:
        x = x.contiguous()
        n, inputs = x.numel() // x.shape[-1], x.shape[-1]
        y = x.new_empty(*x.shape[:-1], self.struct.outputs)
        scratch = torch.empty(n * (-(-inputs // _GROUP)) * (_GROUP + 4), dtype=torch.uint8)
        _call("product", ctypes.byref(self.struct), _at(x), c_int64(n), _at(y), _at(scratch))
        return y


def _coarse(blocks_BOK: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Whole numbers, scales and shifts as `Weight` of products.h has them."""
    padded = functional.pad(blocks_BOK.float(), (0, -blocks_BOK.shape[2] % _GROUP))
    groups_BOGK = padded.unflatten(2, (-1, _GROUP))
    scales_BOG = groups_BOGK.abs().amax(-1) / 127
    whole = (groups_BOGK / scales_BOG[..., None].clamp(min=1e-30)).round().to(torch.int8)
    shift_BOG = -128 * whole.sum(-1, dtype=torch.int32)
    return _interleaved(whole.flatten(2), 4), scales_BOG.transpose(1, 2), shift_BOG.transpose(1, 2)


def _blocks(weight: Tensor, halves: bool) -> Tensor:
    """(blocks, 32, inputs): outputs that are computed together."""
    half = BLOCK // 2
    pairs: Tensor = weight.unflatten(0, (2, -1, half)).transpose(0, 1) if halves else _whole_blocks(weight)
    return pairs.flatten(1, 2)


def _whole_blocks(weight: Tensor) -> Tensor:
    missing = -len(weight) % BLOCK  # a table of tokens is rarely short, and padding copies
    blocks: Tensor = (functional.pad(weight, (0, 0, 0, missing)) if missing else weight).unflatten(0, (-1, 1, BLOCK))
    return blocks


def _interleaved(blocks_BOK: Tensor, together: int) -> Tensor:
    """(blocks, K / together, 32, together)."""
    found: Tensor = blocks_BOK.unflatten(2, (-1, together)).transpose(1, 2)
    return found


class Layers:
    """All layers of a network, from embeddings to logits.

    layers: objects with the weights that `_Layer` names, products as `Packed`. turns: for each layer which of the
    rotations it takes, below 0 for none.
    """

    def __init__(self, shape: Any, layers: Sequence[Any], norm: Tensor, head: Packed, turns: Sequence[int]) -> None:
        self._kept: list[Any] = [layers, head]
        self._vocabulary = head.struct.outputs
        self._layers = (_Layer * len(layers))(
            *(self._layer(layer, turn, seen) for layer, turn, seen in zip(layers, turns, shape.window, strict=True))
        )
        self._model = _Model(
            layer=self._layers,
            norm=self._wide(norm),
            head=head.struct,
            layers=len(layers),
            hidden=head.struct.inputs,
            query_heads=shape.query_heads,
            key_heads=shape.key_heads,
            head_width=shape.head,
            inner=layers[0].down.packed.struct.inputs,
            eps=shape.eps,
            scale=shape.scale,
            norm_rounds_last=norm.dtype == torch.float32,
            gelu=shape.activation is not functional.silu,
        )

    def _layer(self, layer: Any, turn: int, window: int | None) -> _Layer:
        made = _Layer(turn=turn, window=window or 0)
        for name in _PRODUCTS:
            setattr(made, name, getattr(layer, name).packed.struct)
        for name in _NORMS:
            part: Tensor | None = getattr(layer, name)
            setattr(made, name, None if part is None else self._wide(part))
        return made

    def _wide(self, norm: Tensor) -> int:
        self._kept.append(norm.float().contiguous())
        return int(self._kept[-1].data_ptr())

    def __call__(
        self,
        x_NH: Tensor,
        pages: NDArray[np.int64],
        rows_N: Tensor,
        positions_N: Tensor,
        turns: Sequence[Tensor],
        which: Tensor,
    ) -> Tensor:
        """Logits after the tokens `which`; x_NH is overwritten. pages: where each row's begin (`cache.Pages.table`),
        which have room for row and position of each token. turns: cos, then sin, of each token, (N, D) float32, for
        each rotation.
        """
        logits = x_NH.new_empty(len(which), self._vocabulary)
        scratch = torch.empty(self._scratch(len(x_NH)), dtype=torch.uint8)
        tokens = _Tokens(
            count=len(x_NH),
            row=rows_N.data_ptr(),
            position=positions_N.data_ptr(),
            turn=(c_void_p * 2)(*(turn.data_ptr() for turn in turns)),
            x=x_NH.data_ptr(),
            pages=pages.ctypes.data,
            pages_a_row=pages.shape[1],
            scratch=scratch.data_ptr(),
            asked=len(which),
            which=which.data_ptr(),
            logits=logits.data_ptr(),
        )
        _call("step", ctypes.byref(self._model), ctypes.byref(tokens))
        return logits

    def _scratch(self, tokens: int) -> int:
        built = library()
        assert built is not None
        return int(built.scratch_bytes(ctypes.byref(self._model), c_int64(tokens)))


def choose(
    logits_SV: Tensor,
    temperature_S: Sequence[float],
    top_p_S: Sequence[float],
    uniform_S: Sequence[float] | NDArray[np.float64],
    told_S: Sequence[bool],
) -> tuple[list[int], list[float]]:
    """See `sampling.choose`: tokens, and log-probabilities where they are to be told."""
    logits_SV = logits_SV.contiguous()
    temperature, top_p = np.array(temperature_S, dtype=np.float32), np.array(top_p_S, dtype=np.float64)
    uniform = np.ascontiguousarray(uniform_S, dtype=np.float64)
    told, token = np.array(told_S, dtype=np.uint8), np.zeros(len(logits_SV), dtype=np.int64)
    logprob = np.full(len(logits_SV), np.nan, dtype=np.float32)
    arrays = (temperature, top_p, uniform, told, token, logprob)
    draws = _Draws(*logits_SV.shape, *(array.ctypes.data for array in arrays))
    kind = str(logits_SV.dtype).removeprefix("torch.")
    _call(f"choose_{kind}", _at(logits_SV), ctypes.byref(draws))
    return token.tolist(), logprob.tolist()


def _at(tensor: Tensor) -> c_void_p:
    return c_void_p(tensor.data_ptr())


def _call(name: str, *arguments: Any) -> None:
    """Calls a part on as many threads as torch uses; the interpreter goes on meanwhile."""
    getattr(library(), name)(*arguments, torch.get_num_threads())
