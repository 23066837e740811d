"""What the gateway adds to a call, and how many it carries, beside LiteLLM's proxy.

    python -m bench.gateway [--litellm PATH/TO/litellm] [--seconds 10] [--rounds 5]

Needs Debian's `hey` and `wrk`, and takes PostgreSQL besides SQLite where Debian's is installed, each with one worker
and with two. Latency: hey with 50 clients at 2 requests a second each, straight to a provider that takes 200 ms and
through each proxy, by turns; added is the difference of the quantiles in a round, its median over the rounds. hey's
clients tick together, so calls come in bursts of 50, and the last of a burst waits for the processor time of the
others. Saturation: wrk with 64 connections against a provider that takes no time, by turns.

The gateway does all that it does in use: key, terms, holds, a limit, reservation and settlement committed, journal,
memory of answers. LiteLLM runs as its documentation shows, without a database: it counts and keeps nothing. Everything
(hey or wrk, the provider, the proxies) shares the machine's processors.
"""

import argparse
import csv
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.request import urlopen

from bench.machine import save

from trueseed.access.keys import Grant, Keys
from trueseed.teachers.account.state import Account
from trueseed.terms.model import Use

SOURCE = "deepseek/deepseek-chat@api"
CLIENTS, EACH_PER_S, CONNECTIONS = 50, 2, 64
UPSTREAM_S = 0.2
WARM_S = 3  # the first calls open a step, and connections
PATIENCE_S = 120
QUESTION = {"role": "user", "content": "Name three things that float, and say why each of them does. " * 4}
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Road:
    """Somewhere to ask. base: address up to `/v1`. pid: of the process whose time is counted, with its children's."""

    base: str
    model: str
    key: str
    pid: int

    @property
    def url(self) -> str:
        return f"{self.base}/chat/completions"

    @property
    def body(self) -> str:
        return json.dumps({"model": self.model, "messages": [QUESTION], "max_tokens": 64})

    @property
    def processor_s(self) -> float:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return sum(_ticks(pid) for pid in (str(self.pid), *children)) / TICKS_PER_S


