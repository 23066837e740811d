"""What the gateway adds to a call, and how many it carries, beside LiteLLM's proxy.

    python -m bench.gateway [--litellm PATH/TO/litellm] [--seconds 30]

Needs Debian's `hey` and `wrk`. Latency: hey with 50 clients at 2 requests a second each, straight to a provider that
takes 200 ms and through the gateway, by turns; added is the difference of the quantiles. hey's clients tick together,
so calls come in bursts of 50, and the last of a burst waits for the processor time of the others. Saturation: wrk with
64 connections against a provider that takes no time, the gateway and LiteLLM by turns. The gateway does all that it
does in use: key, terms, holds, a limit, two commits a call, journal, memory of answers. LiteLLM runs as its
documentation shows, without a database: it counts and keeps nothing.
"""

import argparse
import csv
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from bench.machine import save

from trueseed.access.keys import Grant, Keys
from trueseed.teachers.account import Account
from trueseed.teachers.simulator import Behaviour, simulator
from trueseed.terms.model import Use

SOURCE = "deepseek/deepseek-chat@api"
CLIENTS, EACH_PER_S, CONNECTIONS = 50, 2, 64
ROUNDS = 3
UPSTREAM_S = 0.2
PATIENCE_S = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--litellm", help="its command, in an environment of its own")
    parser.add_argument("--seconds", type=int, default=30, help=f"of each measurement, in {ROUNDS} rounds")
    parser.add_argument("--print", action="store_true", help="print only, keep no result")
    given = parser.parse_args()
    for tool in ("hey", "wrk"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is not installed; apt-get install hey wrk")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRUESEED_STATE"] = f"{folder}/state"
        result = {"latency": latency(Path(folder), given.seconds)}
        result["saturation"] = saturation(Path(folder), given.seconds, given.litellm)
    print(json.dumps(result, indent=1))
    if not given.print:
        print(save("gateway", result))


def latency(folder: Path, seconds: int) -> dict[str, Any]:
    """Milliseconds, the median over the rounds of each quantile."""
    with simulator(Behaviour(latency_s=UPSTREAM_S), process=True) as provider, gateway(folder, provider.openai) as ours:
        roads = {"straight": Road(provider.openai, "simulated", "sk-any"), "gateway": ours}
        found: dict[str, list[dict[str, float]]] = {name: [] for name in roads}
        for road in roads.values():
            hey(road, folder, 3)  # the first call opens a step, and connections
        for _ in range(ROUNDS):
            for name, road in roads.items():
                found[name].append(hey(road, folder, seconds))
    middle = {
        name: {quantile: statistics.median(round_[quantile] for round_ in rounds) for quantile in rounds[0]}
        for name, rounds in found.items()
    }
    added = {
        quantile: round(middle["gateway"][quantile] - middle["straight"][quantile], 2) for quantile in ("p50", "p99")
    }
    return {"upstream_ms": UPSTREAM_S * 1000, "clients": CLIENTS, **middle, "added_ms": added}


def saturation(folder: Path, seconds: int, litellm: str | None) -> dict[str, Any]:
    """Answers a second, by round."""
    with ExitStack() as stack:
        provider = stack.enter_context(simulator(Behaviour(), process=True))
        roads = {"gateway": stack.enter_context(gateway(folder, provider.openai))}
        if litellm:
            roads["litellm"] = stack.enter_context(proxy(folder, provider.openai, litellm))
        found: dict[str, list[float]] = {name: [] for name in roads}
        for road in roads.values():
            wrk(road, folder, 3)
        for _ in range(ROUNDS):
            for name, road in roads.items():
                found[name].append(wrk(road, folder, seconds))
    result: dict[str, Any] = {"connections": CONNECTIONS, "answers_per_s": found}
    if litellm:
        result["ratio"] = round(statistics.median(found["gateway"]) / statistics.median(found["litellm"]), 2)
    return result


