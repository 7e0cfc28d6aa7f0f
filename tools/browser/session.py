"""What one session has open on the web: its way out, its cookies, its pages."""

from __future__ import annotations

from ..egress.connect import Egress
from ..workspace import Resource
from .chromium.tabs import Tabs
from .fetch import LARGEST_PAGE, Fetched, Fetcher
from .history import History, Page
from .reader import PageReader
from .search.index import DocumentIndex

_EMPTY = ["(this page has no text)"]
_CUT = f"[the page is larger than {LARGEST_PAGE >> 20} MiB and is cut here]"


class WebSession(Resource):
    """Opens pages as text.

    Args:
        tabs: for a real browser; None to get pages over HTTP.

    Attributes:
        egress: what this session may reach, and what it has used.
        history: what was opened.
    """

    def __init__(
        self, egress: Egress, reader: PageReader, index: DocumentIndex | None = None, tabs: Tabs | None = None
    ) -> None:
        self.egress = egress
        self.history = History()
        self._reader = reader
        self._index = index
        self._fetcher = Fetcher(egress)
        self._tabs = tabs

    async def page(self, url: str) -> Page:
        """A page of the web, or a document of the operator's index.

        Raises:
            ToolError: it cannot be opened or read.
        """
        if self._index and url.startswith(self._index.site):
            return await self._index.page(url)
        return await self._read(await (self._tabs.read(url) if self._tabs else self._fetcher.fetch(url)))

    async def close(self) -> None:
        await self._fetcher.close()

    async def _read(self, fetched: Fetched) -> Page:
        text = await self._reader.read(fetched.body, fetched.url, fetched.charset, fetched.kind)
        lines = text.lines if fetched.complete else [*text.lines, _CUT]
        return Page(text.title or fetched.url, fetched.url, lines or _EMPTY, text.links)
