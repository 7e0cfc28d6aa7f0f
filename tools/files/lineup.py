"""Finding lines in a file as a model remembers them: exactly if it can be, else with other white space."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from functools import cached_property
from itertools import accumulate

# From exact to lenient: each is tried only where nothing was found before it.
_LEVELS: tuple[Callable[[str], str], ...] = (
    lambda line: line.removesuffix("\r"),
    str.rstrip,
    str.strip,
)
_MOST = 10  # places that are told: who asks for a unique one needs no more


class Lineup:
    """The lines of one file (without line feeds), to be searched many times.

    Searching is by one search of text in text, which is linear, so that hostile lines cannot make it slow.
    """

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self._texts: dict[int, _Text] = {}

    def find(self, wanted: list[str], start: int = 0) -> list[int]:
        """Indexes of lines from ``start`` on where ``wanted`` begins, the first few, at the strictest level."""
        for level, form in enumerate(_LEVELS):
            if level not in self._texts:
                self._texts[level] = _Text([form(line) for line in self.lines])
            text = self._texts[level]
            if found := text.find([form(line) for line in wanted], start):
                return found
        return []


class _Text:
    """Lines in one string, each after a line feed, with one more at the end."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    @cached_property
    def _text(self) -> str:
        return "\n" + "".join(f"{line}\n" for line in self._lines)

    @cached_property
    def _starts(self) -> list[int]:
        """Position of the line feed before each line, and the end."""
        return list(accumulate((len(line) + 1 for line in self._lines), initial=0))

    def find(self, wanted: list[str], start: int) -> list[int]:
        pattern = "\n" + "".join(f"{line}\n" for line in wanted)
        found: list[int] = []
        at = self._text.find(pattern, self._starts[min(start, len(self._lines))])
        while at >= 0 and len(found) < _MOST:
            found.append(bisect_right(self._starts, at) - 1)
            at = self._text.find(pattern, at + 1)
        return found
