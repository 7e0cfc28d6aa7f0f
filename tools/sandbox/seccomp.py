"""The sandbox's system call filter: classic BPF, assembled here, so that no libseccomp is needed.

What programs need is allowed, some of it by its arguments; what other walls do not cover is refused (EPERM); all other
calls look missing (ENOSYS). Kernels cache the verdicts that depend on no argument, so that most calls cost nothing.
Sockets are AF_UNIX only, or TCP and UDP too in a network namespace that leads nowhere: AF_VSOCK passes a network
namespace, and AF_ALG, AF_RXRPC and netlink have a history of kernel exploits. See seccomp(2) for the data layout.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from .syscalls import ALLOWED, DENIED, JUDGED, NEIGHBOURS, SAME_USER

# struct seccomp_data: nr at 0, arch at 4, instruction pointer at 8, six 64-bit arguments from 16.
_NR, _ARCH, _ARGUMENTS = 0, 4, 16
# BPF opcodes, with 32-bit operands
_LOAD, _RETURN = 0x20, 0x06
_JUMP_EQUAL, _JUMP_GREATER, _JUMP_AT_LEAST, _JUMP_ANY_BIT = 0x15, 0x25, 0x35, 0x45

KILL = 0x80000000
ALLOW = 0x7FFF0000
ASK = 0x7FC00000  # of who listens, see seccomp_unotify(2)
_ERRNO = 0x00050000

_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_TCP, _UDP = 6, 17
_CAN_CONNECT_ANEW = 2  # a bit of SOCK_DGRAM and SOCK_RAW, not of SOCK_STREAM and SOCK_SEQPACKET
_PR_SET_SECCOMP = 22
_F_SETSIG = 10
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
# NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_NAMESPACE_FLAGS = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
_SET_ID_BITS = 0o6000
_CREATES = 0o100 | 0o20000000  # O_CREAT | __O_TMPFILE: only then does open(2) read its mode argument

Instruction = tuple[int, int, int, int]


@dataclass(frozen=True)
class Reach:
    """What lies within a sandbox's other walls, for the filter to close or to leave open.

    Args:
        internet: a network namespace of its own, in which TCP and UDP are harmless.
        neighbours: no namespaces: the machine's processes and named sockets. There are sockets in connected pairs only.
        same_user: those neighbours belong to the user that the code runs as, and so do files of the machine. Then
            somebody must listen, who decides which of them are changed (`inside/broker.py`).
    """

    internet: bool = False
    neighbours: bool = False
    same_user: bool = False


_NAMESPACES = Reach()


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


def _if_equal(index: int, values: tuple[int, ...], verdict: int, otherwise: int = ALLOW) -> list[Instruction]:
    tests = [(_JUMP_EQUAL, len(values) - i, 0, value) for i, value in enumerate(values)]
    return [_argument(index), *tests, _return(otherwise), _return(verdict)]


def _if_any_bit(index: int, bits: int, verdict: int, otherwise: int = ALLOW) -> list[Instruction]:
    return [_argument(index), (_JUMP_ANY_BIT, 1, 0, bits), _return(otherwise), _return(verdict)]


def _no_set_id(mode: int, flags: int | None = None, otherwise: int = ALLOW) -> list[Instruction]:
    """Files that the sandbox leaves in a user's directory must not run with that user's rights for somebody else."""
    judge = _if_any_bit(mode, _SET_ID_BITS, _refuse(errno.EPERM), otherwise)
    if flags is None:
        return judge
    return [_argument(flags), (_JUMP_ANY_BIT, 1, 0, _CREATES), _return(ALLOW), *judge]


def _sockets(reach: Reach) -> dict[str, list[Instruction]]:
    refused = _refuse(errno.EAFNOSUPPORT)
    only_unix = _unless_equal(0, _AF_UNIX, refused)
    if reach.neighbours:
        pairs = [*only_unix[:-1], *_if_any_bit(1, _CAN_CONNECT_ANEW, refused)]
        return {"socket": [_return(refused)], "socketpair": pairs}
    if not reach.internet:
        return {"socket": only_unix, "socketpair": only_unix}
    families = [
        (_JUMP_EQUAL, 4, 0, _AF_INET), (_JUMP_EQUAL, 3, 0, _AF_INET6), (_JUMP_EQUAL, 1, 0, _AF_UNIX),
        _return(refused), _return(ALLOW),
    ]  # fmt: skip
    # Other protocols would be loaded into the kernel for the asking.
    protocols = _if_equal(2, (0, _TCP, _UDP), ALLOW, otherwise=_refuse(errno.EPROTONOSUPPORT))
    return {"socket": [_argument(0), *families, *protocols], "socketpair": only_unix}


def _neighbours() -> dict[str, list[Instruction]]:
    """Other processes' limits and priorities: each may see to its own."""
    own = _unless_equal(0, 0, _refuse(errno.EPERM))
    names = ("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr")
    return {**dict.fromkeys(names, own), "setpriority": [*own[:-1], *_unless_equal(1, 0, _refuse(errno.EPERM))]}


