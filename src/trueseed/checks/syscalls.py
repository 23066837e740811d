"""Which system calls a program in the sandbox may not make, as a filter that the kernel runs (seccomp, by libseccomp).

Namespaces already hide the rest of the machine; the filter keeps a program from the parts of the kernel that a plain
computation never needs and that breakouts have come through, and from memory that no limit counts.
"""

import errno
import tempfile
from functools import cache

from trueseed.errors import ConfigError

_DENIED = {
    "other processes": "ptrace process_vm_readv process_vm_writev process_madvise kcmp pidfd_getfd perf_event_open",
    "kernel machinery": "bpf userfaultfd io_uring_setup io_uring_enter io_uring_register add_key request_key keyctl "
    "syslog acct quotactl quotactl_fd fanotify_init init_module finit_module delete_module kexec_load "
    "kexec_file_load reboot swapon swapoff iopl ioperm modify_ldt personality vhangup lookup_dcookie",
    "mounts and namespaces": "mount umount2 pivot_root chroot move_mount open_tree open_tree_attr fsopen fsconfig "
    "fsmount fspick mount_setattr unshare setns name_to_handle_at open_by_handle_at",
    "memory that no limit counts": "memfd_create memfd_secret shmget semget msgget mq_open vmsplice mlockall "
    "mbind migrate_pages move_pages set_mempolicy set_mempolicy_home_node",
    "the clock and the name": "settimeofday clock_settime clock_adjtime adjtimex sethostname setdomainname",
}
_UNKNOWN = -1
_NEWER = {  # than some libseccomp; since 424 a system call has the same number on every machine
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443, "memfd_secret": 447,
    "set_mempolicy_home_node": 450, "open_tree_attr": 467,
}  # fmt: skip
_NEW_NAMESPACE = (0x80, 0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
_AF_UNIX = 1  # pipes between its own processes; there is nobody else to reach in its namespaces
_TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: typing into the terminal of whoever started it


@cache
def program() -> bytes:
    """The filter as the kernel's instructions for this machine (struct sock_filter).

    Raises `ConfigError` when libseccomp or its Python binding is missing.
    """
    try:
        import pyseccomp as seccomp
    except (ImportError, RuntimeError, OSError) as err:
        raise ConfigError(
            f"nothing was executed: the filter of system calls needs libseccomp ({err}); pip install 'trueseed[eval]', "
            f"and the library itself (libseccomp2 in Debian)"
        ) from err

    rules = seccomp.SyscallFilter(seccomp.ALLOW)
    forbidden = seccomp.ERRNO(errno.EPERM)
    for name in " ".join(_DENIED.values()).split():
        number = seccomp.resolve_syscall(seccomp.Arch.NATIVE, name)
        number = _NEWER.get(name, _UNKNOWN) if number == _UNKNOWN else number
        if number != _UNKNOWN:  # else neither this machine nor this libseccomp has it
            rules.add_rule(forbidden, number)
    rules.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")  # its flags lie in memory; libc goes on with clone
    for flag in _NEW_NAMESPACE:
        rules.add_rule(forbidden, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, flag, flag))
    rules.add_rule(forbidden, "socket", seccomp.Arg(0, seccomp.NE, _AF_UNIX))
    for command in _TERMINAL_INPUT:
        rules.add_rule(forbidden, "ioctl", seccomp.Arg(1, seccomp.MASKED_EQ, 0xFFFFFFFF, command))
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()
