"""Renames that never replace, and renames that swap: `renameat2`, with the next best where a file system lacks it."""

from __future__ import annotations

import ctypes
import errno
import os
import secrets

_NOREPLACE, _EXCHANGE = 1, 2
_libc = ctypes.CDLL(None, use_errno=True)


def spare_name(name: str) -> str:
    """A name for a short time in the same directory, which nobody else uses."""
    kept = os.fsencode(name)[:40].decode(errors="ignore")
    return f".{kept}.{secrets.token_hex(8)}.tmp"


def rename_new(from_folder: int, old: str, to_folder: int, new: str) -> None:
    """Rename; FileExistsError if there is something at ``new``."""
    try:
        _renameat2(from_folder, old, to_folder, new, _NOREPLACE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    else:
        return
    # A file system without RENAME_NOREPLACE (or a move into itself, which rename refuses too): look first. What comes
    # between the look and the rename can be replaced, within the workspace.
    try:
        os.stat(new, dir_fd=to_folder, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(old, new, src_dir_fd=from_folder, dst_dir_fd=to_folder)
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def exchange(folder: int, one: str, other: str) -> None:
    """Swap two names of a directory. Readers find one content or the other; for a moment none without renameat2."""
    try:
        _renameat2(folder, one, folder, other, _EXCHANGE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    else:
        return
    third = spare_name(one)
    os.rename(other, third, src_dir_fd=folder, dst_dir_fd=folder)
    try:
        os.rename(one, other, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.rename(third, other, src_dir_fd=folder, dst_dir_fd=folder)
        raise
    os.rename(third, one, src_dir_fd=folder, dst_dir_fd=folder)


def _renameat2(from_folder: int, old: str, to_folder: int, new: str, flags: int) -> None:
    if _libc.renameat2(from_folder, os.fsencode(old), to_folder, os.fsencode(new), flags) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
