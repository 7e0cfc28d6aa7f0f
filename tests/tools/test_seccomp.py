"""The filter's verdicts for both architectures, from a small interpreter of the same BPF that the kernel runs."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest
from agenthost.tools.sandbox.seccomp import ALLOW, ARCHITECTURES, ASK, KILL, Reach, asked, assemble, program
from agenthost.tools.sandbox.syscalls import ALLOWED, DENIED, JUDGED, NEIGHBOURS, SAME_USER

NAMESPACES = Reach()
KEPT = Reach(neighbours=True)
ONE_USER = Reach(neighbours=True, same_user=True)
INTERNET = Reach(internet=True)
NAMED = {**ALLOWED, **DENIED, **JUDGED, **NEIGHBOURS, **SAME_USER}
# Calls that nothing needs: asynchronous I/O with its history of exploits, and what old kernels had.
# fmt: off
UNWANTED = {
    "afs_syscall", "epoll_ctl_old", "epoll_wait_old", "fstatat", "get_thread_area", "getpmsg", "io_cancel",
    "io_destroy", "io_getevents", "io_pgetevents", "io_setup", "io_submit", "mincore", "process_mrelease", "putpmsg",
    "remap_file_pages", "security", "set_thread_area", "sync_file_range2", "tuxcall", "vserver",
}
# fmt: on


def judge(machine: str, number: int, *arguments: int, audit: int | None = None, reach: Reach = NAMESPACES) -> str:
    words = {0: number, 4: ARCHITECTURES[machine].audit if audit is None else audit}
    for index, argument in enumerate(arguments):
        words[16 + 8 * index] = argument & 0xFFFFFFFF
        words[20 + 8 * index] = argument >> 32 & 0xFFFFFFFF
    code, at, accumulator = program(machine, reach), 0, 0
    while True:
        opcode, if_true, if_false, operand = code[at]
        at += 1
        match opcode:
            case 0x20:
                accumulator = words.get(operand, 0)
            case 0x15:
                at += if_true if accumulator == operand else if_false
            case 0x25:
                at += if_true if accumulator > operand else if_false
            case 0x35:
                at += if_true if accumulator >= operand else if_false
            case 0x45:
                at += if_true if accumulator & operand else if_false
            case 0x06:
                if operand in (ALLOW, ASK, KILL):
                    return {ALLOW: "allow", ASK: "ask", KILL: "kill"}[operand]
                return errno.errorcode[operand & 0xFFFF]
            case _:
                pytest.fail(f"unknown opcode {opcode:#x}")


@pytest.fixture(params=["x86_64", "aarch64"])
def machine(request) -> str:
    return request.param


def number(machine: str, name: str) -> int:
    found = NAMED[name][ARCHITECTURES[machine].column]
    assert found is not None
    return found


def test_every_denied_call_is_refused(machine):
    column = ARCHITECTURES[machine].column
    for name, numbers in DENIED.items():
        if (denied := numbers[column]) is not None:
            assert judge(machine, denied) == "EPERM", name


def test_other_architectures_are_killed_first(machine):
    assert judge(machine, 0, audit=0x40000003) == "kill"


def test_only_unix_sockets(machine):
    for name in ("socket", "socketpair"):
        assert judge(machine, number(machine, name), 1, 1, 0) == "allow"
        for family in (0, 2, 10, 16, 17, 38, 40, 1 << 16 | 2):
            assert judge(machine, number(machine, name), family, 1, 0) == "EAFNOSUPPORT"


def test_tcp_and_udp_where_the_network_leads_nowhere(machine):
    socket = number(machine, "socket")
    for family in (2, 10):
        for kind, protocol in ((1, 0), (1, 6), (2, 0), (2, 17)):
            assert judge(machine, socket, family, kind | 0o2004000, protocol, reach=INTERNET) == "allow"
        for protocol in (1, 58, 132, 136, 255, 262):  # ICMP, SCTP, UDPLITE, raw, MPTCP
            assert judge(machine, socket, family, 1, protocol, reach=INTERNET) == "EPROTONOSUPPORT"
    assert judge(machine, socket, 1, 1, 0, reach=INTERNET) == "allow"
    for family in (0, 16, 17, 38, 40):
        assert judge(machine, socket, family, 1, 0, reach=INTERNET) == "EAFNOSUPPORT"
    assert judge(machine, number(machine, "socketpair"), 2, 1, 0, reach=INTERNET) == "EAFNOSUPPORT"


def test_only_connected_pairs_of_sockets_among_neighbours(machine):
    pair = number(machine, "socketpair")
    assert judge(machine, number(machine, "socket"), 1, 1, 0, reach=KEPT) == "EAFNOSUPPORT"
    for kind in (1, 5, 1 | 0o2004000):
        assert judge(machine, pair, 1, kind, 0, reach=KEPT) == "allow"
    for family, kind in ((1, 2), (1, 3), (1, 2 | 0o2004000), (2, 1)):
        assert judge(machine, pair, family, kind, 0, reach=KEPT) == "EAFNOSUPPORT"
    assert judge(machine, number(machine, "connect"), 3, reach=KEPT) == "EPERM"


def test_neighbours_keep_their_limits_and_priorities(machine):
    for name in ("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr"):
        assert judge(machine, number(machine, name), 0, reach=KEPT) == "allow"
        assert judge(machine, number(machine, name), 4321, reach=KEPT) == "EPERM"
        assert judge(machine, number(machine, name), 4321) == "allow"
    priority = number(machine, "setpriority")
    assert judge(machine, priority, 0, 0, reach=KEPT) == "allow"
    for which, who in ((0, 4321), (1, 0), (2, 0)):
        assert judge(machine, priority, which, who, reach=KEPT) == "EPERM"


def test_changes_of_files_of_the_same_user_are_asked_about(machine):
    calls = asked(machine)
    assert {
        number(machine, name) for name in ("fchmod", "fchmodat", "fchown", "utimensat", "fsetxattr")
    } <= calls.keys()
    for call, name in calls.items():
        assert judge(machine, call, reach=ONE_USER) == "ask", name
        assert judge(machine, call, reach=KEPT) == "allow", name
    assert judge(machine, number(machine, "fchmodat"), 0, 1, 0o4755, reach=ONE_USER) == "EPERM"
    for name, numbers in NAMED.items():
        if (other := numbers[ARCHITECTURES[machine].column]) is not None and other not in calls:
            assert judge(machine, other, reach=ONE_USER) != "ask", name


def test_threads_and_forks_but_no_namespaces(machine):
    clone = number(machine, "clone")
    assert judge(machine, clone, 0x3D0F00) == "allow"  # what pthread_create asks for
    assert judge(machine, clone, 0x1200011) == "allow"  # fork
    for bit in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert judge(machine, clone, 17 | bit) == "EPERM"
    assert judge(machine, number(machine, "clone3")) == "ENOSYS"


def test_terminal_injection_is_refused_whatever_the_high_bits(machine):
    ioctl = number(machine, "ioctl")
    assert judge(machine, ioctl, 0, 0x5401) == "allow"
    for request in (0x5412, 0x541C, 0xFFFFFFFF_00005412):
        assert judge(machine, ioctl, 0, request) == "EPERM"


def test_modes_are_judged_only_where_a_file_is_made(machine):
    openat = number(machine, "openat")
    assert judge(machine, openat, 0, 0, 0, 0o4755) == "allow"  # no O_CREAT: the argument is garbage
    assert judge(machine, openat, 0, 0, 0o101, 0o644) == "allow"
    assert judge(machine, openat, 0, 0, 0o101, 0o4755) == "EPERM"
    assert judge(machine, openat, 0, 0, 0o20200001, 0o2644) == "EPERM"
    assert judge(machine, number(machine, "fchmod"), 0, 0o755) == "allow"
    assert judge(machine, number(machine, "fchmod"), 0, 0o4755) == "EPERM"
    assert judge(machine, number(machine, "fchmodat"), 0, 0, 0o6755) == "EPERM"


def test_nothing_promises_a_signal_of_ones_choice(machine):
    for command in (10, 0xFFFFFFFF_0000000A):
        assert judge(machine, number(machine, "fcntl"), 0, command, 18) == "EPERM"
    assert judge(machine, number(machine, "fcntl"), 0, 4, 0o4000) == "allow"
    assert judge(machine, number(machine, "timer_create")) == "EPERM"


def test_no_memory_that_limits_of_processes_do_not_count(machine):
    assert judge(machine, number(machine, "memfd_create")) == "ENOSYS"


def test_unknown_calls_look_missing(machine):
    newer = (451, 453, 457, 1000, 0x40000000 | 41, 0xFFFFFFFF)
    asynchronous = {"x86_64": (206, 207, 209), "aarch64": (0, 1, 2)}[machine]
    for unknown in (*newer, *asynchronous):
        assert judge(machine, unknown) == "ENOSYS"


def test_what_programs_use_passes(machine):
    for name, numbers in ALLOWED.items():
        if (allowed := numbers[ARCHITECTURES[machine].column]) is not None:
            for reach in (NAMESPACES, KEPT, ONE_USER, INTERNET):
                assert judge(machine, allowed, reach=reach) == "allow", name


def test_every_call_is_in_one_table():
    tables = (ALLOWED, DENIED, JUDGED, NEIGHBOURS, SAME_USER)
    assert len(NAMED) == sum(map(len, tables))
    for column in (0, 1):
        numbers = [entry[column] for entry in NAMED.values() if entry[column] is not None]
        assert len(numbers) == len(set(numbers))


def test_jumps_fit_and_the_program_is_short(machine):
    assert len(assemble(machine)) == 8 * len(program(machine))
    assert len(program(machine)) < 4096


def test_numbers_are_those_of_the_kernels_headers():
    headers = {0: [*Path("/usr/include").glob("*/asm/unistd_64.h")], 1: [Path("/usr/include/asm-generic/unistd.h")]}
    for column, (path, *_) in ((column, paths) for column, paths in headers.items() if paths and paths[0].exists()):
        known = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", path.read_text()))
        for name, numbers in NAMED.items():
            if name in known:
                assert numbers[column] == int(known[name]), name
        if column == 0:  # the other header has calls of 32-bit machines too
            undecided = {name for name, number in known.items() if name not in NAMED and int(number) <= 450}
            assert undecided <= UNWANTED
