"""Opening paths that a model wrote, so that the kernel itself keeps them beneath the workspace.

Every open is one `openat2` call with RESOLVE_BENEATH on the workspace's directory descriptor: there is no moment
between check and use. A path string is never used again after it was opened; what follows goes by descriptor or by
(directory descriptor, last name). Where openat2 is missing (Linux before 5.6, some container filters), components are
opened one by one without following any symbolic link.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from ..errors import ToolError
from ..sandbox.identity import Identity, acting_as
from ..sandbox.spec import WORKSPACE
from . import specs
from .directory import Directory

_OPENAT2 = 437  # on every architecture
_NO_XDEV, _NO_MAGICLINKS, _BENEATH = 0x01, 0x02, 0x08
_RESOLVE = _BENEATH | _NO_MAGICLINKS | _NO_XDEV
_RETRIES = 128
_ALWAYS = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY  # a FIFO must not block, a terminal must not become ours
_SEARCH = os.O_DIRECTORY | os.O_RDONLY
_LONGEST_PATH, _LONGEST_NAME = 4095, 255

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Root:
    """A directory that paths stay beneath.

    Args:
        directory: open until whoever made this closes it.
        identity: whom file operations act as; None for the server itself.
    """

    directory: Directory
    identity: Identity | None = None

    def open(self, path: str, flags: int, mode: int = 0) -> int:
        """A descriptor of ``path`` (already cleaned, see :func:`clean`). Follows only links that stay beneath.

        Raises:
            OSError: as open(2); EXDEV or ELOOP when the path leaves the directory or crosses a mount.
            ToolError: the directory is closed.
        """
        flags |= os.O_CLOEXEC if flags & os.O_PATH else _ALWAYS
        with self.directory.used() as fd, self.acting():
            try:
                return _openat2(fd, path, flags, mode)
            except OSError as error:
                if error.errno != errno.ENOSYS:
                    raise
            return _walk(fd, path, flags, mode)

    def status(self, path: str) -> os.stat_result:
        """What is known of ``path`` without reading it. Raises as :meth:`open`."""
        fd = self.open(path, os.O_PATH)
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def as_server(self) -> Root:
        """The same directory with the server's own rights, from which no permissions hide anything."""
        return Root(self.directory)

    def acting(self) -> AbstractContextManager[None]:
        """Around calls that make, rename or remove: with the rights of the session's code, and files become its own."""
        return acting_as(self.identity)

    @contextmanager
    def parent(self, path: str) -> Iterator[tuple[int, str]]:
        """(descriptor of the directory that holds ``path``, last name of ``path``), for calls such as `renameat`."""
        folder, _, name = path.rpartition("/")
        if name in ("", ".", ".."):
            raise ToolError(f"{path} does not end in a name. Give the path of a file or directory in the workspace.")
        fd = self.open(folder or ".", _SEARCH)
        try:
            yield fd, name
        finally:
            os.close(fd)


def clean(path: str) -> str:
    """The path that a model wrote, relative to the workspace and fit for the kernel.

    ``/workspace/x``, as code in the sandbox sees it, is ``x``. What leaves the workspace is for the kernel to refuse.

    Raises:
        ToolError: empty, absolute, too long, or not a path at all.
    """
    if not path.strip():
        raise ToolError("the path is empty. Give a path relative to the workspace.")
    if "\0" in path:
        raise ToolError("the path has a NUL character. Give a path without it.")
    shown = path if len(path) <= 200 else path[:200] + "..."
    if path == WORKSPACE or path.startswith(WORKSPACE + "/"):
        path = path[len(WORKSPACE) + 1 :]
    elif path.startswith("/"):
        raise ToolError(specs.outside(shown))
    parts = [part for part in path.split("/") if part not in ("", ".")]
    try:
        sizes = [len(part.encode()) for part in parts]  # strictly: lone surrogates would break what shows the path
    except UnicodeEncodeError:
        raise ToolError("the path is not valid Unicode text. Use another name.") from None
    if any(size > _LONGEST_NAME for size in sizes) or sum(sizes) + len(sizes) > _LONGEST_PATH:
        raise ToolError(f"the path is too long: {shown}. Use a shorter name.")
    return "/".join(parts) or "."


