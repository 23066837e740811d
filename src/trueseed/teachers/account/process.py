"""Which process this is, so that another can tell later whether it still lives.

A pid alone says little: it is used again after a process ends, after a restart of the machine, and in every container.
"""

import os
import platform
import subprocess
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_STARTED = 19  # field 22 of /proc/<pid>/stat, counted after the command's name (proc(5))


@dataclass(frozen=True, slots=True)
class Process:
    """host: the machine's name and the pid namespace, where there is one. boot: changes when the machine restarts.
    started: as the system gives it, compared only with itself.
    """

    host: str
    boot: str
    pid: int
    started: str

    def is_gone(self) -> bool | None:
        """Whether it ended for certain; None for a process of another host, of which nothing can be seen from here."""
        ours = this_process()
        if self.host != ours.host:
            return None
        return self.boot != ours.boot or _started(self.pid) != self.started


def this_process() -> Process:
    return _process(os.getpid())  # by pid, since a forked child inherits what was remembered


@cache
def _process(pid: int) -> Process:
    return Process(host=_host(), boot=boot(), pid=pid, started=_started(pid))


def _host() -> str:
    try:
        return f"{platform.node()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return platform.node()


@cache
def boot() -> str:
    """The id of this run of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return _said(["sysctl", "-n", "kern.boottime"]) or str(uuid.uuid4())


def _started(pid: int) -> str:
    """When the process began; '' when there is none, or only what is left of one that ended."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if state == "Z" else fields[_STARTED - 1]
    except OSError:
        return "" if Path("/proc/self/stat").exists() else _said(["ps", "-o", "lstart=", "-p", str(pid)])


def _said(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""
