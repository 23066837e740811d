"""Where weights are computed: on CUDA when present, else on the processor.

    chosen()                the usual one
    chosen("cpu")           as it is named

CUDA is **untested**: what is here for it was written and type-checked and never ran on one. So whoever computes there
is told, once a process.
"""

import functools
import logging

import torch

_log = logging.getLogger(__name__)


def chosen(name: str | torch.device | None = None) -> torch.device:
    """name: as torch names it, with a number where there are several; the usual one if left out."""
    device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda":
        _say_untested()
    return device


@functools.cache
def _say_untested() -> None:
    _log.warning(
        "computing on CUDA, which is untested: nothing here was ever run on one. Compare a short run with the same on "
        "the processor, which an empty CUDA_VISIBLE_DEVICES chooses"
    )
