"""Where a session's directory is, and as whom the server and the sandbox touch it.

===============================  ==================  =========================  =====================================
server runs as                   workspace           code runs as (host)        the file tools act as
===============================  ==================  =========================  =====================================
an ordinary user                 any                 that user                  that user
root                             temporary           a uid of the session       the same uid
root                             a user's directory  a uid of the session, the  the directory's owner
                                                     owner's by an id-mapped
                                                     mount
root, no id-mapped mounts there  a user's directory  the directory's owner      the directory's owner
===============================  ==================  =========================  =====================================

So files belong to whom one expects, nothing has to be made world-writable, nothing of the user's changes its owner, and
no sandbox runs as uid 0. The one case left, a directory of root's on a file system without id-mapped mounts (overlayfs
in a container, say), is refused with advice.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ..errors import WorkspaceError
from .identity import Identity, IdentityPool, server_is_root
from .program import program
from .spec import Limits, MappedOwner, SandboxSpec


@dataclass(frozen=True)
class Placement:
    """A workspace ready for use.

    Args:
        files_as: whom the file tools act as; None for the server itself.
        session_user: uid taken from the pool, to be given back when the session ends.
    """

    sandbox: SandboxSpec
    files_as: Identity | None
    session_user: Identity | None


def place_temporary(home: Path, pool: IdentityPool, limits: Limits) -> Placement:
    """Make an empty workspace in ``home``, a directory of the session's own."""
    workspace = home / "workspace"
    workspace.mkdir(mode=0o700)
    if not server_is_root():
        return Placement(SandboxSpec(workspace, None, limits=limits), None, None)
    user = pool.take()
    os.chown(workspace, user.uid, user.gid)
    return Placement(SandboxSpec(workspace, user, limits=limits, shared_user=False), user, user)


def place_directory(directory: Path, home: Path, pool: IdentityPool, limits: Limits) -> Placement:
    """Use a directory that a user gave.

    Raises:
        WorkspaceError: it is not a directory that a sandbox can safely be given.
    """
    try:
        directory = directory.resolve(strict=True)
        status = directory.stat()
    except (OSError, RuntimeError) as error:
        raise WorkspaceError(f"cannot use {directory} as a workspace: {error}. Give an existing directory.") from error
    if not stat.S_ISDIR(status.st_mode):
        raise WorkspaceError(f"cannot use {directory} as a workspace: it is not a directory. Give an existing one.")
    if directory == Path("/"):
        raise WorkspaceError("cannot use / as a workspace: the agent could change the whole system. Give a folder.")
    if not server_is_root():
        return Placement(SandboxSpec(directory, None, limits=limits), None, None)
    owner = Identity(status.st_uid, status.st_gid)
    user = pool.take()
    mount_point = home / "view"
    mount_point.mkdir(mode=0o700)
    mapped = MappedOwner(owner, mount_point)
    refusal = _try_mapping(directory, mapped, user)
    if refusal is None:
        return Placement(SandboxSpec(directory, user, mapped, limits, shared_user=False), owner, user)
    pool.give_back(user)
    if owner.uid == 0:
        raise WorkspaceError(
            f"cannot use {directory} as a workspace: it belongs to root, the sandbox never runs as root, and "
            f"its file system does not let the directory be shown as another user's ({refusal}). "
            f"Give it to an ordinary user (chown -R 1000:1000 {directory}) or run agenthost as one."
        )
    return Placement(SandboxSpec(directory, owner, limits=limits), owner, None)


def mapped_command(workspace: Path, owner: MappedOwner, user: Identity) -> list[str]:
    """What to put before a command so that it runs as ``user`` and sees the workspace as its own."""
    ids = map(str, (owner.identity.uid, owner.identity.gid, user.uid, user.gid))
    start = [sys.executable, "-I", "-S", "-c", program("mapped_launch")]
    return [*start, str(workspace), str(owner.mount_point), *ids]


def _try_mapping(directory: Path, owner: MappedOwner, user: Identity) -> str | None:
    """Make the mount once, in a process that ends at once. None: it works; else why not."""
    command = [*mapped_command(directory, owner, user), "/bin/true"]
    trial = subprocess.run(command, env={}, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if trial.returncode == 0:
        return None
    return trial.stderr.decode(errors="replace").strip()[-200:] or f"exit status {trial.returncode}"
