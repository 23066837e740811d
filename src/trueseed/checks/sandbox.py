"""Code that a model wrote is executed here and nowhere else: in a process that can reach nothing, or not at all.

    ended = run(python("print(6 * 7)"), Limits(wall_s=2))
    ended.how, ended.output          # "exit", b"42\\n"

Linux alone: namespaces for users, mounts, network and processes; a root in memory that shows the interpreter, its
library and the system's shared libraries, read-only, and a scratch folder; no privileges; a filter of system calls;
limits (`checks/jail` does it from inside, `checks/syscalls` says which calls). It needs no root, and gives root up.
Where a kernel or a container does not allow one of these, nothing is executed and `ConfigError` says which. Protection
is of the machine from the program; the program's own memory and files are its own to read and to change.
"""

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any, Literal

from trueseed.checks import syscalls
from trueseed.checks.jail import ME
from trueseed.core.durable import cache_folder, state_folder
from trueseed.errors import ConfigError

JAIL = Path(__file__).parent / "jail.py"
NOBODY = 65534  # whom root becomes; in Linux the user that owns nothing
_LIBRARIES = ("/lib", "/lib32", "/lib64", "/libx32", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libx32")
_FILES = ("/etc/ld.so.cache", "/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_SET_UP_S = 60.0  # for building the walls, on a busy machine; the program's own time starts after

Ending = Literal["exit", "signal", "time", "cpu", "output"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a program may use. cpu_s: of each process; wall_s: of all. memory: bytes of address space of each process.
    processes: at a time, threads count. output: bytes of stdout and stderr together. scratch: bytes of files, in
    memory.
    """

    cpu_s: int = 5
    wall_s: float = 10.0
    memory: int = 512 << 20
    processes: int = 4
    output: int = 1 << 20
    scratch: int = 32 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """arguments: the first is the path of an executable, as seen inside. files: by name, written into `/scratch`, where
    it starts. Its environment holds nothing of ours.
    """

    arguments: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How it ended: by `exit` with `code`; by a `signal`, whose number is `code`; or because a limit was met: `time`,
    `cpu` or `output`. errors: what it wrote to stderr.
    """

    how: Ending
    code: int
    output: bytes
    errors: bytes
    seconds: float
    cpu_s: float

    @property
    def well(self) -> bool:
        return self.how == "exit" and self.code == 0


def python(source: str) -> Program:
    """A Python program, on the interpreter that we run on, with its standard library and nothing else."""
    return Program(arguments=(_interpreter(), "-I", "-S", "-B", "main.py"), files={"main.py": source})


def run(program: Program, limits: Limits = Limits()) -> Ended:
    """Executes a program in the sandbox. Raises `ConfigError` when not all of its walls can be built; then nothing was
    executed.
    """
    if sys.platform != "linux":
        raise ConfigError(f"nothing was executed: the sandbox needs Linux's namespaces, and this is {sys.platform}")
    ours, theirs = socket.socketpair()
    with ours, tempfile.TemporaryDirectory(prefix="trueseed-") as root:
        with theirs:
            process = subprocess.Popen(
                [_interpreter(), "-I", "-S", "-B", str(JAIL), str(theirs.fileno())],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()], env={}, cwd="/", start_new_session=True,
            )  # fmt: skip
        with process:
            try:
                return _watch(process, ours, _order(program, limits, root), limits)
            finally:
                process.kill()


def must_be_possible() -> None:
    """Raises `ConfigError` when code cannot be executed here: before a model is asked for any."""
    if not run(python(""), Limits(wall_s=30)).well:
        raise ConfigError("nothing was executed: an empty program does not run in the sandbox of this machine")


def _order(program: Program, limits: Limits, root: str) -> bytes:
    """What the inside is told, as JSON."""
    visible = _visible()
    _must_hide_secrets(visible)
    most = {"RLIMIT_AS": limits.memory, "RLIMIT_FSIZE": limits.scratch, "RLIMIT_NOFILE": 64}
    most |= {"RLIMIT_NPROC": limits.processes + 2}  # and the two that watch it
    most |= {"RLIMIT_CORE": 0, "RLIMIT_MEMLOCK": 0, "RLIMIT_MSGQUEUE": 0}
    bounds = {name: (value, value) for name, value in most.items()}
    bounds["RLIMIT_CPU"] = (limits.cpu_s, limits.cpu_s + 1)  # a signal that tells why, then one that cannot be ignored
    order = {
        "root": root,
        "visible": {path: "folder" if Path(path).is_dir() else "file" for path in visible},
        "links": {path: str(Path(path).readlink()) for path in _LIBRARIES if Path(path).is_symlink()},
        "scratch": limits.scratch,
        "files": dict(program.files),
        "limits": bounds,
        "filter": syscalls.program().hex(),
        "program": list(program.arguments),
        "environment": {"HOME": "/scratch", "TMPDIR": "/scratch", "PATH": "", "LANG": "C.UTF-8"},
    }
    return json.dumps(order).encode()


def _watch(process: "subprocess.Popen[bytes]", control: socket.socket, order: bytes, limits: Limits) -> Ended:
    assert process.stdin and process.stdout and process.stderr
    try:
        process.stdin.write(order)
        process.stdin.close()
    except BrokenPipeError:
        pass  # it ended at once; the control socket or stderr says why
    control.settimeout(_SET_UP_S)
    with control.makefile("rb") as lines:
        _unshared(lines, process.stderr)
        _map(process.pid)
        control.sendall(b"1")
        began = time.monotonic()
        said, stopped = _collect((process.stdout, process.stderr), limits, began + limits.wall_s)
        seconds = time.monotonic() - began
        process.kill()
        told = _told(lines)
    if "refused" in told:
        raise _refusal(str(told["refused"]))
    return _ended(told, stopped, said, seconds, limits)


def _unshared(lines: IO[bytes], errors: IO[bytes]) -> None:
    """Waits until the inside has its namespaces. Raises `ConfigError` with what it says otherwise."""
    try:
        told = json.loads(lines.readline() or b"{}")
    except TimeoutError as err:
        raise _refusal(f"it did not begin within {_SET_UP_S:.0f} s") from err
    if "unshared" not in told:
        raise _refusal(str(told.get("refused") or errors.read().decode(errors="replace")[-300:]))


def _map(pid: int) -> None:
    """Makes the one user inside somebody without rights outside: ourselves, or nobody when we are root."""
    user, group = (os.geteuid() or NOBODY), (os.getegid() if os.geteuid() else NOBODY)
    place = Path("/proc") / str(pid)
    try:
        (place / "setgroups").write_text("deny")
        (place / "gid_map").write_text(f"{ME} {group} 1")
        (place / "uid_map").write_text(f"{ME} {user} 1")
    except OSError as err:
        raise _refusal(f"mapping its user: {err.strerror}") from err


def _collect(
    pipes: tuple[IO[bytes], IO[bytes]], limits: Limits, until: float
) -> tuple[tuple[bytes, bytes], Ending | None]:
    """What it writes, until all of it has ended, or a limit is met. The pipes end when the last process does."""
    said: dict[IO[bytes], bytearray] = {pipe: bytearray() for pipe in pipes}
    stopped: Ending | None = None
    with selectors.DefaultSelector() as waiting:
        for pipe in pipes:
            waiting.register(pipe, selectors.EVENT_READ)
        while waiting.get_map() and not stopped:
            ready = waiting.select(max(0.0, until - time.monotonic()))
            stopped = None if ready else "time"
            for key, _ in ready:
                room = limits.output - sum(map(len, said.values()))
                piece = os.read(key.fd, min(65536, room + 1))
                said[key.fileobj] += piece[:room]  # type: ignore[index]
                if not piece:
                    waiting.unregister(key.fileobj)
                elif len(piece) > room:
                    stopped = "output"
    return (bytes(said[pipes[0]]), bytes(said[pipes[1]])), stopped


def _told(lines: IO[bytes]) -> dict[str, Any]:
    """Everything that the inside said, which ends when the inside does."""
    told: dict[str, Any] = {}
    for line in lines:
        told |= json.loads(line)
    return told


def _ended(
    told: Mapping[str, Any], stopped: Ending | None, said: tuple[bytes, bytes], seconds: float, limits: Limits
) -> Ended:
    code, cpu_s = int(told.get("ended", -signal.SIGKILL)), float(told.get("cpu_s", 0.0))
    spent = code == -signal.SIGXCPU or (code == -signal.SIGKILL and cpu_s > limits.cpu_s)
    how: Ending = stopped or ("exit" if code >= 0 else "cpu" if spent else "signal")
    return Ended(how=how, code=abs(code), output=said[0], errors=said[1], seconds=seconds, cpu_s=cpu_s)


def _refusal(why: str) -> ConfigError:
    return ConfigError(
        f"nothing was executed: the sandbox cannot be built here ({why.strip()}); it needs Linux 5.14 or newer, "
        f"and to be let make namespaces (`unshare -Urnm true` succeeds), which some containers and distributions forbid"
    )


@cache
def _interpreter() -> str:
    """Outside of any virtual environment, since its packages cannot be seen inside."""
    return str(Path(getattr(sys, "_base_executable", None) or sys.executable).resolve())


@cache
def _visible() -> tuple[str, ...]:
    """Absolute paths of what a program sees of this machine, none of them inside another."""
    base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix, "installed_base": sys.base_prefix}
    libraries = {sysconfig.get_path(name, vars=base) for name in ("stdlib", "platstdlib")}
    shared = Path(sysconfig.get_config_var("LIBDIR") or "/") / str(sysconfig.get_config_var("INSTSONAME"))
    wanted = [Path(path).resolve() for path in libraries] + [shared, Path(_interpreter())]
    wanted += [Path(path) for path in (*_LIBRARIES, *_FILES) if not Path(path).is_symlink()]
    found = sorted({path for path in wanted if path.exists()})
    return tuple(str(path) for path in found if not any(other in path.parents for other in found))


def _must_hide_secrets(visible: Sequence[str]) -> None:
    for secret in (state_folder(), cache_folder()):
        for path in visible:
            if secret.resolve().is_relative_to(path):
                raise ConfigError(
                    f"nothing was executed: {str(secret)!r} lies in {path!r}, which programs in the sandbox can read; "
                    f"keep it elsewhere (TRUESEED_STATE, TRUESEED_CACHE)"
                )
