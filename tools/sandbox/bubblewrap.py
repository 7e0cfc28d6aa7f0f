"""Isolation by bubblewrap: own user, mount, pid, network, ipc, uts and cgroup namespaces, and our seccomp filter.

The launcher never runs as uid 0 (a root server's bwrap could write to /proc/sys from inside) and has an empty
environment (its pid 1 shows the environment it was given to the code inside).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .backend import Backend, Sandbox
from .cgroups import Cgroups
from .launch import Channels, refuse_root, spawn, starting
from .local import start_local
from .processes import Processes, readable, send_signal
from .program import program
from .seccomp import Reach, assemble
from .spec import ENVIRONMENT, SYSTEM_FOLDERS, WORKSPACE, Limits, SandboxSpec

_SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime", "/etc/ssl/certs")
_INSIDE_ID = "1000"
_ACCOUNTS = {
    "/etc/passwd": f"user:x:{_INSIDE_ID}:{_INSIDE_ID}::{WORKSPACE}:/bin/sh\n".encode(),
    "/etc/group": f"user:x:{_INSIDE_ID}:\n".encode(),
}


@dataclass(frozen=True)
class Bubblewrap(Backend):
    """Starts sandboxes with the ``bwrap`` program.

    Args:
        bwrap: path of the program.
        python: a Python that any user may read.
        options: what this version of bwrap knows, as listed by ``bwrap --help``.
        cgroups: limits for all processes of a session together, where this process may set them.
    """

    bwrap: str
    python: str
    options: frozenset[str]
    cgroups: Cgroups | None = None
    name: str = "bubblewrap"
    networks: bool = True

    async def create(self, spec: SandboxSpec) -> Sandbox:
        refuse_root(spec)
        with starting():
            # In this thread: the launcher ends when the thread that started it does.
            processes = self._start(spec)
        return await start_local(processes, spec)

    def warm_up(self, network: bool = False) -> None:
        """Nothing runs before a sandbox is wanted."""

    def close(self) -> None:
        """Nothing runs beside the sandboxes."""

    def _start(self, spec: SandboxSpec) -> Bubblewrapped:
        with Channels() as channels:
            info, far_info = channels.pipe()
            data = [
                channels.in_memory(content)
                for content in (assemble(reach=Reach(internet=spec.network)), *_ACCOUNTS.values())
            ]
            confinement = channels.confine(self.cgroups, spec.limits)
            control = channels.far_control.fileno()
            inside = [self.python, "-I", "-c", program("worker"), str(control)]
            command = [self.bwrap, *self._arguments(spec, data, far_info), "--", *inside]
            launcher = spawn(spec, command, [control, far_info, *data], channels)
            channels.keep()
        return Bubblewrapped(channels.control, channels.stdout, channels.stderr, confinement, launcher, info)

    def _arguments(self, spec: SandboxSpec, data: list[int], info: int) -> Iterator[str]:
        filter_fd, *account_fds = data
        yield from ("--unshare-user", "--uid", _INSIDE_ID, "--gid", _INSIDE_ID)
        if "--disable-userns" in self.options:  # the filter refuses them too
            yield "--disable-userns"
        yield from ("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
        yield from ("--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "sandbox")
        yield from self._file_system(spec.limits)
        for path, fd in zip(_ACCOUNTS, account_fds, strict=True):
            yield from ("--ro-bind-data", str(fd), path)
        workspace = spec.owner.mount_point if spec.owner else spec.workspace
        yield from ("--bind", str(workspace), WORKSPACE, "--chdir", WORKSPACE)
        yield from ("--remount-ro", "/dev", "--remount-ro", "/")
        yield "--clearenv"
        for name, value in ENVIRONMENT.items():
            yield from ("--setenv", name, value)
        yield from ("--seccomp", str(filter_fd), "--info-fd", str(info))

    def _file_system(self, limits: Limits) -> Iterator[str]:
        yield from ("--ro-bind", "/usr", "/usr")
        for path in map(Path, SYSTEM_FOLDERS):
            if path.is_symlink():
                yield from ("--symlink", os.readlink(path), str(path))
            elif path.is_dir():
                yield from ("--ro-bind", str(path), str(path))
        for path in _SYSTEM_FILES:
            yield from ("--ro-bind-try", path, path)
        prefix = Path(self.python).parent.parent
        if not prefix.is_relative_to("/usr"):
            yield from ("--ro-bind", str(prefix), str(prefix))
        yield from ("--proc", "/proc", "--dev", "/dev")
        # Settings of the sandbox's own namespaces would be writable, and more than that for a host uid of 0.
        yield from ("--ro-bind", "/proc/sys", "/proc/sys")
        yield from ("--size", str(limits.temporary), "--tmpfs", "/tmp")
        yield from ("--size", str(limits.shared_memory), "--tmpfs", "/dev/shm")


@dataclass
class Bubblewrapped(Processes):
    """Args:
    launcher: bwrap itself, whose end is the sandbox's end.
    info: read end of a pipe on which it writes ``{"child-pid": N}``, its pid 1.
    """

    launcher: subprocess.Popen[bytes]
    info: int

    def end(self) -> int:
        return os.pidfd_open(self.launcher.pid)

    def settle(self, program_pid: int) -> None:
        self._find_init()
        self.program = os.pidfd_open(program_pid)
        if self.confinement:
            self.confinement.add(program_pid)

    def kill(self) -> None:
        self._find_init()
        super().kill()
        # One that hangs before it has told its pid 1 would leave it behind.
        children = [] if self.init >= 0 else _children(self.launcher.pid)
        self.launcher.kill()
        for child in children:
            send_signal(child, signal.SIGKILL)
            os.close(child)

    def close(self, timeout: float = 5.0) -> None:
        super().close(timeout)
        self.launcher.wait()
        if self.info >= 0:
            os.close(self.info)
            self.info = -1

    def _find_init(self) -> None:
        if self.init >= 0 or self.info < 0 or not readable(self.info):
            return
        found = re.search(rb'"child-pid": *([0-9]+)', os.read(self.info, 4096))
        if found:
            with suppress(ProcessLookupError):
                self.init = os.pidfd_open(int(found[1]))


def _children(pid: int) -> list[int]:
    """Pidfds of a process's children."""
    found: list[int] = []
    with suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found.append(os.pidfd_open(int(child)))
    return found
