"""The browser tools of a server, and what they share: page readers, the search, the egress policy."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from ..egress.connect import Egress, Resolver, system_resolver
from ..egress.policy import EgressPolicy, rules
from ..egress.proxy import EgressProxy
from ..errors import BrowserUnavailable
from ..spec import Tool, ToolContext
from ..workspace import Session
from .chromium.acting import acting_tools
from .chromium.launch import find
from .chromium.shared import SharedBrowser
from .chromium.tabs import Tabs
from .config import BrowserConfig
from .reader import PageReader
from .reading import Find, Open, Search
from .search.base import SearchBackend
from .search.index import DocumentIndex
from .search.web import Brave, SearxNG, Tavily
from .session import WebSession


class Browsing:
    """An async context manager; sessions that used it must be closed before it is left.

        async with Browsing(BrowserConfig(search_index="handbook")) as browsing, Sessions() as sessions:
            registry = Registry.of(browsing.tools)

    Args:
        config: what the operator wants.
        resolver: how names become addresses; tests give another one.

    Attributes:
        tools: those that work, in the order in which models see them.
        missing: a sentence for each part that does not.
    """

    def __init__(self, config: BrowserConfig, resolver: Resolver = system_resolver) -> None:
        self.tools: tuple[Tool, ...] = ()
        self.missing: tuple[str, ...] = ()
        self._config = config
        self._resolver = resolver
        self._reader = PageReader()
        self._shared: SharedBrowser | None = None
        self._index: DocumentIndex | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Raises BrowserUnavailable: the configuration cannot be used; the message is for the operator."""
        try:
            self._config.check()
            self._policy = EgressPolicy(allow=rules(self._config.allow_host))
            self._stack.push_async_callback(self._reader.close)
            search = self._search()
        except (ValueError, OSError) as error:
            await self._stack.aclose()
            raise BrowserUnavailable(str(error)) from error
        shared = await self._chromium()
        reading: list[Tool] = [Open(self._session), Find(self._session)]
        if search:
            self._stack.push_async_callback(search.close)
            self.tools = (Search(search, self._session), *reading)
        elif self._config.browser != "off":
            self.tools = tuple(reading)
            self.missing += ("The search tool is off: give it --search-url, --search-index or a search service's key.",)
        if shared and self._config.browser_control:
            self.tools += tuple(acting_tools(self._tabs))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _search(self) -> SearchBackend | None:
        config = self._config
        if config.search_url:
            return SearxNG(config.search_url, policy=self._policy)
        if config.brave_key:
            return Brave(config.brave_key, self._policy)
        if config.tavily_key:
            return Tavily(config.tavily_key, self._policy)
        if config.search_index:
            self._index = DocumentIndex(Path(config.search_index), self._reader)
            return self._index
        return None

    async def _chromium(self) -> SharedBrowser | None:
        """The shared browser, if it is wanted and can be had."""
        if self._config.browser != "chromium" and not self._config.browser_control:
            return None
        try:
            installation = find()
        except BrowserUnavailable as error:
            self.missing += (f"Pages are read without a browser: {error}",)
            return None
        proxy = await self._stack.enter_async_context(EgressProxy())
        self._shared = SharedBrowser(installation, proxy)
        self._stack.push_async_callback(self._shared.close)
        return self._shared

    def _tabs(self, context: ToolContext) -> Tabs:
        """The session's tabs. They and its pages share one way out."""
        assert self._shared
        shared, egress, session = self._shared, self._session(context).egress, context.session
        return session.keep(Tabs, lambda: Tabs(shared, egress, session))

    def _session(self, context: ToolContext) -> WebSession:
        session = context.session
        session.touch()
        return session.keep(WebSession, lambda: self._new(session))

    def _new(self, session: Session) -> WebSession:
        egress = Egress(self._policy, self._resolver)
        shared = self._shared if self._config.browser == "chromium" else None
        tabs = session.keep(Tabs, lambda: Tabs(shared, egress, session)) if shared else None
        return WebSession(egress, self._reader, self._index, tabs)
