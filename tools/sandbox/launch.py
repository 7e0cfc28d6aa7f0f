"""Starting a sandbox's processes: the channels to them, and the session's user instead of ours."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self

from ..errors import SandboxUnavailable
from .cgroups import CONTROLLERS, Cgroups, SessionCgroup
from .identity import server_is_root
from .placement import mapped_command
from .spec import Limits, SandboxSpec


class Channels:
    """What a sandbox is reached by. A context manager: in the end our ends are closed, unless :meth:`keep` was called,
    and theirs in any case.

    Attributes:
        control: our end of a stream socket whose messages come with the sender's pid; its other end is ``far_control``.
        stdout, stderr: read ends of pipes, with ``far_stdout`` and ``far_stderr``.
    """

    def __enter__(self) -> Self:
        self._ours, self._theirs = ExitStack(), ExitStack()
        with ExitStack() as unless_complete:
            unless_complete.push(self)
            self.control, self.far_control = self.sockets(socket.SOCK_STREAM)
            self.control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            (self.stdout, self.far_stdout), (self.stderr, self.far_stderr) = self.pipe(), self.pipe()
            unless_complete.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._theirs.close()
        self._ours.close()

    def pipe(self) -> tuple[int, int]:
        end, far_end = os.pipe()
        self._ours.callback(os.close, end)
        self._theirs.callback(os.close, far_end)
        return end, far_end

    def sockets(self, kind: socket.SocketKind) -> tuple[socket.socket, socket.socket]:
        end, far_end = socket.socketpair(socket.AF_UNIX, kind)
        self._ours.callback(end.close)
        self._theirs.callback(far_end.close)
        return end, far_end

    def in_memory(self, content: bytes) -> int:
        """A descriptor, for the other side, of a file with this content."""
        fd = os.memfd_create("agenthost-sandbox", os.MFD_CLOEXEC)
        self._theirs.callback(os.close, fd)
        os.write(fd, content)
        os.lseek(fd, 0, os.SEEK_SET)
        return fd

    def confine(
        self, cgroups: Cgroups | None, limits: Limits, controllers: tuple[str, ...] = CONTROLLERS
    ) -> SessionCgroup | None:
        """A control group for the sandbox, where this process may make one."""
        group = cgroups.make(limits, controllers) if cgroups else None
        if group:
            self._ours.callback(group.close)
        return group

    def keep(self) -> None:
        """The sandbox has started: our ends stay open."""
        self._ours.pop_all()


@contextmanager
def starting() -> Iterator[None]:
    """Raises SandboxUnavailable: the machine refuses something that a start needs."""
    try:
        yield
    except OSError as error:
        raise SandboxUnavailable(f"could not start a sandbox: {error}") from error


def refuse_root(spec: SandboxSpec) -> None:
    """Raises SandboxUnavailable: the sandbox would run as uid 0."""
    if (server_is_root() and spec.user is None) or (spec.user is not None and spec.user.uid == 0):
        raise SandboxUnavailable("sandboxed code must not run as uid 0: give the session a user of its own")


def spawn(
    spec: SandboxSpec,
    command: list[str],
    passed: list[int],
    channels: Channels,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program as the session's user, with nothing of ours but the descriptors it needs."""
    user, group = (spec.user.uid, spec.user.gid) if spec.user else (None, None)
    if spec.owner and spec.user:
        command = [*mapped_command(spec.workspace, spec.owner, spec.user), *command]
        user = group = None  # the script needs root for its mount and becomes the user before the command starts
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=channels.far_stdout,
        stderr=channels.far_stderr,
        pass_fds=passed,
        env=environment or {},
        cwd="/",
        user=user,
        group=group,
        extra_groups=[] if user is not None else None,
        start_new_session=True,  # a Ctrl+C is for the server, which then ends it
    )
