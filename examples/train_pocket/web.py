"""A small invented web for the browser tools, with the page format of ``agenthost.tools.browser``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from agenthost.tools.browser import specs
from agenthost.tools.spec import failure

LINES_SHOWN = 60


@dataclass
class Page:
    """A page: its lines of text, and links that stand at the end as lines of their own."""

    title: str
    url: str
    lines: list[str]
    links: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class _View:
    title: str
    url: str
    lines: list[str]
    targets: list[str]


def bare(url: str) -> str:
    """A URL without what people leave out."""
    return re.sub(r"^(https?://)?(www\.)?", "", url.strip()).rstrip("/").lower()


class Web:
    """Pages by URL, and the history of one session."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self._views: list[_View] = []

    def add(self, page: Page) -> None:
        self.pages[bare(page.url)] = page

    def call(self, tool: str, arguments: dict[str, Any]) -> str:
        """Run a browser tool and give the text that the model reads."""
        if tool == "search":
            return self._search(str(arguments["query"]), int(arguments.get("topn", 5)))
        if tool == "open":
            return self._open(arguments["id"], int(arguments.get("loc", 0)))
        return self._find(str(arguments["pattern"]))

    def _search(self, query: str, count: int) -> str:
        wanted = set(re.findall(r"\w+", query.lower()))

        def score(page: Page) -> float:
            title = set(re.findall(r"\w+", page.title.lower()))
            body = set(re.findall(r"\w+", " ".join(page.lines).lower()))
            return 3 * len(wanted & title) + len(wanted & body)

        ranked = sorted(self.pages.values(), key=score, reverse=True)
        hits = [page for page in ranked if score(page) >= 2][:count]
        if not hits:
            return specs.NO_RESULTS
        lines = []
        for number, page in enumerate(hits):
            lines.append(specs.link(number, page.title, urlsplit(page.url).netloc))
            lines.append(page.lines[0][:80] if page.lines else "")
        return self._show(_View(query, f"search://{query.replace(' ', '+')}", lines, [page.url for page in hits]), 0)

    def _open(self, target: int | str, first: int) -> str:
        if isinstance(target, int) or str(target).isdigit():
            if not self._views:
                return failure(specs.NO_PAGE).text
            targets = self._views[-1].targets
            if not 0 <= int(target) < len(targets):
                return failure(specs.no_such_link(int(target))).text
            target = targets[int(target)]
        page = self.pages.get(bare(str(target)))
        if page is None:
            return failure(specs.no_such_page(str(target))).text
        links = [specs.link(number, text, urlsplit(url).netloc) for number, (text, url) in enumerate(page.links)]
        return self._show(_View(page.title, page.url, page.lines + links, [url for _, url in page.links]), first)

    def _show(self, view: _View, first: int) -> str:
        self._views.append(view)
        shown = view.lines[first : first + LINES_SHOWN]
        return specs.page_text(len(self._views) - 1, view.title, view.url, shown, first, len(view.lines))

    def _find(self, pattern: str) -> str:
        if not self._views:
            return failure(specs.NO_PAGE).text
        lines = self._views[-1].lines
        hits = [number for number, line in enumerate(lines) if pattern.lower() in line.lower()]
        matches = [specs.found(index, number, lines[number : number + 4]) for index, number in enumerate(hits[:5])]
        return "\n\n".join(matches) or specs.NO_RESULTS
