"""Everything below a directory of the workspace, without ever leaving it and without recursion."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator

from .beneath import Root

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


def join(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"


def walk(
    root: Root,
    start: str = ".",
    *,
    skip: Callable[[str], bool] | None = None,
    unreadable: Callable[[OSError], None] | None = None,
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """(path, entry) of all that is below ``start``, breadth first. Links are entries, never followed.

    Args:
        skip: says of a path that it and what is below it are left out.
        unreadable: told of directories that do not open (gone meanwhile, no permission, a path beyond PATH_MAX).

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
                        if skip and skip(path):
                            continue
                        if entry.is_dir(follow_symlinks=False):
                            folders.append((path, -1))
                        yield path, entry
            finally:
                os.close(fd)
    finally:
        for _, fd in folders:
            if fd >= 0:
                os.close(fd)