@contextmanager
def told(path: str, missing: str | None = None) -> Iterator[None]:
    """Turn what the kernel says about ``path`` into what the model should read; ``missing`` replaces "no such file"."""
    try:
        yield
    except OSError as error:
        raise ToolError(_explain(error, path, missing)) from error


def _explain(error: OSError, path: str, missing: str | None) -> str:
    match error.errno:
        case errno.ENOENT:
            return missing or specs.no_such_file(path)
        case errno.ENOTDIR:
            return specs.no_such_directory(path)
        case errno.EXDEV:
            return specs.outside(path)
        case errno.ELOOP:
            return f"{path} goes through links that cannot be followed. Use the path of the file itself."
        case errno.EACCES | errno.EPERM:
            return f"{path} may not be used that way: its permissions forbid it. Use another path."
        case errno.EISDIR:
            return specs.not_a_file(path)
        case errno.EEXIST | errno.ENOTEMPTY:
            return specs.already_exists(path)
        case errno.ENAMETOOLONG:
            return f"the path is too long: {path[:200]}. Use a shorter name."
        case errno.ENOSPC | errno.EDQUOT:
            return f"there is no space left for {path}. Delete files that are not needed."
        case errno.EMFILE | errno.ENFILE:
            return "the server has too many files open. Try again in a moment."
        case errno.ENXIO | errno.ENODEV:
            return specs.not_regular(path)
        case _:
            return f"{path}: {os.strerror(error.errno or 0)}. Check the path with list_directory."


@contextmanager
def opened(root: Root, path: str) -> Iterator[tuple[int, os.stat_result]]:
    """(descriptor for reading, its stat) of the regular file ``path``, as the model wrote it.

    Raises:
        ToolError: no such file, not a regular file, or not readable.
    """
    inner = clean(path)
    with told(path):
        fd = root.open(inner, os.O_RDONLY)
        try:
            yield fd, regular(fd, path)
        finally:
            os.close(fd)


def regular(fd: int, path: str) -> os.stat_result:
    """Stat of an open file that must be a regular one (not a directory, FIFO, socket or device)."""
    status = os.fstat(fd)
    if stat.S_ISDIR(status.st_mode):
        raise ToolError(specs.not_a_file(path))
    if not stat.S_ISREG(status.st_mode):
        raise ToolError(specs.not_regular(path))
    return status


def _openat2(root: int, path: str, flags: int, mode: int) -> int:
    how = struct.pack("=QQQ", flags, mode, _RESOLVE)
    name = os.fsencode(path)
    for _ in range(_RETRIES):
        fd = _libc.syscall(ctypes.c_long(_OPENAT2), root, name, how, ctypes.c_size_t(len(how)))
        if fd >= 0:
            return fd
        code = ctypes.get_errno()
        if code not in (errno.EAGAIN, errno.EINTR):  # EAGAIN: something near the path was renamed meanwhile
            raise OSError(code, os.strerror(code), path)
    raise OSError(errno.EBUSY, "the path keeps changing", path)


def _walk(root: int, path: str, flags: int, mode: int) -> int:
    """The same without openat2: stricter, since no link is followed and ``..`` is refused."""
    *folders, name = path.split("/")
    if ".." in (*folders, name):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    device = os.fstat(root).st_dev
    at = os.dup(root)
    try:
        for folder in folders:
            following = os.open(folder, _SEARCH | os.O_NOFOLLOW | _ALWAYS, dir_fd=at)
            os.close(at)
            at = following
        fd = os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=at)
    finally:
        os.close(at)
    if os.fstat(fd).st_dev != device:
        os.close(fd)
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    return fd
