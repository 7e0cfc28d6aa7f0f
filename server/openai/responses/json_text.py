"""Reads one text out of a JSON object while the object is being written."""

from __future__ import annotations

import json
import re

from ...json_values import whole

_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|[^u])")


class TextField:
    """The value of ``key`` in ``{"key": "..."}``, piece by piece; ``key`` comes first, as in our schemas."""

    def __init__(self, key: str) -> None:
        self._opening = re.compile(rf'\s*\{{\s*"{re.escape(key)}"\s*:\s*"')
        self._buffer = ""
        self._inside = False
        self._ended = False

    def feed(self, text: str) -> str:
        """What is certain of the value after ``text``."""
        if self._ended:
            return ""
        self._buffer += text
        if not self._inside:
            opened = self._opening.match(self._buffer)
            if opened is None:
                return ""
            self._inside = True
            self._buffer = self._buffer[opened.end() :]
        end = self._certain()
        raw, self._buffer = self._buffer[:end], self._buffer[end:]
        return whole(json.loads(f'"{raw}"', strict=False)) if raw else ""

    def _certain(self) -> int:
        """Where the part ends that more text cannot change: at the closing quote, or before half an escape."""
        position = 0
        while position < len(self._buffer):
            char = self._buffer[position]
            if char == '"':
                self._ended = True
                return position
            if char != "\\":
                position += 1
                continue
            escape = _ESCAPE.match(self._buffer, position)
            if escape is None:
                return position
            high = escape[0][:3].lower() == "\\ud" and escape[0][3:4].lower() in tuple("89ab")
            end = escape.end()
            if high:  # the first half of a pair: its second half belongs to it
                if len(self._buffer) < end + 6 and self._buffer[end:].startswith("\\u"[: len(self._buffer) - end]):
                    return position
                end += 6 if self._buffer[end : end + 2] == "\\u" else 0
            position = end
        return position
