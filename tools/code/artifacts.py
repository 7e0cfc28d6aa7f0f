"""Which files of the workspace a call has made or changed."""

from __future__ import annotations

import asyncio
import mimetypes
import os
import stat
from contextlib import suppress
from itertools import islice

from ..files.beneath import Root
from ..files.walk import walk
from ..spec import FileLink

SHOWN = 50
_SMALL = 200  # entries that are looked at without leaving the event loop, in a fraction of a millisecond
_MOST = 10_000  # in larger workspaces nothing is reported

State = tuple[int, int, int]  # inode, size, time of the last change in nanoseconds


def _hidden(path: str, entry: os.DirEntry[str]) -> bool:
    return entry.name.startswith(".")


class Listing:
    """The regular files of a workspace that are not hidden, to be compared with those at another time."""

    def __init__(self, root: Root) -> None:
        self._root = root

    async def take(self) -> dict[str, State] | None:
        """Every regular file by its path; None when there are too many."""
        return self._scan() if small(self._root) else await asyncio.to_thread(self._scan)

    async def close(self) -> None:
        """It lives as long as its session, whose descriptor it uses, and holds nothing of its own."""

    def _scan(self) -> dict[str, State] | None:
        files: dict[str, State] = {}
        with suppress(OSError):
            for count, (path, entry) in enumerate(walk(self._root, skip=_hidden), start=1):
                if count > _MOST:
                    return None
                with suppress(OSError):  # gone meanwhile
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        files[path] = (status.st_ino, status.st_size, status.st_mtime_ns)
        return files


def small(root: Root) -> bool:
    """Whether there is so little now that looking at all of it takes no time worth a thread, hidden files included.

    As the server: what the session's user cannot read takes time too.
    """
    with suppress(OSError):
        return next(islice(walk(root.as_server()), _SMALL, None), None) is None
    return False


def made(before: dict[str, State] | None, after: dict[str, State] | None) -> tuple[FileLink, ...]:
    """The files that are new or different, in the order of their names, at most ``SHOWN``."""
    if before is None or after is None:
        return ()
    paths = sorted(path for path, state in after.items() if before.get(path) != state)[:SHOWN]
    return tuple(FileLink(path, mimetypes.guess_type(path)[0], after[path][1]) for path in paths)
