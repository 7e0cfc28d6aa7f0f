"""Starts a command as a session's user, with a directory of another owner shown as that user's.

Run by a root server: ``SOURCE MOUNT_POINT DISK_UID DISK_GID UID GID COMMAND...``. In a mount namespace of its own it
puts an id-mapped view of SOURCE on MOUNT_POINT, becomes UID:GID for good and runs COMMAND. Exit status 97 says that
the mapping was refused.
"""

from __future__ import annotations

import os
import sys

from . import kernel
from .mapped import mount_mapped

REFUSED = 97


def main(arguments: list[str]) -> None:
    source, mount_point, disk_uid, disk_gid, uid, gid, *command = arguments
    try:
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.make_private()
        mount_mapped(source, mount_point, (int(disk_uid), int(disk_gid)), (int(uid), int(gid)))
    except OSError as error:
        print(f"id-mapped mount refused: {error}", file=sys.stderr)
        sys.exit(REFUSED)
    os.setgroups([])
    os.setresgid(int(gid), int(gid), int(gid))
    os.setresuid(int(uid), int(uid), int(uid))
    os.execv(command[0], command)
