"""Calls as a Python list: ``[get_weather(city="Oslo", days=3), now()]``, in Llama 4's spelling between two tokens.

Without these tokens a turn is either calls or text, which follows from its first character.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from ...json_values import JsonObject
from .base import Delta, FunctionTool, StreamParser, ToolFormat, json_string, several
from .markup import LONGEST_NAME, MarkupParser, say
from .notation import Notation, json_text, members
from .raw_values import dumped, literal

_START, _END = "<|python_start|>", "<|python_end|>"
_ASKED = "[func_name1("  # how all prompts of the family show the notation
_NAME = re.compile(r"\s*(?P<name>[^\s()\[\]\"'=,]+)\s*\(")
_KEY = re.compile(r"(?P<name>[^\s()\[\]\"'=,]+)\s*=")
_WORD = re.compile(r"\s*[^\s()\[\]\"'=,]*\s*")
_IN_VALUE = re.compile(r"""[^"'()\[\]{},]+""")
_IN_STRING = re.compile(r"""[^"'\\]+""")
_PYTHON = Notation(
    text=json_text,
    quoted=lambda text: json.dumps(text, ensure_ascii=False),
    key=lambda name: f"{json.dumps(name, ensure_ascii=False)}: ",
    names={True: "True", False: "False", None: "None"},
    any={"type": "json_schema", "json_schema": True, "max_whitespace_cnt": 4},
)


class Pythonic(ToolFormat):
    name = "pythonic"
    markers = (_START, _END)
    first = "["
    section = True
    _begin, _end = "[", "]"

    @classmethod
    def writes(cls, template: str) -> bool:
        return _ASKED in template and _START not in template

    def parser(self, tools: Sequence[FunctionTool] = ()) -> StreamParser:
        return PythonCalls(tools)

    def tags(self, tools: Sequence[FunctionTool], one: bool) -> list[JsonObject]:
        calls = several([_tag(tool) for tool in tools], ", ", one)
        return [{"type": "tag", "begin": self._begin, "content": calls, "end": self._end}]


class Llama4Pythonic(Pythonic):
    name = "llama4_pythonic"
    trigger = _START
    _begin, _end = f"{_START}[", f"]{_END}"

    @classmethod
    def writes(cls, template: str) -> bool:
        return _ASKED in template and _START in template


def _tag(tool: FunctionTool) -> JsonObject:
    if tool.language is not None:
        begin, content = f"{tool.name}({tool.argument}=", json_string(tool.language)
    else:
        begin, content = f"{tool.name}(", members(tool.parameters, _PYTHON, key="{}=".format)
    return {"type": "tag", "begin": begin, "content": content, "end": ")"}


