"""Sandboxes without namespaces: a keeper process for each (`inside/keeper.py`), with the interpreter as its child.

What one lacks that has namespaces is said by the backends that are made of these. Temporary files have a directory of
their own in $TMPDIR, of which only single files are limited.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import SandboxUnavailable
from ..files.remove import remove_tree
from .cgroups import Cgroups
from .launch import Channels, refuse_root, spawn, starting
from .local import LocalSandbox, start_local
from .program import program
from .seccomp import Reach, asked, assemble
from .spec import ENVIRONMENT, SandboxSpec
from .supervised import Supervised

Walls = Mapping[str, Sequence[str]]


async def start_kept(spec: SandboxSpec, python: str, cgroups: Cgroups | None, walls: Walls | None) -> LocalSandbox:
    """A sandbox.

    Args:
        walls: paths that can be reached besides the workspace, as of `inside/landlock.keep_files`; None for all.

    Raises:
        SandboxUnavailable: it does not start.
    """
    refuse_root(spec)
    if spec.network:
        raise SandboxUnavailable("there is no network here that code could have for itself")
    with starting(), ExitStack() as unless_started:
        temporary = Path(tempfile.mkdtemp(prefix="agenthost-tmp-"))
        unless_started.callback(_remove, temporary)
        if spec.user:
            os.chown(temporary, spec.user.uid, spec.user.gid)
        # In this thread: the keeper's child ends when the thread that started it does.
        processes = _start(spec, python, cgroups, walls, temporary)
        unless_started.pop_all()
    if spec.shared_user:  # the keeper or the control group has seen to it
        spec = replace(spec, limits=replace(spec.limits, processes=resource.RLIM_INFINITY))
    return await start_local(processes, spec)


def _start(spec: SandboxSpec, python: str, cgroups: Cgroups | None, walls: Walls | None, temporary: Path) -> Kept:
    workspace = str(spec.owner.mount_point if spec.owner else spec.workspace)
    reach = Reach(neighbours=True, same_user=spec.shared_user)
    with Channels() as channels:
        server, far_server = channels.sockets(socket.SOCK_SEQPACKET)
        confinement = channels.confine(cgroups, spec.limits)
        limited = confinement.folders if confinement else ()
        passed = [far_server.fileno(), channels.far_control.fileno()]
        config = {
            "server": passed[0],
            "control": passed[1],
            "workspace": workspace,
            "filter": assemble(reach=reach).hex() if walls else None,
            "asked": asked() if walls and reach.same_user else {},
            "processes": spec.limits.processes if spec.shared_user and "pids" not in limited else None,
            "walls": {**walls, "write": [*walls["write"], workspace, str(temporary)]} if walls else None,
        }
        environment = {**ENVIRONMENT, "HOME": workspace, "TMPDIR": str(temporary), "GIT_CONFIG_NOSYSTEM": "1"}
        command = [python, "-I", "-c", program("keeper"), json.dumps(config)]
        keeper = spawn(spec, command, passed, channels, environment)
        channels.keep()
    return Kept(channels.control, channels.stdout, channels.stderr, confinement, server, keeper, temporary)


@dataclass
class Kept(Supervised):
    """``init`` is the keeper.

    Args:
        temporary: directory that goes with the sandbox.
    """

    keeper: subprocess.Popen[bytes]
    temporary: Path

    def end(self) -> int:
        self.init = os.pidfd_open(self.keeper.pid)
        return os.dup(self.init)

    def settle(self, program_pid: int) -> None:
        self.program = os.pidfd_open(program_pid)
        if self.confinement:
            self.confinement.add(program_pid)

    def kill(self) -> None:
        """The keeper does it, and cannot be kept from it by what runs inside."""
        with suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        if self.confinement:
            self.confinement.thaw()

    def close(self, timeout: float = 5.0) -> None:
        super().close(timeout)
        self.keeper.kill()
        self.keeper.wait()
        _remove(self.temporary)


def _remove(folder: Path) -> None:
    with suppress(OSError):
        parent = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove_tree(parent, folder.name)
        finally:
            os.close(parent)