def _rules(reach: Reach) -> dict[str, list[Instruction]]:
    missing = [_return(_refuse(errno.ENOSYS))]
    change = ASK if reach.same_user else ALLOW
    rules = {
        **_sockets(reach),
        "clone": _if_any_bit(0, _NAMESPACE_FLAGS, _refuse(errno.EPERM)),
        "clone3": missing,  # its flags are behind a pointer; libraries fall back to clone
        "openat2": missing,  # so is its mode
        "memfd_create": missing,  # memory that no limit of a process counts; libraries fall back to files
        "fcntl": _if_equal(1, (_F_SETSIG,), _refuse(errno.EPERM)),  # SIGCONT, say, which ends a freeze
        "ioctl": _if_equal(1, (_TIOCSTI, _TIOCLINUX), _refuse(errno.EPERM)),
        "prctl": _if_equal(0, (_PR_SET_SECCOMP,), _refuse(errno.EPERM)),
        "chmod": _no_set_id(1, otherwise=change),
        "fchmod": _no_set_id(1, otherwise=change),
        "fchmodat": _no_set_id(2, otherwise=change),
        "fchmodat2": _no_set_id(2, otherwise=change),
        "creat": _no_set_id(1),
        "mknod": _no_set_id(1),
        "mknodat": _no_set_id(2),
        "open": _no_set_id(2, flags=1),
        "openat": _no_set_id(3, flags=2),
    }
    if reach.neighbours:
        rules |= _neighbours()
    return rules


def program(machine: str = "", reach: Reach = _NAMESPACES) -> list[Instruction]:
    """The filter for ``machine`` (as `uname -m` says, this one by default). KeyError: there is no table for it."""
    architecture = ARCHITECTURES[machine or platform.machine()]
    column = architecture.column
    rules = _rules(reach)
    denied = {**DENIED, **(NEIGHBOURS if reach.neighbours else {})}
    asked = SAME_USER if reach.same_user else {}
    known = {**ALLOWED, **JUDGED, **NEIGHBOURS, **SAME_USER}
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_JUMP_EQUAL, 1, 0, architecture.audit),
        _return(KILL),  # a 32-bit call on a 64-bit kernel has other numbers
        (_LOAD, 0, 0, _NR),
    ]
    for name, rule in rules.items():
        number = JUDGED[name][column]
        if number is not None:
            code += [(_JUMP_EQUAL, 0, len(rule), number), *rule]
    judged = {**denied, **asked, **rules}
    allowed = {name: numbers for name, numbers in known.items() if name not in judged}
    for calls, verdict in ((denied, _refuse(errno.EPERM)), (asked, ASK), (allowed, ALLOW)):
        for first, last in _ranges(numbers[column] for numbers in calls.values()):
            code += [*_between(first, last), _return(verdict)]
    code.append(_return(_refuse(errno.ENOSYS)))
    return code


def asked(machine: str = "") -> dict[int, str]:
    """The calls on which the filter may let somebody else decide, by number, where ``Reach.same_user``."""
    column = ARCHITECTURES[machine or platform.machine()].column
    calls = {**SAME_USER, **{name: JUDGED[name] for name in ("chmod", "fchmod", "fchmodat", "fchmodat2")}}
    return {number: name for name, numbers in calls.items() if (number := numbers[column]) is not None}


def _ranges(numbers: Iterable[int | None]) -> Iterator[tuple[int, int]]:
    """First and last of each run of consecutive numbers."""
    found = sorted({number for number in numbers if number is not None})
    for _, run in groupby(enumerate(found), lambda entry: entry[1] - entry[0]):
        members = [number for _, number in run]
        yield members[0], members[-1]


def _between(first: int, last: int) -> list[Instruction]:
    """Do the next instruction if the loaded number is one of these, skip it otherwise."""
    return [(_JUMP_AT_LEAST, 0, 2, first), (_JUMP_GREATER, 1, 0, last)]


def assemble(machine: str = "", reach: Reach = _NAMESPACES) -> bytes:
    """The filter as an array of ``struct sock_filter``."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program(machine, reach))