class PythonCalls(MarkupParser):
    """Passes a call's arguments on one by one. A list whose first name is no tool's is text."""

    def __init__(self, tools: Sequence[FunctionTool]) -> None:
        super().__init__([_START])
        self._parameters = {tool.name: tool.parameters for tool in tools}
        self._positions: list[str] = []
        self._written: set[str] = set()
        self._key = ""
        self._value = _Extent()
        self._state = self._beginning

    def _end(self, deltas: list[Delta]) -> None:
        if self._state == self._in_call:
            self._argue(deltas, "}")
        if self._state in (self._in_call, self._in_value, self._behind) or (
            self._state == self._in_list and self._calls
        ):
            self._source = self._buffer = ""

    def _opens(self, mark: str) -> Callable[[list[Delta]], bool]:
        return self._before_list

    def _beginning(self, deltas: list[Delta]) -> bool:
        rest = self._buffer.lstrip()
        if not rest:
            return False
        if rest[0] == "[":
            self._opened = ""
            self._state = self._before_list
        elif _START.startswith(rest):
            return False
        else:
            self._state = self._outside
        return True

    def _before_list(self, deltas: list[Delta]) -> bool:
        rest = self._buffer.lstrip()
        if not rest:
            return False
        if rest[0] != "[":
            return self._no_list(deltas)
        self._take(len(self._buffer) - len(rest) + 1)
        self._state = self._in_list
        return True

    def _in_list(self, deltas: list[Delta]) -> bool:
        """In front of a call."""
        if self._calls:
            self._buffer = self._buffer.lstrip(" \t\r\n,")
        if not self._buffer:
            return False
        if self._buffer[0] == "]" and self._calls:
            self._buffer = self._buffer[1:]
            self._state = self._behind
            return True
        found = _NAME.match(self._buffer, 0, LONGEST_NAME)
        if found is None:
            unfinished = len(self._buffer) < LONGEST_NAME and _WORD.fullmatch(self._buffer)
            return False if unfinished else self._no_list(deltas)
        if self._parameters and found["name"] not in self._parameters:
            return self._no_list(deltas)
        self._buffer = self._buffer[found.end() :]
        self._announce(deltas, found["name"])
        self._argue(deltas, "{")
        self._positions = list(self._parameters.get(found["name"], {}).get("properties") or ())
        self._written = set()
        self._state = self._in_call
        return True

    def _in_call(self, deltas: list[Delta]) -> bool:
        """In front of an argument."""
        self._buffer = rest = self._buffer.lstrip(" \t\r\n,")
        if not rest:
            return False
        if rest[0] == ")":
            self._buffer = rest[1:]
            self._argue(deltas, "}")
            self._state = self._in_list
            return True
        found = _KEY.match(rest, 0, LONGEST_NAME)
        if found is None and len(rest) < LONGEST_NAME and _WORD.fullmatch(rest):
            return False
        # An argument without a name is the next one that the schema declares.
        unnamed = next((name for name in self._positions if name not in self._written), "")
        self._key = found["name"] if found else unnamed
        self._buffer = rest[found.end() :] if found else rest
        self._value = _Extent()
        self._state = self._in_value
        return True

    def _in_value(self, deltas: list[Delta]) -> bool:
        end = self._value.end(self._buffer)
        if end is None:
            return False
        raw = self._buffer[:end].strip()
        self._buffer = self._buffer[end:]
        self._state = self._in_call
        if raw and self._key and self._key not in self._written:
            comma = ", " if self._written else ""
            self._written.add(self._key)
            self._argue(deltas, f"{comma}{dumped(self._key)}: {_converted(raw)}")
        elif not raw and self._buffer[0] in "]}":
            self._buffer = self._buffer[1:]  # closes nothing
        return True

    def _no_list(self, deltas: list[Delta]) -> bool:
        if self._opened and not self._calls:
            return self._fail(deltas)
        say(deltas, self._source)
        self._source = ""
        self._state = self._outside
        return True

    def _behind(self, deltas: list[Delta]) -> bool:
        more = self._skip([_END])
        if more:
            self._state = self._outside
        return more


class _Extent:
    """Where a Python value ends: brackets are matched and strings are respected, nothing else is checked."""

    def __init__(self) -> None:
        self._position = 0
        self._depth = 0
        self._quote = ""

    def end(self, text: str) -> int | None:
        """The place of the comma or bracket behind the value, None while it is not there.

        ``text`` begins as it did the last time; what has been looked at is not looked at again.
        """
        while self._position < len(text):
            found = (_IN_STRING if self._quote else _IN_VALUE).match(text, self._position)
            if found:
                self._position = found.end()
                continue
            step = self._step(text, text[self._position])
            if step is None:
                return self._position
            if not step:
                return None
            self._position += step
        return None

    def _step(self, text: str, char: str) -> int | None:
        """How far to go on: not at all while more text is needed, None at the value's end."""
        left = len(text) - self._position
        if self._quote:
            if char == "\\":
                return 2 if left > 1 else 0
            if text.startswith(self._quote, self._position):
                length = len(self._quote)
                self._quote = ""
                return length
            return 0 if self._quote.startswith(text[self._position :]) else 1
        if char in "\"'":
            if left < 3 and text[self._position :] == char * left:
                return 0
            self._quote = char * 3 if text.startswith(char * 3, self._position) else char
            # Two quotes with nothing between them are a whole string.
            return len(self._quote)
        if char in "([{":
            self._depth += 1
            return 1
        if not self._depth:
            return None
        if char in ")]}":
            self._depth -= 1
        return 1


def _converted(raw: str) -> str:
    """A Python value as JSON; what is none is the text that it is."""
    try:
        return dumped(literal(raw))
    except ValueError:
        return dumped(raw)
