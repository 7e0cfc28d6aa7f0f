"""`search`, `open` and `find`: the reading browser."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from urllib.parse import quote_plus, urlsplit

from ..errors import ToolError
from ..spec import JsonObject, Tool, ToolContext, ToolResult
from . import specs
from .extract import WIDTH
from .history import Page
from .search.base import Hit, SearchBackend
from .session import WebSession

Of = Callable[[ToolContext], WebSession]
_RESULTS = 5
_SNIPPET = 2 * WIDTH
_LONGEST_QUERY = 1_000


class Search(Tool):
    spec = specs.SEARCH

    def __init__(self, backend: SearchBackend, session: Of) -> None:
        self._backend = backend
        self._session = session

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        query = " ".join(arguments["query"].split())
        if not query or len(query) > _LONGEST_QUERY:
            raise ToolError(f"a query has 1 to {_LONGEST_QUERY} characters. Give some words to look for.")
        hits = await self._backend.search(query, arguments.get("topn", _RESULTS))
        if not hits:
            return ToolResult(specs.NO_RESULTS)
        history = self._session(context).history
        lines = [line for number, hit in enumerate(hits) for line in _result(number, hit)]
        page = Page(query, f"search://{quote_plus(query)}", lines, [hit.url for hit in hits])
        return ToolResult(history.show(history.add(page), count=len(lines)))


class Open(Tool):
    spec = specs.OPEN

    def __init__(self, session: Of) -> None:
        self._session = session

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        session = self._session(context)
        history, cursor = session.history, arguments.get("cursor", -1)
        number = _number(arguments["id"])
        if number == -1:  # the same page, another part of it
            cursor, _ = history.turn_to(cursor)
        else:
            url = str(arguments["id"]).strip() if number is None else history.link(number, cursor)
            cursor = history.add(await session.page(url))
        return ToolResult(history.show(cursor, arguments.get("loc", 0), arguments.get("num_lines")))


class Find(Tool):
    spec = specs.FIND

    def __init__(self, session: Of) -> None:
        self._session = session

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        return ToolResult(self._session(context).history.find(arguments["pattern"], arguments.get("cursor", -1)))


def _number(target: int | str) -> int | None:
    """The link number that a model means; models write them as texts too."""
    if isinstance(target, str):
        return int(target) if re.fullmatch(r"\s*-?[0-9]{1,9}\s*", target) else None
    return target


def _result(number: int, hit: Hit) -> list[str]:
    title = " ".join(hit.title.replace("【", "〔").replace("】", "〕").split())[:120]
    snippet = hit.snippet.replace("【", "〔").replace("】", "〕")
    shown = textwrap.wrap(textwrap.shorten(snippet, _SNIPPET, placeholder=" …"), WIDTH)
    return [specs.link(number, title or hit.url, urlsplit(hit.url).netloc), *shown]
