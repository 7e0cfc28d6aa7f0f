"""`get_file_info` and `list_allowed_directories`."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime

from ..sandbox.spec import WORKSPACE
from ..spec import JsonObject, Tool, ToolContext, ToolResult
from .beneath import Root, clean, told
from .full_specs import GET_FILE_INFO, LIST_ALLOWED_DIRECTORIES
from .result import content, in_thread, printable
from .versions import version

_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


class GetFileInfo(Tool):
    spec = GET_FILE_INFO

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        return content(await in_thread(context, describe, arguments["path"]))


class ListAllowedDirectories(Tool):
    spec = LIST_ALLOWED_DIRECTORIES

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        return content(f"Allowed directories:\n{WORKSPACE}")


def describe(root: Root, path: str) -> str:
    """What is known of a path without reading it, one fact a line. A link is described itself, with its target.

    Raises:
        ToolError: there is nothing of that name.
    """
    inner = clean(path)
    with told(path):
        fd = root.open(inner, os.O_PATH | os.O_NOFOLLOW)
        try:
            status = os.fstat(fd)
            kind = _KINDS.get(stat.S_IFMT(status.st_mode), "other")
            target = os.readlink("", dir_fd=fd) if kind == "link" else None
        finally:
            os.close(fd)
    facts = {
        "size": status.st_size,
        "on disk": status.st_blocks * 512,
        "modified": _time(status.st_mtime),
        "accessed": _time(status.st_atime),
        "type": kind if target is None else f"link to {printable(target)}",
        "permissions": stat.filemode(status.st_mode),
        "version": version(status),
    }
    return "\n".join(f"{name}: {value}" for name, value in facts.items())


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):  # anybody may set a file's times to anything
        return f"{seconds:.0f} seconds after 1970"
