"""A contender of `bench/decode.py`, in a process and an environment of its own: weights in, orders on standard input.

    python bench/speak.py transformers FOLDER '{"batch": 64}'

An order is a line of JSON: {"prompts": [[token, …], …], "new": [n, …], "temperature": 0.8, "top_p": 0.95}; all its
prompts are there at once. The answer is one too: how many tokens were spoken (ends included, padding not), seconds of
wall clock and of processor time, and the most memory that was held so far.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Order = dict[str, Any]
Speak = Callable[[Order], int]


def trueseed(folder: str, how: dict[str, Any]) -> Speak:
    """Ours. how: slots, weights, deterministic."""
    from pathlib import Path

    from trueseed.core.chat import Request, user
    from trueseed.lm.engine import Engine

    engine = Engine(Path(folder), "bench/smollm2@weights", **how)
    given: list[list[int]] = []
    engine.format.prompt = lambda messages: given[int(messages[-1].content)]  # type: ignore[method-assign]

    def speak(order: Order) -> int:
        engine.forget()  # prompts of the turn before would be remembered; no other contender is allowed that
        given[:] = order["prompts"]
        sampled = {"temperature": order["temperature"], "top_p": order["top_p"]}
        requests = (
            Request(messages=user(str(i)), max_tokens=new, seed=i, **sampled) for i, new in enumerate(order["new"])
        )
        return sum(answer.completion_tokens for _, answer in engine.answers(requests))

    return speak


def transformers(folder: str, how: dict[str, Any]) -> Speak:
    """`generate` over left-padded batches of prompts that want about as many tokens. how: batch."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    ends = model.generation_config.eos_token_id
    end = ends[0] if isinstance(ends, list) else ends

    def some(order: Order, chosen: list[int]) -> int:
        prompts, new = [order["prompts"][at] for at in chosen], torch.tensor([order["new"][at] for at in chosen])
        width = max(map(len, prompts))
        ids = torch.tensor([[end] * (width - len(prompt)) + prompt for prompt in prompts])
        attend = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        sampled = {"temperature": order["temperature"], "top_p": order["top_p"], "top_k": 0}
        said = model.generate(
            ids,
            attention_mask=attend,
            max_new_tokens=int(new.max()),
            do_sample=order["temperature"] > 0,
            pad_token_id=end,
            **(sampled if order["temperature"] > 0 else {}),
        )[:, width:]
        ended = (said == end).int()
        return int((ended.cumsum(-1) - ended == 0).sum(-1).minimum(new).sum())  # up to the first end, it included

    def speak(order: Order) -> int:
        by_length = sorted(range(len(order["new"])), key=order["new"].__getitem__)
        batches = [by_length[at : at + how["batch"]] for at in range(0, len(by_length), how["batch"])]
        return sum(some(order, batch) for batch in batches)

    return speak


def llama_cpp(folder: str, how: dict[str, Any]) -> Speak:
    """The server of xllamacpp over the GGUF file that our weights were converted from. how: at_once."""
    import xllamacpp

    asked = xllamacpp.CommonParams()
    asked.model.path = folder
    asked.n_parallel = how["at_once"]
    asked.n_ctx = 512 * how["at_once"]
    asked.cpuparams.n_threads = asked.cpuparams_batch.n_threads = os.cpu_count() or 1
    asked.cache_prompt = False
    asked.verbosity = -1
    server = xllamacpp.Server(asked)

    def one(prompt: list[int], new: int, order: Order) -> int:
        sampled = {"temperature": order["temperature"], "top_p": order["top_p"], "top_k": 0, "min_p": 0.0}
        body = {"prompt": prompt, "n_predict": new, "cache_prompt": False, **sampled}
        return int(server.handle_completions(body)["usage"]["completion_tokens"])

    def speak(order: Order) -> int:
        with ThreadPoolExecutor(how["at_once"]) as pool:
            return sum(pool.map(lambda pair: one(*pair, order), zip(order["prompts"], order["new"], strict=True)))

    return speak


def vllm(folder: str, how: dict[str, Any]) -> Speak:
    """vLLM for CPUs. how: at_once, 1 or as many as it takes (128)."""
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")  # GB
    os.environ.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", "0")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # in this process, so that its memory is counted
    from vllm import LLM, SamplingParams

    model = LLM(model=folder, dtype="bfloat16", max_model_len=1024, max_num_seqs=128, disable_log_stats=True)

    def some(prompts: list[list[int]], new: list[int], order: Order) -> int:
        sampled = {"temperature": order["temperature"], "top_p": order["top_p"], "detokenize": False}
        params = [SamplingParams(max_tokens=most, **sampled) for most in new]
        asked = [{"prompt_token_ids": prompt} for prompt in prompts]
        return sum(len(said.outputs[0].token_ids) for said in model.generate(asked, params, use_tqdm=False))

    def speak(order: Order) -> int:
        prompts, new = order["prompts"], order["new"]
        if how["at_once"] > 1:
            return some(prompts, new, order)
        return sum(some([prompt], [most], order) for prompt, most in zip(prompts, new, strict=True))

    return speak


def main() -> None:
    name, folder, how = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    speak = {"trueseed": trueseed, "transformers": transformers, "llama.cpp": llama_cpp, "vllm": vllm}[name](
        folder, json.loads(how)
    )
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        wall, processor = time.perf_counter(), time.process_time()
        tokens = speak(json.loads(line))
        told = {"tokens": tokens, "seconds": time.perf_counter() - wall, "processor": time.process_time() - processor}
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({**told, "most_memory_mb": round(most)}), file=answers, flush=True)


if __name__ == "__main__":
    main()
