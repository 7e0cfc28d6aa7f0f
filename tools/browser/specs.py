"""The reading browser as models see it: gpt-oss's `search`, `open` and `find`, and how pages read.

The tools themselves come with the browser; their names, arguments and texts are fixed here because the embedded model
is trained on them.
"""

from __future__ import annotations

from ..spec import Annotations, JsonObject, ToolSpec, parameters

_READS = Annotations(read_only=True, destructive=False, open_world=True)
_CURSOR: JsonObject = {"type": "integer", "description": "Page to use, -1 for the current one"}

SEARCH = ToolSpec(
    "search",
    "Search the web. Returns numbered links to open.",
    parameters(
        {
            "query": {"type": "string", "description": "What to look for"},
            "topn": {"type": "integer", "minimum": 1, "maximum": 50, "description": "Number of results"},
        },
        ["query"],
    ),
    _READS,
)
OPEN = ToolSpec(
    "open",
    "Open a web page and show its text.",
    parameters(
        {
            "id": {"type": ["integer", "string"], "description": "Link number on the current page, or a URL"},
            "cursor": _CURSOR,
            "loc": {"type": "integer", "description": "First line to show"},
            "num_lines": {"type": "integer", "description": "How many lines to show"},
        },
        ["id"],
    ),
    _READS,
)
FIND = ToolSpec(
    "find",
    "Find text on the current web page.",
    parameters({"pattern": {"type": "string", "description": "Exact text"}, "cursor": _CURSOR}, ["pattern"]),
    _READS,
)

BROWSER_SPECS = (SEARCH, OPEN, FIND)

NO_RESULTS = "No results found"


def page_text(cursor: int, title: str, url: str, lines: list[str], first: int, total: int) -> str:
    """A view of a page: header, range, numbered lines.

    ``lines`` are the lines shown, ``first`` the number of the first one, ``total`` the page's line count. A link reads
    ``【id†text†domain】`` inside a line, with ``id`` for the next `open`.
    """
    last = first + len(lines) - 1
    body = "\n".join(f"L{first + i}: {line}" for i, line in enumerate(lines))
    return f"[{cursor}] {title} ({url})\n**viewing lines [{first} - {last}] of {total - 1}**\n\n{body}"


def link(number: int, text: str, domain: str) -> str:
    return f"【{number}†{text}†{domain}】"


def found(index: int, line: int, lines: list[str]) -> str:
    """One match of `find`: its number, its line number and the lines from there (at most 4)."""
    return f"# 【{index}†match at L{line}】\n" + "\n".join(lines)


def no_such_page(url: str) -> str:
    return f"could not open {url}. Check the address or search for it."


def no_such_link(number: int) -> str:
    return f"there is no link {number} on this page. Use a number that the page shows."


NO_PAGE = "no page is open. Use open or search first."