def _ticks(pid: str) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--litellm", default=os.environ.get("TRUESEED_LITELLM"), help="its command, in an environment of its own"
    )
    parser.add_argument("--seconds", type=int, default=10, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--print", action="store_true", help="print only, keep no result")
    given = parser.parse_args()
    for tool in ("hey", "wrk"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is not installed; apt-get install hey wrk")
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        folder = Path(name)
        os.environ["TRUESEED_STATE"] = f"{name}/state"
        server = stack.enter_context(postgresql()) if _postgresql_binaries() else None
        result: dict[str, Any] = {"seconds": given.seconds, "rounds": given.rounds}
        with roads(folder, UPSTREAM_S, server, given.litellm) as open_:
            result["latency"] = latency(open_, folder, given.seconds, given.rounds)
        with roads(folder, 0, server, given.litellm) as open_:
            result["saturation"] = saturation(open_, folder, given.seconds, given.rounds)
    print(json.dumps(result, indent=1))
    if not given.print:
        print(save("gateway", result))


def latency(open_: dict[str, Road], folder: Path, seconds: int, rounds: int) -> dict[str, Any]:
    """Milliseconds: of each road the quantiles by round, and what it adds to the straight one."""
    found = by_turns(open_, rounds, lambda road: hey(road, folder, seconds), lambda road: hey(road, folder, WARM_S))
    added = {name: _added(each, found["straight"]) for name, each in found.items() if name != "straight"}
    return {"upstream_ms": UPSTREAM_S * 1000, "clients": CLIENTS, "added_ms": added, "by_round": found}


def _added(through: list[dict[str, float]], straight: list[dict[str, float]]) -> dict[str, float]:
    pairs = list(zip(through, straight, strict=True))
    return {name: round(statistics.median(a[name] - b[name] for a, b in pairs), 2) for name in ("p50", "p99")}


def saturation(open_: dict[str, Road], folder: Path, seconds: int, rounds: int) -> dict[str, Any]:
    """Answers a second, by round."""
    found = by_turns(open_, rounds, lambda road: wrk(road, folder, seconds), lambda road: wrk(road, folder, WARM_S))
    middle = {name: statistics.median(each["answers_per_s"] for each in rounds_) for name, rounds_ in found.items()}
    result: dict[str, Any] = {"connections": CONNECTIONS, "answers_per_s": middle, "by_round": found}
    if "litellm" in middle:
        result["times_litellm"] = {
            name: round(rate / middle["litellm"], 1) for name, rate in middle.items() if name.startswith("gateway")
        }
    return result


def by_turns(
    open_: dict[str, Road],
    rounds: int,
    measure: Callable[[Road], dict[str, float]],
    warm: Callable[[Road], object],
) -> dict[str, list[dict[str, float]]]:
    found: dict[str, list[dict[str, float]]] = {name: [] for name in open_}
    for road in open_.values():
        warm(road)
    for _ in range(rounds):
        for name, road in open_.items():
            before = road.processor_s
            said = measure(road)
            said["processor_ms_a_call"] = round((road.processor_s - before) * 1000 / said["calls"], 3)
            found[name].append(said)
            print(name, said, file=sys.stderr, flush=True)
    return found


@contextmanager
def roads(folder: Path, latency_s: float, server: str | None, litellm: str | None) -> Iterator[dict[str, Road]]:
    """Straight to a provider and through every proxy that there is, all open at once."""
    with ExitStack() as stack:
        straight = stack.enter_context(provider(latency_s))
        open_ = {"straight": straight}
        for name, account in {"gateway": None, **({"gateway_postgresql": server} if server else {})}.items():
            open_[name] = stack.enter_context(gateway(folder, straight.base, account))
            two = gateway(folder, straight.base, account, workers=2)
            open_[f"{name}_2_workers"] = stack.enter_context(two)
        if litellm:
            open_["litellm"] = stack.enter_context(proxy(folder, straight.base, litellm))
        yield open_


@contextmanager
def provider(latency_s: float) -> Iterator[Road]:
    port = _free_port()
    words = [sys.executable, "-m", "bench.provider", str(port), str(latency_s)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield Road(f"http://127.0.0.1:{port}/v1", "simulated", "sk-any", process.pid)
        finally:
            process.terminate()


@contextmanager
def gateway(folder: Path, upstream: str, account: str | None, workers: int = 1) -> Iterator[Road]:
    """account: a database URL; None is SQLite in a file of its own."""
    place = Path(tempfile.mkdtemp(dir=folder))
    account = account or f"sqlite:///{place / 'account.db'}"
    config = place / "gateway.yaml"
    endpoint = {"source": SOURCE, "model": "simulated", "base_url": upstream, "price": {"input": 1, "output": 1}}
    limit = {"source": "*", "per": "minute", "requests": 10_000_000}
    said = {"upstreams": [endpoint], "limits": [limit], "account": account}
    config.write_text(json.dumps(said))
    grant = Grant(owner="bench", project="bench", uses=frozenset({Use.JUDGE}), budget_micros=10**12)
    key = Keys(Account.open(account)).issue(grant).token
    command = [sys.executable, "-m", "trueseed", "gateway", "--port", "0", "--config", str(config)]
    command += ["--workers", str(workers)]
    with subprocess.Popen([*command, "-w", str(place / "work")], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        address = process.stderr.readline().split()[2]
        try:
            yield Road(f"{address}/v1", SOURCE, key, process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)


@contextmanager
def proxy(folder: Path, upstream: str, command: str) -> Iterator[Road]:
    """LiteLLM's proxy, with one worker as the gateway has one."""
    port = _free_port()
    params = {"model": "openai/simulated", "api_base": upstream, "api_key": "sk-any"}
    config = folder / "litellm.yaml"
    key = f"sk-{token_hex(24)}"  # without a strong one it does not start
    models = [{"model_name": "simulated", "litellm_params": params}]
    config.write_text(json.dumps({"model_list": models, "general_settings": {"master_key": key}}))
    words = [command, "--config", str(config), "--port", str(port), "--host", "127.0.0.1", "--num_workers", "1"]
    quiet = {**os.environ, "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # no look-up at GitHub
    with subprocess.Popen(words, env=quiet, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(f"http://127.0.0.1:{port}/health/liveliness")
            yield Road(f"http://127.0.0.1:{port}/v1", "simulated", key, process.pid)
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


@contextmanager
def postgresql() -> Iterator[str]:
    """URL of an empty database on a server of its own, as Debian sets one up: a commit waits for the disk."""
    folder = Path(tempfile.mkdtemp(prefix="bench-pg-"))  # a socket's path must be short
    user: dict[str, Any] = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        shutil.chown(folder, "postgres")
        user = {"user": "postgres", "cwd": "/"}
    data, binaries, hidden = str(folder / "data"), _postgresql_binaries(), subprocess.DEVNULL
    subprocess.run(
        [f"{binaries}/initdb", "-D", data, "-A", "trust", "-U", "trueseed"], stdout=hidden, check=True, **user
    )
    words = [f"{binaries}/postgres", "-D", data, "-k", str(folder), "-c", "listen_addresses="]
    with subprocess.Popen(words, stderr=hidden, **user) as server:
        try:
            while not (folder / ".s.PGSQL.5432").exists() and server.poll() is None:
                time.sleep(0.1)
            time.sleep(1)
            yield f"postgresql://trueseed@/postgres?host={folder}"
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(PATIENCE_S)
            shutil.rmtree(folder, ignore_errors=True)


def _postgresql_binaries() -> Path | None:
    every = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return every[-1].parent if every else None


def hey(road: Road, folder: Path, seconds: int) -> dict[str, float]:
    """Quantiles in milliseconds. Exits when a call was not answered: a refusal is faster than an answer."""
    body = folder / "body.json"
    body.write_text(road.body)
    words = ["hey", "-z", f"{seconds}s", "-c", str(CLIENTS), "-q", str(EACH_PER_S), "-m", "POST", "-o", "csv"]
    words += ["-T", "application/json", "-H", f"Authorization: Bearer {road.key}", "-D", str(body), road.url]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    rows = list(csv.DictReader(said.splitlines()))
    if not rows:
        sys.exit(f"{road.url} answered nothing")
    if wrong := [row for row in rows if row["status-code"] != "200"]:
        sys.exit(
            f"{len(wrong)} of {len(rows)} calls to {road.url} were not answered, one with {wrong[0]['status-code']}"
        )
    times = sorted(float(row["response-time"]) * 1000 for row in rows)
    quantiles = statistics.quantiles(times, n=100)
    return {"p50": round(quantiles[49], 2), "p99": round(quantiles[98], 2), "calls": len(times)}


def wrk(road: Road, folder: Path, seconds: int) -> dict[str, float]:
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
    return {"answers_per_s": round(requests / micros * 1e6, 1), "calls": requests}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        return int(opened.getsockname()[1])


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
