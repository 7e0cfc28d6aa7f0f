"""Parses calls that are whole JSON objects, ``{"name": ..., "arguments": {...}}``, one by one or in a list."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from .base import Delta
from .json_scan import ObjectScanner
from .markup import MarkupParser

_ARGUMENT_KEYS = ("arguments", "parameters")


class ObjectCalls(MarkupParser):
    """The parser is in one of four places: in text, behind a mark, in a call's object, or behind one.

    A call is announced when its name is known and its arguments open with ``{``. From then on the arguments are
    passed on verbatim, so what a client concatenates is what the model wrote. Anything behind a mark that never
    gets that far comes out as the text it is.

    Args:
        marks: what begins calls.
        closes: what may stand behind a call's object.
        several: one mark may begin several objects: in a list, or with one of ``between`` between them.
        between: characters that may separate objects.
        at_start: the turn may begin with an object right away, without a mark.
        known: names that can be called; others make text of an object. None admits any name.
    """

    def __init__(
        self,
        marks: Sequence[str],
        closes: Sequence[str] = (),
        *,
        several: bool = False,
        between: str = ",",
        at_start: bool = False,
        known: Collection[str] | None = None,
    ) -> None:
        super().__init__(marks)
        self._closes = closes
        self._several = several
        self._junk = " \t\r\n}" + (between if several else "")
        self._known = known
        self._in_list = False
        self._call = ObjectScanner(_ARGUMENT_KEYS)
        if at_start:
            self._state = self._beginning

    def _end(self, deltas: list[Delta]) -> None:
        # A turn that ends within a call's arguments leaves them as they are; what closes a call is never text.
        if self._state == self._behind:
            self._buffer = ""

    def _opens(self, mark: str) -> Callable[[list[Delta]], bool]:
        self._in_list = mark.endswith("[")
        return self._marked

    def _beginning(self, deltas: list[Delta]) -> bool:
        rest = self._buffer.lstrip()
        if not rest:
            return False
        if rest[0] != "{":
            self._state = self._outside
            return True
        self._take(len(self._buffer) - len(rest))
        self._opened = ""
        self._begin_call()
        return True

    def _marked(self, deltas: list[Delta]) -> bool:
        rest = self._buffer.lstrip()
        if not rest or any(mark.startswith(rest) and mark != rest for mark in self._marks):
            return False
        again = next((mark for mark in self._marks if rest.startswith(mark)), None)
        if again is not None:
            self._take(len(self._buffer) - len(rest) + len(again))
            return True
        if self._several and rest[0] == "[" and not self._in_list:
            self._take(len(self._buffer) - len(rest) + 1)
            self._in_list = True
            return True
        self._begin_call()
        return True

    def _begin_call(self) -> None:
        self._call = ObjectScanner(_ARGUMENT_KEYS)
        self._state = self._inside

    def _inside(self, deltas: list[Delta]) -> bool:
        call = self._call
        taken = call.feed(self._buffer)
        self._take(taken)
        if call.announced and not call.reported:
            if self._known is not None and call.name not in self._known:
                return self._no_call(deltas)
            call.reported = True
            self._announce(deltas, call.name)
        if call.announced:
            self._source = ""
            self._argue(deltas, call.take())
        if call.failed:
            return self._no_call(deltas)
        if call.complete:
            self._state = self._behind
            return True
        return False

    def _no_call(self, deltas: list[Delta]) -> bool:
        self._in_list = False
        return self._fail(deltas)

    def _behind(self, deltas: list[Delta]) -> bool:
        """Skip what closes a call, and the white space or surplus braces that models put before it."""
        rest = self._buffer.lstrip(self._junk)
        if not rest:
            return False
        if self._several and rest[0] == "{":
            self._source, self._opened = "", ""
            self._buffer = rest
            self._begin_call()
            return True
        if self._in_list and rest[0] == "]":
            self._buffer = rest[1:]
            self._in_list = False
            return True
        if any(close.startswith(rest) and close != rest for close in self._closes):
            return False
        closed = next((close for close in self._closes if rest.startswith(close)), "")
        self._buffer = rest[len(closed) :]
        self._in_list = False
        self._state = self._outside
        return True
