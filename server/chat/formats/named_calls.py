"""Parses calls that give a name between marks and then the arguments as a JSON object."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from .base import Delta
from .json_scan import JsonExtent
from .markup import LONGEST_NAME, MarkupParser


class NamedCalls(MarkupParser):
    """The parser is in text, in a section, in a call's header, in its arguments, or behind them.

    A call is announced when its arguments open with ``{``; from then on they are passed on verbatim.

    Args:
        call: the mark that begins a call.
        header: what stands between that mark and the arguments, with the groups ``name`` and perhaps ``id``. It must
            end with text of its own, so that it matches only where it is complete.
        section: the mark that begins a section of calls, where the format has one.
        closes: what may stand behind a call's arguments.
    """

    def __init__(
        self, call: str, header: re.Pattern[str], *, section: str | None = None, closes: Sequence[str] = ()
    ) -> None:
        super().__init__([call] if section is None else [section, call])
        self._call = call
        self._header = header
        self._closes = closes
        self._name = ""
        self._id: str | None = None
        self._ids: set[str | None] = set()
        self._arguments = JsonExtent()

    def _end(self, deltas: list[Delta]) -> None:
        if self._state == self._behind:
            self._buffer = ""

    def _opens(self, mark: str) -> Callable[[list[Delta]], bool]:
        return self._in_header if mark == self._call else self._in_section

    def _in_section(self, deltas: list[Delta]) -> bool:
        rest = self._buffer.lstrip()
        if rest.startswith(self._call):
            self._take(len(self._buffer) - len(rest) + len(self._call))
            self._state = self._in_header
            return True
        if self._call.startswith(rest):
            return False
        return self._fail(deltas)

    def _in_header(self, deltas: list[Delta]) -> bool:
        found = self._header.match(self._buffer, 0, LONGEST_NAME)
        if found is None:
            return self._fail(deltas) if len(self._buffer) >= LONGEST_NAME else False
        self._name = found["name"]
        id = found.groupdict().get("id")
        self._id = None if id in self._ids else id  # a repeated id would name nothing
        self._ids.add(id)
        self._take(found.end())
        self._state = self._before_arguments
        return True

    def _before_arguments(self, deltas: list[Delta]) -> bool:
        rest = self._buffer.lstrip()
        if rest.startswith("{"):
            self._buffer = rest
            self._announce(deltas, self._name, self._id)
            self._arguments = JsonExtent()
            self._state = self._in_arguments
            return True
        if any(close.startswith(rest) and close != rest for close in self._closes) or not rest:
            return False
        if any(rest.startswith(close) for close in self._closes):
            self._announce(deltas, self._name, self._id)
            self._argue(deltas, "{}")
            self._state = self._behind
            return True
        return self._fail(deltas)

    def _in_arguments(self, deltas: list[Delta]) -> bool:
        taken = self._arguments.feed(self._buffer, 0)
        self._argue(deltas, self._buffer[:taken])
        self._buffer = self._buffer[taken:]
        if self._arguments.ended:
            self._state = self._behind
        return self._arguments.ended

    def _behind(self, deltas: list[Delta]) -> bool:
        more = self._skip(self._closes, junk=" \t\r\n}")
        if more:
            self._state = self._outside
        return more
