"""Room for a session's processes beside the others of its user, which the kernel's limit counts too (RLIMIT_NPROC)."""

from __future__ import annotations

import os
import resource

_ANY = 1 << 22  # more than there can be pids
_SOME = 64


def allow_processes(count: int) -> None:
    """This process and its descendants may start so many threads, beside those that their user has now."""
    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    most = _ANY if hard == resource.RLIM_INFINITY else hard
    limit = min(_running(hard, most) + count, most)
    resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))


def _running(hard: int, most: int) -> int:
    """Threads of this user; ``most`` if it can start none. Only the kernel counts them all, beyond a container too."""
    few, enough = 0, min(_SOME, most)
    while not _can_start(enough, hard):
        if enough == most:
            return most
        few, enough = enough, min(2 * enough, most)
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if _can_start(middle, hard) else (middle, enough)
    return enough - 1


def _can_start(limit: int, hard: int) -> bool:
    resource.setrlimit(resource.RLIMIT_NPROC, (limit, hard))
    try:
        pid = os.fork()
    except BlockingIOError:
        return False
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return True
