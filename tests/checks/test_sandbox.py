"""Programs that try to get out of the sandbox, each in its own way; and that nothing runs where walls are missing."""

import os
import re
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from trueseed.checks.sandbox import Ended, Limits, Program, must_be_possible, python, run
from trueseed.errors import ConfigError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's; elsewhere it refuses")

PATIENT = Limits(wall_s=60)  # where time is not what is tested, and the machine is busy
OUT = "OUT"  # what an attempt prints when it came out


def tried(source: str, limits: Limits = PATIENT) -> Ended:
    """Runs an attempt; an error of its own is what stopping it looks like, so it must be one of the system's."""
    body = textwrap.indent(textwrap.dedent(source), "    ")
    return run(
        python(f"import os, sys\ntry:\n{body}\n    print('{OUT}')\nexcept OSError as err:\n    print(err)\n"), limits
    )


def syscall(*arguments: str) -> str:
    """An attempt that makes a system call by its number and is out when that succeeds."""
    return f"""
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.{arguments[0]}({", ".join(arguments[1:])}) == -1:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    """


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What lies outside to be reached: a port, two sockets, a file with a secret, a folder to write into."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "key").write_text("secret")
    (folder / "key").chmod(0o644)
    folder.chmod(0o777)
    with (
        socket.create_server(("127.0.0.1", 0)) as port,
        socket.socket(socket.AF_UNIX) as named,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        named.bind(str(folder / "socket"))
        named.listen()
        abstract.bind(f"\0trueseed-{os.getpid()}")
        abstract.listen()
        yield {
            "folder": str(folder),
            "port": str(port.getsockname()[1]),
            "abstract": f"\\0trueseed-{os.getpid()}",
            "pid": str(os.getpid()),
        }


ATTEMPTS = {
    "a port of this machine": "import socket; socket.create_connection(('127.0.0.1', {port}), 2)",
    "a packet": "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))",
    "the host below a virtual machine": "import socket; socket.socket(40, socket.SOCK_STREAM).connect((2, 1024))",
    "the kernel's own sockets": "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)",
    "a socket in a folder": "import socket; socket.socket(socket.AF_UNIX).connect('{folder}/socket')",
    "a socket without a folder": "import socket; socket.socket(socket.AF_UNIX).connect('{abstract}')",
    "a secret file": "open('{folder}/key').read()",
    "a secret file by a link": "os.symlink('{folder}/key', 'l'); open('l').read()",
    "a secret file by a hard link": "os.link('{folder}/key', 'l')",
    "a secret file up the tree": "open('/usr/lib/' + '../' * 20 + '{folder}/key').read()",
    "the folders of people": "os.listdir('/home')",
    "accounts": "open('/etc/passwd').read()",
    "processes": "os.listdir('/proc/self')",
    "a file outside": "open('{folder}/made', 'w').write('x')",
    "the root": "open('/made', 'w').write('x')",
    "the libraries": "open(os.path.join(os.path.dirname(os.__file__), 'made.py'), 'w').write('x')",
    "changing a library": "os.chmod(os.__file__, 0o777)",
    "removing a library": "os.unlink(os.__file__)",
    "being root": "os.setuid(0)",
    "a disk of its own": "os.mknod('disk', 0o060666, os.makedev(254, 0)); open('disk', 'rb').read(1)",
    "ending us": "os.kill({pid}, 9)",
    "a bigger memory": "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**40, 2**40))",
    "more processes": "import resource; resource.setrlimit(resource.RLIMIT_NPROC, (4096, 4096))",
    "a terminal": "open('/dev/tty', 'w')",
    "a full disk": "open('big', 'wb').write(bytes(40 << 20))",
    "a full disk of small files": "[open(str(n), 'w').close() for n in range(5000)]",
    "tracing what started it": syscall("ptrace", "16", "1", "0", "0"),
    "new mounts": syscall("mount", "b'none'", "b'/scratch'", "b'tmpfs'", "0", "0"),
    "a namespace of its own": syscall("unshare", "0x10000000"),
    "another root": syscall("chroot", "b'/scratch'"),
    "the kernel's keyring": syscall("syscall", "250", "0", "-3", "0"),
    "the kernel's programs": syscall("syscall", "321", "0", "0", "0"),
    "the kernel's queues": syscall("syscall", "425", "1", "0"),
    "memory that is not counted": syscall("memfd_create", "b'm'", "0"),
    "shared memory": syscall("shmget", "0", "1 << 20", "0o1600"),
}


def test_no_attempt_comes_out(outside: dict[str, str]) -> None:
    source = "".join(f"\ntried.append({name!r})\n{_guarded(name, outside)}" for name in ATTEMPTS)
    ended = run(python(f"import os\ntried, out = [], []\n{source}\nprint(len(tried), out)"), PATIENT)
    assert ended.output.decode() == f"{len(ATTEMPTS)} []\n", ended.errors


def _guarded(name: str, outside: dict[str, str]) -> str:
    body = textwrap.indent(_attempt(name, outside), "    ")
    return f"try:\n{body}\n    out.append({name!r})\nexcept (OSError, ValueError):\n    pass\n"


def _attempt(name: str, outside: dict[str, str]) -> str:
    attempt = textwrap.dedent(ATTEMPTS[name])
    for key, value in outside.items():
        attempt = attempt.replace("{" + key + "}", value)
    return attempt


HARMLESS = [  # to do outside of it, so that it is the walls that stop them and no mistake in an attempt
    "a port of this machine", "a packet", "the kernel's own sockets", "a socket in a folder",
    "a socket without a folder", "a secret file", "a secret file up the tree", "accounts", "processes",
    "a file outside", "a full disk", "memory that is not counted", "shared memory",
]  # fmt: skip


def test_without_the_sandbox_the_same_attempts_come_out(outside: dict[str, str], tmp_path: Path) -> None:
    source = "\n".join(_attempt(name, outside) for name in HARMLESS)
    command = [sys.executable, "-I", "-S", "-c", f"import os\n{source}"]
    subprocess.run(command, check=True, cwd=tmp_path)


def test_a_program_computes_and_writes_into_its_scratch_folder() -> None:
    ended = tried("open('note', 'w').write('x'); import json, math; print(math.gcd(12, 18), sorted(os.listdir('.')))")
    assert ended.output.decode().splitlines() == ["6 ['main.py', 'note']", OUT]


def test_nothing_of_our_environment_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert b"secret" not in run(python("import os; print(dict(os.environ))"), PATIENT).output


def test_a_descriptor_that_we_leave_open_is_not_inherited(tmp_path: Path) -> None:
    with (tmp_path / "key").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        ended = tried(f"os.write({file.fileno()}, b'x')")
    assert OUT not in ended.output.decode()
    assert (tmp_path / "key").read_text() == ""


def test_an_endless_computation_ends_by_its_cpu_limit_even_if_it_ignores_the_signal() -> None:
    source = "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass"
    ended = run(python(source), Limits(cpu_s=1, wall_s=60))
    assert (ended.how, ended.well) == ("cpu", False)


def test_sleeping_ends_on_time_whatever_signals_are_ignored() -> None:
    source = """
        import signal, time
        for number in range(1, 32):
            if number not in (9, 19):
                signal.signal(number, signal.SIG_IGN)
        time.sleep(600)
    """
    ended = tried(source, Limits(wall_s=1))
    assert ended.how == "time"
    assert ended.seconds < 30


def test_memory_ends_at_its_limit() -> None:
    ended = run(python("x = bytearray(1 << 30)"), PATIENT)
    assert not ended.well
    assert b"MemoryError" in ended.errors


def test_output_ends_at_its_limit() -> None:
    ended = run(python("while True: print('x' * 1000)"), Limits(wall_s=60, output=10_000))
    assert ended.how == "output"
    assert len(ended.output) == 10_000


def test_a_fork_bomb_stays_small() -> None:
    source = """
        made = 0
        while os.fork():
            made += 1
            print(made, flush=True)
        import time; time.sleep(60)
    """
    ended = tried(source, Limits(wall_s=60, processes=4))
    assert ended.output.decode().splitlines()[:-1] == ["1", "2", "3"]
    assert "unavailable" in ended.output.decode()


def test_threads_count_as_processes() -> None:
    source = """
        import threading, time
        for _ in range(9):
            threading.Thread(target=time.sleep, args=(1,), daemon=True).start()
    """
    ended = run(python(textwrap.dedent(source)), Limits(wall_s=60, processes=3))
    assert b"can't start new thread" in ended.errors


def test_a_daemon_does_not_outlive_its_program(outside: dict[str, str]) -> None:
    mark = f"daemon-{os.getpid()}"
    source = f"""
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                import ctypes
                ctypes.CDLL(None).prctl(15, b"{mark[:15]}", 0, 0, 0)
                os.close(1); os.close(2)
                import time; time.sleep(600)
            os._exit(0)
        import time; time.sleep(0.1)
    """
    assert tried(source).well
    for _ in range(100):  # the kernel ends it, a moment later
        if mark[:15] not in _names():
            return
        time.sleep(0.05)
    pytest.fail("it is still there")


def _names() -> set[str]:
    found = set()
    for place in Path("/proc").glob("[0-9]*/comm"):
        try:
            found.add(place.read_text().strip())
        except OSError:
            continue
    return found


def test_signals_to_the_first_process_end_nothing_but_perhaps_the_program() -> None:
    source = """
        import signal
        for number in range(1, 65):
            if number not in (32, 33):
                os.kill(1, number)
        print("still here")
    """
    assert "still here" in tried(source).output.decode()


def test_a_program_cannot_say_itself_how_it_ended() -> None:
    source = """
        for number in range(3, 64):
            try:
                os.write(number, b'{"ended": 0}')
            except OSError:
                pass
        os._exit(7)
    """
    assert tried(source).code == 7


def test_a_program_that_is_not_there_is_not_executed() -> None:
    with pytest.raises(ConfigError, match="nothing was executed"):
        run(Program(arguments=("/bin/sh", "-c", "id")), PATIENT)


def test_what_the_documentation_shows_is_true() -> None:
    page = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    (shown,) = (each for each in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "checks.sandbox" in each)
    exec(shown, {})


def test_it_is_possible_here() -> None:
    must_be_possible()


WITHOUT = """
import errno, os, pyseccomp
from trueseed.checks.sandbox import python, run
from trueseed.errors import ConfigError
of_prctl = {"seccomp": 22, "no_new_privs": 38}  # what is asked for by prctl
for missing in ["unshare", "mount_setattr", "pivot_root", "capset", *of_prctl]:
    if os.fork() == 0:
        rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
        if missing in of_prctl:
            rules.add_rule(pyseccomp.ERRNO(errno.EPERM), "prctl", pyseccomp.Arg(0, pyseccomp.EQ, of_prctl[missing]))
        else:
            rules.add_rule(pyseccomp.ERRNO(errno.EPERM), missing)
        rules.load()
        try:
            run(python("print('executed')"))
        except ConfigError as err:
            print(missing, str(err)[:20], flush=True)
        os._exit(0)
    os.wait()
"""


def test_where_a_wall_is_missing_nothing_is_executed() -> None:
    found = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    missing = ["unshare", "mount_setattr", "pivot_root", "capset", "seccomp", "no_new_privs"]
    assert found.stdout.splitlines() == [f"{wall} nothing was executed" for wall in missing], found.stderr


def test_secrets_that_lie_where_programs_can_read_stop_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUESEED_STATE", str(Path(os.__file__).parent / "state"))
    with pytest.raises(ConfigError, match="TRUESEED_STATE"):
        run(python("print(1)"))


def test_it_refuses_on_another_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ConfigError, match="this is darwin"):
        run(python("print(1)"))
