"""Which type weights are computed in.

The name is what a run file says, long before weights are held, so torch is imported when a type is asked for.

`auto` is bfloat16 where the hardware multiplies it natively, else float32: without such instructions every product of
bfloat16 is widened first, which was seven times slower than float32 on a processor with AVX2 alone (docs/log.md).
"""

from typing import TYPE_CHECKING, Literal

from trueseed.errors import ConfigError

if TYPE_CHECKING:
    import torch

Arithmetic = Literal["auto", "bfloat16", "float32"]
Weights = Literal["exact", "int8"]

# Names of `torch.cpu.get_capabilities()`: AVX-512, AVX10 and AMX on x86, the bf16 extension of ARMv8.6.
_NATIVE = ("avx512_bf16", "avx10_1", "amx_bf16", "bf16")


def named(name: str, device: "str | torch.device | None" = None) -> "torch.dtype":
    """The type that `name` means on `device` (`device.chosen`, when left out). Raises `ConfigError` for another."""
    import torch

    if name == "auto":
        from trueseed.lm.device import chosen

        return torch.bfloat16 if _native(chosen(device)) else torch.float32
    if name not in ("bfloat16", "float32"):
        raise ConfigError(f"weights are computed in auto, bfloat16 or float32, not {name!r}")
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def _native(device: "torch.device") -> bool:
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    able = torch.cpu.get_capabilities()
    return any(able.get(name) for name in _NATIVE)
