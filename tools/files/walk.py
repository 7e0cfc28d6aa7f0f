"""Everything below a directory of the workspace, without ever leaving it and without recursion."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Iterator

from .beneath import Root

DEEPEST = 128
OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


def shown(path: str) -> str:
    """A path as text that JSON can carry; the bytes of names that are not UTF-8 become U+FFFD."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def join(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"


def walk(
    root: Root,
    start: str = ".",
    *,
    skip: Callable[[str, os.DirEntry[str]], bool] | None = None,
    unreadable: Callable[[OSError], None] | None = None,
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """(path, entry) of all that is below ``start``, breadth first. Links are entries, never followed.

    Args:
        skip: says of a path and its entry that it and what is below it are left out.
        unreadable: told of directories that are not entered: gone meanwhile, no permission, or more than DEEPEST levels
            down (ENAMETOOLONG), which no honest tree is and which would make walks slow.

    Raises:
        OSError: ``start`` itself does not open.
    """
    folders = deque([(start, root.open(start, OPEN_DIRECTORY))])
    try:
        while folders:
            folder, fd = folders.popleft()
            if fd < 0:
                try:
                    fd = root.open(folder, OPEN_DIRECTORY | os.O_NOFOLLOW)
                except OSError as error:
                    if unreadable:
                        unreadable(error)
                    continue
            try:
                with os.scandir(fd) as entries:
                    for entry in entries:
                        path = join(folder, entry.name)
                        if skip and skip(path, entry):
                            continue
                        if entry.is_dir(follow_symlinks=False):
                            if path.count("/") < DEEPEST:
                                folders.append((path, -1))
                            elif unreadable:
                                unreadable(OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path))
                        yield path, entry
            finally:
                os.close(fd)
    finally:
        for _, fd in folders:
            if fd >= 0:
                os.close(fd)
