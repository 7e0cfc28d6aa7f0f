"""What a sandbox is asked for: a workspace, whom to run as, limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .identity import Identity

MIB = 1 << 20
WORKSPACE = "/workspace"  # where the session's directory is inside sandboxes with a file system of their own
SYSTEM_FOLDERS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")  # links into /usr, mostly
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": WORKSPACE,
    "LANG": "C.UTF-8",
    "TMPDIR": "/tmp",
    "TERM": "dumb",
}
PROXY = ("127.0.0.1", 3128)
# With a network: what programs need to find the proxy, and pip to install where it may.
NETWORK_ENVIRONMENT = {
    **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), f"http://{PROXY[0]}:{PROXY[1]}"),
    **dict.fromkeys(("no_proxy", "NO_PROXY"), "localhost,127.0.0.1,::1"),
    **dict.fromkeys(
        ("PIP_USER", "PIP_BREAK_SYSTEM_PACKAGES", "PIP_NO_CACHE_DIR", "PIP_DISABLE_PIP_VERSION_CHECK"), "1"
    ),
}


@dataclass(frozen=True)
class Limits:
    """What one session may use. Bytes, counts, seconds."""

    address_space: int = 1024 * MIB  # of each process: Python sees MemoryError and keeps its state
    memory: int = 1280 * MIB  # of all processes and temporary files together, where cgroups are writable
    processes: int = 64  # threads count; resource.RLIM_INFINITY where something else limits them
    open_files: int = 256
    file_size: int = 64 * MIB
    cpu_seconds: int = 3600  # of each process, and of all of one sandbox together where they can be counted
    temporary: int = 64 * MIB  # /tmp
    temporary_files: int = 4000
    shared_memory: int = 16 * MIB  # /dev/shm
    output: int = 64 * MIB  # that one execution prints before it is stopped; what is kept is far less

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
        shared_user: other processes and files of this machine may be that user's too. False only for a uid of the
            session's own.
        owner: set when the workspace must be shown as ``user``'s by an id-mapped mount, which only root can make.
        network: TCP and UDP within the sandbox, where a proxy listens at `PROXY` (see `Sandbox.listener`) and nothing
            else does. Only for backends with networks.
    """

    workspace: Path
    user: Identity | None
    shared_user: bool = field(default=True, kw_only=True)
    owner: MappedOwner | None = None
    limits: Limits = Limits()
    network: bool = False

    @property
    def disk_identity(self) -> Identity | None:
        """Whom files of the workspace belong to on disk; None for the server itself."""
        return self.owner.identity if self.owner else self.user
