"""What parsers of marked calls have in common: a buffer, states, and text that may yet turn out to be a mark."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence

from .base import CallArguments, CallStart, Delta, StreamParser, TextDelta

LONGEST_NAME = 256
"""Characters that may stand where a call's name is expected; behind as many without an end, it is no call."""


class StateParser(StreamParser):
    """A buffer and a state: a method that consumes what is certain in the buffer.

    It returns True when there may be more to do, False when the next step depends on text that has not come.
    """

    def __init__(self, state: Callable[[list[Delta]], bool]) -> None:
        self._buffer = ""
        self._state = state

    def feed(self, text: str) -> list[Delta]:
        self._buffer += text
        deltas: list[Delta] = []
        while self._state(deltas):
            pass
        return deltas


class MarkupParser(StateParser):
    """Begins outside of calls, and is text there.

    ``_source`` is what has been consumed of a call that is not certain yet: if it turns out to be none, it is text.

    Args:
        marks: the texts that begin a call.
    """

    def __init__(self, marks: Sequence[str]) -> None:
        super().__init__(self._outside)
        self._marks = marks
        self._search = Marks(marks)
        self._source = ""
        self._calls = 0
        self._opened = ""

    def finish(self) -> list[Delta]:
        deltas: list[Delta] = []
        self._end(deltas)
        left = self._source + self._buffer
        if not (self._calls and left.isspace()):
            say(deltas, left)
        self._source = self._buffer = ""
        return deltas

    def _end(self, deltas: list[Delta]) -> None:
        """The output has ended: see to what is half done. What then is in source and buffer is text."""

    @abstractmethod
    def _opens(self, mark: str) -> Callable[[list[Delta]], bool]:
        """The state behind a mark."""

    def _outside(self, deltas: list[Delta]) -> bool:
        at, mark = self._search.look(self._buffer)
        before = self._buffer[:at]
        words = before.rstrip()
        say(deltas, words)
        if not mark:
            self._buffer = self._buffer[len(words) :]
            return False
        # The white space before a call belongs to the format, unless it turns out to be none.
        self._source = before[len(words) :] + mark
        self._buffer = self._buffer[at + len(mark) :]
        self._opened = mark
        self._state = self._opens(mark)
        return True

    def _announce(self, deltas: list[Delta], name: str, id: str | None = None) -> None:
        deltas.append(CallStart(self._calls, name, id))
        self._calls += 1
        self._source = ""

    def _argue(self, deltas: list[Delta], text: str) -> None:
        if text:
            deltas.append(CallArguments(self._calls - 1, text))

    def _fail(self, deltas: list[Delta]) -> bool:
        """No call after all: its mark, if it had one, is text, and what was read behind it is looked at again."""
        keep = self._source.find(self._opened) + len(self._opened)
        say(deltas, self._source[:keep])
        self._buffer = self._source[keep:] + self._buffer
        self._source = ""
        self._state = self._outside
        return True

    def _take(self, count: int) -> str:
        """Consume so much of the buffer for a call that is not certain."""
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        self._source += taken
        return taken

    def _skip(self, marks: Iterable[str], junk: str = " \t\r\n") -> bool:
        """Consume closing marks and the ``junk`` before them. False while more of one may come."""
        while True:
            rest = self._buffer.lstrip(junk)
            mark = next((mark for mark in marks if rest.startswith(mark)), None)
            if mark is None:
                return bool(rest) and not any(mark.startswith(rest) for mark in marks)
            self._buffer = rest[len(mark) :]


def say(deltas: list[Delta], text: str) -> None:
    """Add ``text``, if there is any."""
    if text:
        deltas.append(TextDelta(text))


class Marks:
    """Texts that mean something in a stream, where they come a piece at a time."""

    def __init__(self, marks: Sequence[str]) -> None:
        self._marks = marks
        self._begins = frozenset(mark[0] for mark in marks)

    def look(self, text: str) -> tuple[int, str]:
        """Where the first mark begins, and which one; the longest of those that begin there.

        Where there is none: where what may yet become one begins, or else the end of ``text``, and no mark.
        """
        if self._begins.isdisjoint(text):  # as nearly every token is
            return len(text), ""
        found = [(at, -len(mark), mark) for mark in self._marks if (at := text.find(mark)) >= 0]
        if found:
            at, _, mark = min(found)
            return at, mark
        return len(text) - partial(text, self._marks), ""


def partial(text: str, marks: Iterable[str]) -> int:
    """How many characters at the end of ``text`` could be the beginning of one of ``marks``."""
    longest = 0
    for mark in marks:
        at = text.find(mark[0], max(0, len(text) - len(mark) + 1))
        while 0 <= at < len(text) - longest:
            if mark.startswith(text[at:]):
                longest = len(text) - at
            else:
                at = text.find(mark[0], at + 1)
    return longest
