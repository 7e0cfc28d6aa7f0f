"""Reads a call's JSON object while it is being written: ``{"name": ..., "arguments": {...}}``, keys in any order."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Literal

_WHITESPACE = " \t\r\n"
_PLAIN = re.compile(r'[^"{}\[\]]+')
_PLAIN_IN_STRING = re.compile(r'[^"\\]+')
_LITERAL = re.compile(r"[^,}\]\s]+")

_Place = Literal["start", "key", "colon", "value", "comma"]


class ObjectScanner:
    """Feed it the text behind a call's opening mark, in pieces of any size.

    Attributes:
        name: the called function's, empty until it is known.
        announced: the name is known and the arguments have begun; from here on the call is certain.
        reported: for the caller's use: it has passed the announcement on.
        complete: the object has ended.
        failed: this is not a call's object. Never set once the call is announced.
        source: the text that was consumed before the announcement.
    """

    def __init__(self, argument_keys: Collection[str]) -> None:
        self.name = ""
        self.announced = False
        self.reported = False
        self.complete = False
        self.failed = False
        self.source = ""
        self._argument_keys = argument_keys
        self._place: _Place = "start"
        self._key: str | None = None
        self._value = JsonExtent()
        self._arguments: str | None = None
        self._untaken = ""

    def feed(self, text: str) -> int:
        """Consume up to the object's end or to the character that cannot be in it. Returns how much was consumed."""
        position = 0
        while position < len(text) and not (self.complete or self.failed):
            step = self._read(text, position)
            if step is None:
                self._stop()
            else:
                position += step
        if not self.announced:
            self.source += text[:position]
        return position

    def take(self) -> str:
        """The arguments' text since the last time."""
        taken, self._untaken = self._untaken, ""
        return taken

    def _read(self, text: str, position: int) -> int | None:
        """Read at ``position``. Returns how many characters that took, None when nothing there fits."""
        char = text[position]
        if self._place == "value" and self._value.begun:
            return self._read_value(text, position)
        if char in _WHITESPACE:
            return 1
        match self._place, char:
            case "start", "{":
                self._place = "key"
            case (("key" | "comma"), "}"):
                self._end()
            case "comma", ",":
                self._place = "key"
            case "colon", ":":
                self._place = "value"
                self._value = JsonExtent()
            case "key", '"':
                self._key = None
                self._place = "value"
                self._value = JsonExtent()
                return self._read_value(text, position)
            case "value", _:
                return self._read_value(text, position)
            case _:
                return None
        return 1

    def _read_value(self, text: str, position: int) -> int:
        step = self._value.feed(text, position)
        if self._key in self._argument_keys and self._arguments is None and self._value.is_object:
            self._untaken += text[position : position + step]
            self._announce_if_certain()
        if self._value.ended:
            self._value_read(self._value.text)
        return step

    def _value_read(self, text: str) -> None:
        if self._key is None:
            self._key = _decoded(text) or ""
            self._place = "colon"
            return
        self._place = "comma"
        if self._key == "name" and not self.name:
            self.name = _decoded(text) or ""
            if not self.name:
                self._stop()
                return
        elif self._key in self._argument_keys and self._arguments is None:
            arguments = text if self._value.is_object else _unpacked(text)
            if arguments is None:
                self._stop()
                return
            self._arguments = arguments
            if not self._value.is_object:
                self._untaken = arguments
        self._announce_if_certain()

    def _announce_if_certain(self) -> None:
        if self.name and (self._arguments is not None or self._untaken):
            self.announced = True

    def _end(self) -> None:
        if not self.name:
            self.failed = True
            return
        if not self.announced:
            self._untaken = "{}"
            self.announced = True
        self.complete = True

    def _stop(self) -> None:
        """What follows does not continue the object."""
        if self.announced:
            self.complete = True
        else:
            self.failed = True


class JsonExtent:
    """One JSON value's extent: brackets are matched and strings are respected, nothing else is checked."""

    def __init__(self) -> None:
        self.ended = False
        self._parts: list[str] = []
        self._depth = 0
        self._in_string = False
        self._escaped = False

    @property
    def text(self) -> str:
        return "".join(self._parts)

    @property
    def begun(self) -> bool:
        return bool(self._parts)

    @property
    def is_object(self) -> bool:
        return bool(self._parts) and self._parts[0].startswith("{")

    def feed(self, text: str, position: int) -> int:
        """Consume up to the value's end. Returns how much, which may be nothing: a number ends where it is over."""
        start = position
        while position < len(text) and not self.ended:
            position += self._read(text, position)
        if position > start:
            self._parts.append(text[start:position])
        return position - start

    def _read(self, text: str, position: int) -> int:
        char = text[position]
        if self._in_string:
            return self._read_in_string(text, position, char)
        if char == '"' and (self._depth or not self._parts):
            self._in_string = True
            return 1
        if char in "{[" and (self._depth or not self._parts):
            self._depth += 1
            return 1
        if self._depth and char in "}]":
            self._depth -= 1
            self.ended = not self._depth
            return 1
        found = (_PLAIN if self._depth else _LITERAL).match(text, position)
        if found is None:
            self.ended = True
            return 0
        return found.end() - position

    def _read_in_string(self, text: str, position: int, char: str) -> int:
        if self._escaped:
            self._escaped = False
        elif char == "\\":
            self._escaped = True
        elif char == '"':
            self._in_string = False
            self.ended = not self._depth
        else:
            found = _PLAIN_IN_STRING.match(text, position)
            return found.end() - position if found else 1
        return 1


def _decoded(text: str) -> str | None:
    try:
        value = json.loads(text, strict=False)
    except ValueError:
        return None
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None


def _unpacked(text: str) -> str | None:
    """Arguments that are not an object: null means none, and a string may hold the object's JSON."""
    if text == "null":
        return "{}"
    inner = _decoded(text)
    if inner is None:
        return None
    try:
        return inner if isinstance(json.loads(inner), dict) else None
    except (ValueError, RecursionError):
        return None
