"""The host's hold on the processes of one local sandbox: descriptors, signals, limits. Knows nothing of messages."""

from __future__ import annotations

import os
import select
import signal
import socket
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from .backend import Stats


class Confinement(Protocol):
    """Kernel accounting of one sandbox, see cgroups.py."""

    def add(self, pid: int) -> None: ...
    def out_of_memory(self) -> bool: ...
    def freeze(self) -> bool: ...
    def thaw(self) -> None: ...
    def stats(self) -> Stats: ...
    def close(self) -> None: ...


@dataclass
class Processes(ABC):
    """The receiver owns the descriptors; :meth:`close` closes them.

    Args:
        control: stream socket to the program inside.
        stdout: read end of what the program and its children write; likewise ``stderr``.
        confinement: limits for all of them together, where there is one.
    """

    control: socket.socket
    stdout: int
    stderr: int
    confinement: Confinement | None
    init: int = field(default=-1, init=False)  # pidfd of the sandbox's pid 1, which ends after everything else inside
    program: int = field(default=-1, init=False)  # pidfd of the Python inside

    @abstractmethod
    def end(self) -> int:
        """A new descriptor that becomes readable when the sandbox has ended."""

    @abstractmethod
    def settle(self, program_pid: int) -> None:
        """Take hold of the processes inside and limit them. Called when the program is there and has run nothing yet.

        Args:
            program_pid: the program's pid on this host, vouched for by the kernel.

        Raises:
            OSError: it has ended already.
        """

    def complaint(self) -> str:
        """What the launcher says about a failed start, if anything."""
        return ""

    def interrupt(self) -> None:
        """Send SIGINT to the program inside."""
        send_signal(self.program, signal.SIGINT)

    def freeze(self) -> bool:
        """Stop everything inside. False: not possible here."""
        return self.confinement is not None and self.confinement.freeze()

    def thaw(self) -> None:
        if self.confinement:
            self.confinement.thaw()

    def stats(self) -> Stats:
        return self.confinement.stats() if self.confinement else Stats()

    def out_of_memory(self) -> bool:
        return self.confinement is not None and self.confinement.out_of_memory()

    def kill(self) -> None:
        """End everything inside at once."""
        send_signal(self.init, signal.SIGKILL)
        if self.confinement:  # cgroup v1 keeps what is killed while frozen until it is thawed
            self.confinement.thaw()

    def close(self, timeout: float = 5.0) -> None:
        """Kill, wait until nothing is left, let go of the descriptors. Blocks for some milliseconds. Idempotent."""
        if self.stdout < 0:
            return
        self.kill()
        if self.init >= 0:
            readable(self.init, timeout)
        self.control.close()
        for fd in (self.stdout, self.stderr, self.init, self.program):
            if fd >= 0:
                os.close(fd)
        self.stdout = self.stderr = self.init = self.program = -1
        if self.confinement:
            self.confinement.close()


def readable(fd: int, seconds: float = 0.0) -> bool:
    """Whether there is something to read within some seconds. Unlike select(2) it takes descriptors above 1023."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(1000 * seconds))


def send_signal(pidfd: int, number: signal.Signals) -> None:
    if pidfd >= 0:
        with suppress(ProcessLookupError):  # it has ended already
            signal.pidfd_send_signal(pidfd, number)
