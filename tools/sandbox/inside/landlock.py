"""Landlock (landlock(7)): a process and its descendants give up rights over files and signals, without any privilege.

Rights over metadata are not among them: what exists and when it was changed can still be asked.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

WANTED = 6  # the version that knows signals, of Linux 6.12

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_VERSION = 1
_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE, _IOCTL_DEV = 1, 2, 4, 8, 1 << 14, 1 << 15
_EVERYTHING = (1 << 16) - 1
_READ = _EXECUTE | _READ_FILE | _READ_DIR
# No device files: the last of these is for those that were there before.
_WRITE = _EVERYTHING & ~(1 << 6 | 1 << 11 | _IOCTL_DEV)
_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV  # of these only, where the path is no directory
_BIND_TCP, _CONNECT_TCP = 1, 2
_ABSTRACT_SOCKETS, _SIGNALS = 1, 2

_libc = ctypes.CDLL(None, use_errno=True)


def version() -> int:
    """What this kernel has; 0 for nothing."""
    return max(0, _libc.syscall(_CREATE_RULESET, None, 0, _VERSION))


def keep_signals() -> None:
    """No signal to a process but those that descend from this one."""
    _restrict(_ruleset(scoped=_SIGNALS))


def keep_files(read: Iterable[str], write: Iterable[str], devices: Iterable[str]) -> None:
    """No file but those at or below these paths, no TCP, no abstract socket or signal of others.

    Paths that do not exist are left out.
    """
    rules = _ruleset(files=_EVERYTHING, net=_BIND_TCP | _CONNECT_TCP, scoped=_ABSTRACT_SOCKETS | _SIGNALS)
    for paths, rights in ((read, _READ), (write, _WRITE | _READ), (devices, _READ_FILE | _WRITE_FILE)):
        for path in paths:
            _allow(rules, path, rights)
    _restrict(rules)


def _ruleset(*, files: int = 0, net: int = 0, scoped: int) -> int:
    attributes = struct.pack("=QQQ", files, net, scoped)
    return _check(_libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0))


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rights &= _EVERYTHING if os.path.isdir(path) else _FILE
        rule = struct.pack("=Qi", rights, fd)
        _check(_libc.syscall(_ADD_RULE, rules, _PATH_BENEATH, rule, 0))
    finally:
        os.close(fd)


def _restrict(rules: int) -> None:
    try:
        _check(_libc.syscall(_RESTRICT_SELF, rules, 0))
    finally:
        os.close(rules)


def _check(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"landlock: {os.strerror(code)}")
    return result
