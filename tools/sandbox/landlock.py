"""Isolation by Landlock and our seccomp filter, for machines without user namespaces, such as containers.

The code sees the system's programs and its workspace, no other file; it has no socket but connected pairs, so no
network; it can signal its own processes only. A root server gives it a user of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .backend import Backend, Sandbox
from .cgroups import Cgroups
from .kept import start_kept
from .spec import SYSTEM_FOLDERS, SandboxSpec

_SETTINGS = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime", "/etc/fonts", "/etc/ssl/openssl.cnf")
_SYSTEM = ("/usr", *SYSTEM_FOLDERS, *_SETTINGS)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


@dataclass(frozen=True)
class Landlock(Backend):
    """Starts a keeper for each sandbox.

    Args:
        python: a Python that any user may read.
        cgroups: limits for all processes of a session together, where this process may set them.
    """

    python: str
    cgroups: Cgroups | None = None
    name: str = "landlock"
    lacks: str = (
        "processes, /proc, /tmp and /dev/shm of its own (there is $TMPDIR, limited by the disk only); names, sizes and "
        "times of this machine's files can be asked for, their content cannot"
    )

    async def create(self, spec: SandboxSpec) -> Sandbox:
        prefix = Path(self.python).parent.parent
        walls = {"read": (*_SYSTEM, str(prefix)), "write": (), "devices": _DEVICES}
        return await start_kept(spec, self.python, self.cgroups, walls)

    def warm_up(self, network: bool = False) -> None:
        """Nothing runs before a sandbox is wanted."""

    def close(self) -> None:
        """Nothing runs beside the sandboxes."""
