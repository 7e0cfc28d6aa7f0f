"""Text files as the model reads them: UTF-8 or a clear refusal, and never more than fits."""

from __future__ import annotations

import codecs
import os
from dataclasses import dataclass

from ..errors import ToolError
from .beneath import Root, opened

SHOWN = 50_000  # characters of a file that one result shows
READ_LIMIT = 4 << 20  # bytes that are read of a file, however large it is or says it is
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Content:
    """What was read of a file.

    Args:
        text: the text, without a byte order mark.
        complete: nothing of the file is missing.
        bom: the file starts with a byte order mark.
        status: of the file when it was read.
    """

    text: str
    complete: bool
    status: os.stat_result
    bom: bool = False

    @property
    def size(self) -> int:
        """Bytes of the whole file, as its directory says."""
        return self.status.st_size


def read_start(root: Root, path: str) -> Content:
    """The file's text from its start, at most READ_LIMIT bytes of it.

    Raises:
        ToolError: no such file, not a regular file, not UTF-8 text.
    """
    with opened(root, path) as (fd, status):
        data = read_bytes(fd, READ_LIMIT + 1)
    complete = len(data) <= READ_LIMIT
    return Content(decode(data[:READ_LIMIT], path, complete), complete, status, data.startswith(codecs.BOM_UTF8))


def read_end(root: Root, path: str, lines: int) -> Content:
    """The file's last lines, at most READ_LIMIT bytes of them. Raises as :func:`read_start`."""
    with opened(root, path) as (fd, status):
        position = status.st_size
        data = b""
        # One line end more than lines: the last one may or may not close the last line.
        while position > 0 and data.count(b"\n") <= lines and len(data) < READ_LIMIT:
            step = min(_BLOCK, position)
            position -= step
            data = os.pread(fd, step, position) + data
    kept = data.splitlines(keepends=True)[-lines:]
    tail = b"".join(kept)
    if position > 0 and len(tail) == len(data):  # starts inside a line: skip the rest of a character
        tail = tail.lstrip(bytes(range(0x80, 0xC0)))
    return Content(decode(tail, path, complete=True), position == 0 and len(tail) == len(data), status)


def read_bytes(fd: int, limit: int) -> bytes:
    """At most ``limit`` bytes, counted as they come: a size in a directory proves nothing."""
    parts: list[bytes] = []
    while limit > 0 and (part := os.read(fd, min(limit, _BLOCK))):
        parts.append(part)
        limit -= len(part)
    return b"".join(parts)


def decode(data: bytes, path: str, complete: bool) -> str:
    """UTF-8 text without a byte order mark; an unfinished last character is left out unless ``complete``.

    Raises:
        ToolError: it is not text.
    """
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(data, final=complete)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ToolError(f"{path} is not a text file in UTF-8. Use python to read it.")
    return text
