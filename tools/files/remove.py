"""Deleting a directory tree that hostile code may have built: very deep, very wide, without permissions.

`shutil.rmtree` recurses and gives up near 1,000 levels. Here nothing recurses: a directory found inside the tree is
moved up next to the others first, so that two levels are all that is ever looked at.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from itertools import count

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BATCH = 1000


def remove_tree(parent: int, name: str) -> None:
    """Remove directory ``name`` of the open directory ``parent`` and all below it. Missing is fine.

    Nothing in the tree may be in use. Links are removed, never followed.

    Raises:
        OSError: something cannot be deleted.
    """
    try:
        top = _open(parent, name)
    except FileNotFoundError:
        return
    try:
        names = count()
        while entries := _some_entries(top):
            for entry in entries:
                _remove_entry(top, entry, names)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)


def _remove_entry(top: int, name: str, names: count[int]) -> None:
    try:
        os.unlink(name, dir_fd=top)
        return
    except (IsADirectoryError, PermissionError):
        folder = _open(top, name)
    try:
        while entries := _some_entries(folder):
            for entry in entries:
                try:
                    os.unlink(entry, dir_fd=folder)
                except (IsADirectoryError, PermissionError):
                    _move_up(folder, entry, top, names)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=top)


def _move_up(folder: int, entry: str, top: int, names: count[int]) -> None:
    os.close(_open(folder, entry))  # makes it writable, which moving a directory needs
    while True:
        try:
            os.rename(entry, f".removed-{next(names)}", src_dir_fd=folder, dst_dir_fd=top)
            return
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):  # the name is taken: try the next
                raise


def _open(parent: int, name: str) -> int:
    """Open a directory, giving its owner all rights to it first where they are missing."""
    try:
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=parent)
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
    with suppress(PermissionError):
        os.fchmod(fd, 0o700)
    return fd


def _some_entries(fd: int) -> list[str]:
    with os.scandir(fd) as entries:
        return [entry.name for entry, _ in zip(entries, range(_BATCH), strict=False)]
