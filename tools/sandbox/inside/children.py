"""Hearing of ended children in a loop that polls descriptors."""

from __future__ import annotations

import os
import signal
from contextlib import suppress


def wake_on_child() -> int:
    """A descriptor that becomes readable when a child ends, is stopped or goes on."""
    woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return woken


def forget_children(woken: int) -> None:
    """In a forked process: undo :func:`wake_on_child`."""
    os.close(signal.set_wakeup_fd(-1))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.close(woken)


def reaped() -> set[int]:
    """The children that have ended."""
    pids: set[int] = set()
    with suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            pids.add(pid)
    return pids
