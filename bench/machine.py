"""What a number was measured on, written beside every result."""

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


def machine() -> dict[str, Any]:
    """Processor, memory, versions, and how busy the machine was (one-minute load average) when asked."""
    import torch
    import transformers

    processor = _lines(Path("/proc/cpuinfo"), "model name") or platform.processor()
    flags = set(_lines(Path("/proc/cpuinfo"), "flags").split())
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "instructions": [flag for flag in _FLAGS if flag in flags],
        "memory": _lines(Path("/proc/meminfo"), "MemTotal"),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "measured_on": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def save(name: str, result: dict[str, Any]) -> Path:
    """Writes `bench/results/<name>.json` with the machine's facts; returns where."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **result}, indent=1, ensure_ascii=False) + "\n")
    return path


def _lines(path: Path, name: str) -> str:
    if not path.exists():
        return ""
    found = (line for line in path.read_text().splitlines() if line.startswith(name))
    return next(found, ":").split(":", 1)[1].strip()
