"""Parses calls whose arguments stand one by one between tags, as plain text rather than JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...json_values import JsonObject
from .base import MOST_WHITESPACE, Delta, FunctionTool, StreamParser, ToolFormat, plain_text
from .markup import LONGEST_NAME, MarkupParser, partial
from .raw_values import argument_schema, dumped, from_text, inner, is_text


@dataclass(frozen=True)
class Tags:
    """The tags of a format.

    Attributes:
        opens: the mark that begins a call; ``also`` are shorter forms of it that models fall into.
        name: what stands behind that mark, up to the arguments, with the group ``name``. It must end with text of its
            own or a lookahead, so that it matches only where it is complete.
        key: begins an argument; its name follows, up to ``key_end``.
        value: stands before an argument's value, which ends with ``value_end``.
        ends: each ends the call's arguments. ``closes``: what may follow.
    """

    opens: str
    name: re.Pattern[str]
    key: str
    key_end: str
    value: str
    value_end: str
    ends: tuple[str, ...]
    closes: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


class TaggedFormat(ToolFormat):
    """A format whose calls stand between ``spelling``'s tags.

    Attributes:
        begin: all of a call before its first argument, with ``{}`` for the name. end: all behind the last one.
        style: xgrammar's name for how the arguments are written.
    """

    separator = "\n"
    spelling: Tags
    begin: str
    end: str
    style: str

    def parser(self, tools: Sequence[FunctionTool] = ()) -> StreamParser:
        return TaggedCalls(self.spelling, tools)

    def tags(self, tools: Sequence[FunctionTool], one: bool) -> list[JsonObject]:
        return [
            {
                "type": "tag", "begin": self.begin.format(tool.name), "end": self.end,
                "content": self._arguments(tool),
            }
            for tool in tools
        ]  # fmt: skip

    def _arguments(self, tool: FunctionTool) -> JsonObject:
        if tool.language is None:
            style = {"style": self.style, "max_whitespace_cnt": MOST_WHITESPACE}
            return {"type": "json_schema", "json_schema": tool.parameters, **style}
        tags = self.spelling
        line = "" if self.begin.endswith("\n") else "\n"
        before = f"{line}{tags.key}{tool.argument}{tags.key_end}"
        value = f"\n{tags.value}" if tags.value else ""
        # The line breaks that set a text off from its tags are none of it.
        return plain_text(tool.language, f"{before}{value}\n", f"\n{tags.value_end}\n")


class TaggedCalls(MarkupParser):
    """Writes the JSON object of a call's arguments while they are read; long texts are passed on as they come.

    A call is announced with its name. An argument that is there twice counts once, the first time.
    """

    def __init__(self, tags: Tags, tools: Sequence[FunctionTool]) -> None:
        super().__init__([tags.opens, *tags.also])
        self._tags = tags
        self._parameters = {tool.name: tool.parameters for tool in tools}
        self._function: JsonObject = {}
        self._written: set[str] = set()
        self._key = ""
        self._begun = False

    def _end(self, deltas: list[Delta]) -> None:
        # Between two arguments the object can be closed; within one it is cut off, as any format's would be.
        if self._state == self._between:
            self._close(deltas)
        if self._state not in (self._outside, self._in_name):
            self._buffer = ""

    def _opens(self, mark: str) -> Callable[[list[Delta]], bool]:
        return self._in_name

    def _in_name(self, deltas: list[Delta]) -> bool:
        text = self._buffer if self._opened == self._tags.opens else self._opened + self._buffer
        found = self._tags.name.match(text, 0, LONGEST_NAME)
        if found is None:
            return self._fail(deltas) if len(text) >= LONGEST_NAME else False
        self._buffer = text[found.end() :]
        self._announce(deltas, found["name"])
        self._argue(deltas, "{")
        self._function = self._parameters.get(found["name"], {})
        self._written = set()
        self._state = self._between
        return True

    def _between(self, deltas: list[Delta]) -> bool:
        tags = self._tags
        rest = self._buffer.lstrip()
        if rest.startswith(tags.key):
            self._buffer = rest[len(tags.key) :]
            self._state = self._in_key
            return True
        end = next((end for end in tags.ends if rest.startswith(end)), None)
        if end is not None:
            self._buffer = rest[len(end) :]
            self._close(deltas)
            self._state = self._behind
            return True
        openings = (tags.opens, *tags.also)
        if any(rest.startswith(mark) for mark in openings):  # the model forgot to close
            self._buffer = rest
            self._close(deltas)
            self._state = self._outside
            return True
        marks = (tags.key, *tags.ends, *openings)
        # What is neither is nothing that an object could hold.
        places = [at for mark in marks if (at := rest.find(mark)) >= 0]
        self._buffer = rest[min(places) :] if places else rest[len(rest) - partial(rest, marks) :]
        return bool(places)

    def _in_key(self, deltas: list[Delta]) -> bool:
        name, end, rest = self._buffer.partition(self._tags.key_end)
        if not end:
            return False
        self._key = name.strip()
        self._buffer = rest
        self._state = self._before_value
        return True

    def _before_value(self, deltas: list[Delta]) -> bool:
        mark = self._tags.value
        rest = self._buffer.lstrip() if mark else self._buffer
        if mark and mark.startswith(rest) and mark != rest:
            return False
        self._buffer = rest.removeprefix(mark)
        known = argument_schema(self._function, self._key)
        self._begun = False
        self._state = self._in_text if is_text(known) and self._key not in self._written else self._in_value
        return True

    def _in_value(self, deltas: list[Delta]) -> bool:
        raw, end, rest = self._buffer.partition(self._tags.value_end)
        if not end:
            return False
        self._buffer = rest
        if self._key not in self._written:
            value = from_text(_unwrapped(raw), argument_schema(self._function, self._key))
            self._argue(deltas, self._named() + value)
        self._state = self._between
        return True

    def _in_text(self, deltas: list[Delta]) -> bool:
        """A string, passed on while it is written, without the line breaks that set it off from its tags."""
        if not self._begun:
            if not self._buffer or self._buffer == "\r":
                return False
            self._buffer = self._buffer.removeprefix("\r").removeprefix("\n")
            self._argue(deltas, self._named() + '"')
            self._begun = True
        raw, end, rest = self._buffer.partition(self._tags.value_end)
        if end:
            self._argue(deltas, inner(raw.removesuffix("\n")) + '"')
            self._buffer = rest
            self._state = self._between
            return True
        certain = len(raw) - partial(raw, [self._tags.value_end])
        certain -= raw[:certain].endswith("\n")
        self._argue(deltas, inner(raw[:certain]))
        self._buffer = raw[certain:]
        return False

    def _named(self) -> str:
        """What stands before the next value."""
        comma = ", " if self._written else ""
        self._written.add(self._key)
        return f"{comma}{dumped(self._key)}: "

    def _close(self, deltas: list[Delta]) -> None:
        self._argue(deltas, "}")

    def _behind(self, deltas: list[Delta]) -> bool:
        more = self._skip(self._tags.closes)
        if more:
            self._state = self._outside
        return more


def _unwrapped(raw: str) -> str:
    return raw.removeprefix("\r").removeprefix("\n").removesuffix("\n")
