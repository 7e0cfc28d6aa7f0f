"""The sandbox's system call filter: classic BPF for `bwrap --seccomp`, assembled here, so that no libseccomp is needed.

A deny-list over everything that a namespace does not cover. Sockets are AF_UNIX only: AF_VSOCK passes a network
namespace, and AF_ALG, AF_RXRPC and netlink have a history of kernel exploits. See seccomp(2) for the data layout.
"""

from __future__ import annotations

import errno
import platform
import struct
from dataclasses import dataclass

from .syscalls import DENIED, JUDGED, NEWEST

# struct seccomp_data: nr at 0, arch at 4, instruction pointer at 8, six 64-bit arguments from 16.
_NR, _ARCH, _ARGUMENTS = 0, 4, 16
_LOAD, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06  # BPF opcodes, 32-bit operands

KILL = 0x80000000
ALLOW = 0x7FFF0000
_ERRNO = 0x00050000

_AF_UNIX = 1
_PR_SET_SECCOMP = 22
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
# NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_NAMESPACE_FLAGS = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
_SET_ID_BITS = 0o6000
_CREATES = 0o100 | 0o20000000  # O_CREAT | __O_TMPFILE: only then does open(2) read its mode argument

Instruction = tuple[int, int, int, int]


@dataclass(frozen=True)
class Architecture:
    audit: int  # AUDIT_ARCH_*
    column: int  # of the tables in syscalls.py


ARCHITECTURES = {
    "x86_64": Architecture(0xC000003E, 0),
    "aarch64": Architecture(0xC00000B7, 1),
}


def _refuse(code: int) -> int:
    return _ERRNO | code


def _return(value: int) -> Instruction:
    return (_RETURN, 0, 0, value)


def _argument(index: int) -> Instruction:
    """Load the low 32 bits of an argument (both architectures are little-endian)."""
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * index)


def _unless_equal(index: int, value: int, verdict: int) -> list[Instruction]:
    return [_argument(index), (_JUMP_EQUAL, 1, 0, value), _return(verdict), _return(ALLOW)]


def _if_equal(index: int, values: tuple[int, ...], verdict: int) -> list[Instruction]:
    tests = [(_JUMP_EQUAL, len(values) - i, 0, value) for i, value in enumerate(values)]
    return [_argument(index), *tests, _return(ALLOW), _return(verdict)]


def _if_any_bit(index: int, bits: int, verdict: int) -> list[Instruction]:
    return [_argument(index), (_JUMP_ANY_BIT, 1, 0, bits), _return(ALLOW), _return(verdict)]


def _no_set_id(mode: int, flags: int | None = None) -> list[Instruction]:
    """Files that the sandbox leaves in a user's directory must not run with that user's rights for somebody else."""
    judge = _if_any_bit(mode, _SET_ID_BITS, _refuse(errno.EPERM))
    if flags is None:
        return judge
    return [_argument(flags), (_JUMP_ANY_BIT, 1, 0, _CREATES), _return(ALLOW), *judge]


def _rules() -> dict[str, list[Instruction]]:
    only_unix = _unless_equal(0, _AF_UNIX, _refuse(errno.EAFNOSUPPORT))
    missing = [_return(_refuse(errno.ENOSYS))]
    return {
        "socket": only_unix,
        "socketpair": only_unix,
        "clone": _if_any_bit(0, _NAMESPACE_FLAGS, _refuse(errno.EPERM)),
        "clone3": missing,  # its flags are behind a pointer; libraries fall back to clone
        "openat2": missing,  # so is its mode
        "ioctl": _if_equal(1, (_TIOCSTI, _TIOCLINUX), _refuse(errno.EPERM)),
        "prctl": _if_equal(0, (_PR_SET_SECCOMP,), _refuse(errno.EPERM)),
        "chmod": _no_set_id(1),
        "fchmod": _no_set_id(1),
        "fchmodat": _no_set_id(2),
        "fchmodat2": _no_set_id(2),
        "creat": _no_set_id(1),
        "mknod": _no_set_id(1),
        "mknodat": _no_set_id(2),
        "open": _no_set_id(2, flags=1),
        "openat": _no_set_id(3, flags=2),
    }


def program(machine: str = "") -> list[Instruction]:
    """The filter for ``machine`` (as `uname -m` says, this one by default). KeyError: there is no table for it."""
    architecture = ARCHITECTURES[machine or platform.machine()]
    column = architecture.column
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_JUMP_EQUAL, 1, 0, architecture.audit),
        _return(KILL),  # a 32-bit call on a 64-bit kernel has other numbers
        (_LOAD, 0, 0, _NR),
        (_JUMP_GREATER, 0, 1, NEWEST),  # also every x32 number (bit 30 set)
        _return(_refuse(errno.ENOSYS)),
    ]
    for name, rule in _rules().items():
        number = JUDGED[name][column]
        if number is not None:
            code += [(_JUMP_EQUAL, 0, len(rule), number), *rule]
    for numbers in DENIED.values():
        number = numbers[column]
        if number is not None:
            code += [(_JUMP_EQUAL, 0, 1, number), _return(_refuse(errno.EPERM))]
    code.append(_return(ALLOW))
    return code


def assemble(machine: str = "") -> bytes:
    """The filter as an array of ``struct sock_filter``."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program(machine))
