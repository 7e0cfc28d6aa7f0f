"""`read_binary_file`: bytes for models that read text."""

from __future__ import annotations

import os

from ..errors import ToolError
from ..spec import JsonObject, Tool, ToolContext, ToolResult
from .beneath import Root, opened
from .full_specs import READ_BINARY_FILE
from .result import content, in_thread
from .specs import EMPTY_FILE

_ROW = 16
_LARGEST_OFFSET = (1 << 63) - 1


class ReadBinaryFile(Tool):
    spec = READ_BINARY_FILE

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        offset, length = arguments.get("offset", 0), arguments.get("length", 512)
        return content(await in_thread(context, dump, arguments["path"], offset, length))


def dump(root: Root, path: str, offset: int, length: int) -> str:
    """``length`` bytes from ``offset`` on, as hexadecimal and text, and how much of the file that is."""
    with opened(root, path) as (fd, status):
        size = status.st_size
        data = os.pread(fd, length, min(offset, _LARGEST_OFFSET - length))
    if not data:
        if size == 0:
            return EMPTY_FILE
        raise ToolError(f"{path} has {size} bytes, none at {offset}. Give a smaller offset.")
    rows = [_row(offset + at, data[at : at + _ROW]) for at in range(0, len(data), _ROW)]
    return "\n".join([*rows, f"[bytes {offset} to {offset + len(data) - 1} of {size}]"])


def _row(offset: int, data: bytes) -> str:
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data)
    return f"{offset:08x}  {data.hex(' '):<{3 * _ROW - 1}}  {text}"
