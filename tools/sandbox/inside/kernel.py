"""The system calls for namespaces, mounts and rights that Python does not have. Each raises OSError when refused."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000

MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
_MS_REC_PRIVATE = 1 << 14 | 1 << 18
_MNT_DETACH = 2

ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV, ATTR_NOEXEC, ATTR_IDMAP = 0x1, 0x2, 0x4, 0x8, 0x00100000
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442  # the same on every 64-bit architecture
_OPEN_TREE_CLONE, _O_CLOEXEC = 1, 0o2000000
_AT_FDCWD, _AT_RECURSIVE, _AT_EMPTY_PATH, _MOVE_MOUNT_F_EMPTY_PATH = -100, 0x8000, 0x1000, 4
_SYS_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_DROP = 1, 4, 22, 24
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 36, 38
_SECCOMP_MODE_FILTER = 2
_SECCOMP_SET_MODE_FILTER, _NEW_LISTENER, _WAIT_KILLABLE = 1, 1 << 3, 1 << 5
_CAPABILITY_VERSION_3 = 0x20080522

_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1

_libc = ctypes.CDLL(None, use_errno=True)
_machine = os.uname().machine


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def join(pidfd: int, flags: int) -> None:
    """Enter namespaces of another process; its pid namespace is for future children only."""
    _check(_libc.setns(pidfd, flags), "setns")


def make_private() -> None:
    """No mount made here is seen elsewhere, nor the other way round."""
    _check(_libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC_PRIVATE), None), "mount --make-rprivate /")


def mount(kind: str, target: str, flags: int, options: str = "") -> None:
    arguments = (kind.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), options.encode())
    _check(_libc.mount(*arguments), f"mount {kind}")


def clone_tree(path: str, *, recursive: bool = False, attributes: int = 0, userns: int = -1) -> int:
    """A descriptor of a copy of the mount at ``path``, attached nowhere yet, with ``attributes`` added.

    Args:
        userns: descriptor of a user namespace whose maps the copy applies to owners (ATTR_IDMAP).
    """
    deep = _AT_RECURSIVE if recursive else 0
    flags = _OPEN_TREE_CLONE | _O_CLOEXEC | deep
    tree = _check(_libc.syscall(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags), "open_tree")
    try:
        if attributes:
            wanted = struct.pack("=QQQQ", attributes, 0, 0, max(userns, 0))
            call = (_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH | deep, wanted, len(wanted))
            _check(_libc.syscall(*call), "mount_setattr")
    except OSError:
        os.close(tree)
        raise
    return tree


def attach(tree: int, target: str) -> None:
    """Put a cloned tree at ``target`` and close its descriptor."""
    try:
        call = (_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
        _check(_libc.syscall(*call), "move_mount")
    finally:
        os.close(tree)


def bind(source: str, target: str, attributes: int, *, recursive: bool = False) -> None:
    attach(clone_tree(source, recursive=recursive, attributes=attributes), target)


def restrict_mount(path: str, attributes: int) -> None:
    """Add attributes to the mount at ``path``."""
    wanted = struct.pack("=QQQQ", attributes, 0, 0, 0)
    _check(_libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(path), 0, wanted, len(wanted)), "mount_setattr")


def pivot_root(new_root: str, old_root: str) -> None:
    call = (_SYS_PIVOT_ROOT[_machine], os.fsencode(new_root), os.fsencode(old_root))
    _check(_libc.syscall(*call), "pivot_root")


def detach(path: str) -> None:
    _check(_libc.umount2(os.fsencode(path), _MNT_DETACH), "umount")


def set_hostname(name: str) -> None:
    _check(_libc.sethostname(name.encode(), len(name)), "sethostname")


def bring_up_loopback() -> None:
    """In a network namespace of one's own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", _IFF_UP))


def _prctl(option: int, *values: int) -> int:
    return _libc.prctl(option, *(ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]))


def set_dumpable(dumpable: bool) -> None:
    """Whether others of the same user may look into this process and own its files in /proc."""
    _check(_prctl(_PR_SET_DUMPABLE, int(dumpable)), "prctl dumpable")


def become_subreaper() -> None:
    _check(_prctl(_PR_SET_CHILD_SUBREAPER, 1), "prctl subreaper")


def die_with_parent() -> None:
    _check(_prctl(_PR_SET_PDEATHSIG, signal.SIGKILL), "prctl pdeathsig")


def gain_nothing() -> None:
    """No capability comes from running a program any more. Those that this process has stay."""
    _check(_prctl(_PR_SET_NO_NEW_PRIVS, 1), "prctl no_new_privs")
    number = 0
    while _prctl(_PR_CAPBSET_DROP, number) == 0:
        number += 1


def give_up_capabilities() -> None:
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(header, struct.pack("=6I", *[0] * 6)), "capset")


def filter_calls(program: bytes) -> None:
    """Install a seccomp filter, an array of ``struct sock_filter``."""
    code = ctypes.create_string_buffer(program, len(program))
    fprog = _program(code)
    _check(_prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(fprog)), "prctl seccomp")


def filter_and_listen(program: bytes) -> int:
    """The same. A descriptor of the calls on which the filter lets somebody else decide; Linux 5.19."""
    code = ctypes.create_string_buffer(program, len(program))
    call = (_SYS_SECCOMP[_machine], _SECCOMP_SET_MODE_FILTER, _NEW_LISTENER | _WAIT_KILLABLE, _program(code))
    return _check(_libc.syscall(*call), "seccomp")


def _program(code: ctypes.Array[ctypes.c_char]) -> ctypes.Array[ctypes.c_char]:
    """A ``struct sock_fprog``, valid as long as ``code`` is."""
    fprog = struct.pack("=H6xQ", len(code) // 8, ctypes.addressof(code))
    return ctypes.create_string_buffer(fprog, len(fprog))


def set_times(path: str, times: bytes | None) -> None:
    """Of last access and last change, as two ``struct timespec``; None for now."""
    _check(_libc.utimensat(_AT_FDCWD, os.fsencode(path), times, 0), "utimensat")
