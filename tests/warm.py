"""`trueseed` as a process of its own, forked from one that has torch and the rest loaded already.

    done = trueseed("run", path, "--workspace", work)         # as `subprocess.run` tells it
    running = Command("run", path, "--workspace", work)       # to be killed or interrupted on its way

A command then costs what it does, not the seconds of processor time that imports take. All else is as after a cold
start: memory, environment, output, signals and exit code are its own, and a kill takes it as it takes any process.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

LOADED = (
    "trueseed.pipeline",
    "trueseed.exchange.known",
    "trueseed.lm.engine",
    "trueseed.train.sft",
    "trueseed.evaluate.stats",
    "datasketch",
    "pandas",  # which Arrow imports where it is installed
    "pyarrow.parquet",
    "scipy.stats",
    "transformers.models.llama.modeling_llama",
)
ENV = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}

_context = multiprocessing.get_context("forkserver")


class Command:
    """Runs from the moment it is made."""

    def __init__(self, *words: str | Path, env: Mapping[str, str] | None = None) -> None:
        self.words = list(map(str, words))
        self._folder = tempfile.TemporaryDirectory()
        self._said = tuple(Path(self._folder.name) / name for name in ("out", "err"))
        for path in self._said:
            path.touch()
        load()
        given = {**os.environ, **ENV, **(env or {})}
        self._process: Any = _context.Process(target=_run, args=(self.words, given, Path.cwd(), self._said))
        self._process.start()

    @property
    def is_running(self) -> bool:
        return bool(self._process.is_alive())

    def reaches(self, seconds: float) -> bool:
        """Waits until it took so much processor time, which other work does not stretch. False: it ended before."""
        ticks = os.sysconf("SC_CLK_TCK")
        while self.is_running:
            with suppress(FileNotFoundError, ProcessLookupError):
                user, system = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
                if (int(user) + int(system)) / ticks >= seconds:
                    return True
            time.sleep(0.005)
        return False

    def send(self, number: signal.Signals) -> None:
        """Unless it ended by itself meanwhile."""
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, number)

    def done(self) -> subprocess.CompletedProcess[str]:
        """What it said, once it ended."""
        self._process.join()
        out, err = (path.read_text() for path in self._said)
        self._folder.cleanup()
        return subprocess.CompletedProcess(self.words, self._process.exitcode, out, err)


def trueseed(*words: str | Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """env: on top of this process's own."""
    return Command(*words, env=env).done()


@cache
def load() -> None:
    """Starts the process that others are forked from. Torch reads the environment as it is loaded, and what forks must
    have no threads.
    """
    before = dict(os.environ)
    os.environ.update(ENV)
    _context.set_forkserver_preload(list(LOADED))
    forkserver.ensure_running()
    os.environ.clear()
    os.environ.update(before)


def _run(words: Sequence[str], env: Mapping[str, str], where: Path, said: Sequence[Path]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    os.environ.clear()
    os.environ.update(env)
    os.chdir(where)
    for descriptor, path in enumerate(said, start=1):
        os.dup2(os.open(path, os.O_WRONLY), descriptor)
    from trueseed.cli import main

    sys.argv = ["trueseed", *words]
    main()
