"""Stale writes: what a session's tools last saw of its files, and whether that is still what is there."""

from __future__ import annotations

import hashlib
import os

from ..errors import ToolError

_REMEMBERED = 10_000  # files of one session


def version(status: os.stat_result) -> str:
    """A short text that changes when the file is written or replaced, not when it is renamed or only its mode changes.

    From what the kernel keeps anyway, so that a large file need not be read: device, inode, size, time of the last
    write in nanoseconds.
    """
    known = f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns}"
    return hashlib.blake2b(known.encode(), digest_size=6).hexdigest()


class Versions:
    """A resource of a session."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    async def close(self) -> None:
        self._seen.clear()

    def saw(self, path: str, status: os.stat_result) -> None:
        """Note that the model was shown this state of ``path`` (cleaned), or wrote it."""
        self._seen.pop(path, None)
        self._seen[path] = version(status)
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]

    def check(self, path: str, status: os.stat_result | None, wanted: str | None) -> None:
        """That the file is in the ``wanted`` version; or without one, that it is as it was seen last, if it was.

        Args:
            path: cleaned.
            status: of the file as it is; None if there is none.

        Raises:
            ToolError: it is not.
        """
        present = version(status) if status else None
        if wanted is not None:
            if present != wanted:
                found = f"its version is {present}" if present else "there is no such file"
                raise ToolError(f"{path} is not in version {wanted}: {found}. Read it again before you change it.")
        elif present is not None and self._seen.get(path, present) != present:
            raise ToolError(f"{path} has changed since it was last read. Read it again before you change it.")
