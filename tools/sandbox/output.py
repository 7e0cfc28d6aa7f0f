"""What is kept of a stream that may be endless: its beginning and its end."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and newline


class Capture:
    """Collects bytes, keeps ``head`` from the start and ``tail`` from the end, counts the rest."""

    def __init__(self, head: int = 8_000, tail: int = 4_000) -> None:
        self._head_size, self._tail_size = head, tail
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0

    def add(self, data: bytes) -> None:
        self.total += len(data)
        room = self._head_size - len(self._head)
        self._head += data[:room]
        if len(data) > room:
            self._tail += data[room:]
            del self._tail[: -self._tail_size]

    @property
    def left_out(self) -> int:
        """Bytes that are not in :meth:`text`."""
        return self.total - len(self._head) - len(self._tail)

    def text(self) -> str:
        """What was kept, with a line in the middle that says what was not."""
        if not self.left_out:
            return visible((self._head + self._tail).decode("utf-8", "replace"))
        head, tail = self._head.decode("utf-8", "replace"), self._tail.decode("utf-8", "replace")
        return visible(f"{head}\n[... {self.left_out} bytes of output left out ...]\n{tail}")


def visible(text: str) -> str:
    """``text`` with nothing that a terminal would obey: control characters become escapes such as ``\\x1b``."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text.replace("\r\n", "\n"))
