"""One session's opened pages, by cursor, and what of them is shown."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

from ..errors import ToolError
from . import specs

_SHOWN_LINES = 60  # what the embedded model is trained on; about 1,000 tokens
_SHOWN_CHARACTERS = 6_000
_MOST_CHARACTERS = 24_000  # when a model asks for more lines
_KEPT_PAGES = 32
_KEPT_CHARACTERS = 8_000_000  # of all of them together; the newest is kept in any case
_WEIGHT = 50  # characters that a line or a link counts as besides its own: objects take room
_MOST_MATCHES = 20


@dataclass(frozen=True)
class Page:
    """A page that was opened: see `extract.Text` for its lines and links."""

    title: str
    url: str
    lines: list[str]
    links: list[str]

    @property
    def weight(self) -> int:
        """What keeping it takes, in characters."""
        return sum(len(text) + _WEIGHT for texts in (self.lines, self.links) for text in texts)


@dataclass
class History:
    """Pages in the order in which they were opened. The number of a page is its cursor; old pages are forgotten."""

    _pages: dict[int, Page] = field(default_factory=dict)
    _weights: dict[int, int] = field(default_factory=dict)
    _opened: int = 0
    _current: int = -1

    def add(self, page: Page) -> int:
        """Note a page; gives its cursor. It is the current one now."""
        cursor = self._opened
        self._pages[cursor] = page
        self._opened += 1
        self._current = cursor
        self._weights[cursor] = page.weight
        while len(self._pages) > 1 and self._too_much():
            oldest = min(self._pages)
            del self._pages[oldest], self._weights[oldest]
        return cursor

    def _too_much(self) -> bool:
        return len(self._pages) > _KEPT_PAGES or sum(self._weights.values()) > _KEPT_CHARACTERS

    def turn_to(self, cursor: int = -1) -> tuple[int, Page]:
        """The page of a cursor, -1 for the current one; makes it the current one.

        Raises:
            ToolError: there is none.
        """
        wanted = self._current if cursor == -1 else cursor
        page = self._pages.get(wanted)
        if page is None:
            if not self._pages:
                raise ToolError(specs.NO_PAGE)
            first = min(self._pages)
            raise ToolError(f"there is no page {cursor}. Use -1 for the current one, or {first} to {self._opened - 1}.")
        self._current = wanted
        return wanted, page

    def link(self, number: int, cursor: int = -1) -> str:
        """Where a link leads.

        Raises:
            ToolError: the page has no such link.
        """
        _, page = self.turn_to(cursor)
        if not 0 <= number < len(page.links):
            raise ToolError(specs.no_such_link(number))
        return page.links[number]

    def show(self, cursor: int = -1, first: int = 0, count: int | None = None) -> str:
        """A page's lines from ``first`` on: ``count`` of them, or about a thousand tokens.

        Raises:
            ToolError: there is no such page or line.
        """
        cursor, page = self.turn_to(cursor)
        first = max(0, first)
        if first and first >= len(page.lines):
            raise ToolError(f"the page has only {len(page.lines)} lines. Use a loc below {len(page.lines)}.")
        room = _SHOWN_CHARACTERS if count is None else _MOST_CHARACTERS
        shown: list[str] = []
        for line in page.lines[first : first + (_SHOWN_LINES if count is None else max(1, count))]:
            room -= len(line)
            if room < 0 and shown:
                break
            shown.append(line)
        return specs.page_text(cursor, page.title, page.url, shown, first, len(page.lines))

    def find(self, pattern: str, cursor: int = -1) -> str:
        """Where a page has a text, whatever its case, and across the ends of its lines.

        Raises:
            ToolError: there is no such page, or nothing to look for.
        """
        _, page = self.turn_to(cursor)
        wanted = " ".join(pattern.split()).lower()
        if not wanted:
            raise ToolError("there is no text to look for. Give a word that the page may have.")
        starts, text = _joined(page.lines)
        hits: list[int] = []
        place = text.find(wanted)
        while place >= 0 and len(hits) < _MOST_MATCHES:
            line = bisect.bisect_right(starts, place) - 1
            hits.append(line)
            after = starts[line + 1] if line + 1 < len(starts) else len(text)
            place = text.find(wanted, max(after, place + 1))
        matches = [specs.found(index, line, page.lines[line : line + 4]) for index, line in enumerate(hits)]
        return "\n\n".join(matches) or specs.NO_RESULTS


def _joined(lines: list[str]) -> tuple[list[int], str]:
    """The lines as one text with single spaces, in lower case, and where in it each line starts."""
    starts: list[int] = []
    parts: list[str] = []
    size = 0
    for line in lines:
        part = " ".join(line.split()).lower()
        starts.append(size)
        parts.append(part)
        size += len(part) + 1
    return starts, " ".join(parts)
