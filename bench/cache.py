"""What the cache costs an answer, in processor time, and the process in memory.

    python -m bench.cache                  100,000 answers of 120 words, kept, taken from the cache, exported, imported

A teacher that answers at once is asked in one step, which keeps every answer; a second step takes all of them from the
cache and makes an origin of each, as a recipe does; then the cache is handed to another workspace. Memory is the peak
of each phase's own process, with 1,000 answers and with all of them.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from bench.machine import save

from trueseed.core.canonical import digest
from trueseed.core.chat import Answer, Request, user
from trueseed.teachers.answers import handover
from trueseed.teachers.teacher import Teacher
from trueseed.terms.model import Use
from trueseed.workspace import Workspace

SOURCE = "own/at-once"
TEXT = "word " * 120


class AtOnce:
    """Answers in no time."""

    source = SOURCE

    def answers(self, requests: Iterable[Request | None]) -> Iterator[tuple[int, Answer]]:
        for position, request in enumerate(each for each in requests if each):
            text = f"{request.messages[0].content} {TEXT}"
            yield position, Answer(text=text, finish="stop", prompt_tokens=20, completion_tokens=160)

    def stream(self, request: Request) -> Iterator[str | Answer]:
        raise NotImplementedError


def questions(n: int) -> Iterator[Request]:
    return (Request(messages=user(f"question {i}"), seed=i) for i in range(n))


def bare(n: int, _folder: Path) -> None:
    """What is spent without any Teacher: making the requests, and their digests."""
    for request in questions(n):
        digest(request.to_json())
    for _ in AtOnce().answers(questions(n)):
        pass


def keep(n: int, folder: Path, *, name: str = "keep", origins: bool = False) -> None:
    workspace = Workspace.open(folder / "theirs", create=True)
    with workspace.step(name, ask={SOURCE: Use.TRAIN}) as step:
        teacher = Teacher(AtOnce(), step, identity={"model": "at once"})
        asked = list(questions(n)) if origins else []
        for position, _ in teacher.answers(asked or questions(n)):
            if origins:
                step.origin(source=SOURCE, request=digest(asked[position].to_json()))


def hit(n: int, folder: Path) -> None:
    keep(n, folder, name="hit")


def hit_with_origins(n: int, folder: Path) -> None:
    keep(n, folder, name="origins", origins=True)


def write(_n: int, folder: Path) -> None:
    handover.write(Workspace.open(folder / "theirs"), folder / "answers.jsonl")


def take(_n: int, folder: Path) -> None:
    key = Workspace.open(folder / "theirs").ledger.identity.operator
    handover.take(Workspace.open(folder / "ours", create=True), folder / "answers.jsonl", [key])


PHASES = {"bare": bare, "keep": keep, "hit": hit, "hit with origins": hit_with_origins, "export": write, "import": take}


def one(phase: str, n: int, folder: Path) -> None:
    began, wall = time.process_time(), time.perf_counter()
    PHASES[phase](n, folder)
    spent, wall = time.process_time() - began, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"phase": phase, "n": n, "cpu_us": spent / n * 1e6, "wall_us": wall / n * 1e6, "peak_mb": peak}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--keep-results", action="store_true")
    parser.add_argument("--phase", choices=PHASES)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.phase:
        one(given.phase, given.n, given.folder)
        return
    rows = []
    for n in (1_000, given.n):
        with tempfile.TemporaryDirectory() as folder:
            for phase in PHASES:
                command = [sys.executable, "-m", "bench.cache", "--phase", phase, "--n", str(n), "--folder", folder]
                env = {**os.environ, "TRUESEED_STATE": f"{folder}/state"}
                done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
                rows.append(json.loads(done.stdout))
                print("{phase:18} {n:7} answers  {cpu_us:6.0f} µs CPU  {peak_mb:5.0f} MB".format(**rows[-1]))
    if given.keep_results:
        save("cache", {"rows": rows})


if __name__ == "__main__":
    main()
