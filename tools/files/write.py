"""`write_file`, and writing that never leaves half a file behind."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import ToolError
from ..spec import JsonObject, Tool, ToolContext, ToolResult
from .beneath import Root, clean, regular, told
from .folders import make_folders
from .rename import spare_name
from .result import content, in_turn
from .specs import WRITE_FILE, not_regular, wrote
from .usage import Quota

WRITE_LIMIT = 16 << 20  # bytes that one call may write
_LINKS = 8


class WriteFile(Tool):
    spec = WRITE_FILE

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        path = arguments["path"]
        await in_turn(context, write_text, path, arguments["content"], context.session.quota)
        return content(wrote(path))


def write_text(root: Root, path: str, text: str, quota: Quota) -> None:
    """Create or replace a text file, and the directories above it where they are missing.

    Raises:
        ToolError: a directory or special file is in the way, or the workspace is full.
    """
    inner = clean(path)
    data = encoded(text)
    if excess := quota.excess(root):
        raise ToolError(excess)
    folder = inner.rpartition("/")[0]
    if folder:
        make_folders(root, folder)
    with told(path):
        replace(root, inner, data)


def encoded(text: str) -> bytes:
    """Raises ToolError: more than one call may write, or not valid Unicode."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise ToolError("the content is not valid Unicode text: it has lone surrogates. Remove them.") from None
    if len(data) > WRITE_LIMIT:
        raise ToolError(f"the content has {len(data)} bytes, more than {WRITE_LIMIT}. Write it in parts with python.")
    return data


def replace(root: Root, path: str, data: bytes) -> None:
    """Put ``data`` in the file at once: readers see the old content or the new. Keeps its mode; follows inner links.

    Raises:
        OSError, ToolError: the file cannot be written, or is not a regular one.
    """
    with final(root, path) as (folder, name):
        found = present(root, folder, name, path)
        temporary = spare_name(name)
        with root.acting():
            stage(folder, temporary, found.st_mode & 0o777 if found else None, data)
            try:
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                os.unlink(temporary, dir_fd=folder)
                raise


@contextmanager
def final(root: Root, path: str) -> Iterator[tuple[int, str]]:
    """As :meth:`Root.parent`, of what ``path`` leads to by links that stay in the workspace."""
    for _ in range(_LINKS):
        with root.parent(path) as (folder, name):
            target = _link_target(folder, name)
            if target is None:
                yield folder, name
                return
        # An absolute link to /workspace/... is how the session's own code may link.
        path = clean(target) if target.startswith("/") else f"{path.rpartition('/')[0] or '.'}/{target}"
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def stage(folder: int, name: str, mode: int | None, data: bytes) -> os.stat_result:
    """Make the file ``name``, which must be new, with ``data``. Nothing is left of it when that fails."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, 0o666, dir_fd=folder)
    try:
        if mode is not None:
            os.fchmod(fd, mode)
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        return os.fstat(fd)
    except BaseException:
        os.unlink(name, dir_fd=folder)
        raise
    finally:
        os.close(fd)


def present(root: Root, folder: int, name: str, path: str) -> os.stat_result | None:
    """Stat of the file that is to be replaced; None: there is none. It must be one that may be written."""
    try:
        with root.acting():
            fd = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ENXIO:  # a FIFO or socket
            raise ToolError(not_regular(path)) from error
        raise
    try:
        return regular(fd, path)
    finally:
        os.close(fd)


def _link_target(folder: int, name: str) -> str | None:
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError:
        return None
