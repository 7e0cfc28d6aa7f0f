"""What an isolation backend is: it starts one Python program per session, cut off from the host.

Small on purpose. The interpreter talks to the program over `control`; everything read from there is untrusted.
"""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .identity import Identity

MIB = 1 << 20
WORKSPACE = "/workspace"  # where the session's directory is inside every sandbox


@dataclass(frozen=True)
class Limits:
    """What one session may use. Bytes, counts, seconds."""

    address_space: int = 1024 * MIB  # of each process: Python sees MemoryError and keeps its state
    memory: int = 1280 * MIB  # of all processes and temporary files together, where cgroups are writable
    processes: int = 64  # threads count
    open_files: int = 256
    file_size: int = 64 * MIB
    cpu_seconds: int = 3600  # of each process
    temporary: int = 64 * MIB  # /tmp
    shared_memory: int = 16 * MIB  # /dev/shm

    def rlimits(self) -> dict[str, int]:
        """By name in Python's `resource` module; the program inside sets them on itself before it runs anything."""
        return {
            "RLIMIT_AS": self.address_space,
            "RLIMIT_NPROC": self.processes,
            "RLIMIT_NOFILE": self.open_files,
            "RLIMIT_FSIZE": self.file_size,
            "RLIMIT_CPU": self.cpu_seconds,
            "RLIMIT_CORE": 0,
            "RLIMIT_MEMLOCK": 0,
            "RLIMIT_MSGQUEUE": 0,
        }


@dataclass(frozen=True)
class MappedOwner:
    """A directory that belongs to somebody else on disk than the code that works in it.

    Args:
        identity: owner on disk; files made inside belong to it.
        mount_point: an empty directory for the id-mapped view of the workspace, seen only by the sandbox.
    """

    identity: Identity
    mount_point: Path


@dataclass(frozen=True)
class SandboxSpec:
    """One session's sandbox.

    Args:
        workspace: host directory that appears as /workspace, writable.
        user: host identity that everything inside runs as; None for the server's own. Never uid 0.
        owner: set when the workspace must be shown as ``user``'s by an id-mapped mount, which only root can make.
    """

    workspace: Path
    user: Identity | None
    owner: MappedOwner | None = None
    limits: Limits = Limits()


class Confinement(Protocol):
    """Kernel accounting of one sandbox, see cgroups.py."""

    def add(self, pid: int) -> None: ...
    def out_of_memory(self) -> bool: ...
    def close(self) -> None: ...


@dataclass
class Sandbox:
    """A started sandbox. The receiver owns the descriptors; :meth:`close` closes them.

    Args:
        launcher: the host process whose end is the sandbox's end.
        control: stream socket to the program inside.
        stdout: read end of what the program and its children write; likewise ``stderr``.
        info: read end of a pipe on which the launcher writes ``{"child-pid": N}``, its pid 1.
    """

    launcher: subprocess.Popen[bytes]
    control: socket.socket
    stdout: int
    stderr: int
    info: int
    confinement: Confinement | None = None
    _init: int = -1  # pidfd of the sandbox's pid 1, which ends after everything else inside
    _program: int = -1  # pidfd of the program inside

    def settle(self, program_pid: int) -> None:
        """Take hold of the processes inside and limit them. Call when the program is there and has run nothing yet."""
        self._find_init()
        self._program = os.pidfd_open(program_pid)
        if self.confinement:
            self.confinement.add(program_pid)

    def interrupt(self) -> None:
        """Send SIGINT to the program inside."""
        _send(self._program, signal.SIGINT)

    def out_of_memory(self) -> bool:
        """Whether the kernel has killed something inside for memory."""
        return self.confinement is not None and self.confinement.out_of_memory()

    def kill(self) -> None:
        """End everything inside at once."""
        self._find_init()
        _send(self._init, signal.SIGKILL)
        self.launcher.kill()

    def close(self, timeout: float = 5.0) -> None:
        """Kill, wait until nothing is left, let go of the descriptors. Blocks for some milliseconds. Idempotent."""
        if self.info < 0:
            return
        self.kill()
        self.launcher.wait()
        if self._init >= 0:
            select.select([self._init], [], [], timeout)
        self.control.close()
        for fd in (self.stdout, self.stderr, self.info, self._init, self._program):
            if fd >= 0:
                os.close(fd)
        self.stdout = self.stderr = self.info = self._init = self._program = -1
        if self.confinement:
            self.confinement.close()

    def _find_init(self) -> None:
        if self._init >= 0 or self.info < 0 or not select.select([self.info], [], [], 0)[0]:
            return
        found = re.search(rb'"child-pid": *([0-9]+)', os.read(self.info, 4096))
        if found:
            with suppress(ProcessLookupError):
                self._init = os.pidfd_open(int(found[1]))


def _send(pidfd: int, number: signal.Signals) -> None:
    if pidfd >= 0:
        with suppress(ProcessLookupError):  # it has ended already
            signal.pidfd_send_signal(pidfd, number)


class Backend(ABC):
    """One way to isolate."""

    name: str

    @abstractmethod
    def start(self, spec: SandboxSpec, program: str) -> Sandbox:
        """Run ``program`` (Python source) inside; its only argument is the number of its control descriptor.

        Returns at once; the program says over ``control`` when it is there. Blocks for some milliseconds.

        Raises:
            SandboxUnavailable: the launcher could not be started.
        """