class Road:
    """Somewhere to ask. base: address up to `/v1`."""

    def __init__(self, base: str, model: str, key: str) -> None:
        self.url, self.key = f"{base}/chat/completions", key
        question = {"role": "user", "content": "Name three things that float, and say why each of them does. " * 4}
        self.body = json.dumps({"model": model, "messages": [question], "max_tokens": 64})


@contextmanager
def gateway(folder: Path, upstream: str) -> Iterator[Road]:
    config = folder / "gateway.yaml"
    endpoint = {"source": SOURCE, "model": "simulated", "base_url": upstream, "price": {"input": 1, "output": 1}}
    limit = {"source": "*", "per": "minute", "requests": 10_000_000}
    config.write_text(json.dumps({"upstreams": [endpoint], "limits": [limit]}))
    grant = Grant(owner="bench", project="bench", uses=frozenset({Use.JUDGE}))
    key = Keys(Account.open()).issue(grant).token
    command = [sys.executable, "-m", "trueseed", "gateway", "--port", "0", "--config", str(config)]
    with subprocess.Popen([*command, "-w", str(folder / "work")], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        address = process.stderr.readline().split()[2]
        try:
            yield Road(f"{address}/v1", SOURCE, key)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)


@contextmanager
def proxy(folder: Path, upstream: str, command: str, port: int = 8123) -> Iterator[Road]:
    """LiteLLM's proxy, with one worker as the gateway has one."""
    params = {"model": "openai/simulated", "api_base": upstream, "api_key": "sk-any"}
    config = folder / "litellm.yaml"
    config.write_text(json.dumps({"model_list": [{"model_name": "simulated", "litellm_params": params}]}))
    words = [command, "--config", str(config), "--port", str(port), "--host", "127.0.0.1", "--num_workers", "1"]
    quiet = {**os.environ, "LITELLM_LOG": "ERROR"}
    with subprocess.Popen(words, env=quiet, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(f"http://127.0.0.1:{port}/health/liveliness")
            yield Road(f"http://127.0.0.1:{port}/v1", "simulated", "sk-any")
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def hey(road: Road, folder: Path, seconds: int) -> dict[str, float]:
    """Quantiles in milliseconds. Exits when a call was not answered: a refusal is faster than an answer."""
    body = folder / "body.json"
    body.write_text(road.body)
    words = ["hey", "-z", f"{seconds}s", "-c", str(CLIENTS), "-q", str(EACH_PER_S), "-m", "POST", "-o", "csv"]
    words += ["-T", "application/json", "-H", f"Authorization: Bearer {road.key}", "-D", str(body), road.url]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    rows = list(csv.DictReader(said.splitlines()))
    if wrong := [row for row in rows if row["status-code"] != "200"]:
        sys.exit(
            f"{len(wrong)} of {len(rows)} calls to {road.url} were not answered, one with {wrong[0]['status-code']}"
        )
    times = sorted(float(row["response-time"]) * 1000 for row in rows)
    quantiles = statistics.quantiles(times, n=100)
    return {"p50": round(quantiles[49], 2), "p99": round(quantiles[98], 2), "calls": len(times)}


def wrk(road: Road, folder: Path, seconds: int) -> float:
    """Answers a second. Exits when one was an error."""
    script = folder / "post.lua"
    script.write_text(
        'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        f'wrk.headers["Authorization"] = "Bearer {road.key}"\nwrk.body = [[{road.body}]]\n'
        "done = function(s, l, r) io.write(string.format('%d %d %d\\n', s.requests, s.errors.status, s.duration)) end\n"
    )
    words = ["wrk", "-t2", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s", "-s", str(script), road.url]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    requests, errors, micros = map(int, said.splitlines()[-1].split())
    if errors:
        sys.exit(f"{errors} of {requests} calls to {road.url} were refused")
    return round(requests / micros * 1e6, 1)


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            with urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.2)
    sys.exit(f"{url} did not open within {PATIENCE_S} s")


if __name__ == "__main__":
    main()
