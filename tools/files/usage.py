"""How much a workspace holds, against how much it may hold.

A directory has no kernel limit of its own, so size is measured: while code runs and after it, and before a tool writes.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass

from .beneath import Root
from .walk import walk

MIB = 1 << 20


@dataclass(frozen=True)
class Quota:
    """What a workspace may hold.

    Args:
        bytes: on disk; None for no limit, as in a directory that a user gave with whatever is in it.
        entries: files and directories together; None for no limit.
        reserve: bytes of the disk that are always left free.
    """

    bytes: int | None = 1024 * MIB
    entries: int | None = 50_000
    reserve: int = 256 * MIB

    def excess(self, root: Root, times: int = 1) -> str | None:
        """A sentence for the model when there is more than ``times`` what is allowed, or None."""
        with root.directory.used() as fd:
            disk = os.fstatvfs(fd)
        if disk.f_bavail * disk.f_frsize < self.reserve // times:
            return "the disk is nearly full. Delete files that are not needed."
        if self.bytes is None and self.entries is None:
            return None
        size = 0
        hidden: set[int | None] = set()  # the reasons why not all was counted

        for entries, (_, entry) in enumerate(
            walk(root.as_server(), unreadable=lambda error: hidden.add(error.errno)), start=1
        ):
            with suppress(OSError):  # gone meanwhile
                size += entry.stat(follow_symlinks=False).st_blocks * 512
            if self.bytes is not None and size > times * self.bytes:
                return f"the workspace holds more than {self.bytes // MIB} MB. Delete files that are not needed."
            if self.entries is not None and entries > times * self.entries:
                return f"the workspace has more than {self.entries} files. Delete files that are not needed."
        if errno.ENAMETOOLONG in hidden:
            return "the workspace has directories nested too deep. Delete them."
        if hidden & {errno.EACCES, errno.EPERM}:
            return "the workspace has directories that may not be read. Delete them, or make them readable with chmod."
        return None
