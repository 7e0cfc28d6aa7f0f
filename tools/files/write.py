"""`write_file`, and writing that never leaves half a file behind."""

from __future__ import annotations

import errno
import os
import secrets
import stat

from ..errors import ToolError
from ..spec import JsonObject, Tool, ToolContext, ToolResult
from .beneath import Root, clean, regular, told
from .folders import make_folders
from .result import content, in_thread
from .specs import WRITE_FILE, not_regular, wrote
from .usage import Quota

WRITE_LIMIT = 16 << 20  # bytes that one call may write
_LINKS = 8


class WriteFile(Tool):
    spec = WRITE_FILE

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        path = arguments["path"]
        await in_thread(context, write_text, path, arguments["content"], context.session.quota)
        return content(wrote(path))


def write_text(root: Root, path: str, text: str, quota: Quota) -> None:
    """Create or replace a text file, and the directories above it where they are missing.

    Raises:
        ToolError: a directory or special file is in the way, or the workspace is full.
    """
    inner = clean(path)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise ToolError("the content is not valid Unicode text: it has lone surrogates. Remove them.") from None
    if len(data) > WRITE_LIMIT:
        raise ToolError(f"the content has {len(data)} bytes, more than {WRITE_LIMIT}. Write it in parts with python.")
    if excess := quota.excess(root):
        raise ToolError(excess)
    folder = inner.rpartition("/")[0]
    if folder:
        make_folders(root, folder)
    with told(path):
        replace(root, inner, data)


def replace(root: Root, path: str, data: bytes) -> None:
    """Put ``data`` in the file at once: readers see the old content or the new. Keeps its mode; follows inner links.

    Raises:
        OSError, ToolError: the file cannot be written, or is not a regular one.
    """
    for _ in range(_LINKS):
        with root.parent(path) as (folder, name):
            target = _link_target(folder, name)
            if target is None:
                mode = _present_mode(root, folder, name, path)
                with root.acting():
                    _replace_entry(folder, name, mode, data)
                return
        # An absolute link to /workspace/... is how the session's own code may link.
        path = clean(target) if target.startswith("/") else f"{path.rpartition('/')[0] or '.'}/{target}"
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def _replace_entry(folder: int, name: str, mode: int | None, data: bytes) -> None:
    temporary = f".{name[:40]}.{secrets.token_hex(8)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(temporary, flags, 0o666, dir_fd=folder)
    try:
        try:
            if mode is not None:
                os.fchmod(fd, mode)
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
        finally:
            os.close(fd)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(temporary, dir_fd=folder)
        raise


def _present_mode(root: Root, folder: int, name: str, path: str) -> int | None:
    """Permission bits of the file that is to be replaced; None: there is none. It must be one that may be written."""
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
        return stat.S_IMODE(regular(fd, path).st_mode) & 0o777
    finally:
        os.close(fd)


def _link_target(folder: int, name: str) -> str | None:
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError:
        return None
