"""What is kept of a stream that may be endless: its beginning and its end."""

from __future__ import annotations

import re
import shutil
import tempfile
from typing import BinaryIO

_HEAD, _TAIL = 8_000, 4_000  # bytes of a stream that a text has
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and newline


class Capture:
    """Collects bytes, keeps the first and the last for :meth:`text`, counts the rest.

    Args:
        whole: bytes from the start that are kept on disk as well when they are more than :meth:`text` has.
    """

    def __init__(self, whole: int = 0) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._whole_size = whole
        self._whole: BinaryIO | None = None
        self.total = 0

    def add(self, data: bytes) -> None:
        self.total += len(data)
        if self._whole is None and self._whole_size and self.total > _HEAD + _TAIL:
            self._whole = tempfile.TemporaryFile()  # noqa: SIM115 (`close` closes it)
            self._whole.write(self._head + self._tail)  # nothing has been dropped before
        if self._whole:
            self._whole.write(data[: max(0, self._whole_size - self._whole.tell())])
        room = _HEAD - len(self._head)
        self._head += data[:room]
        if len(data) > room:
            self._tail += data[room:]
            del self._tail[:-_TAIL]

    @property
    def left_out(self) -> int:
        """Bytes that are not in :meth:`text`."""
        return self.total - len(self._head) - len(self._tail)

    def text(self, kept_in: str | None = None) -> str:
        """What was kept, with a line in the middle that says what was not, and the file that has it if there is one."""
        if not self.left_out:
            return visible((self._head + self._tail).decode("utf-8", "replace"))
        head, tail = self._head.decode("utf-8", "replace"), self._tail.decode("utf-8", "replace")
        part = "all of it" if self.total <= self._whole_size else "more of it"
        where = f"; {kept_in} has {part}" if kept_in else ""
        return visible(f"{head}\n[... {self.left_out} bytes of output left out{where} ...]\n{tail}")

    def copy_whole(self, fd: int) -> None:
        """Write what was kept on disk to an open file."""
        if self._whole:
            self._whole.seek(0)
            with open(fd, "wb", closefd=False) as copy:
                shutil.copyfileobj(self._whole, copy)

    def close(self) -> None:
        if self._whole:
            self._whole.close()
            self._whole = None


def visible(text: str) -> str:
    """``text`` with nothing that a terminal would obey: control characters become escapes such as ``\\x1b``."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text.replace("\r\n", "\n"))
