"""Asking a teacher behind an API: share of the allowed rate used, processor time beyond the bare SDK, memory.

    python -m bench.ask [--rounds 7] [--asks 100000]

The provider is the simulator, in its own process. Ours does all that it does in a run: terms and holds, a reservation
and a settlement under four limits, the journal, counts. `bare` is the openai SDK with as many calls under way and
nothing else.

Rate: 200 ms latency and a limit per minute that the provider's headers tell; counted after its bucket ran dry, since it
starts full. Processor time: of this process, bare and ours by turns, the medians' difference. Memory: resident set of a
process that asks and lets every answer go, when it had so many.
"""

import argparse
import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
from bench.machine import RESULTS, save

from trueseed.core.chat import ChatModel, Request, user
from trueseed.teachers.account.allowance import Allowance
from trueseed.teachers.account.holds import Holds
from trueseed.teachers.account.limits import Limit
from trueseed.teachers.account.state import Account, our_entity
from trueseed.teachers.api import wire
from trueseed.teachers.api.providers import Endpoint, Prices, provider
from trueseed.teachers.api.remote import Remote
from trueseed.teachers.simulator import Behaviour, simulator
from trueseed.teachers.teacher import Teacher
from trueseed.terms.model import Use
from trueseed.workspace import Workspace

KEPT = RESULTS / "ask.json"
SOURCE = "deepseek/deepseek-chat@api"
LATENCY_S = 0.2
AT_ONCE = 64
ALLOWED, A_MINUTE_S = 500, 10.0  # 50 a second, from a bucket that is small enough to be used up soon
DRY_S, COUNTED_S = 15.0, 40.0
MARKS = (1_000, 3_000, 10_000, 30_000, 60_000, 100_000)
LIMITS = [
    Limit(source="*", per="minute", requests=10_000_000),
    Limit(source="deepseek/*", per="day", requests=10_000_000, tokens=100_000_000_000),
    Limit(source="deepseek/*", per="month", micros=1_000_000_000_000),
    Limit(source=SOURCE, per="total", requests=100_000_000),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="of each side, for processor time")
    parser.add_argument("--calls", type=int, default=1000, help="in a round")
    parser.add_argument("--asks", type=int, default=MARKS[-1], help="in all, for memory")
    parser.add_argument("--only", choices=("rate", "processor", "memory"), help="one part; the others stay as kept")
    parser.add_argument("--print", action="store_true", help="print only, keep no result")
    parser.add_argument("--in-process", metavar="URL", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.in_process:
        return print(json.dumps(memory_here(given.in_process, given.asks)))
    parts = {
        "rate": rate,
        "processor": lambda: processor(given.rounds, given.calls),
        "memory": lambda: memory(given.asks),
    }
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    result = {name: kept[name] for name in parts if name in kept}
    for name in parts if given.only is None else (given.only,):
        result[name] = parts[name]()
        print(name, json.dumps(result[name], indent=1))
    if not given.print:
        print(save("ask", result))
    return None


# the three numbers


def rate() -> dict[str, Any]:
    behaviour = Behaviour(latency_s=LATENCY_S, requests_per_minute=ALLOWED, minute_s=A_MINUTE_S)
    with simulator(behaviour, process=True) as there, asking(there.openai) as teacher:
        began, counted = time.monotonic(), 0
        for _ in teacher.answers(questions(20_000)):
            passed = time.monotonic() - began
            if passed >= DRY_S + COUNTED_S:
                break
            counted += passed >= DRY_S
        refused = there.counts()["refused"]
    allowed = ALLOWED / A_MINUTE_S * COUNTED_S
    return {
        "latency_ms": LATENCY_S * 1000, "allowed_a_second": ALLOWED / A_MINUTE_S, "seconds": COUNTED_S,
        "answered": counted, "share_of_allowed": round(counted / allowed, 4), "refused_by_provider": refused,
    }  # fmt: skip


def processor(rounds: int, calls: int) -> dict[str, Any]:
    """Milliseconds of processor time a call."""
    found: dict[str, list[float]] = {"bare": [], "trueseed": []}
    with simulator(Behaviour(latency_s=LATENCY_S), process=True) as there, asking(there.openai) as teacher:
        for turn in range(-1, rounds):  # the first opens connections and is not counted
            asked = list(questions(calls, start=(turn + 1) * calls))
            for name, answer in (("bare", lambda these: bare(there.openai, these)), ("trueseed", teacher.answers)):
                gc.collect()
                before = time.process_time()
                got = sum(1 for _ in answer(asked))
                spent = time.process_time() - before
                if got != calls:
                    sys.exit(f"{name} answered {got} of {calls}")
                if turn >= 0:
                    found[name].append(round(spent / calls * 1000, 3))
    middle = {name: statistics.median(each) for name, each in found.items()}
    return {
        "latency_ms": LATENCY_S * 1000, "at_once": AT_ONCE, "calls_a_round": calls, "ms_a_call": found,
        "median_ms_a_call": middle, "beyond_bare_ms": round(middle["trueseed"] - middle["bare"], 3),
    }  # fmt: skip


def memory(asks: int) -> dict[str, Any]:
    quick = Behaviour(answer_words=4, answer_words_spread=4)
    with simulator(quick, process=True) as there:
        words = [sys.executable, "-m", "bench.ask", "--in-process", there.openai, "--asks", str(asks)]
        said = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


def memory_here(url: str, asks: int) -> dict[str, Any]:
    """Of this process, in MiB, when so many answers had come."""
    resident: dict[str, float] = {}
    began = time.monotonic()
    with asking(url) as teacher:
        for number, _ in enumerate(teacher.answers(questions(asks)), start=1):
            if number in MARKS or number == asks:
                resident[str(number)] = _status("VmRSS")
                print(f"  {number} answers, {resident[str(number)]} MiB", file=sys.stderr, flush=True)
    seconds = time.monotonic() - began
    numbers = list(resident.values())
    return {
        "resident_mib": resident, "peak_mib": _status("VmHWM"), "last_over_first": round(numbers[-1] / numbers[0], 3),
        "calls_a_second": round(asks / seconds, 1), "processor_ms_a_call": round(time.process_time() / asks * 1000, 3),
    }  # fmt: skip


# who is asked


@contextmanager
def asking(url: str) -> Iterator[ChatModel]:
    """A teacher in a step of a workspace and an account of its own."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRUESEED_STATE"] = f"{folder}/state"
        endpoint = Endpoint(
            source=SOURCE,
            model="simulated",
            base_url=url,
            price=Prices(input=1.0, output=2.0),
            at_once=AT_ONCE,
        )
        workspace = Workspace.open(Path(folder) / "work", create=True)
        account = Account.open()
        allowance, holds = Allowance(account, LIMITS, our_entity()), Holds(account, our_entity())
        with (
            workspace.step("generate", ask={SOURCE: Use.TRAIN}) as step,
            Remote(endpoint, step, allowance=allowance, holds=holds) as remote,
        ):
            yield Teacher(remote, step)


def bare(url: str, requests: list[Request]) -> list[str]:
    """The SDK alone: as many calls under way, nothing reserved, nothing kept."""
    known = provider(Endpoint(source=SOURCE))

    async def all_of_them() -> list[str]:
        left, said = iter(requests), []
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

            async def one_after_another() -> None:
                for request in left:
                    body = wire.body(request, model="simulated", provider=known)
                    answer = await client.chat.completions.create(**body)
                    said.append(answer.choices[0].message.content or "")

            await asyncio.gather(*(one_after_another() for _ in range(AT_ONCE)))
        return said

    return asyncio.run(all_of_them())


def questions(n: int, start: int = 0) -> Iterator[Request]:
    """Each another one, of about 300 characters."""
    for number in range(start, start + n):
        words = "Name three things that float, and say why each of them does, in a sentence of its own. " * 3
        yield Request(messages=user(f"{words} Question {number}."), max_tokens=64, seed=number)


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024, 1)


if __name__ == "__main__":
    main()
