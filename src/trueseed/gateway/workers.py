"""Several processes on one port, each a gateway of its own: steps, journals and connections are a worker's, while the
account, the workspace and the port are shared.

    serve(folder, config, host="127.0.0.1", port=8100, workers=2)

What holds for one process holds over all: keys, budgets, limits and holds stand in the account, recalls in the ledger,
and what one process counts by itself (`in_flight`) is divided among them. `/metrics` tells the sum, whichever answers.

A worker that dies leaves what a killed gateway leaves: its calls in flight are unknown and charged, and whoever takes
its place seals what it journalled. One that cannot begin ends all of them, since the next could not either; one that
is killed as it begins is replaced.
"""

import logging
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from socket import socket
from typing import Any, Literal

import uvicorn
from prometheus_client import multiprocess

from trueseed.access import listen
from trueseed.errors import Broken, ConfigError, Paused, Refused, TrueSeedError
from trueseed.gateway import offer
from trueseed.gateway.metrics import FOLDER
from trueseed.gateway.settings import Config
from trueseed.workspace import Workspace

Order = Literal["end", "now"]
_READY = "ready"
MOST_KILLED = 8  # while they begin, before it is given up
_MEMORY = Path("/dev/shm")  # a file system in memory, if there is one
_PROCESSES = multiprocessing.get_context("spawn")  # a fork would inherit locks in whatever state they are
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Duty:
    """What a worker is told when it begins. config: its part. hosts: names that it answers to."""

    folder: Path
    config: Config
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a worker cannot go on: what its error says, and with which code it exits."""

    message: str
    exit_code: int

    def error(self) -> TrueSeedError:
        kinds = {kind.exit_code: kind for kind in (Refused, Broken, ConfigError, Paused)}
        return kinds.get(self.exit_code, TrueSeedError)(f"a worker could not begin: {self.message}")


def serve(workspace: Workspace, config: Config, *, host: str, port: int, workers: int) -> None:
    """Until Ctrl-C or SIGTERM. Raises as `offer.over_http`, `ConfigError` for more workers than calls in flight, and
    what a worker raises that cannot begin.
    """
    parts = _parts(config, workers)
    hosts = offer.hosts(host)
    with offer.gateway(workspace, config, hosts):
        pass  # what is amiss is told here, once; and what is to be made is made by one process
    with ExitStack() as stack:
        sockets = listen.open_port(host, port, workers)
        for each in set(sockets):
            stack.enter_context(each)
        counts = stack.enter_context(_counted())
        stops = stack.enter_context(_stops())
        crew = _Crew([Duty(workspace.folder, part, hosts) for part in parts], sockets, counts)
        try:
            if crew.begin(stops):
                listen.say(listen.address(host, sockets[0]))
                crew.watch(stops)
        finally:
            crew.end(stops)


def _parts(config: Config, workers: int) -> list[Config]:
    """`in_flight` divided, since nobody counts over all of them: never more, though one may be full before the rest."""
    if workers > config.in_flight:
        raise ConfigError(f"{workers} workers for {config.in_flight} calls in flight; each needs at least one")
    each, more = divmod(config.in_flight, workers)
    return [config.model_copy(update={"in_flight": each + (place < more)}) for place in range(workers)]


@contextmanager
def _counted() -> Iterator[Path]:
    """A folder where the workers' counts lie. In memory: they are mapped, and a full disk would end whoever counts."""
    folder = Path(tempfile.mkdtemp(prefix="trueseed-", dir=_MEMORY if _MEMORY.is_dir() else None))
    before = os.environ.get(FOLDER)
    os.environ[FOLDER] = str(folder)
    try:
        yield folder
    finally:
        if before is None:
            del os.environ[FOLDER]
        else:
            os.environ[FOLDER] = before
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _stops() -> Iterator[Connection]:
    """Something to read for every Ctrl-C and SIGTERM."""
    told, tell = _PROCESSES.Pipe(duplex=False)
    before = {
        number: signal.signal(number, lambda *_: tell.send_bytes(b"x")) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        told.close()
        tell.close()


@dataclass(slots=True)
class _Worker:
    place: int
    process: SpawnProcess
    line: "Connection[Any, Any]"
    is_ready: bool = False


class _Crew:
    """The workers, by their places; a place is a socket and a duty."""

    def __init__(self, duties: Sequence[Duty], sockets: Sequence[socket], counts: Path) -> None:
        self._duties, self._sockets, self._counts = duties, sockets, counts
        self._workers: list[_Worker] = []
        self._killed = 0  # in a row, while they began

    def begin(self, stops: Connection) -> bool:
        """Starts all. False when it was told to stop before they were ready. Raises why a worker cannot begin."""
        for place in range(len(self._duties)):
            self._start(place)
        while not all(worker.is_ready for worker in self._workers):
            if self._told(stops):
                return False
        return True

    def watch(self, stops: Connection) -> None:
        """Replaces those that die, until it is told to stop. Raises why a worker cannot begin."""
        while not self._told(stops):
            pass

    def end(self, stops: Connection) -> None:
        """Lets all end in order; told to stop once more, they cut what is in progress."""
        self._tell("end")
        while self._workers:
            ready = wait([stops, *(worker.process.sentinel for worker in self._workers)])
            if stops in ready:
                stops.recv_bytes()
                self._tell("now")
            for worker in self._ended(ready):
                if worker.process.exitcode:
                    _log.error("worker %d ended with exit code %d", worker.process.pid, worker.process.exitcode)

    def _start(self, place: int) -> None:
        ours, theirs = _PROCESSES.Pipe()
        process = _PROCESSES.Process(target=_work, args=(self._duties[place], theirs, self._sockets[place]))
        process.start()
        theirs.close()  # so that its end is heard, and a worker hears of ours
        self._workers.append(_Worker(place, process, ours))

    def _told(self, stops: Connection) -> bool:
        """Waits for the next event; whether it was to stop."""
        starting = [worker.line for worker in self._workers if not worker.is_ready]
        ready = wait([stops, *starting, *(worker.process.sentinel for worker in self._workers)])
        for worker in self._workers:
            if worker.line in ready:
                self._hear(worker)
        if stops in ready:
            stops.recv_bytes()
            return True
        for worker in self._ended(ready):
            _log.error(
                "worker %d died (exit code %s); another takes its place", worker.process.pid, worker.process.exitcode
            )
            self._start(worker.place)
        return False

    def _hear(self, worker: _Worker) -> None:
        """Whether it is ready, or was killed. Raises why a worker cannot begin."""
        try:
            said = worker.line.recv()
        except (EOFError, OSError):
            worker.process.join()
            code = worker.process.exitcode or 0
            if code < 0 and self._killed < MOST_KILLED:  # it is replaced as any that dies
                self._killed += 1
                return
            said = Failure(f"its process ended with exit code {code}", TrueSeedError.exit_code)
        if isinstance(said, Failure):
            raise said.error()
        worker.is_ready, self._killed = True, 0

    def _ended(self, ready: Sequence[object]) -> list[_Worker]:
        ended = [worker for worker in self._workers if worker.process.sentinel in ready]
        for worker in ended:
            worker.process.join()
            worker.line.close()
            self._workers.remove(worker)
            multiprocess.mark_process_dead(worker.process.pid, str(self._counts))  # type: ignore[no-untyped-call]
        return ended

    def _tell(self, order: Order) -> None:
        for worker in self._workers:
            try:
                worker.line.send(order)
            except OSError:  # it has just ended
                continue


# -- in the worker's process ---------------------------------------------------------------------------------------


def _work(duty: Duty, line: "Connection[Any, Any]", opened: socket) -> None:
    """Until it is told to end. A Ctrl-C reaches every process of a terminal, so by itself it says nothing here."""
    with listen.ending_quietly():
        try:
            with offer.gateway(Workspace.open(duty.folder), duty.config, duty.hosts) as service:
                line.send(_READY)
                offer.serve(service, opened, began=partial(_obey, line))
        except TrueSeedError as err:
            with suppress(OSError):  # nobody is there any more
                line.send(Failure(str(err), err.exit_code))
            sys.exit(err.exit_code)


def _obey(line: "Connection[Any, Any]", server: uvicorn.Server) -> None:
    """Ends the server when it is told to, or when nobody is there any more who could tell it."""

    def listening() -> None:
        while True:
            try:
                order: Order = line.recv()
            except (EOFError, OSError):
                server.should_exit = True
                return
            server.should_exit = True
            server.force_exit = server.force_exit or order == "now"

    threading.Thread(target=listening, daemon=True, name="orders").start()
