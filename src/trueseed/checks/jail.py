"""Inside of the sandbox: started by `checks/sandbox` as `python -I -S jail.py CONTROL`, never imported for use.

Its order arrives as JSON on stdin. What it does, in order, each of it or nothing at all:

    leave     new user, mount, network, process, message and host-name namespaces; the starter maps one plain user
    build     a root of its own in memory: what is visible, read-only; one scratch folder; nothing else, no /proc
    reap      the first process of the new namespace: when it ends, the kernel ends all that the program left behind
    confine   no privileges, limits, the filter of system calls; then the program, with an environment of its own

Lines on the control socket say how far it came: `unshared`, `refused` (nothing was executed) or `ended`. It uses the
standard library and libc alone, since none of our packages can be seen from there.
"""

import ctypes
import json
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable
from typing import Any

ME = 1000  # the user inside, who is nobody in particular outside

# linux/sched.h, linux/mount.h, linux/prctl.h, linux/capability.h; the system calls have these numbers on every machine
NEW_NAMESPACES = 0x10000000 | 0x00020000 | 0x40000000 | 0x20000000 | 0x08000000 | 0x04000000 | 0x02000000
MS_NOSUID, MS_NODEV, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x4000, 0x40000
MNT_DETACH = 2
OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR = 428, 429, 442
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC, AT_RECURSIVE, AT_EMPTY_PATH, AT_FDCWD = 0x1, 0x80000, 0x8000, 0x1000, -100
MOVE_MOUNT_F_EMPTY_PATH = 0x4
READ_ONLY, NO_SETUID, NO_DEVICES = 0x1, 0x2, 0x4
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 24, 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
SECCOMP_MODE_FILTER = 2
CAPABILITIES_V3 = 0x20080522

libc: Any = ctypes.CDLL(None, use_errno=True)


def must(what: str, result: int) -> int:
    """Raises `OSError` that names `what` when a call of libc failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def say(control: int, **words: Any) -> None:
    os.write(control, json.dumps(words).encode() + b"\n")


def leave(control: int) -> None:
    """New namespaces. Whoever started us maps `ME` to a user without rights, which nobody can do for himself."""
    if os.geteuid() == 0:
        os.setgroups([])
    must("new namespaces", libc.unshare(NEW_NAMESPACES))
    say(control, unshared=True)
    if os.read(control, 1) != b"1":
        os._exit(1)


def build(order: dict[str, Any]) -> None:
    """A root in memory that shows `visible` and nothing else, with `/scratch` to write in. Becomes `ME` on the way:
    what only the starter may open is opened before, and what is made belongs to `ME`.
    """
    must("private mounts", libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
    trees = {path: _read_only(path) for path in order["visible"]}
    _mount_memory(order["root"], f"size=1m,nr_inodes=4k,mode=755,uid={ME},gid={ME}")
    os.chdir(order["root"])
    os.setresgid(ME, ME, ME)
    os.setresuid(ME, ME, ME)
    for path, tree in trees.items():
        _show(path.lstrip("/"), tree, is_folder=order["visible"][path] == "folder")
    for path, target in order["links"].items():
        os.symlink(target, path.lstrip("/"))
    os.mkdir("scratch")
    _mount_memory("scratch", f"size={order['scratch']},nr_inodes=4k,mode=700")
    for name, text in order["files"].items():
        with open(f"scratch/{name}", "w", encoding="utf-8", newline="") as file:
            file.write(text)
    must("pivot_root", libc.pivot_root(b".", b"."))
    must("letting go of the old root", libc.umount2(b".", MNT_DETACH))
    os.chdir("/scratch")
    _set_attributes(AT_FDCWD, b"/", 0, READ_ONLY | NO_SETUID | NO_DEVICES)


def _read_only(path: str) -> int:
    """A copy of the mounts at and below a path, not attached anywhere yet and not to be written through."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE
    tree = must(f"showing {path}", libc.syscall(OPEN_TREE, AT_FDCWD, os.fsencode(path), flags))
    devices = 0 if path.startswith("/dev/") else NO_DEVICES
    _set_attributes(tree, b"", AT_EMPTY_PATH | AT_RECURSIVE, READ_ONLY | NO_SETUID | devices)
    return tree


def _set_attributes(at: int, path: bytes, flags: int, attributes: int) -> None:
    wanted = struct.pack("=QQQQ", attributes, 0, 0, 0)
    must("mount_setattr", libc.syscall(MOUNT_SETATTR, at, path, flags, wanted, len(wanted)))


def _mount_memory(path: str, options: str) -> None:
    flags = MS_NOSUID | MS_NODEV
    must("tmpfs", libc.mount(b"tmpfs", os.fsencode(path), b"tmpfs", flags, options.encode()))


def _show(path: str, tree: int, *, is_folder: bool) -> None:
    folder = path if is_folder else os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    if not is_folder:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
    call = (MOVE_MOUNT, tree, b"", AT_FDCWD, os.fsencode(path), MOVE_MOUNT_F_EMPTY_PATH)
    must(f"showing {path}", libc.syscall(*call))
    os.close(tree)


def drop_powers() -> None:
    must("no new privileges", libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    must("ambient capabilities", libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    for capability in range(64):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            break  # one past the last that this kernel knows
    header, nothing = struct.pack("=Ii", CAPABILITIES_V3, 0), bytes(24)
    must("capabilities", libc.capset(header, nothing))


def confine(order: dict[str, Any]) -> None:
    for name, (soft, hard) in order["limits"].items():
        resource.setrlimit(getattr(resource, name), (soft, hard))
    program = bytes.fromhex(order["filter"])
    held = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("@HP", len(program) // 8, ctypes.addressof(held))  # struct sock_fprog
    must("filter of system calls", libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, described, 0, 0))


def first_process(order: dict[str, Any], control: int, alive: int) -> None:
    """Process 1 of the namespace. alive: a pipe that is closed when the process outside is gone."""
    must("dying with the starter", libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    os.set_blocking(alive, False)
    try:
        if os.read(alive, 1) == b"":
            os._exit(1)  # it was gone before we could say that we go with it
    except BlockingIOError:
        pass
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # of process 1, so that the program's signals do not reach it
    must("not being traced", libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
    drop_powers()
    program = os.fork()
    if program == 0:
        guarded(control, lambda: start(order))
    while True:
        ended, status, used = os.wait4(-1, 0)
        if ended == program:
            break
    say(control, ended=os.waitstatus_to_exitcode(status), cpu_s=used.ru_utime + used.ru_stime)


def start(order: dict[str, Any]) -> None:
    for number in range(1, signal.NSIG):
        if number not in (signal.SIGKILL, signal.SIGSTOP) and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    os.setsid()
    confine(order)
    os.execve(order["program"][0], order["program"], order["environment"])


def guarded(control: int, work: Callable[[], None]) -> None:
    """Whatever fails before the program runs ends here: it does not run."""
    try:
        work()
    except BaseException as err:
        say(control, refused=f"{err.strerror or err}" if isinstance(err, OSError) else repr(err))
        os._exit(1)
    os._exit(0)


def main() -> None:
    control = int(sys.argv[1])
    os.set_inheritable(control, False)
    order = json.loads(sys.stdin.buffer.read())
    leave(control)
    build(order)
    must("dying with the starter", libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    alive, ours = os.pipe()
    first = os.fork()
    if first == 0:
        os.close(ours)
        guarded(control, lambda: first_process(order, control, alive))
    os.waitpid(first, 0)


if __name__ == "__main__":
    guarded(int(sys.argv[1]), main)
